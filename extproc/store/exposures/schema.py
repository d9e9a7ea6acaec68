"""The tables of an exposures file, and what is said where it cannot be used.

Lines are kept in the order in which they were heard of: `id` only grows, is never given twice, and the oldest are removed first. `marks`
says, for each minute, with which id it began and how early the requests began that were heard of in it: so a stretch of time is found
without an index, which would take a fifth of the room.
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
"""Bytes that the log is cut to after it was longer."""
_TABLES: Final = """
CREATE TABLE book(id INTEGER PRIMARY KEY CHECK(id = 1), began REAL NOT NULL, as_of REAL NOT NULL, rate REAL NOT NULL,
  stopped INTEGER NOT NULL, last INTEGER NOT NULL, removed INTEGER NOT NULL, removed_until REAL NOT NULL) STRICT;
CREATE TABLE kinds(id INTEGER PRIMARY KEY, rollout TEXT NOT NULL, generation INTEGER NOT NULL, phase TEXT NOT NULL, cohort TEXT NOT NULL,
  arm TEXT NOT NULL, reason TEXT NOT NULL, answered_by TEXT NOT NULL, model TEXT NOT NULL,
  UNIQUE(rollout, generation, phase, cohort, arm, reason, answered_by, model)) STRICT;
CREATE TABLE exposures(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, request ANY NOT NULL, unit ANY, durable INTEGER NOT NULL,
  start INTEGER NOT NULL, lasted INTEGER, status INTEGER, failed INTEGER NOT NULL, client_aborted INTEGER NOT NULL,
  throttled INTEGER NOT NULL, input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER) STRICT;
CREATE TABLE open(request ANY NOT NULL, rollout TEXT NOT NULL, kind INTEGER NOT NULL, unit ANY, durable INTEGER NOT NULL,
  start INTEGER NOT NULL, heard REAL NOT NULL, PRIMARY KEY(request, rollout)) STRICT, WITHOUT ROWID;
CREATE TABLE marks(minute INTEGER PRIMARY KEY, first INTEGER NOT NULL, earliest INTEGER NOT NULL) STRICT;
CREATE TABLE gaps(cause TEXT NOT NULL, rollout TEXT NOT NULL, since REAL NOT NULL, until REAL, about INTEGER, detail TEXT NOT NULL,
  PRIMARY KEY(cause, rollout, since)) STRICT, WITHOUT ROWID;
CREATE TABLE attempts(rollout TEXT NOT NULL, generation INTEGER NOT NULL, attempt INTEGER NOT NULL, at REAL NOT NULL,
  PRIMARY KEY(rollout, generation)) STRICT, WITHOUT ROWID;
"""
_GOES_ON: Final = "decisions go on; exposures that cannot be kept until then are counted, and the gap is stated"
_HINTS: Final = {
    "full": "make room there (df -h), or keep less: --exposures-mib",
    "read_only": "make the file and its directory writable for the controller's user (ls -l, findmnt)",
    "busy": "another process is in a transaction: find it (fuser) and end it",
    "damaged": "the controller puts it aside and begins another one; `sqlite3 FILE .recover` may read what is in it",
}


def connect(path: Path, wait: float) -> sqlite3.Connection:
    """A writer's connection, with its tables. Raises StoreError, sqlite3.Error or OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.make(path)
    db = files.connect(path, "rw", wait)
    try:
        # Before the first table: later it would need the whole file to be written anew.
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            hint = "keep it on a local disk that can do shared memory: SQLite's log needs it"
            raise StoreError(Problem("exposures.log", str(path), f"cannot be given a log (its journal mode stays {mode})", hint))
        # What a power cut takes away, it takes away together with the instant up to which the list was complete: it is a stated gap.
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA journal_size_limit={LOG_KEPT}")
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            db.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version={VERSION};COMMIT;")
        check(db, path)
    except BaseException:
        db.close()
        raise
    return db


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError where there are no tables, or those of another version."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        raise StoreError(Problem("exposures.empty", str(path), "is empty", "the controller fills it while it runs"))
    if version != VERSION:
        message = f"has schema {version}, this version of extproc knows {VERSION}"
        raise StoreError(Problem("exposures.schema", str(path), message, "use the version of extproc that wrote it, or move the file away"))


def explain(path: Path, error: sqlite3.Error | OSError) -> Problem:
    """A foreign error as ours. The store's own words speak of decisions that wait; none waits for this file."""
    problem = faults.explain(path, error)
    kind = faults.kind_of(problem)
    hint = _HINTS.get(kind, problem.hint)
    return replace(problem, id=problem.id.replace("store.", "exposures."), hint=f"{hint}; {_GOES_ON}")


def is_damaged(problem: Problem) -> bool:
    """True where what is in the file cannot be relied on."""
    return problem.id == "exposures.damaged"


def set_aside(path: Path, now: float) -> Path:
    """Give a damaged file another name, its log with it; where it went. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{now:.0f}")
    for suffix in files.SIDE_FILES:
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(path, aside)
    return aside
