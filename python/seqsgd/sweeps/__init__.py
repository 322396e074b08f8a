"""Sweeps: thousands of cells on any executor, kept in a store (docs: "Sweeps")."""

from .definition import Sweep
from .jobs import JobExecutor
from .result import SweepResult, open_sweep
from .run import Plan, plan, sweep

__all__ = ["JobExecutor", "Plan", "Sweep", "SweepResult", "open_sweep", "plan", "sweep"]
