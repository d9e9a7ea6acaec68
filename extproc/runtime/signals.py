"""How a process of ours is told to stop, to read its files again, or to end because nobody is left to tell it."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import Callable
from typing import Final

RELOAD: Final = b"reload"
"""A line on the standard input of a tied controller, with the meaning of SIGHUP."""
_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def hangup_asks(what: Callable[[], None]) -> None:
    """SIGHUP means: read your files again. The terminal's end, which sends it too, ends nothing."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, what)


def end_with_parent() -> None:
    """Linux: SIGKILL when the process that started us ends, however it ends, and even while we are stopped.

    Elsewhere, and where the parent is gone already, the end of our standard input must do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
