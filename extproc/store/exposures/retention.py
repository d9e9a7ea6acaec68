"""How much is kept: by age and by size, the oldest goes first, a little with each batch. What was removed is counted, and stated."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

CHUNK: Final = 20_000
"""Lines that are removed with one batch, at most: more than is added in the same second, and some 20 ms of work."""
SHRINK: Final = 2_000
"""Pages that are given back to the disk with one batch, where the file is larger than it may be."""
NO_END: Final = 86_400.0
"""Seconds after which an open request is kept among those that have ended, as one whose end was never heard of."""
MOST_OPEN: Final = 200_000
"""Open requests that are kept as such; 5,000 a second that take 40 s each."""
DAY: Final = 86_400.0
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Keep:
    """The two bounds."""

    seconds: float = 30 * DAY
    size: int = 2048 * MIB
    """Bytes of the file."""


def remove_old(db: sqlite3.Connection, keep: Keep, now: float) -> None:
    """Where something is too old or too much: one chunk of it. Raises sqlite3.Error and has then changed nothing."""
    page, pages, free = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count", "freelist_count"))
    oldest, last = db.execute("SELECT (SELECT min(id) FROM exposures), last FROM book").fetchone()
    if oldest is not None:
        begin = _first_to_keep(db, int((now - keep.seconds) // 60), last)
        if (pages - free) * page > keep.size:
            begin = max(begin, oldest + CHUNK)
        if begin > oldest:
            _remove(db, min(begin, oldest + CHUNK), now - keep.seconds)
    if pages * page > keep.size and free:
        # A row without columns for each page: `execute` would stop at the first one.
        db.executescript(f"PRAGMA incremental_vacuum({SHRINK})")


def _first_to_keep(db: sqlite3.Connection, minute: int, last: int) -> int:
    """The first id that was heard of after a minute."""
    found = db.execute("SELECT first FROM marks WHERE minute > ? ORDER BY minute LIMIT 1", (minute,)).fetchone()
    return int(found[0]) if found is not None else last + 1


def _remove(db: sqlite3.Connection, begin: int, too_old: float) -> None:
    """Everything before an id."""
    db.execute("BEGIN IMMEDIATE")
    try:
        count = db.execute("DELETE FROM exposures WHERE id < ?", (begin,)).rowcount
        minutes = [minute for (minute,) in db.execute("SELECT minute FROM marks WHERE first < ? ORDER BY minute", (begin,))]
        until = (minutes[-1] + 1) * 60 if minutes else 0
        # The last of these is still the mark of what is left of its minute, unless the next one begins right there.
        if minutes and db.execute("SELECT 1 FROM marks WHERE first = ?", (begin,)).fetchone() is None:
            db.execute("UPDATE marks SET first = ? WHERE minute = ?", (begin, minutes.pop()))
        db.executemany("DELETE FROM marks WHERE minute = ?", [(minute,) for minute in minutes])
        db.execute("DELETE FROM gaps WHERE until < ?", (too_old,))
        db.execute("UPDATE book SET removed = removed + ?, removed_until = max(removed_until, ?)", (count, until))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def move_open(db: sqlite3.Connection, last: int, now: float) -> list[int]:
    """Open requests of which nothing was heard for a day, or that are too many: they stay in the list, and grow old like the others.

    Inside the transaction of a batch, once a minute. Returns their starts: they have the ids after `last`.
    """
    (count,) = db.execute("SELECT count(*) FROM open").fetchone()
    too_many = max(0, count - MOST_OPEN)
    found = db.execute(
        "SELECT request, rollout, kind, unit, durable, start FROM open WHERE heard < ? LIMIT ?", (now - NO_END, CHUNK)
    ).fetchall()
    if not found and too_many:
        found = db.execute("SELECT request, rollout, kind, unit, durable, start FROM open ORDER BY heard LIMIT ?", (too_many,)).fetchall()
    rows = [(last + place, kind, request, *more) for place, (request, _, kind, *more) in enumerate(found, start=1)]
    db.executemany("INSERT INTO exposures VALUES(?, ?, ?, ?, ?, ?, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL)", rows)
    db.executemany("DELETE FROM open WHERE request = ? AND rollout = ?", [one[:2] for one in found])
    return [row[5] for row in found]
