"""The file of exposures as its one writer has it: batches in, the oldest out. Not the store: nothing that decides waits for it.

* A batch is one transaction, together with the instant up to which the list is complete (`as_of`). What is in the file after a kill or a
  power cut is therefore what its `as_of` says; from there to the next start is a gap, which that start writes down.
* What fails has changed nothing and can be tried again with the same object. The name is compared with the open file before each use;
  another file there is opened. A damaged one is put aside, never deleted.
* The writer holds the store's own writer lock (its process is the controller), so there is no second one.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.errors import Problem, StoreError
from extproc.store import files
from extproc.store.beside import set_aside
from extproc.store.exposures.batch import Attempts, ended
from extproc.store.exposures.gaps import Cause, Gap, guessed
from extproc.store.exposures.record import Kind, Row
from extproc.store.exposures.retention import Keep, move_open, remove_old
from extproc.store.exposures.schema import FILE, OWNERS

WAIT: Final = 0.5
"""Seconds to wait for somebody else's transaction; a thread of its own waits, and what is heard meanwhile is kept."""
SLACK: Final = 0.5
"""Seconds before `as_of` in which a request may have ended that was not heard of by then: Envoy flushes its log every 0.1 s."""
MOST_KINDS: Final = 100_000
"""Kinds that are kept apart. Only an upstream that calls its model something else in each answer makes so many; beyond, the model is
named `(other)`."""
OTHER: Final = "(other)"
LONGEST_LOG: Final = 64 << 20
"""Bytes of SQLite's log above which nothing is written: somebody holds a read transaction open, and the file must stay bounded."""
IN_STATEMENT: Final = 500
"""Rows of one statement. Python is locked and unlocked for each statement: beside a busy thread one for each row writes too little."""

log = logging.getLogger(__name__)

_Key = tuple[bytes | str, str]
"""Request and rollout."""


@dataclass(slots=True)
class _Opened:
    """One open file."""

    db: sqlite3.Connection
    identity: files.Identity
    kinds: dict[Kind, int]
    last: int
    """The newest id."""
    minute: int
    """The present mark."""
    noted: set[_Key]
    """Requests in the table of open ones, of which the end is waited for."""
    swept: int = 0
    """The minute in which open requests were last looked at."""


class ExposureFile:
    """Opened when something is to be written; used by one thread."""

    def __init__(self, path: Path, keep: Keep, started: float, warm_up: float = 0.0, owner: str = "") -> None:
        """`started`: when this process began to listen; `warm_up`: seconds after that in which Envoy may not have connected again;
        `owner`: name of the controller."""
        self.path = path
        self._owner = owner
        self._keep = keep
        self._heard_from = started + warm_up
        self._opened: _Opened | None = None
        self._news: list[Gap] = []
        """Gaps that the file itself has, and that it does not say yet."""
        self._damaged = False
        self._times_opened = 0

    def write(
        self, lines: Sequence[tuple[Kind, Row]], gaps: Sequence[Gap], attempts: Attempts, as_of: float, rate: float, now: float
    ) -> None:
        """One batch: all of it, or nothing and a StoreError. `rate`: exposures a second, of late."""
        with self._explained():
            one = self._ready(now)
            self._check_log()
            sweeps = one.swept != int(now // 60)
            remove_old(one.db, self._keep, now)
            with _transaction(one.db):
                kinds, remembered = _new_kinds(one, lines)
                starts, noted, gone = _put(one, one.kinds | kinds if kinds else one.kinds, lines, now)
                if sweeps:
                    starts += move_open(one.db, one.last + len(starts), now)
                _mark(one, starts, now)
                last = one.last + len(starts)
                rows = [(gap.cause, gap.rollout, gap.since, gap.until, gap.about, gap.detail) for gap in (*self._news, *gaps)]
                one.db.executemany("REPLACE INTO gaps VALUES(?, ?, ?, ?, ?, ?)", rows)
                one.db.executemany("REPLACE INTO attempts VALUES(?, ?, ?, ?)", attempts)
                one.db.execute("UPDATE book SET as_of = ?, rate = ?, last = ?, stopped = 0", (as_of, rate, last))
            one.kinds.update(remembered)
            if sweeps:
                one.noted = _noted(one.db)
            elif noted or gone:
                one.noted |= noted
                one.noted -= gone
            one.last, self._news = last, []
            if sweeps:
                one.swept = int(now // 60)

    def close(self, now: float) -> None:
        """In order: the next start knows that nothing is missing before `now`."""
        with self._explained():
            one = self._opened
            if one is not None and files.identity(self.path) == one.identity:
                one.db.execute("UPDATE book SET stopped = 1, as_of = ?", (now,))
                with suppress(sqlite3.Error):
                    one.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._release()

    # ------------------------------------------------------------------------------------------------------------------- the file
    def _ready(self, now: float) -> _Opened:
        """The file that has the name now."""
        if self._damaged:
            aside = set_aside(self.path, now)
            self._damaged = False
            log.error("%s is damaged and was put aside as %s; the list of exposures begins anew", self.path, aside.name)
            self._news.append(Gap(Cause.DAMAGED, 0.0, now, detail=aside.name))
        if self._opened is not None and files.identity(self.path) != self._opened.identity:
            log.warning("%s was deleted or replaced underneath us; the list of exposures goes on in what has its name now", self.path)
            self._leave(self._opened.identity)
        if self._opened is None:
            self._opened = self._open(now)
        return self._opened

    def _leave(self, mine: files.Identity) -> None:
        """Close a file that has lost its name. SQLite then leaves its log behind, and would replay it over whatever file comes next."""
        self._release()
        found = files.identity(self.path)
        if found[0] != mine[0]:
            for suffix, now, before in zip(files.SIDE_FILES, found[1:], mine[1:], strict=True):
                if now is not None and now == before:
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _open(self, now: float) -> _Opened:
        db = FILE.connect(self.path, WAIT)
        try:
            db.execute(OWNERS)
            if self._owner:
                db.execute("INSERT OR IGNORE INTO owners VALUES(?)", (self._owner,))
            book = db.execute("SELECT as_of, rate, stopped, last FROM book").fetchone()
            if book is None:
                db.execute("INSERT INTO book VALUES(1, ?, ?, 0, 0, 0, 0, 0)", (now, now))
                book = now, 0.0, 0, 0
            else:
                self._news.append(self._unheard(book[0], book[1], bool(book[2]), now))
                # Whoever had something to say about these is gone.
                db.execute("UPDATE gaps SET until = max(since, ?) WHERE until IS NULL", (book[0],))
            rows = db.execute("SELECT * FROM kinds").fetchall()
            minute = db.execute("SELECT coalesce(max(minute), 0) FROM marks").fetchone()[0]
            noted = _noted(db)
        except BaseException:
            db.close()
            raise
        self._times_opened += 1
        return _Opened(db, files.identity(self.path), {row[1:]: row[0] for row in rows}, book[3], minute, noted)

    def _unheard(self, as_of: float, rate: float, stopped: bool, now: float) -> Gap:
        """From the last that the file has to where we go on."""
        if self._times_opened:
            return Gap(Cause.REPLACED, as_of, now)
        since = as_of if stopped else as_of - SLACK
        until = max(self._heard_from, since)
        return Gap(Cause.STOPPED if stopped else Cause.KILLED, since, until, guessed(rate, until - since))

    def _check_log(self) -> None:
        name = Path(f"{self.path}-wal")
        if name.exists() and (size := name.stat().st_size) > LONGEST_LOG:
            message = f"has grown to {size >> 20} MiB: somebody holds a transaction open"
            hint = f"find out who reads {self.path} (fuser) and end it; decisions go on, exposures are counted and the gap is stated"
            # Whoever it is may be gone by now: then this empties it.
            assert self._opened is not None
            busy, *_ = self._opened.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StoreError(Problem("exposures.held", str(name), message, hint))

    def _release(self) -> None:
        one, self._opened = self._opened, None
        if one is not None:
            with suppress(sqlite3.Error), closing(one.db):
                pass

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Foreign errors become ours at this one place."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            problem = FILE.explain(self.path, error)
            if FILE.kind_of(problem) == "damaged":
                self._release()
                self._damaged = True
            raise StoreError(problem) from error


def _new_kinds(one: _Opened, lines: Sequence[tuple[Kind, Row]]) -> tuple[dict[Kind, int], dict[Kind, int]]:
    """An id for each kind of a batch that has none yet; and those of them that are worth remembering when it is committed."""
    new: dict[Kind, int] = {}
    remembered: dict[Kind, int] = {}
    for kind in {kind for kind, _ in lines if kind not in one.kinds}:
        kept = kind if len(one.kinds) + len(remembered) < MOST_KINDS else (*kind[:-1], OTHER)
        known = one.kinds.get(kept) or remembered.get(kept)
        if known is None:
            known = one.db.execute(f"INSERT INTO kinds VALUES(NULL, {', '.join('?' * 8)})", kept).lastrowid
            assert known is not None
            remembered[kept] = known
        new[kind] = known
    return new, remembered


def _put(one: _Opened, ids: Mapping[Kind, int], lines: Sequence[tuple[Kind, Row]], now: float) -> tuple[list[int], set[_Key], set[_Key]]:
    """Lines into their tables; the starts of those that have ended (they have the ids after the last), and who is noted as open now, and
    who is not any more."""
    done: list[tuple[Any, ...]] = []
    still_open: list[tuple[Any, ...]] = []
    closed: set[_Key] = set()
    starts: list[int] = []
    for kind, row in lines:
        if ended(row):
            starts.append(row[3])
            done.append((one.last + len(starts), ids[kind], *row))
            closed.add((row[0], kind[0]))
        else:
            still_open.append((row[0], kind[0], ids[kind], *row[1:4], now))
    noted = {(request, rollout) for request, rollout, *_ in still_open}
    gone = closed & noted | closed & one.noted
    _all(one.db, "INSERT OR IGNORE INTO open VALUES {}", still_open)
    _all(one.db, "DELETE FROM open WHERE (request, rollout) IN (VALUES {})", list(gone))
    _all(one.db, "INSERT INTO exposures VALUES {}", done)
    return starts, noted, gone


def _all(db: sqlite3.Connection, said: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """One statement for many rows."""
    for begin in range(0, len(rows), IN_STATEMENT):
        some = rows[begin : begin + IN_STATEMENT]
        row = f"({', '.join('?' * len(some[0]))})"
        db.execute(said.format(", ".join([row] * len(some))), [value for one in some for value in one])


def _noted(db: sqlite3.Connection) -> set[_Key]:
    return set(db.execute("SELECT request, rollout FROM open"))


def _mark(one: _Opened, starts: Sequence[int], now: float) -> None:
    """Where the ids of this minute begin, and how early the requests among them."""
    if starts:
        # A clock that was set back does not make an earlier mark: marks and ids grow together.
        one.minute = max(one.minute, int(now // 60))
        said = "INSERT INTO marks VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET earliest = min(earliest, excluded.earliest)"
        one.db.execute(said, (one.minute, one.last + 1, min(starts)))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    if db.in_transaction:
        # The rollback of a failed one has failed as well.
        db.execute("ROLLBACK")
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise
