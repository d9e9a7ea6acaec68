"""The tables of a file of samples, and what is said where it cannot be used.

These tables are in the order in which things were written down: `id` only grows and is never given twice. A score, and a preference
(which of a pair's answers is better), name their request's assignment themselves, so that they outlive their samples. What is deleted is
overwritten.
"""

from __future__ import annotations

from typing import Final

from extproc.store.beside import Beside

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
CREATE TABLE preferences(id INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, rollout TEXT NOT NULL, generation INTEGER NOT NULL,
  unit TEXT NOT NULL, start REAL NOT NULL, value REAL NOT NULL, reason TEXT NOT NULL, judge TEXT NOT NULL, cost_usd REAL NOT NULL,
  at REAL NOT NULL) STRICT;
CREATE INDEX preferences_by_unit ON preferences(unit);
CREATE TABLE standing(id INTEGER PRIMARY KEY CHECK(id = 1), at REAL NOT NULL, document TEXT NOT NULL) STRICT;
CREATE TABLE calibration(id INTEGER PRIMARY KEY CHECK(id = 1), key TEXT NOT NULL, document TEXT NOT NULL) STRICT;
CREATE TABLE labels(request TEXT PRIMARY KEY, level INTEGER NOT NULL CHECK(level BETWEEN 1 AND 5), who TEXT NOT NULL, at REAL NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE spent(rollout TEXT PRIMARY KEY, usd REAL NOT NULL) STRICT, WITHOUT ROWID;
"""
FILE: Final = Beside(
    name="samples",
    version=1,
    tables=_TABLES,
    settings=("synchronous=NORMAL", "secure_delete=ON"),
    empty="the judge's process fills it while it runs",
    hints={
        "full": "make room there (df -h), or keep less: judge.retention in the Spec",
        "read_only": "make the file and its directory writable for the controller's user (ls -l, findmnt)",
        "busy": "another process is in a transaction: find it (fuser) and end it",
        "damaged": "move it away; another one is begun",
    },
    goes_on="requests and decisions go on; the judge has no data meanwhile",
)
