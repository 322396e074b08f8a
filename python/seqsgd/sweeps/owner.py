"""Who is at work: a name for this process that others can check for life."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def _born(pid: int) -> str:
    """Start time of a process where the system tells, so that a number used again is not mistaken."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[19] if fields[0] != "Z" else "dead"  # a killed process whose parent has not looked yet
    except (OSError, IndexError):
        return ""


def name() -> str:
    """host:pid:start of this process."""
    return f"{socket.gethostname()}:{os.getpid()}:{_born(os.getpid())}"


def alive(owner: str) -> bool:
    """Whether a process may still be there; always true of other hosts."""
    host, pid, born = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        pass
    return born == _born(int(pid))
