"""Sweeps: thousands of cells over any executor, in a store that loses nothing (docs: "Sweeps")."""

from .definition import Sweep
from .jobs import JobExecutor
from .result import SweepResult, open_sweep
from .run import Plan, plan, sweep

__all__ = ["JobExecutor", "Plan", "Sweep", "SweepResult", "open_sweep", "plan", "sweep"]
