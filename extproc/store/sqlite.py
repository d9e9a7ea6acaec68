"""The embedded store: one SQLite file in WAL mode. One process writes, every other one watches read-only.

* The writer holds an exclusive lock on `<file>.writer.lock` as long as it lives: a second controller on the same file is refused at
  start, not discovered later. The kernel gives the lock back when the process dies, however it dies.
* A watcher asks `PRAGMA data_version`, which costs microseconds and changes with every commit of another connection.
* `synchronous=FULL`: what was acknowledged survives a power cut.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from extproc.domain import Action, Heartbeat, JournalEntry, State
from extproc.errors import ConflictError, Problem, StoreError
from extproc.store.base import NOTHING
from extproc.store.codec import decode_state, encode_state

SCHEMA_VERSION = 2
BUSY_TIMEOUT = 2.0
"""Seconds to wait for another connection's transaction; the writer's are milliseconds long."""
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE specs(digest TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), generation INTEGER NOT NULL, document BLOB NOT NULL) STRICT;
CREATE TABLE evidence(rollout TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE journal(sequence INTEGER PRIMARY KEY, at REAL NOT NULL, rollout TEXT NOT NULL, actor TEXT NOT NULL,
  action TEXT NOT NULL, why TEXT NOT NULL, generation INTEGER NOT NULL, numbers BLOB NOT NULL) STRICT;
CREATE INDEX journal_by_rollout ON journal(rollout, sequence);
"""
_HEARTBEAT = "CREATE TABLE heartbeat(id INTEGER PRIMARY KEY CHECK(id = 1), number INTEGER NOT NULL, blind BLOB NOT NULL) STRICT;"
_STEPS = (_SCHEMA + _HEARTBEAT, _HEARTBEAT)
"""What a file of version 0 (empty), 1 ... lacks; the writer adds it when it opens the file."""
_PUBLISH = "INSERT INTO specs VALUES(?, ?) ON CONFLICT DO NOTHING"


class SqliteStore:
    """A store in one file; see `store.base.Store` for what its methods promise."""

    def __init__(self, path: Path, writer: bool) -> None:
        self._path = path
        self._lock: int | None = None
        # A start that fails gives back lock and connection: whoever mends the file can open it in the same process.
        with _explained(path), ExitStack() as undo:
            if writer:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = _lock(path)
                undo.callback(os.close, self._lock)
                # Created by us and not by SQLite: the file holds the key of the units' hashes, and is nobody else's business.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            mode = "rw" if writer else "ro"
            self._db = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={mode}",
                uri=True,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,
            )
            undo.callback(self._db.close)
            if writer:
                self._prepare()
            self._check_schema()
            undo.pop_all()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version >= SCHEMA_VERSION:
            return
        # `key` is hex of our own making.
        key = f"INSERT INTO meta VALUES('unit_key', x'{secrets.token_bytes(32).hex()}');" if version == 0 else ""
        # One script, one transaction: a kill in between leaves the file as it was and not half a schema.
        self._db.executescript(f"BEGIN;{_STEPS[version]}{key}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")

    def _check_schema(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            raise StoreError(Problem("store.empty", str(self._path), "is empty", "the controller fills it when it starts"))
        if version < SCHEMA_VERSION:
            message = f"has schema {version}, this version of extproc needs {SCHEMA_VERSION}"
            raise StoreError(Problem("store.schema", str(self._path), message, "the controller of this version brings it up to date"))
        if version > SCHEMA_VERSION:
            message = f"has schema {version}, this version of extproc knows {SCHEMA_VERSION}"
            raise StoreError(Problem("store.schema", str(self._path), message, "use the version of extproc that wrote it"))

    # ------------------------------------------------------------------------------------------------------------------ Spec
    def publish_spec(self, digest: str, text: str) -> None:
        with self._transaction():
            self._db.execute(_PUBLISH, (digest, text))

    def read_spec(self, digest: str) -> str:
        with _explained(self._path):
            row = self._db.execute("SELECT text FROM specs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise StoreError(Problem("store.no-spec", digest, "no Spec with this digest was published", "start the controller with it"))
        return str(row[0])

    # ----------------------------------------------------------------------------------------------------------------- State
    def read_state(self) -> State | None:
        with _explained(self._path):
            row = self._db.execute("SELECT document FROM state").fetchone()
        return decode_state(row[0]) if row is not None else None

    def commit(
        self,
        state: State,
        expected_generation: int,
        entries: Sequence[JournalEntry],
        evidence: Mapping[str, str],
        specs: Mapping[str, str] = NOTHING,
    ) -> tuple[JournalEntry, ...]:
        with self._transaction():
            row = self._db.execute("SELECT generation FROM state").fetchone()
            found = row[0] if row is not None else 0
            if found != expected_generation:
                message = f"generation is {found}, the decision was made on {expected_generation}"
                raise ConflictError(Problem("store.conflict", str(self._path), message, "read State again and decide anew"))
            self._db.executemany(_PUBLISH, specs.items())
            self._db.execute("REPLACE INTO state VALUES(1, ?, ?)", (state.generation, encode_state(state)))
            last = self._db.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()[0]
            numbered = tuple(replace(entry, sequence=last + place) for place, entry in enumerate(entries, start=1))
            self._db.executemany("INSERT INTO journal VALUES(?, ?, ?, ?, ?, ?, ?, ?)", map(_row, numbered))
            self._db.executemany("REPLACE INTO evidence VALUES(?, ?)", evidence.items())
        return numbered

    # -------------------------------------------------------------------------------------------------- Evidence and Journal
    def save_evidence(self, documents: Mapping[str, str]) -> None:
        with self._transaction():
            self._db.executemany("REPLACE INTO evidence VALUES(?, ?)", documents.items())

    def beat(self, heartbeat: Heartbeat) -> None:
        with self._transaction():
            self._db.execute("REPLACE INTO heartbeat VALUES(1, ?, ?)", (heartbeat.number, orjson.dumps(heartbeat.blind)))

    def read_heartbeat(self) -> Heartbeat | None:
        with _explained(self._path):
            row = self._db.execute("SELECT number, blind FROM heartbeat").fetchone()
        return Heartbeat(row[0], tuple(orjson.loads(row[1]))) if row is not None else None

    def read_evidence(self) -> dict[str, str]:
        with _explained(self._path):
            return dict(self._db.execute("SELECT rollout, document FROM evidence").fetchall())

    def journal(self, rollout: str | None = None, limit: int = 100, before: int | None = None) -> list[JournalEntry]:
        with _explained(self._path):
            rows = self._db.execute(
                "SELECT * FROM journal WHERE (?1 IS NULL OR rollout = ?1) AND (?2 IS NULL OR sequence < ?2)"
                " ORDER BY sequence DESC LIMIT ?3",
                (rollout, before, limit),
            ).fetchall()
        return [_entry(row) for row in rows]

    # ----------------------------------------------------------------------------------------------------------------- others
    def unit_key(self) -> bytes:
        with _explained(self._path):
            return bytes(self._db.execute("SELECT value FROM meta WHERE key = 'unit_key'").fetchone()[0])

    def version(self) -> int:
        with _explained(self._path):
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _row(entry: JournalEntry) -> tuple[object, ...]:
    numbers = orjson.dumps(entry.numbers)
    return entry.sequence, entry.at, entry.rollout, entry.actor, entry.action.value, entry.why, entry.generation, numbers


def _entry(row: tuple[Any, ...]) -> JournalEntry:
    try:
        return JournalEntry(row[0], row[1], row[2], row[3], Action(row[4]), row[5], row[6], orjson.loads(row[7]))
    except ValueError as error:
        hint = "use the version of extproc that wrote it, or restore a backup"
        raise StoreError(Problem("store.journal", f"journal[{row[0]}]", f"cannot be understood: {error}", hint)) from error


def _lock(path: Path) -> int:
    lock = os.open(f"{path}.writer.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        hint = "one controller writes a store: stop the other one, or name another file"
        raise StoreError(Problem("store.locked", str(path), "another process has it open for writing", hint)) from error
    return lock


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Foreign errors become ours at this one place."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        hint = "is the path right, the disk full, the file readable?"
        raise StoreError(Problem("store.sqlite", str(path), str(error), hint)) from error
    except OSError as error:
        raise StoreError(Problem("store.file", str(path), str(error), "is the path right, and is it yours to write?")) from error
