"""How a person's feedback is taken out of the file while its writer goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from extproc.errors import StoreError
from extproc.store import files
from extproc.store.exposures.record import packed_request, packed_unit
from extproc.store.feedback.schema import FILE

WAIT: Final = 10.0
"""Seconds to wait for the writer."""
CHUNK: Final = 5_000
"""Lines that are deleted at once, at most: new feedback waits meanwhile, and its writer waits for half a second."""
_SAID: Final = """
SELECT sequence, slot, id FROM log
WHERE unit = ? OR (unit IS NULL AND request IN (SELECT request FROM temp.asked)) ORDER BY sequence
"""


def forget(path: Path, unit: str, requests: Collection[str] = ()) -> int:
    """Delete what a unit (16 hex digits) said, and what was said of these requests without a token; how many lines. Raises StoreError.

    What was deleted is overwritten, and the log, where earlier versions of pages are, is emptied. Readers meet a hole in the sequences.
    """
    if not path.exists():
        return 0
    try:
        with closing(files.connect(path, "rw", WAIT)) as db:
            FILE.check(db, path)
            for setting in (*FILE.settings, "secure_delete=ON"):
                db.execute(f"PRAGMA {setting}")
            db.execute("CREATE TEMP TABLE asked(request PRIMARY KEY) WITHOUT ROWID")
            db.executemany("INSERT OR IGNORE INTO asked VALUES(?)", ((packed_request(one),) for one in requests))
            # All of the file is looked through before the first lock: the writer goes on meanwhile.
            said = db.execute(_SAID, (packed_unit(unit),)).fetchall()
            for begin in range(0, len(said), CHUNK):
                _delete(db, said[begin : begin + CHUNK])
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(FILE.explain(path, error)) from error
    return len(said)


def _delete(db: sqlite3.Connection, said: Sequence[tuple[int, bytes, bytes]]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany("DELETE FROM log WHERE sequence = ?", ((sequence,) for sequence, _, _ in said))
    db.executemany("DELETE FROM seen WHERE key = ?", ((key,) for _, *keys in said for key in keys))
    db.execute("COMMIT")
