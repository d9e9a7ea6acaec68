"""The tables of a store, how a writer makes them, and the settings of its connection."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import Final

from extproc.errors import Problem, StoreError

VERSION: Final = 2
LOG_KEPT: Final = 16 << 20
"""Bytes that the log is cut to after it was longer: it grows as long as somebody holds a read transaction open."""
_TABLES: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE specs(digest TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), generation INTEGER NOT NULL, document BLOB NOT NULL) STRICT;
CREATE TABLE evidence(rollout TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE journal(sequence INTEGER PRIMARY KEY, at REAL NOT NULL, rollout TEXT NOT NULL, actor TEXT NOT NULL,
  action TEXT NOT NULL, why TEXT NOT NULL, generation INTEGER NOT NULL, numbers BLOB NOT NULL) STRICT;
CREATE INDEX journal_by_rollout ON journal(rollout, sequence);
"""
_HEARTBEAT: Final = "CREATE TABLE heartbeat(id INTEGER PRIMARY KEY CHECK(id = 1), number INTEGER NOT NULL, blind BLOB NOT NULL) STRICT;"
_LACKS: Final = (_TABLES + _HEARTBEAT, _HEARTBEAT)
"""What a file of version 0 (empty), 1 ... lacks; the writer adds it when it opens the file."""


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make a writer's connection ready, and the tables where there are none."""
    (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        hint = "keep it on a local disk that can do shared memory: SQLite's log needs it"
        raise StoreError(Problem("store.sqlite", str(path), f"cannot be given a log (its journal mode stays {mode})", hint))
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA journal_size_limit={LOG_KEPT}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version < VERSION:
        # `key` is hex of our own making.
        key = f"INSERT INTO meta VALUES('unit_key', x'{secrets.token_bytes(32).hex()}');" if version == 0 else ""
        # One script, one transaction: a kill in between leaves the file as it was and not half a schema.
        db.executescript(f"BEGIN;{_LACKS[version]}{key}PRAGMA user_version={VERSION};COMMIT;")


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError where there are no tables, or those of another version."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        raise StoreError(Problem("store.empty", str(path), "is empty", "the controller fills it when it starts"))
    if version < VERSION:
        message = f"has schema {version}, this version of extproc needs {VERSION}"
        raise StoreError(Problem("store.schema", str(path), message, "the controller of this version brings it up to date"))
    if version > VERSION:
        message = f"has schema {version}, this version of extproc knows {VERSION}"
        raise StoreError(Problem("store.schema", str(path), message, "use the version of extproc that wrote it"))
