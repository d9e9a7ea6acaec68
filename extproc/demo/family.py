"""Who belongs to `extproc serve`, for scenarios that kill or stop one of them. By /proc: nothing of extproc is asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from extproc.demo.processes import DemoError
from extproc.errors import Problem


def children(parent: int) -> list[int]:
    """Process ids of a process's children; none where it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def workers(serve: int) -> list[int]:
    """The router's workers."""
    return _named(serve, "extproc.router.worker")


def controller(serve: int) -> int:
    """The controller; raises DemoError where there is none just now."""
    found = _named(serve, " controller ")
    if not found:
        raise DemoError(Problem("demo.no-controller", "extproc serve", "has no controller just now", "see its log"))
    return found[0]


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send it to each that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _named(parent: int, words: str) -> list[int]:
    found = []
    for pid in children(parent):
        with suppress(OSError):
            if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(pid)
    return found
