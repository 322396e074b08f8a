"""The version, from the installed package's metadata."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("seqsgd")
except PackageNotFoundError:  # imported from a bare source tree
    __version__ = "0.0.0"
