"""Loops for comparison: what the machine can do (bare), and what users have (numba, PyTorch)."""
