"""What people do to the file while its writer goes on: a unit's samples are taken out, an answer is given a level."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from extproc.errors import StoreError
from extproc.store.samples.schema import FILE

WAIT: Final = 10.0
"""Seconds to wait for the writer."""


def forget(path: Path, unit: str) -> tuple[int, int]:
    """Delete what is kept of a unit (16 hex digits); (samples, scores and preferences) that were deleted. Raises StoreError.

    What was deleted is overwritten (secure_delete), and the log, where earlier versions of pages are, is emptied.
    """
    if not path.exists():
        return 0, 0
    try:
        with closing(FILE.connect(path, WAIT)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM labels WHERE request IN (SELECT request FROM samples WHERE unit = ?)", (unit,))
            tables = ("samples", "scores", "preferences")
            found = [db.execute(f"DELETE FROM {table} WHERE unit = ?", (unit,)).rowcount for table in tables]  # noqa: S608 - ours
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(FILE.explain(path, error)) from error
    return found[0], found[1] + found[2]


def label(path: Path, request: str, level: int, who: str, now: float) -> bool:
    """Write down what a person thinks of a sampled answer (1 to 5), in place of what was written before; False where there is no such
    sample. Raises StoreError."""
    if not path.exists():
        return False
    try:
        with closing(FILE.connect(path, WAIT)) as db:
            if db.execute("SELECT 1 FROM samples WHERE request = ?", (request,)).fetchone() is None:
                return False
            db.execute("REPLACE INTO labels VALUES(?, ?, ?, ?)", (request, level, who, now))
    except (sqlite3.Error, OSError) as error:
        raise StoreError(FILE.explain(path, error)) from error
    return True
