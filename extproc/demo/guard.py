"""The guard outlives the demo by a moment: when its standard input is closed, however that came about, it ends what is left.

A process of its own. Lines in: `group PGID` and `forget PGID` for process groups, `remove DIR` for directories. At the end of the
input every group still named gets SIGTERM, after `PATIENCE` SIGKILL, and the directories are removed. A demo that ends in order has
forgotten every group before; a killed one has not.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from typing import Final

PATIENCE: Final = 3.0


def main() -> None:
    """Entry point of `python -m extproc.demo.guard`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    directories: list[str] = []
    for line in sys.stdin:
        what, _, name = line.strip().partition(" ")
        if what == "group":
            groups.add(int(name))
        elif what == "forget":
            groups.discard(int(name))
        elif what == "remove":
            directories.append(name)
    _end(groups)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _end(groups: set[int]) -> None:
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + PATIENCE
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """True while the group has a process."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
