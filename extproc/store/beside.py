"""Files beside the store: exposures, feedback, samples. SQLite too, of one writer each. No decision is in them, and none waits for them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from extproc.errors import Problem, StoreError
from extproc.store import faults, files

LOG_KEPT: Final = 16 << 20
"""Bytes that SQLite's log is cut to after it was longer."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One kind of such a file: its tables, and what is said where one cannot be used."""

    name: str
    """First word of the ids of its Problems."""
    version: int
    tables: str
    """SQL that makes them."""
    settings: tuple[str, ...]
    """PRAGMAs of a writer, besides those of all such files: how durable it is, above all."""
    empty: str
    """Hint where there are no tables yet."""
    hints: Mapping[str, str]
    """By faults.kind_of: the store's own words speak of decisions that wait."""
    goes_on: str
    """What goes on meanwhile; the end of each hint."""

    def connect(self, path: Path, wait: float, rows: str = "") -> sqlite3.Connection:
        """A writer's connection, with its tables, and in a new file with `rows` (SQL). Raises StoreError, sqlite3.Error or OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        files.make(path)
        db = files.connect(path, "rw", wait)
        try:
            # Before the first table: later it would need the whole file to be written anew.
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                hint = "keep it on a local disk that can do shared memory: SQLite's log needs it"
                raise StoreError(Problem(f"{self.name}.log", str(path), f"cannot be given a log (its journal mode stays {mode})", hint))
            for setting in (*self.settings, f"journal_size_limit={LOG_KEPT}"):
                db.execute(f"PRAGMA {setting}")
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                db.executescript(f"BEGIN IMMEDIATE;{self.tables}{rows}PRAGMA user_version={self.version};COMMIT;")
            self.check(db, path)
        except BaseException:
            db.close()
            raise
        return db

    def check(self, db: sqlite3.Connection, path: Path) -> None:
        """Raise StoreError where there are no tables, or those of another version."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            raise StoreError(Problem(f"{self.name}.empty", str(path), "is empty", self.empty))
        if version != self.version:
            message = f"has schema {version}, this version of extproc knows {self.version}"
            hint = "use the version of extproc that wrote it, or move the file away"
            raise StoreError(Problem(f"{self.name}.schema", str(path), message, hint))

    def explain(self, path: Path, error: sqlite3.Error | OSError) -> Problem:
        """A foreign error as ours."""
        problem = faults.explain(path, error)
        hint = self.hints.get(faults.kind_of(problem), problem.hint)
        return replace(problem, id=problem.id.replace("store.", f"{self.name}."), hint=f"{hint}; {self.goes_on}")

    def kind_of(self, problem: Problem) -> str:
        """The metric's label for a Problem of such a file: faults.kind_of."""
        return faults.kind_of(replace(problem, id=problem.id.replace(f"{self.name}.", "store.")))


def set_aside(path: Path, now: float) -> Path:
    """Give a damaged file another name, its log with it; where it went. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{now:.0f}")
    for suffix in files.SIDE_FILES:
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(path, aside)
    return aside
