"""Check whether a run fits into memory, before anything is allocated."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def available() -> int:
    """Return the available bytes: the least of what the system, the control group and the process
    limit leave.
    """
    found = [2**63 - 1]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        if sys.platform != "win32" and "SC_PHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        group = Path("/sys/fs/cgroup")
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cache = sum(
            int(stat.get(key, 0)) for key in ("active_file", "inactive_file", "slab_reclaimable")
        )  # given back on demand
        found.append(
            int((group / "memory.max").read_text())
            - int((group / "memory.current").read_text())
            + cache
        )
    except (OSError, ValueError):  # no control group, or "max"
        pass
    if sys.platform == "win32":
        import ctypes

        status = (ctypes.c_uint64 * 8)(
            64
            # MEMORYSTATUSEX, which begins with its size; the third number is the physical memory at
            # hand
        )
        if ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(status):
            found.append(status[2])
    else:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            found.append(limit)
    return max(0, min(found))


def text(n: float) -> str:
    """Format a number of bytes."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if n < 1000 or unit == "TB":
            break
        n /= 1000
    return f"{n:.3g} {unit}"


SMALL = 16_000_000  # bytes: never worth a refusal


def check(what: str, need: int) -> None:
    """Refuse a simulation that does not fit; `what` describes it."""
    if need > SMALL and need > (have := available()):
        raise MemoryError(
            f"{what} need {text(need)} ({need} bytes), {text(have)} are available; "
            "take fewer runs at a time (first_run=) or fewer records"
        )
