"""Signals: which exceptions come from their handlers; a Ctrl-C that is deferred until processes
have started.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Any


def _code(handler: Any) -> CodeType | None:
    """Return the code of a Python handler."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    if not hasattr(handler, "__code__"):
        handler = getattr(type(handler).__call__, "__func__", type(handler).__call__)
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def signalled(error: BaseException) -> bool:
    """Return whether an exception was raised by a signal handler, or while such an exception was
    handled.

    It then interrupts the whole call, whatever it struck.
    """
    found = (signal.getsignal(s) for s in signal.valid_signals())
    handlers = {_code(handler) for handler in found if callable(handler)} - {None}
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while handlers and chain:
        e = chain.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        chain += [e.__cause__, e.__context__]
        trace = e.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in handlers:
                return True
            trace = trace.tb_next
    return False


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer Ctrl-C until the end of the block, so that no process is left half started.

    Processes started in it do not receive Ctrl-C.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True

    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    signal.signal(signal.SIGINT, note)
    blocked = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)
