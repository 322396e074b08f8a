"""`python -m seqsgd` is the command line."""

from .cli import main

main()
