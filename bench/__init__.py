"""Speed of the package, against loops written for comparison. See README.md."""
