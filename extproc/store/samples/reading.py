"""The file of samples as others see it: the brain, which wants scores, and people, who want texts. Read only."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.domain import COPY, Arm, Preferred, Rating, Sample, Standing
from extproc.errors import StoreError
from extproc.store import files
from extproc.store.samples.rows import COLUMNS, sample_of
from extproc.store.samples.schema import FILE

WAIT: Final = 0.05
"""Seconds: the brain reads between two requests, and comes again."""
AT_ONCE: Final = 1_000
JUDGE: Final = "judge"
TRIPWIRES: Final = "tripwires"
"""Measures that ratings are of."""
_COLUMNS: Final = "request, rollout, generation, cohort, arm, unit, start"
_SCORES: Final = (
    f"SELECT id, purpose = 'gate' AND durable AND NOT again, {_COLUMNS}, value FROM scores "  # noqa: S608 - names of ours
    "WHERE id > ? AND start > ? ORDER BY id LIMIT ?"
)
_SAMPLES: Final = (
    f"SELECT id, purpose = 'gate' AND durable AND ending = 'whole', {_COLUMNS}, tripwires <> '[]' FROM samples "  # noqa: S608
    "WHERE id > ? AND start > ? ORDER BY id LIMIT ?"
)
_PREFERENCES: Final = "SELECT id, request, rollout, generation, unit, start, value FROM preferences WHERE id > ? ORDER BY id LIMIT ?"


class _Reader:
    """A connection that is opened when there is something to read, and again where another file has the name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._identity: files.Identity = ()

    def close(self) -> None:
        """Give the file back."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _opened(self) -> sqlite3.Connection | None:
        """None where there is no file yet."""
        found = files.identity(self.path)
        if self._db is not None and found[0] != self._identity[0]:
            self.close()
        if self._db is None and found[0] is not None:
            db = files.connect(self.path, "ro", WAIT)
            try:
                FILE.check(db, self.path)
            except BaseException:
                db.close()
                raise
            self._db, self._identity = db, found
        return self._db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(FILE.explain(self.path, error)) from error


class ScoreLog(_Reader):
    """Ratings in the order in which they were written down, from where the last reading ended."""

    def __init__(self, path: Path, since: float) -> None:
        """`since`: of requests that began by then nothing is wanted (Unix seconds)."""
        super().__init__(path)
        self._since = since
        self._scored = self._sampled = self._preferred = 0
        """Ids of the last rows that were read."""
        self._version = -1

    def news(self) -> list[Rating]:
        """What was not read yet, at most AT_ONCE of each kind: scores, and whether a rule finds an answer wrong. Evidence alone: chosen by
        hash, of durable units, the first opinion. Raises StoreError."""
        with self._explained():
            before = self._db
            db = self._opened()
            if db is None:
                return []
            if db is not before:
                self._scored, self._sampled, self._preferred, self._version = 0, 0, 0, -1
            version = db.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return []
            scores = db.execute(_SCORES, (self._scored, self._since, AT_ONCE)).fetchall()
            samples = db.execute(_SAMPLES, (self._sampled, self._since, AT_ONCE)).fetchall()
            if max(len(scores), len(samples)) < AT_ONCE:
                self._version = version
        self._scored = scores[-1][0] if scores else self._scored
        self._sampled = samples[-1][0] if samples else self._sampled
        found = [_rating(JUDGE, row) for row in scores if row[1]]
        return found + [_rating(TRIPWIRES, row) for row in samples if row[1]]

    def preferences(self) -> list[Preferred]:
        """Which answers of pairs are better, as far as it was not read yet; to be asked after `news`. Raises StoreError."""
        with self._explained():
            db = self._opened()
            rows = db.execute(_PREFERENCES, (self._preferred, AT_ONCE)).fetchall() if db is not None else []
        self._preferred = rows[-1][0] if rows else self._preferred
        return [Preferred(*row[1:]) for row in rows]

    def standing(self) -> Standing | None:
        """How the judge was doing when its process last said so; None before it has. Raises StoreError."""
        with self._explained():
            db = self._opened()
            row = db.execute("SELECT at, document FROM standing").fetchone() if db is not None else None
        return Standing(row[0], orjson.loads(row[1])) if row is not None else None


class SampleReader(_Reader):
    """Texts for people."""

    def worst(self, rollout: str, generation: int, arm: Arm, count: int) -> list[tuple[Sample, float, str]]:
        """(sample, score, the judge's reason) of the answers of an arm that scored lowest in a visit. Raises StoreError."""
        asked = (
            f"SELECT {COLUMNS}, c.value, c.reason FROM scores c JOIN samples s ON s.request = c.request "  # noqa: S608
            "WHERE c.rollout = ? AND c.generation = ? AND c.arm = ? AND NOT c.again ORDER BY c.value, c.id LIMIT ?"
        )
        return self._scored(asked, (rollout, generation, arm.value, count))

    def pairs(self, rollout: str, count: int) -> list[tuple[Sample, Sample, float, str]]:
        """(stable's half, the canary's, what is preferred, the judge's reason) of the last shadow, the canary's worst first. Raises
        StoreError."""
        last = "SELECT max(generation) FROM preferences WHERE rollout = ?"
        asked = (
            f"SELECT {COLUMNS}, p.value, p.reason FROM preferences p JOIN samples s ON s.request IN (p.request, p.request || '{COPY}') "  # noqa: S608
            f"WHERE p.rollout = ? AND p.generation = ({last}) ORDER BY p.value, p.id, s.arm = 'canary' LIMIT ?"
        )
        halves = self._scored(asked, (rollout, rollout, 2 * count))
        pairs = zip(halves[::2], halves[1::2], strict=False)
        return [(one, other, value, reason) for (one, value, reason), (other, _, _) in pairs if other.request == one.request + COPY]

    def latest(self, rollout: str, count: int, before: float = math.inf) -> list[tuple[Sample, float | None, str]]:
        """(sample, score, reason) of what began before then, newest first; None where it has no score. Raises StoreError."""
        asked = (
            f"SELECT {COLUMNS}, c.value, coalesce(c.reason, '') FROM samples s "  # noqa: S608
            "LEFT JOIN scores c ON s.request = c.request AND NOT c.again WHERE s.rollout = ? AND s.start < ? ORDER BY s.id DESC LIMIT ?"
        )
        return self._scored(asked, (rollout, before, count))

    def _scored(self, asked: str, values: Sequence[Any]) -> list[tuple[Sample, Any, str]]:
        with self._explained():
            db = self._opened()
            rows = db.execute(asked, values).fetchall() if db is not None else []
        return [(sample_of(row), row[-2], row[-1]) for row in rows]


def _rating(measure: str, row: Sequence[Any]) -> Rating:
    _, _, request, rollout, generation, cohort, arm, unit, start, value = row
    return Rating(measure, request, rollout, generation, cohort, Arm(arm), unit, start, float(value))
