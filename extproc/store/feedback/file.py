"""The file of feedback as its one writer has it: many at once go in, the oldest go out.

* What `write` has returned is on disk: it survives a kill of everything, and a power cut where the disk keeps its word.
* What fails has changed nothing. The name is compared with the open file before and after each use; another file there is opened. A
  damaged one is put aside, never deleted.
* The same feedback counts once: with an id of the client's, that id; without one, what says again what its slot says already.
* The oldest lines go by age, once the brain has read them; and by size, read or not. Sequences of a new file begin at its birth in
  microseconds, so that they grow from one file to the next.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extproc.domain import Feedback
from extproc.errors import Problem, StoreError
from extproc.store import files
from extproc.store.beside import set_aside
from extproc.store.feedback.record import Row, row_of, slot_of
from extproc.store.feedback.schema import FILE, connect

WAIT: Final = 0.5
"""Seconds to wait for somebody else's transaction."""
SWEEP: Final = 1.0
"""Seconds between two looks for what is too old or too much."""
CHUNK: Final = 5_000
"""Lines that are removed at once, at most: some 50 ms, for which new feedback waits."""
SHRINK: Final = 500
"""Pages that are given back to the disk at once, where the file is larger than it may be."""
LONGEST_LOG: Final = 64 << 20
"""Bytes of SQLite's log above which nothing is written: somebody holds a read transaction open, and the file must stay bounded."""
IN_STATEMENT: Final = 500
"""Rows of one statement. Python is locked and unlocked for each statement: beside a busy thread one for each row writes too little."""
DAY: Final = 86_400.0
MIB: Final = 1 << 20
_OLDEST: Final = "SELECT max(sequence) FROM (SELECT sequence FROM log ORDER BY sequence LIMIT ?)"
_TOO_OLD: Final = """
SELECT max(sequence) FROM (SELECT sequence, received FROM log ORDER BY sequence LIMIT ?)
WHERE received < ? AND sequence <= (SELECT cursor FROM book)
"""
_REMOVE: Final = (
    # A slot that spoke again later stays.
    "DELETE FROM seen WHERE key IN (SELECT slot FROM log WHERE sequence <= ?1) AND sequence <= ?1",
    "DELETE FROM seen WHERE key IN (SELECT id FROM log WHERE sequence <= ?1) AND sequence <= ?1",
    "DELETE FROM log WHERE sequence <= ?1",
    "UPDATE book SET removed_to = ?1",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keep:
    """How much is kept."""

    seconds: float = 30 * DAY
    size: int = 512 * MIB
    """Bytes of the file."""


class FeedbackFile:
    """Opened when something is to be written; used by one thread."""

    def __init__(self, path: Path, keep: Keep) -> None:
        self.path = path
        self._keep = keep
        self._db: sqlite3.Connection | None = None
        self._identity: files.Identity = ()
        self._damaged = False
        self._swept = 0.0
        self._cursor = 0

    def write(self, said: Sequence[Feedback], now: float) -> list[bool]:
        """All of it is on disk, or nothing and a StoreError. False for what was said before."""
        with self._explained():
            db = self._ready(now)
            with _transaction(db):
                accepted = _append(db, said)
            self._check_place()
        return accepted

    def read_up_to(self, sequence: int) -> None:
        """The brain has read so far, and needs it no more; it is written down with the next sweep."""
        self._cursor = max(self._cursor, sequence)

    def sweep(self, now: float) -> None:
        """Remove what is too old or too much, a little at a time; raises StoreError. Where nothing is, it looks once a second."""
        if 0.0 <= now - self._swept < SWEEP:
            return
        with self._explained():
            db = self._ready(now)
            db.execute("UPDATE book SET cursor = ? WHERE cursor < ?", (self._cursor, self._cursor))
            more = _remove_old(db, self._keep, now)
        self._swept = 0.0 if more else now

    def close(self) -> None:
        """Give back the file, its log written into it."""
        if self._db is not None and files.identity(self.path) == self._identity:
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._release()

    # ------------------------------------------------------------------------------------------------------------------- the file
    def _ready(self, now: float) -> sqlite3.Connection:
        """The file that has the name now."""
        if self._damaged:
            aside = set_aside(self.path, now)
            self._damaged = False
            log.error("%s is damaged and was put aside as %s; the log of feedback begins anew", self.path, aside.name)
        if self._db is not None and files.identity(self.path) != self._identity:
            log.warning("%s was deleted or replaced underneath us; feedback goes into what has its name now", self.path)
            self._leave()
        if self._db is None:
            self._db = connect(self.path, WAIT, max(int(now * 1e6), self._cursor))
            self._identity = files.identity(self.path)
        self._check_log(self._db)
        return self._db

    def _leave(self) -> None:
        """Close a file that has lost its name. SQLite then leaves its log behind, and would replay it over whatever file comes next."""
        mine = self._identity
        self._release()
        found = files.identity(self.path)
        if found[0] != mine[0]:
            for suffix, now, before in zip(files.SIDE_FILES, found[1:], mine[1:], strict=True):
                if now is not None and now == before:
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _check_place(self) -> None:
        """Raise StoreError where the file has lost its name meanwhile: nobody will find what went into it."""
        if files.identity(self.path)[0] != self._identity[0]:
            hint = "it is written again into what has the name now; let nobody move it while the service runs"
            raise StoreError(Problem("feedback.replaced", str(self.path), "was deleted or replaced while it was written", hint))

    def _check_log(self, db: sqlite3.Connection) -> None:
        name = Path(f"{self.path}-wal")
        if name.exists() and (size := name.stat().st_size) > LONGEST_LOG:
            message = f"has grown to {size >> 20} MiB: somebody holds a transaction open"
            # Whoever it is may be gone by now: then this empties it.
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StoreError(Problem("feedback.held", str(name), message, f"find out who reads {self.path} (fuser) and end it"))

    def _release(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error), closing(db):
                pass

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Foreign errors become ours at this one place."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            problem = FILE.explain(self.path, error)
            self._release()
            self._damaged = FILE.kind_of(problem) == "damaged"
            raise StoreError(problem) from error


def _append(db: sqlite3.Connection, said: Sequence[Feedback]) -> list[bool]:
    """Inside a transaction: what is new goes into the log."""
    slots = [slot_of(one) for one in said]
    known = _known(db, {*slots, *(bytes.fromhex(one.id) for one in said if one.id)})
    (last,) = db.execute("SELECT last FROM book").fetchone()
    accepted: list[bool] = []
    rows: list[Row] = []
    changed: dict[bytes, Row] = {}
    for one, slot in zip(said, slots, strict=True):
        what = one.kind.value, one.value
        new = bytes.fromhex(one.id) not in known if one.id else known.get(slot) != what
        accepted.append(new)
        if new:
            rows.append(row_of(last + len(rows) + 1, one, slot))
            for key in (slot, bytes.fromhex(one.id)) if one.id else (slot,):
                known[key] = what
                changed[key] = (key, *what, last + len(rows))
    if rows:
        _all(db, "INSERT INTO log VALUES {}", rows)
        _all(db, "REPLACE INTO seen VALUES {}", list(changed.values()))
        db.execute("UPDATE book SET last = ?", (last + len(rows),))
    return accepted


def _known(db: sqlite3.Connection, keys: set[bytes]) -> dict[bytes, tuple[str, float | None]]:
    """What was said last under each key."""
    found: dict[bytes, tuple[str, float | None]] = {}
    ordered = sorted(keys)
    for begin in range(0, len(ordered), IN_STATEMENT):
        some = ordered[begin : begin + IN_STATEMENT]
        marks = ", ".join("?" * len(some))
        for key, kind, value in db.execute(f"SELECT key, kind, value FROM seen WHERE key IN ({marks})", some):  # noqa: S608  # only marks
            found[key] = kind, value
    return found


def _all(db: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
    """One statement for many rows."""
    for begin in range(0, len(rows), IN_STATEMENT):
        some = rows[begin : begin + IN_STATEMENT]
        row = f"({', '.join('?' * len(some[0]))})"
        db.execute(statement.format(", ".join([row] * len(some))), [value for one in some for value in one])


def _remove_old(db: sqlite3.Connection, keep: Keep, now: float) -> bool:
    """One chunk; True where there may be more."""
    page, pages, free = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count", "freelist_count"))
    if (pages - free) * page > keep.size:
        found = db.execute(_OLDEST, (CHUNK,)).fetchone()
    else:
        found = db.execute(_TOO_OLD, (CHUNK, now - keep.seconds)).fetchone()
    if found[0] is not None:
        with _transaction(db):
            for statement in _REMOVE:
                db.execute(statement, (found[0],))
    if pages * page > keep.size and free:
        # A row without columns for each page: `execute` would stop at the first one.
        db.executescript(f"PRAGMA incremental_vacuum({SHRINK})")
    return found[0] is not None


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise
