"""The embedded store: one SQLite file in WAL mode. One process writes, every other one watches read-only.

* The writer holds an exclusive lock on `<file>.writer.lock` as long as it lives: a second controller on the same file is refused at
  start, not discovered later. It verifies the whole file when it opens it, and does not start on a damaged one.
* A watcher asks `PRAGMA data_version`, which costs microseconds and changes with every commit of another connection.
* `synchronous=FULL`: what was acknowledged survives a power cut.
* Whoever calls us shares its event loop with work that must not wait: nobody here waits long for a lock. What fails has changed
  nothing, is counted, and can be tried again on the same object as soon as its cause is gone.
* Before each use the file is compared with the one that was opened. A watcher opens the new one. A writer whose file, log or shared
  memory was deleted puts all of it back from its open connection; where another file has taken the place, it refuses to write.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.domain import Action, Heartbeat, JournalEntry, State
from extproc.errors import ConflictError, Problem, StoreError
from extproc.store import faults, files, schema
from extproc.store.base import NOTHING, Health
from extproc.store.codec import decode_state, encode_state

WRITER_TIMEOUT: Final = 0.2
"""Seconds that the writer waits for another connection's transaction, once; until the next success it does not wait at all. A fifth of
a tick, so that the evaluate loop and the collector beside it stay punctual; a transaction typed into a shell and ended lasts less."""
READER_TIMEOUT: Final = 0.005
"""Seconds that a watcher waits. It is blocked by next to nothing: not by writers (WAL), only by recovery after a crash, by a change
of the journal mode, and by somebody's exclusive locking mode. A worker's loop stands still meanwhile, and looks again anyway."""
_PUBLISH = "INSERT INTO specs VALUES(?, ?) ON CONFLICT DO NOTHING"

log = logging.getLogger(__name__)


class SqliteStore:
    """A store in one file; see `store.base.Store` for what its methods promise."""

    def __init__(self, path: Path, writer: bool) -> None:
        self.url = f"sqlite:{path}"
        self._path = path
        self._writer = writer
        self._lock: int | None = None
        self._files: files.Identity | None = None
        """The files that are open; None while none are."""
        self._opened = 0
        """How often they were."""
        self._impatient = False
        self._copy: Path | None = None
        """The whole store under another name, on its way back to its own."""
        self.health = Health()
        # A start that fails gives back lock and connection: whoever mends the file can open it in the same process.
        with self._explained(), ExitStack() as undo:
            undo.callback(self._release)
            if writer:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = files.lock(path)
                files.make(path)
            self._open()
            undo.pop_all()

    def _open(self) -> None:
        """Connect to what has the name now."""
        if self._writer:
            files.check_log(self._path)
            self._release_from_watchers()
        database, *_ = files.identity(self._path)
        with ExitStack() as undo:
            db = files.connect(self._path, "rw" if self._writer else "ro", WRITER_TIMEOUT if self._writer else READER_TIMEOUT)
            undo.callback(db.close)
            if self._writer:
                schema.prepare(db, self._path)
            schema.check(db, self._path)
            if self._writer:
                files.verify(db, self._path)
            undo.pop_all()
        self._db = db
        self._files = (database, *files.identity(self._path)[1:])
        self._opened += 1

    def _release_from_watchers(self) -> None:
        """A backup that was copied into the place of the old file (`cp`) has no log, and cannot be given one while watchers of the old
        one hold its inode: it gets another inode, and they follow."""
        with closing(files.connect(self._path, "rw", WRITER_TIMEOUT)) as db:
            if not db.execute("PRAGMA user_version").fetchone()[0] or db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
            copy = files.copy_beside(db, self._path)
        files.put_in_place(copy, self._path)

    # ------------------------------------------------------------------------------------------------------------------ Spec
    def publish_spec(self, digest: str, text: str) -> None:
        with self._transaction():
            self._db.execute(_PUBLISH, (digest, text))

    def read_spec(self, digest: str) -> str:
        with self._reading():
            row = self._db.execute("SELECT text FROM specs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise StoreError(Problem("store.no-spec", digest, "no Spec with this digest was published", "start the controller with it"))
        return str(row[0])

    # ----------------------------------------------------------------------------------------------------------------- State
    def read_state(self) -> State | None:
        with self._reading():
            row = self._db.execute("SELECT document FROM state").fetchone()
        return decode_state(row[0]) if row is not None else None

    def commit(
        self,
        state: State,
        expected_generation: int,
        entries: Sequence[JournalEntry],
        evidence: Mapping[str, str],
        specs: Mapping[str, str] = NOTHING,
        forgotten: Sequence[str] = (),
    ) -> tuple[JournalEntry, ...]:
        with self._transaction():
            row = self._db.execute("SELECT generation FROM state").fetchone()
            found = row[0] if row is not None else 0
            if found != expected_generation:
                message = f"generation is {found}, the decision was made on {expected_generation}"
                raise ConflictError(Problem("store.conflict", str(self._path), message, "read State again and decide anew"))
            self._db.executemany("DELETE FROM specs WHERE digest = ?", [(digest,) for digest in forgotten])
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
        with self._reading():
            row = self._db.execute("SELECT number, blind FROM heartbeat").fetchone()
        return Heartbeat(row[0], tuple(orjson.loads(row[1]))) if row is not None else None

    def read_evidence(self) -> dict[str, str]:
        with self._reading():
            return dict(self._db.execute("SELECT rollout, document FROM evidence").fetchall())

    def journal(self, rollout: str | None = None, limit: int = 100, before: int | None = None) -> list[JournalEntry]:
        with self._reading():
            rows = self._db.execute(
                "SELECT * FROM journal WHERE (?1 IS NULL OR rollout = ?1) AND (?2 IS NULL OR sequence < ?2)"
                " ORDER BY sequence DESC LIMIT ?3",
                (rollout, before, limit),
            ).fetchall()
        return [_entry(row) for row in rows]

    # ----------------------------------------------------------------------------------------------------------------- others
    def unit_key(self) -> bytes:
        with self._reading():
            return bytes(self._db.execute("SELECT value FROM meta WHERE key = 'unit_key'").fetchone()[0])

    def version(self) -> int:
        with self._reading():
            # The number starts again with each connection.
            return (self._opened << 32) + int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        if self._writer and self._files == files.identity(self._path):
            # What lies in the log goes into the file, so that whoever copies the file alone has everything, and puts back a file
            # that no log is replayed over. With a reader in the middle of something it stays undone, and nothing is lost.
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._release()

    def _release(self) -> None:
        if self._files is not None:
            self._files = None
            self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ------------------------------------------------------------------------------------------------------- files and failures
    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            if self._writer:
                self._writable()
            if self._db.in_transaction:
                # The rollback of a failed one has failed as well.
                self._db.execute("ROLLBACK")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                raise
        self._well()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._explained():
            if not self._writer:
                self._readable()
            yield
        if not self._writer:
            self._well()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Foreign errors become ours at this one place, and are counted."""
        try:
            yield
        except ConflictError:
            raise
        except StoreError as error:
            self._failed(error.problems[0])
            raise
        except (sqlite3.Error, OSError) as error:
            problem = faults.explain(self._path, error)
            self._failed(problem)
            raise StoreError(problem) from error

    def _failed(self, problem: Problem) -> None:
        kind = faults.kind_of(problem)
        self.health.failures[kind] += 1
        self.health.problem = problem
        if kind == "busy" and not self._impatient and self._files is not None:
            self._wait_at_most(0.0)

    def _well(self) -> None:
        self.health.problem = None
        if self._impatient:
            self._wait_at_most(WRITER_TIMEOUT if self._writer else READER_TIMEOUT)

    def _wait_at_most(self, seconds: float) -> None:
        self._impatient = not seconds
        self._db.execute(f"PRAGMA busy_timeout={seconds * 1000:.0f}")

    def _readable(self) -> None:
        """Follow the name: to whatever file has it now."""
        found = files.identity(self._path)
        if found == self._files:
            return
        if found[0] is None:
            raise StoreError(faults.gone(self._path))
        old = self._db
        self._open()
        old.close()

    def _writable(self) -> None:
        """Make sure that what we write is what others will find."""
        if self._lock is not None and not files.holds(self._path, self._lock):
            old, self._lock = self._lock, files.lock(self._path)
            os.close(old)
        if self._files is not None and self._copy is None:
            found = files.identity(self._path)
            if found == self._files:
                return
            if found[0] is not None and found[0] != self._files[0]:
                raise StoreError(faults.replaced(self._path))
            self._copy = files.copy_beside(self._db, self._path)
            log.warning("%s or a file beside it was deleted underneath us; all of it is written again", self._path)
            # Before the copy gets its name: the last connection to a file deletes the log of that name, whosoever's it is.
            self._files = None
            self._db.close()
        if self._copy is not None:
            files.put_in_place(self._copy, self._path)
            self._copy = None
        self._open()


def _row(entry: JournalEntry) -> tuple[object, ...]:
    numbers = orjson.dumps(entry.numbers)
    return entry.sequence, entry.at, entry.rollout, entry.actor, entry.action.value, entry.why, entry.generation, numbers


def _entry(row: tuple[Any, ...]) -> JournalEntry:
    try:
        return JournalEntry(row[0], row[1], row[2], row[3], Action(row[4]), row[5], row[6], orjson.loads(row[7]))
    except ValueError as error:
        hint = "use the version of extproc that wrote it, or restore a backup"
        raise StoreError(Problem("store.journal", f"journal[{row[0]}]", f"cannot be understood: {error}", hint)) from error
