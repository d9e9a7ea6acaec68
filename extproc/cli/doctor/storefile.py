"""The store's file, looked at without touching it: read-only, and without the writer's lock."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from extproc.cli.doctor.seen import StoreSeen
from extproc.errors import StoreError
from extproc.store import is_shared, open_store

PATIENCE: Final = 5.0
"""Seconds for the integrity check."""
_STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock."""


def look_at_store(url: str) -> StoreSeen:
    """What `sqlite:PATH` leads to, or whether etcd answers."""
    if is_shared(url):
        return _look_at_etcd(url)
    path = Path(url.partition(":")[2])
    try:
        found = path.stat()
    except OSError as error:
        return StoreSeen(str(path), os.strerror(error.errno or 0))
    disk = os.statvfs(path)
    wal = Path(f"{path}-wal")
    problem, integrity, generation = _content(path)
    return StoreSeen(
        str(path),
        problem,
        found.st_size,
        wal.stat().st_size if wal.exists() else 0,
        disk.f_bavail * disk.f_frsize,
        stat.S_IMODE(found.st_mode),
        os.access(path, os.W_OK) or os.geteuid() not in (0, found.st_uid),
        integrity,
        generation,
        _writer(Path(f"{path}.writer.lock")),
    )


def _look_at_etcd(url: str) -> StoreSeen:
    try:
        with closing(open_store(url)) as store:
            state = store.read_state()
    except StoreError as error:
        return StoreSeen(url, error.problems[0].message, shared=True)
    return StoreSeen(url, generation=state.generation if state is not None else None, shared=True)


def _content(path: Path) -> tuple[str, str, int | None]:
    """(why it could not be read, what the integrity check says, State's generation)."""
    deadline = time.monotonic() + PATIENCE
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=1.0)) as db:
            row = db.execute("SELECT generation FROM state").fetchone()
            db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            try:
                integrity = str(db.execute("PRAGMA quick_check(3)").fetchone()[0])
            except sqlite3.OperationalError as error:
                if "interrupt" not in str(error):
                    raise
                integrity = ""
    except sqlite3.Error as error:
        return str(error), "", None
    return "", integrity, row[0] if row is not None else None


def _writer(lock: Path) -> int | None:
    """Who holds the lock, by the kernel's own table: to try the lock could get in the way of a controller that is starting."""
    try:
        inode = lock.stat().st_ino
    except OSError:
        return 0
    try:
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            return int(words[4])
    return 0
