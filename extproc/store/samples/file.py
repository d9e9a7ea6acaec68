"""The file of samples as its one writer has it, the judge's process: each call is one transaction, all of it or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.domain import Ending, Preferred, Purpose, Sample, Scored
from extproc.errors import StoreError
from extproc.store.samples.kept import Kept
from extproc.store.samples.rows import COLUMNS, sample_of
from extproc.store.samples.schema import FILE

WAIT: Final = 2.0
"""Seconds to wait for somebody else's transaction (`extproc forget`)."""
CHUNK: Final = 1_000
"""Rows that are removed at once."""


class SampleFile:
    """Used by one thread."""

    def __init__(self, path: Path, kept: Kept) -> None:
        """Raises StoreError."""
        self.path = path
        self._kept = kept
        with self._explained():
            self._db = FILE.connect(path, WAIT)

    def add(self, sample: Sample, now: float) -> None:
        """Write a sample down; one of the same request is left as it is. Raises StoreError."""
        row = (
            *(
                sample.request,
                sample.rollout,
                sample.generation,
                sample.phase,
                sample.cohort,
                sample.arm.value,
                sample.unit,
                sample.durable,
            ),
            *(sample.start, sample.purpose.value, sample.ending, _text(sample.tripwires), _text(sample.turns), sample.answer),
            *(_text(sample.calls), _text(dict(sample.redacted)), now),
        )
        with self._transaction() as db:
            db.execute(f"INSERT OR IGNORE INTO samples VALUES(NULL{', ?' * len(row)})", row)

    def score(self, scored: Scored) -> None:
        """Write a score down, and what it cost. Raises StoreError."""
        row = (
            *(scored.request, scored.rollout, scored.generation, scored.cohort, scored.arm.value, scored.unit, scored.durable),
            *(scored.start, scored.purpose.value, scored.value, scored.again, _text(dict(scored.by_criterion)), scored.reason),
            *(scored.judge, scored.cost_usd, scored.at),
        )
        with self._transaction() as db:
            db.execute(f"INSERT INTO scores VALUES(NULL{', ?' * len(row)})", row)
            _spend(db, scored.rollout, scored.cost_usd)

    def prefer(self, preferred: Preferred, reason: str, judge: str, usd: float, at: float) -> None:
        """Write down which answer of a pair is better, and what it cost to ask. Raises StoreError."""
        one = preferred
        row = one.request, one.rollout, one.generation, one.unit, one.start, one.value, reason, judge, usd, at
        with self._transaction() as db:
            db.execute(f"INSERT INTO preferences VALUES(NULL{', ?' * len(row)})", row)
            _spend(db, one.rollout, usd)

    def unscored(self, since: float) -> list[Sample]:
        """Whole samples for the gate, of durable units, that began after `since` and have no score. Raises StoreError."""
        asked = (
            f"SELECT {COLUMNS} FROM samples s WHERE start > ? AND purpose = ? AND ending = ? AND durable "  # noqa: S608 - names of ours
            "AND NOT EXISTS (SELECT 1 FROM scores c WHERE c.request = s.request) ORDER BY id"
        )
        with self._explained():
            rows = self._db.execute(asked, (since, Purpose.GATE.value, Ending.WHOLE.value)).fetchall()
        return [sample_of(row) for row in rows]

    def spend(self, rollout: str, usd: float) -> None:
        """Write down what a question without an answer has cost. Raises StoreError."""
        with self._transaction() as db:
            _spend(db, rollout, usd)

    def spent(self) -> dict[str, float]:
        """USD by rollout so far. Raises StoreError."""
        with self._explained():
            return dict(self._db.execute("SELECT rollout, usd FROM spent"))

    def stand(self, document: Mapping[str, Any], now: float) -> None:
        """Write down how the judge is doing. Raises StoreError."""
        with self._transaction() as db:
            db.execute("REPLACE INTO standing VALUES(1, ?, ?)", (now, _text(dict(document))))

    def stood(self) -> dict[str, Any]:
        """What was last written down of how the judge is doing; empty where nothing was. Raises StoreError."""
        with self._explained():
            row = self._db.execute("SELECT document FROM standing").fetchone()
        return orjson.loads(row[0]) if row is not None else {}

    def calibration(self, key: str) -> dict[str, Any] | None:
        """What is known of a judge; None where it was another one. Raises StoreError."""
        with self._explained():
            row = self._db.execute("SELECT document FROM calibration WHERE key = ?", (key,)).fetchone()
        return orjson.loads(row[0]) if row is not None else None

    def calibrate(self, key: str, document: Mapping[str, Any]) -> None:
        """Write down what is known of a judge; what was known of another one is gone. Raises StoreError."""
        with self._transaction() as db:
            db.execute("REPLACE INTO calibration VALUES(1, ?, ?)", (key, _text(dict(document))))

    def labels(self) -> list[tuple[int, float]]:
        """(a person's level 1..5, the judge's first score) of answers that have both. Raises StoreError."""
        with self._explained():
            asked = "SELECT l.level, c.value FROM labels l JOIN scores c ON c.request = l.request WHERE NOT c.again"
            return [(level, value) for level, value in self._db.execute(asked)]

    def remove_old(self, now: float) -> int:
        """Remove what is too old or too much, a chunk of it; how many rows. Raises StoreError."""
        page, pages, free = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count", "freelist_count")
        )
        too_much = (pages - free) * page > self._kept.size
        with self._transaction() as db:
            removed = 0
            for table in ("samples", "scores", "preferences"):
                chosen = f"SELECT id FROM {table} WHERE at < ? OR ? ORDER BY id LIMIT {CHUNK}"  # noqa: S608 - names of ours
                said = f"DELETE FROM {table} WHERE id IN ({chosen})"  # noqa: S608
                removed += db.execute(said, (now - self._kept.seconds, too_much and table == "samples")).rowcount
        with self._explained():
            self._db.executescript("PRAGMA incremental_vacuum(2000)")
        return removed

    def close(self) -> None:
        """Give the file back."""
        with suppress(sqlite3.Error):
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Foreign errors become ours at this one place."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(FILE.explain(self.path, error)) from error


def _spend(db: sqlite3.Connection, rollout: str, usd: float) -> None:
    if usd:
        db.execute("INSERT INTO spent VALUES(?, ?) ON CONFLICT DO UPDATE SET usd = usd + excluded.usd", (rollout, usd))


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
