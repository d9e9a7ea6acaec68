"""The log of feedback as the brain reads it: read-only, in order, beside whoever writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from extproc.domain import Feedback
from extproc.errors import StoreError
from extproc.store import files
from extproc.store.feedback.record import AFTER, feedback_of
from extproc.store.feedback.schema import FILE

WAIT: Final = 0.1
"""Seconds to wait for a file that is locked altogether: the brain has other things to do."""


class Cause(StrEnum):
    """Why feedback is missing."""

    REMOVED = "removed"
    """The file was full before it was read."""
    ANEW = "anew"
    """The file was damaged, deleted or replaced, and began anew."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What a reader will never see."""

    cause: Cause
    count: int | None
    """How many; None where nobody can know."""
    resume: int
    """The sequence after which he goes on."""


class FeedbackLog:
    """One reader. Used by one thread; opened when it is first asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._version = -1
        self._upto = -1
        """Nothing was after this sequence, at that version."""

    def after(self, sequence: int, limit: int) -> list[tuple[int, Feedback]]:
        """What follows a sequence, oldest first, at most `limit`. Empty where there is no file yet; raises StoreError.

        Where nothing was written since the last time that this found nothing, it asks SQLite for one number.
        """
        with self._explained():
            db = self._opened()
            if db is None:
                return []
            (version,) = db.execute("PRAGMA data_version").fetchone()
            if version == self._version and sequence == self._upto:
                return []
            lines = [(row[0], feedback_of(row[1:])) for row in db.execute(AFTER, (sequence, limit))]
            self._version, self._upto = (version, sequence) if not lines else (-1, -1)
            return lines

    def gap(self, sequence: int) -> Gap | None:
        """What a reader misses who has read up to a sequence (0: nothing yet); None where nothing is missing. Raises StoreError."""
        with self._explained():
            db = self._opened()
            if db is None:
                return None
            base, last, removed_to = db.execute("SELECT base, last, removed_to FROM book").fetchone()
        if sequence > last or 0 < sequence < base:
            return Gap(Cause.ANEW, None, max(base, removed_to))
        if removed_to > sequence:
            return Gap(Cause.REMOVED, removed_to - max(sequence, base), removed_to)
        return None

    def close(self) -> None:
        """Give back the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _opened(self) -> sqlite3.Connection | None:
        """The file that has the name now."""
        inode = files.identity(self._path)[0]
        if self._db is not None and inode != self._inode:
            self.close()
        if self._db is None and inode is not None:
            db = files.connect(self._path, "ro", WAIT)
            try:
                if not db.execute("PRAGMA user_version").fetchone()[0]:
                    db.close()  # it is being made
                    return None
                FILE.check(db, self._path)
            except BaseException:
                db.close()
                raise
            self._db, self._inode, self._version, self._upto = db, inode, -1, -1
        return self._db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(FILE.explain(self._path, error)) from error
