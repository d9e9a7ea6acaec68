"""The tables of a feedback file, and what is said where it cannot be used.

`log` is the log: `sequence` only grows and has no holes within a file. `seen` has what makes the same feedback count once: for each id
that a client gave, and for each answer and slot (a thumb is up or down) what was said last. Both go with the lines that they are about.
`book` has one row: where the file began, the last sequence, up to where it was read, and up to where it was removed.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Final

from extproc.errors import Problem, StoreError
from extproc.store import faults, files

VERSION: Final = 1
LOG_KEPT: Final = 16 << 20
"""Bytes that SQLite's log is cut to after it was longer."""
_TABLES: Final = """
CREATE TABLE book(one INTEGER PRIMARY KEY CHECK(one = 1), base INTEGER NOT NULL, last INTEGER NOT NULL, cursor INTEGER NOT NULL,
  removed_to INTEGER NOT NULL) STRICT;
CREATE TABLE log(sequence INTEGER PRIMARY KEY, id BLOB NOT NULL, slot BLOB NOT NULL, kind TEXT NOT NULL, value REAL, request ANY,
  rollout TEXT, generation INTEGER, cohort TEXT, arm TEXT, unit ANY, durable INTEGER, start INTEGER, at REAL NOT NULL,
  received REAL NOT NULL) STRICT;
CREATE TABLE seen(key BLOB PRIMARY KEY, kind TEXT NOT NULL, value REAL, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_GOES_ON: Final = "decisions go on; whoever sends feedback is told to send it again later"
_HINTS: Final = {
    "full": "make room there (df -h), or keep less",
    "read_only": "make the file and its directory writable for the service's user (ls -l, findmnt)",
    "busy": "another process is in a transaction: find it (fuser) and end it",
    "damaged": "the service puts it aside and begins another one; `sqlite3 FILE .recover` may read what is in it",
}


def connect(path: Path, wait: float, base: int) -> sqlite3.Connection:
    """A writer's connection, with its tables; a new file's sequences begin after `base`. Raises StoreError, sqlite3.Error or OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    files.make(path)
    db = files.connect(path, "rw", wait)
    try:
        # Before the first table: later it would need the whole file to be written anew.
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            hint = "keep it on a local disk that can do shared memory: SQLite's log needs it"
            raise StoreError(Problem("feedback.log", str(path), f"cannot be given a log (its journal mode stays {mode})", hint))
        # What is acknowledged has reached the disk: nobody would send it again.
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA journal_size_limit={LOG_KEPT}")
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            book = f"INSERT INTO book VALUES(1, {base}, {base}, 0, 0);"
            db.executescript(f"BEGIN IMMEDIATE;{_TABLES}{book}PRAGMA user_version={VERSION};COMMIT;")
        check(db, path)
        if fresh:
            _synchronise(path.parent)
    except BaseException:
        db.close()
        raise
    return db


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError where there are no tables, or those of another version."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        raise StoreError(Problem("feedback.empty", str(path), "is empty", "the feedback service fills it while it runs"))
    if version != VERSION:
        message = f"has schema {version}, this version of extproc knows {VERSION}"
        raise StoreError(Problem("feedback.schema", str(path), message, "use the version of extproc that wrote it, or move the file away"))


def explain(path: Path, error: sqlite3.Error | OSError) -> Problem:
    """A foreign error as ours. The store's own words speak of decisions that wait; none waits for this file."""
    problem = faults.explain(path, error)
    hint = _HINTS.get(faults.kind_of(problem), problem.hint)
    return replace(problem, id=problem.id.replace("store.", "feedback."), hint=f"{hint}; {_GOES_ON}")


def kind_of(problem: Problem) -> str:
    """The metric's label for a Problem of this file."""
    return faults.kind_of(replace(problem, id=problem.id.replace("feedback.", "store.")))


def set_aside(path: Path, now: float) -> Path:
    """Give a damaged file another name, its log with it; where it went. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{now:.0f}")
    for suffix in files.SIDE_FILES:
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(path, aside)
    return aside


def _synchronise(directory: Path) -> None:
    """A file whose name a power cut takes away is lost with all that is in it."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
