"""The tables of an exposures file, and what is said where it cannot be used.

Lines are kept in the order in which they were heard of: `id` only grows, is never given twice, and the oldest are removed first. `marks`
says, for each minute, with which id it began and how early the requests began that were heard of in it: so a stretch of time is found
without an index, which would take a fifth of the room.
"""

from __future__ import annotations

from typing import Final

from extproc.store.beside import Beside

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
OWNERS: Final = "CREATE TABLE IF NOT EXISTS owners(name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"
"""Names of the controllers whose list it is; files of earlier versions do not have it."""
FILE: Final = Beside(
    name="exposures",
    version=1,
    tables=_TABLES,
    settings=(
        # What a power cut takes away, it takes away together with the instant up to which the list was complete: it is a stated gap.
        "synchronous=NORMAL",
    ),
    empty="the controller fills it while it runs",
    hints={
        "full": "make room there (df -h), or keep less: --exposures-mib",
        "read_only": "make the file and its directory writable for the controller's user (ls -l, findmnt)",
        "busy": "another process is in a transaction: find it (fuser) and end it",
        "damaged": "the controller puts it aside and begins another one; `sqlite3 FILE .recover` may read what is in it",
    },
    goes_on="decisions go on; exposures that cannot be kept until then are counted, and the gap is stated",
)
