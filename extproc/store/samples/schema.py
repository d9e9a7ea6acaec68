"""The tables of a file of samples, and what is said where it cannot be used.

Both tables are in the order in which things were written down: `id` only grows and is never given twice. A score names its request's
assignment itself, so that it outlives its sample. What is deleted is overwritten.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Final

from extproc.errors import Problem, StoreError
from extproc.store import faults, files

VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE samples(id INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL UNIQUE, rollout TEXT NOT NULL, generation INTEGER NOT NULL,
  phase TEXT NOT NULL, cohort TEXT NOT NULL, arm TEXT NOT NULL, unit TEXT NOT NULL, durable INTEGER NOT NULL, start REAL NOT NULL,
  purpose TEXT NOT NULL, ending TEXT NOT NULL, tripwires TEXT NOT NULL, turns TEXT NOT NULL, answer TEXT NOT NULL, calls TEXT NOT NULL,
  redacted TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE INDEX samples_by_unit ON samples(unit);
CREATE TABLE scores(id INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, rollout TEXT NOT NULL, generation INTEGER NOT NULL,
  cohort TEXT NOT NULL, arm TEXT NOT NULL, unit TEXT NOT NULL, durable INTEGER NOT NULL, start REAL NOT NULL, purpose TEXT NOT NULL,
  value REAL NOT NULL, again INTEGER NOT NULL, by_criterion TEXT NOT NULL, reason TEXT NOT NULL, judge TEXT NOT NULL,
  cost_usd REAL NOT NULL, at REAL NOT NULL) STRICT;
CREATE INDEX scores_by_unit ON scores(unit);
CREATE INDEX scores_by_request ON scores(request);
CREATE TABLE standing(id INTEGER PRIMARY KEY CHECK(id = 1), at REAL NOT NULL, document TEXT NOT NULL) STRICT;
CREATE TABLE calibration(id INTEGER PRIMARY KEY CHECK(id = 1), key TEXT NOT NULL, document TEXT NOT NULL) STRICT;
CREATE TABLE labels(request TEXT PRIMARY KEY, level INTEGER NOT NULL CHECK(level BETWEEN 1 AND 5), who TEXT NOT NULL, at REAL NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE spent(rollout TEXT PRIMARY KEY, usd REAL NOT NULL) STRICT, WITHOUT ROWID;
"""
_GOES_ON: Final = "requests and decisions go on; the judge has no data meanwhile"
_HINTS: Final = {
    "full": "make room there (df -h), or keep less: judge.retention in the Spec",
    "read_only": "make the file and its directory writable for the controller's user (ls -l, findmnt)",
    "busy": "another process is in a transaction: find it (fuser) and end it",
    "damaged": "move it away; another one is begun",
}


def connect(path: Path, wait: float) -> sqlite3.Connection:
    """A writer's connection, with its tables. Raises StoreError, sqlite3.Error or OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.make(path)
    db = files.connect(path, "rw", wait)
    try:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA secure_delete=ON")
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
    if version != VERSION:
        message = "is empty" if version == 0 else f"has schema {version}, this version of extproc knows {VERSION}"
        raise StoreError(Problem("samples.schema", str(path), message, "use the version of extproc that wrote it, or move the file away"))


def explain(path: Path, error: sqlite3.Error | OSError) -> Problem:
    """A foreign error as ours."""
    problem = faults.explain(path, error)
    hint = _HINTS.get(faults.kind_of(problem), problem.hint)
    return replace(problem, id=problem.id.replace("store.", "samples."), hint=f"{hint}; {_GOES_ON}")
