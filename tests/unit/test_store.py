"""The store's promises, on the real SQLite file, with real processes beside it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.errors import StoreError
from extproc.store import Store, open_store
from tests.support.stored import entry, kill, line, problem, python, said, state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "extproc.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:{path}", writer=True)
    yield store
    store.close()


@pytest.fixture
def reader(path: Path, writer: Store) -> Iterator[Store]:
    store = open_store(f"sqlite:{path}")
    yield store
    store.close()


# ---------------------------------------------------------------------------------------------------------- processes and locks
OPEN = """
import sys, time
from extproc.store import open_store
store = open_store(sys.argv[1], writer=True)
print("open", flush=True)
time.sleep(60)
"""
TRY = """
import sys
from extproc.errors import StoreError
from extproc.store import open_store
try:
    store = open_store(sys.argv[1], writer=sys.argv[2] == "writer")
except StoreError as error:
    print(error.problems[0].id, "|", error.problems[0].hint)
else:
    print("open", store.read_state())
    store.close()
"""


def test_a_second_writer_is_refused(path: Path, writer: Store) -> None:
    """From another process and from this one, at start and with the way out; readers are welcome."""
    url = f"sqlite:{path}"
    hint = "one controller writes a store: stop the other one, or name another file"
    assert said(python(TRY, url, "writer")) == f"store.locked | {hint}"
    with pytest.raises(StoreError) as caught:
        open_store(url, writer=True)
    assert problem(caught)[0] == "store.locked"
    assert said(python(TRY, url, "reader")) == "open None"
    writer.commit(state(), 0, [entry()], {})


def test_the_lock_is_free_after_a_kill(path: Path) -> None:
    """The kernel gives it back, however the process died."""
    other = python(OPEN, f"sqlite:{path}")
    try:
        assert line(other) == "open"
        with pytest.raises(StoreError):
            open_store(f"sqlite:{path}", writer=True)
    finally:
        kill(other)
    store = open_store(f"sqlite:{path}", writer=True)
    store.commit(state(), 0, [entry()], {})
    store.close()


def test_the_lock_is_free_after_closing(path: Path, writer: Store) -> None:
    """And a reader may be left open meanwhile."""
    reader = open_store(f"sqlite:{path}")
    writer.close()
    again = open_store(f"sqlite:{path}", writer=True)
    again.commit(state(), 0, [entry()], {})
    assert reader.read_state() == state()
    again.close()
    reader.close()


def test_the_lock_is_free_after_a_failed_start(path: Path) -> None:
    """A file that cannot be opened does not stay locked once it has been mended."""
    path.mkdir()
    with pytest.raises(StoreError):
        open_store(f"sqlite:{path}", writer=True)
    path.rmdir()
    open_store(f"sqlite:{path}", writer=True).close()
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(StoreError):
        open_store(f"sqlite:{path}", writer=True)
    path.unlink()
    open_store(f"sqlite:{path}", writer=True).close()


# ----------------------------------------------------------------------------------------------------------------------- files
def test_a_reader_creates_nothing(tmp_path: Path) -> None:
    """Neither the file nor its directory: a store is created by its writer alone."""
    for path in (tmp_path / "none.db", tmp_path / "no" / "such" / "directory.db"):
        assert said(python(TRY, f"sqlite:{path}", "reader")).startswith("store.sqlite | ")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_a_resting_store_disturbs_nobody(path: Path) -> None:
    """The controller is down: what it wrote is readable. SQLite's own side files may lie there afterwards, as private as the rest, and
    the next writer goes on."""
    store = open_store(f"sqlite:{path}", writer=True)
    store.commit(state(), 0, [entry()], {})
    store.close()
    before = {one.name for one in path.parent.iterdir()}
    assert said(python(TRY, f"sqlite:{path}", "reader")).startswith("open State(generation=1")
    new = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir() if one.name not in before}
    assert new.items() <= {"extproc.db-shm": 0o600, "extproc.db-wal": 0o600}.items()
    again = open_store(f"sqlite:{path}", writer=True)
    again.commit(state(2), 1, [entry(2)], {})
    again.close()


def test_the_files_are_nobody_elses_business(path: Path) -> None:
    """0600 for the file, its log, its shared memory and its lock, under whatever umask: it holds the key of the units' hashes."""
    before = os.umask(0)
    try:
        store = open_store(f"sqlite:{path}", writer=True)
        store.commit(state(), 0, [entry()], {})
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    names = ("extproc.db", "extproc.db-shm", "extproc.db-wal", "extproc.db.writer.lock")
    assert modes == dict.fromkeys(names, 0o600)


def test_directories_are_made_for_a_writer(tmp_path: Path) -> None:
    """A first start needs no preparation; odd characters in the path mean themselves."""
    path = tmp_path / "a b" / "c?d#e%20" / "x.db"
    store = open_store(f"sqlite:{path}", writer=True)
    assert path.is_file()
    reader = open_store(f"sqlite:{path}")
    assert reader.unit_key() == store.unit_key()
    reader.close()
    store.close()


# -------------------------------------------------------------------------------------------------------------- what can be wrong
@pytest.mark.parametrize("url", ["", "sqlite", "sqlite:", "/var/lib/x.db", "etcd:localhost", "SQLITE:/x.db"])
def test_a_url_that_names_no_store(url: str) -> None:
    """With an example of one that does."""
    with pytest.raises(StoreError) as caught:
        open_store(url, writer=True)
    assert problem(caught) == ("store.url", "names no store")
    assert "sqlite:/var/lib/extproc/extproc.db" in caught.value.problems[0].hint


@pytest.mark.parametrize("writer", [True, False])
def test_a_store_of_another_version_is_left_alone(path: Path, writer: bool) -> None:
    """Neither migrated nor damaged by guessing."""
    open_store(f"sqlite:{path}", writer=True).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=3")
    db.close()
    with pytest.raises(StoreError) as caught:
        open_store(f"sqlite:{path}", writer=writer)
    assert problem(caught) == ("store.schema", "has schema 3, this version of extproc knows 2")


def test_a_store_without_heartbeat_is_brought_up_to_date_by_its_writer(path: Path) -> None:
    """Schema 1: a reader waits, the writer adds what is missing, and what was there stays."""
    store = open_store(f"sqlite:{path}", writer=True)
    store.commit(state(), 0, [entry()], {})
    key = store.unit_key()
    store.close()
    with sqlite3.connect(path) as db:
        db.executescript("DROP TABLE heartbeat; PRAGMA user_version=1;")
    db.close()
    with pytest.raises(StoreError) as caught:
        open_store(f"sqlite:{path}")
    assert problem(caught) == ("store.schema", "has schema 1, this version of extproc needs 2")
    store = open_store(f"sqlite:{path}", writer=True)
    try:
        assert (store.read_state(), store.unit_key(), len(store.journal()), store.read_heartbeat()) == (state(), key, 1, None)
    finally:
        store.close()


@pytest.mark.parametrize("writer", [True, False])
def test_a_file_that_is_no_database(path: Path, writer: bool) -> None:
    """A Problem with the path, not a stack trace; the file is not touched."""
    path.write_bytes(b"models: [this is a Spec]\n" * 500)
    with pytest.raises(StoreError) as caught:
        open_store(f"sqlite:{path}", writer=writer)
    assert problem(caught) == ("store.damaged", "file is not a database")
    assert caught.value.problems[0].path == str(path)
    assert path.read_bytes() == b"models: [this is a Spec]\n" * 500


def test_an_empty_file_is_no_store_for_a_reader(path: Path) -> None:
    """The controller was killed before it wrote anything, or has not started yet; the next start fills it."""
    path.touch()
    with pytest.raises(StoreError) as caught:
        open_store(f"sqlite:{path}")
    assert problem(caught) == ("store.empty", "is empty")
    writer = open_store(f"sqlite:{path}", writer=True)
    assert writer.read_state() is None
    writer.close()


def test_damage_inside_the_file_is_a_problem(path: Path) -> None:
    """Pages overwritten with rubbish: reading says so, with a hint, and invents nothing."""
    store = open_store(f"sqlite:{path}", writer=True)
    for generation in range(1, 60):
        store.commit(state(generation), generation - 1, [entry(generation, filling="x" * 2000)], {"new": "x" * 5000})
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    reader = open_store(f"sqlite:{path}")
    for read in (reader.read_state, reader.journal, reader.read_evidence, reader.unit_key):
        with pytest.raises(StoreError) as caught:
            read()
        assert problem(caught)[0] == "store.damaged"
    assert reader.health.failures["damaged"] == 4
    reader.close()
    with pytest.raises(StoreError) as caught:
        open_store(f"sqlite:{path}", writer=True)
    assert problem(caught)[0] == "store.damaged"
    assert "extproc backup sqlite:BACKUP" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", "nonsense", '{"generation":1,"spec_digest":"d","rollouts":{"new":{"status":"unheard-of"}}}']
)
def test_a_state_that_cannot_be_understood_is_a_problem(path: Path, writer: Store, reader: Store, document: str) -> None:
    """Written by somebody else: it is never half read."""
    with sqlite3.connect(path) as db:
        db.execute("REPLACE INTO state VALUES(1, 1, ?)", (document.encode(),))
    db.close()
    with pytest.raises(StoreError) as caught:
        reader.read_state()
    assert problem(caught)[0] == "store.state"


@pytest.mark.parametrize(("column", "value"), [("action", "unheard-of"), ("numbers", b"{")])
def test_a_journal_line_that_cannot_be_understood_is_a_problem(path: Path, writer: Store, column: str, value: object) -> None:
    """Not a stack trace of another library."""
    writer.commit(state(), 0, [entry()], {})
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE journal SET {column} = ?", (value,))
    db.close()
    with pytest.raises(StoreError) as caught:
        writer.journal()
    assert problem(caught)[0] == "store.journal"


def test_a_watcher_of_a_file_is_told_of_everything_that_is_written(writer: Store, reader: Store) -> None:
    """Of Evidence too, at once."""
    before = reader.version()
    writer.save_evidence({"new": "{}"})
    assert reader.version() != before
