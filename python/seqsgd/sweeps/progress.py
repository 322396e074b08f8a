"""Progress of a sweep: one bar on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import time

from .. import _stderr
from .cost import duration

LINE = 60.0  # seconds between lines


class Progress:
    """Counts cells, run-steps and estimated seconds.

    Parameters
    ----------
    cells, run_steps : int
        In all.
    cells_done, run_steps_done : int
        Already stored.
    seconds : float
        Estimate for the rest on one worker.
    all_together : float
        Estimate for the rest on all workers.
    wanted : bool or None
        True shows a bar, None a bar on a terminal and lines elsewhere, False nothing.
    """

    def __init__(
        self,
        cells: int,
        run_steps: int,
        cells_done: int,
        run_steps_done: int,
        seconds: float,
        all_together: float,
        wanted: bool | None,
    ) -> None:
        self.cells, self.run_steps, self.cells_done, self._stored = (
            cells,
            run_steps,
            cells_done,
            run_steps_done,
        )
        self._seconds, self._speed, self._spent = seconds, seconds / max(all_together, 1e-9), 0.0
        self._finished = self._flying = 0
        self._started = self._said = time.monotonic()
        self._lines = wanted is None and not _stderr.watched()
        form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{rate_fmt}{postfix}]"
        self._bar = _stderr.bar(wanted, run_steps, run_steps_done, bar_format=form)
        self._show()

    def piece(self, run_steps: int, seconds: float) -> None:
        """Count a finished piece; `seconds` is its estimate."""
        self._finished += run_steps
        self._spent += seconds

    def cell(self) -> None:
        """Count a finished cell."""
        self.cells_done += 1

    def in_flight(self, run_steps: int) -> None:
        """Count the steps done of unfinished pieces."""
        self._flying = max(run_steps, 0)
        self._tell()

    def left(self) -> float:
        """Return the seconds to the end, by the speed so far if there is one."""
        passed = time.monotonic() - self._started
        rest = max(self._seconds - self._spent, 0.0)
        return (
            rest * passed / self._spent
            if self._spent > 0.05 * self._seconds
            else rest / max(self._speed, 1e-9)
        )

    def line(self) -> str:
        """Return the state in words."""
        done = self._finished + self._flying
        rate = done / max(time.monotonic() - self._started, 1e-9)
        return (
            f"{self.cells_done}/{self.cells} cells, "
            f"{self._stored + done:.3g}/{self.run_steps:.3g} run-steps, {rate:.3g} run-steps/s, "
            f"about {duration(self.left())} left"
        )

    def _show(self) -> None:
        self._bar.set_postfix_str(
            f"{self.cells_done}/{self.cells} cells, {duration(self.left())} left", refresh=False
        )
        self._bar.update(self._stored + self._finished + self._flying - self._bar.n)

    def _tell(self) -> None:
        self._show()
        if self._lines and time.monotonic() - self._said >= LINE:
            self._said = time.monotonic()
            _stderr.say(f"seqsgd: {self.line()}")

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
