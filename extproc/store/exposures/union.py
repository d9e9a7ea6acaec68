"""Several lists as one: each is read to its end into a temporary file of the same shape, and that one is listed.

A line that two lists have in full is there once: after a change of leaders senders tell again what was not acknowledged. A request that is
open in one list and has ended in another one has ended. Lines are in the order in which requests began. Memory stays flat, however long
the lists are: the file's own order is what is merged by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from extproc.errors import Problem, StoreError
from extproc.store.exposures.holes import gaps_of_all
from extproc.store.exposures.reading import Listing, Summary
from extproc.store.exposures.record import Exposure, Kind, columns_of
from extproc.store.exposures.schema import FILE, OWNERS
from extproc.store.exposures.wanted import Wanted, concerns

CACHE: Final = 8 << 10
"""KiB of the file that are kept in memory."""
_OPEN: Final = -1
"""Stands for what is not known (no end, no status): what has its place in a key is never NULL."""
_NOBODY: Final = b""
"""Stands for no unit."""
_STAGED: Final = """
CREATE TABLE staged(start INTEGER NOT NULL, request ANY NOT NULL, lasted INTEGER NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL,
  unit ANY NOT NULL, durable, failed, client_aborted, throttled, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
  PRIMARY KEY(start, request, lasted, kind, status, unit)) WITHOUT ROWID;
"""
_PUT: Final = f"INSERT OR IGNORE INTO staged VALUES({', '.join('?' * 14)})"
_IN_ORDER: Final = """
INSERT INTO exposures SELECT NULL, kind, request, nullif(unit, x''), durable, start, nullif(lasted, -1), nullif(status, -1), failed,
  client_aborted, throttled, input_tokens, cached_tokens, output_tokens, reasoning_tokens FROM staged s
  WHERE lasted <> -1 OR NOT EXISTS
    (SELECT 1 FROM staged e WHERE e.start = s.start AND e.request = s.request AND e.unit = s.unit AND e.lasted <> -1)
  ORDER BY start, request, lasted, kind, status, unit
"""


class Part(Protocol):
    """One of the lists. What it has is narrowed to what is wanted already."""

    summary: Summary
    """Complete when `pages` has ended."""

    def pages(self) -> Iterator[list[Exposure]]:
        """Lines, a page at a time."""


class Union:
    """One reading of several lists of one rollout; `close` it."""

    def __init__(self, path: Path) -> None:
        """`path`: of a file that is not there; whoever names it takes it away. Raises StoreError."""
        self._path = path
        self._kinds: dict[Kind, int] = {}
        self._attempts: dict[tuple[str, int], int] = {}
        self.lists: list[Summary] = []
        """Of those that were read to their end."""
        with self._explained():
            # It is nobody's but ours, and worth nothing when we are gone.
            self._db = sqlite3.connect(path, isolation_level=None)
            for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE}", f"user_version={FILE.version}"):
                self._db.execute(f"PRAGMA {setting}")
            self._db.executescript(f"{FILE.tables}{OWNERS};{_STAGED}")

    def add(self, part: Part) -> None:
        """Read one; raises what its pages raise, and keeps those that came before."""
        for page in part.pages():
            with self._explained():
                self._db.execute("BEGIN")
                self._db.executemany(_PUT, [self._staged(line) for line in page])
                self._db.execute("COMMIT")
        self.lists.append(part.summary)

    def listing(self, wanted: Wanted, now: float) -> Listing:
        """All of it, when the last one was added."""
        began = min((one.began for one in self.lists), default=now)
        as_of = max((one.as_of for one in self.lists), default=now)
        until = wanted.until if wanted.until is not None else float("inf")
        gaps = [gap for gap in gaps_of_all(self.lists, now) if concerns(gap, wanted.rollout, wanted.since or 0.0, until)]
        with self._explained():
            self._db.execute("BEGIN")
            self._db.execute(_IN_ORDER)
            self._db.execute("DROP TABLE staged")
            rate = sum(one.rate for one in self.lists)
            said = "INSERT INTO book VALUES(1, ?, ?, ?, 0, (SELECT coalesce(max(id), 0) FROM exposures), 0, 0)"
            self._db.execute(said, (began, as_of, rate))
            self._db.executemany("INSERT INTO attempts VALUES(?, ?, ?, 0)", [(*key, one) for key, one in self._attempts.items()])
            self._db.executemany("INSERT OR IGNORE INTO owners VALUES(?)", [(name,) for one in self.lists for name in one.owners])
            self._db.execute("COMMIT")
        # What was asked for has been looked for in each of them; who is named is for us to say.
        return Listing(self._path, Wanted(wanted.rollout, known=wanted.known), as_of, gaps)

    def close(self) -> None:
        """Give back the file."""
        self._db.close()

    def _staged(self, line: Exposure) -> tuple[Any, ...]:
        kind, row = columns_of(line)
        number = self._kinds.get(kind)
        if number is None:
            number = self._kinds[kind] = len(self._kinds) + 1
            self._db.execute(f"INSERT INTO kinds VALUES({', '.join('?' * 9)})", (number, *kind))
        if line.attempt is not None:
            self._attempts[line.rollout, line.generation] = line.attempt
        request, unit, durable, start, lasted, status, *more = row
        key = start, request, _OPEN if lasted is None else lasted, number, _OPEN if status is None else status
        return *key, _NOBODY if unit is None else unit, durable, *more

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            hint = "make room there, or name another directory in $TMPDIR"
            raise StoreError(Problem("exposures.together", str(self._path), f"lists cannot be put together: {error}", hint)) from error
