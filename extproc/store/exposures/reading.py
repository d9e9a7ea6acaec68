"""The list of exposures as a reader meets it: while it is written, and when nobody is left to write it.

A page at a time, each in a read of its own, in the order in which the requests ended: memory stays flat, and no reader, however slow,
holds the file's log open. What is distinct (units) and what the asker names (ids) is counted in temporary tables, which SQLite keeps on
disk. Requests that are open come first: they are read together with the newest id, so that none is missed while it ends.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from extproc.errors import Problem, StoreError
from extproc.store import files
from extproc.store.exposures.gaps import Gap
from extproc.store.exposures.record import UNDECIDED, Exposure, Kind, Row, exposure_of, packed_unit, unit_text
from extproc.store.exposures.schema import FILE
from extproc.store.exposures.wanted import Wanted, between, gaps, kinds

PAGE: Final = 2_000
"""Lines that are read at once."""
UNITS_AT_ONCE: Final = 20_000
"""Distinct units that are counted in memory, some 8 MB, before they go into their table."""
WAIT: Final = 1.0
"""Seconds to wait for a file that is locked altogether."""
CACHE: Final = 8 << 10
"""KiB of temporary tables that are kept in memory."""
_TEMPORARY: Final = """
CREATE TEMP TABLE chosen(id INTEGER PRIMARY KEY);
CREATE TEMP TABLE known(unit PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE met(unit PRIMARY KEY, first INTEGER, last INTEGER, requests INTEGER, failed INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE still(place INTEGER PRIMARY KEY, kind, request, unit, durable, start);
"""


@dataclass(slots=True)
class Summary:
    """What was listed, and what could not be."""

    rollout: str = ""
    requests: int = 0
    failed: int = 0
    open: int = 0
    """Their end was not heard of."""
    undecided: int = 0
    """No router decided; a canary's backend answered."""
    transient: int = 0
    """Of units that may never be seen again."""
    units: int = 0
    """Distinct ones."""
    named: int = 0
    """Of these, those that the asker has named."""
    began: float = 0.0
    """When the list begins (Unix seconds)."""
    as_of: float = 0.0
    """Up to when it is complete, gaps apart."""
    rate: float = 0.0
    """Exposures a second, of late."""
    owners: tuple[str, ...] = ()
    """Controllers that wrote it; empty where an earlier version did."""
    next: int | None = None
    """To go on: `after` this line; None where this was all."""
    gaps: list[Gap] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Met:
    """One unit that met the canary."""

    unit: str
    id: str
    first: float
    """Start of its first request (Unix seconds)."""
    last: float
    requests: int
    failed: int


class Listing:
    """One reading. Used by one thread at a time; `close` it."""

    def __init__(self, path: Path, wanted: Wanted, now: float, missing: Sequence[Gap] | None = None) -> None:
        """Raises StoreError where there is no file that can be read. `missing`: the gaps, where somebody else knows them."""
        self._path = path
        self._wanted = wanted
        self._now = now
        self._missing = missing
        self.summary = Summary(wanted.rollout)
        """Complete when `pages` has ended."""
        self._kinds: dict[int, tuple[Kind, int | None]] = {}
        self._named = False
        self._met: dict[int | str, list[int]] = {}
        """First, last, requests, failed of units that are not in their table yet."""
        with self._explained():
            if not path.exists():
                raise StoreError(
                    Problem("exposures.none", str(path), "is not there", "a controller of this version makes it: which --store?")
                )
            self._db = files.connect(path, "ro", WAIT)
            try:
                FILE.check(self._db, path)
                self._db.execute(f"PRAGMA temp.cache_size=-{CACHE}")
                self._db.executescript(_TEMPORARY)
            except BaseException:
                self._db.close()
                raise

    def know(self, units: Iterable[tuple[str, str]]) -> None:
        """(hash, id) of units that the asker can name; before the first page."""
        self._named = True
        with self._explained(), self._together():
            self._db.executemany("INSERT OR IGNORE INTO known VALUES(?, ?)", ((packed_unit(unit), name) for unit, name in units))

    def pages(self) -> Iterator[list[Exposure]]:
        """Lines, a page at a time; raises StoreError."""
        with self._explained():
            first, last = self._begin()
            if not self._wanted.after:
                yield from self._pages(_STILL, 0, sys.maxsize, None)
            self.summary.next = yield from self._pages(_ENDED, max(first, self._wanted.after), last, self._wanted.limit)
            self._end()

    def _pages(self, table: str, place: int, last: int, left: int | None) -> Generator[list[Exposure], None, int | None]:
        """Lines after a place and up to another; returns where the limit cut them off."""
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            with self._together():
                found = self._page(table, place, last, size)
            if not found:
                return None
            place = found[-1][0]
            left = None if left is None else left - len(found)
            yield self._counted(found)
        return place

    def units(self) -> Iterator[list[Met]]:
        """Distinct units of the lines that were read, in the order of their first request."""
        with self._explained():
            found = self._db.execute(
                "SELECT m.unit, coalesce(k.name, ''), m.first, m.last, m.requests, m.failed FROM met m LEFT JOIN known k USING(unit)"
                " ORDER BY m.first"
            )
            while rows := found.fetchmany(PAGE):
                yield [Met(unit_text(unit), name, first / 1e6, last / 1e6, *counts) for unit, name, first, last, *counts in rows]

    def rollouts(self) -> tuple[str, ...]:
        """All that the file knows of."""
        with self._explained():
            return tuple(name for (name,) in self._db.execute("SELECT DISTINCT rollout FROM kinds ORDER BY rollout"))

    def owners(self) -> tuple[str, ...]:
        """Names of the controllers that wrote it; none where an earlier version did."""
        with self._explained():
            if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'owners'").fetchone() is None:
                return ()
            return tuple(name for (name,) in self._db.execute("SELECT name FROM owners ORDER BY name"))

    def close(self) -> None:
        """Give back the file."""
        self._db.close()

    # ---------------------------------------------------------------------------------------------------------------------- pages
    def _begin(self) -> tuple[int, int]:
        """What is looked through: (after this id, up to this id)."""
        wanted = self._wanted
        with self._together():
            self._kinds = {number: (kind, attempt) for number, kind, attempt in kinds(self._db, wanted)}
            self._db.executemany("INSERT INTO chosen VALUES(?)", [(one,) for one in self._kinds])
            self._db.execute(
                "INSERT INTO still SELECT NULL, kind, request, unit, durable, start FROM open WHERE kind IN (SELECT id FROM chosen)"
                " ORDER BY start"
            )
            began, as_of, rate, last = self._db.execute("SELECT began, as_of, rate, last FROM book").fetchone()
            marks = self._db.execute("SELECT minute, first, earliest FROM marks ORDER BY minute").fetchall()
        self.summary.began, self.summary.as_of, self.summary.rate, self.summary.owners = began, as_of, rate, self.owners()
        return between(marks, wanted, last)

    def _page(self, table: str, place: int, last: int, size: int) -> list[tuple[Any, ...]]:
        wanted = self._wanted
        where: list[str] = []
        values: list[float] = [place, last]
        for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
            if bound is not None:
                where.append(f"e.start {sign} ?")
                values.append(round(bound * 1e6))
        where += ["e.failed"] if wanted.failed else []
        where += ["k.name IS NOT NULL"] if wanted.known else []
        conditions = "".join(f" AND {one}" for one in where)
        return self._db.execute(f"{table}{conditions} ORDER BY e.id LIMIT {size}", values).fetchall()

    def _counted(self, found: list[tuple[Any, ...]]) -> list[Exposure]:
        """Lines, and what the summary says of them."""
        summary, lines = self.summary, []
        for _, kind, *columns, name in found:
            row: Row = tuple(columns)
            line = exposure_of(*self._kinds[kind], row, name)
            lines.append(line)
            summary.requests += 1
            summary.failed += line.failed
            summary.open += not line.ended
            summary.undecided += line.reason == UNDECIDED
            if row[1] is not None:
                summary.transient += not line.durable
                self._meet(row[1], row[3], line.failed)
        if len(self._met) >= UNITS_AT_ONCE:
            self._put_met()
        return lines

    def _meet(self, unit: int | str, start: int, failed: bool) -> None:
        known = self._met.get(unit)
        if known is None:
            self._met[unit] = [start, start, 1, failed]
            return
        known[0], known[1] = min(known[0], start), max(known[1], start)
        known[2] += 1
        known[3] += failed

    def _put_met(self) -> None:
        """In the order of the table: in any other one it would be read and written all over, once for each unit."""
        rows = sorted(((unit, *counts) for unit, counts in self._met.items()), key=lambda row: (isinstance(row[0], str), row[0]))
        self._met = {}
        with self._together():
            self._db.executemany(
                "INSERT INTO met VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET first = min(first, excluded.first),"
                " last = max(last, excluded.last), requests = requests + excluded.requests, failed = failed + excluded.failed",
                rows,
            )

    def _end(self) -> None:
        summary = self.summary
        self._put_met()
        with self._together():
            (summary.units,) = self._db.execute("SELECT count(*) FROM met").fetchone()
            if self._named:
                (summary.named,) = self._db.execute("SELECT count(*) FROM met JOIN known USING(unit)").fetchone()
            summary.gaps = gaps(self._db, self._wanted, self._now) if self._missing is None else list(self._missing)

    # ---------------------------------------------------------------------------------------------------------------------- others
    @contextmanager
    def _together(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            if self._db.in_transaction:
                self._db.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(FILE.explain(self._path, error)) from error


_ENDED: Final = (
    "SELECT e.id, e.kind, e.request, e.unit, e.durable, e.start, e.lasted, e.status, e.failed, e.client_aborted, e.throttled,"
    " e.input_tokens, e.cached_tokens, e.output_tokens, e.reasoning_tokens, k.name FROM exposures e LEFT JOIN known k ON k.unit = e.unit"
    " WHERE e.id > ? AND e.id <= ? AND e.kind IN (SELECT id FROM chosen)"
)
_STILL: Final = (
    "SELECT e.place, e.kind, e.request, e.unit, e.durable, e.start, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, k.name"
    " FROM (SELECT place AS id, 0 AS failed, * FROM still) e LEFT JOIN known k ON k.unit = e.unit WHERE e.id > ? AND e.id <= ?"
)
