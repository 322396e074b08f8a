"""A name for this process, by which other processes can check that it is alive."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def _born(pid: int) -> str:
    """Return the start time of a process if the system provides it, since process numbers are
    reused.
    """
    if sys.platform == "win32":
        return _born_on_windows(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (
            fields[19] if fields[0] != "Z" else "dead"
        )  # a killed process whose parent has not looked yet
    except (OSError, IndexError):
        return ""


if sys.platform == "win32":

    def _born_on_windows(pid: int) -> str:
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        process = ctypes.c_void_p(
            kernel.OpenProcess(0x101000, False, pid)
        )  # to wait for, and to ask little
        if not process:
            return (
                "dead" if ctypes.get_last_error() == 87 else ""
            )  # there is none; or it is somebody else's
        try:
            times = [ctypes.c_uint64() for _ in range(4)]  # the first is that of creation
            if kernel.WaitForSingleObject(process, 0) == 0:  # ended, though somebody holds on to it
                return "dead"
            return (
                str(times[0].value)
                if kernel.GetProcessTimes(process, *map(ctypes.byref, times))
                else ""
            )
        finally:
            kernel.CloseHandle(process)


def name() -> str:
    """Return host:pid:start of this process."""
    return f"{socket.gethostname()}:{os.getpid()}:{_born(os.getpid())}"


def alive(owner: str) -> bool:
    """Return whether a process may still exist; always true for other hosts."""
    host, pid, born = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    if sys.platform != "win32":  # where this would be a Ctrl-C
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return False
        except (OSError, ValueError):
            pass
    return _born(int(pid)) in (born, "")


def near(owner: str) -> bool:
    """Return whether a process is known to live on this machine."""
    host, pid, _ = owner.rsplit(":", 2)
    return host == socket.gethostname() and alive(owner) and _born(int(pid)) != ""
