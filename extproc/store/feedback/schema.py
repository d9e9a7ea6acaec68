"""The tables of a feedback file, and what is said where it cannot be used.

`log` is the log: `sequence` only grows, and has no holes within a file but where a person was forgotten. `seen` has what makes the same
feedback count once: for each id that a client gave, and for each answer and slot (a thumb is up or down) what was said last. Both go with
the lines that they are about. `book` has one row: where the file began, the last sequence, up to where it was read, and up to where it was
removed.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from extproc.store import files
from extproc.store.beside import Beside

_TABLES: Final = """
CREATE TABLE book(one INTEGER PRIMARY KEY CHECK(one = 1), base INTEGER NOT NULL, last INTEGER NOT NULL, cursor INTEGER NOT NULL,
  removed_to INTEGER NOT NULL) STRICT;
CREATE TABLE log(sequence INTEGER PRIMARY KEY, id BLOB NOT NULL, slot BLOB NOT NULL, kind TEXT NOT NULL, value REAL, request ANY,
  rollout TEXT, generation INTEGER, cohort TEXT, arm TEXT, unit ANY, durable INTEGER, start INTEGER, at REAL NOT NULL,
  received REAL NOT NULL) STRICT;
CREATE TABLE seen(key BLOB PRIMARY KEY, kind TEXT NOT NULL, value REAL, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
FILE: Final = Beside(
    name="feedback",
    version=1,
    tables=_TABLES,
    settings=(
        # What is acknowledged has reached the disk: nobody would send it again.
        "synchronous=FULL",
    ),
    empty="the feedback service fills it while it runs",
    hints={
        "full": "make room there (df -h), or keep less",
        "read_only": "make the file and its directory writable for the service's user (ls -l, findmnt)",
        "busy": "another process is in a transaction: find it (fuser) and end it",
        "damaged": "the service puts it aside and begins another one; `sqlite3 FILE .recover` may read what is in it",
    },
    goes_on="decisions go on; whoever sends feedback is told to send it again later",
)


def connect(path: Path, wait: float, base: int) -> sqlite3.Connection:
    """A writer's connection; a new file's sequences begin after `base`. Raises StoreError, sqlite3.Error or OSError."""
    fresh = not path.exists()
    db = FILE.connect(path, wait, f"INSERT INTO book VALUES(1, {base}, {base}, 0, 0);")
    try:
        if fresh:
            # A file whose name a power cut takes away is lost with all that is in it.
            files.synchronise(path.parent)
    except BaseException:
        db.close()
        raise
    return db
