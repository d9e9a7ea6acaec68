"""The store's promises, on the real SQLite file, with real processes beside it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from extproc.domain import Action, Heartbeat, JournalEntry, RolloutState, State, Status
from extproc.errors import ConflictError, StoreError
from extproc.store import Store, open_store

ROOT = Path(__file__).parents[2]


def state(generation: int = 1) -> State:
    one = RolloutState(Status.PROGRESSING, 2, 1_700_000_000.25, generation, 1, "because", "print")
    return State(generation, "digest", {"new": one, "other": replace(one, status=Status.PAUSED, why="ada said so")})


def entry(generation: int = 1, rollout: str = "new", **numbers: object) -> JournalEntry:
    return JournalEntry(0, 1_700_000_000.5, rollout, "ada", Action.ADVANCE, "why not", generation, numbers)


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


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process, with a line of its own for each print."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=30)
    return output.strip()


def line(process: subprocess.Popen[str]) -> str:
    stdout: IO[str] | None = process.stdout
    assert stdout is not None
    return stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def problem(caught: pytest.ExceptionInfo[StoreError]) -> tuple[str, str]:
    """Id and hint of the one Problem; a hint there must be."""
    (one,) = caught.value.problems
    assert one.hint
    return one.id, one.message


# ------------------------------------------------------------------------------------------------------------------- documents
def test_what_was_written_is_read_by_everybody(writer: Store, reader: Store) -> None:
    """Spec, State, Evidence, Journal: equal to the last bit, in the writer and in a reader."""
    writer.publish_spec("digest", "a: ü\n")
    (numbered,) = writer.commit(state(), 0, [entry(share=0.25, findings=[{"gate": "errors", "margin": None}])], {"new#1": '{"a":1}'})
    writer.save_evidence({"other#1": "{}"})
    for store in (writer, reader):
        assert store.read_spec("digest") == "a: ü\n"
        assert store.read_state() == state()
        assert store.read_evidence() == {"new#1": '{"a":1}', "other#1": "{}"}
        assert store.journal() == [numbered]
    assert numbered == replace(entry(share=0.25, findings=[{"gate": "errors", "margin": None}]), sequence=1)


def test_a_new_store_is_empty(writer: Store, reader: Store) -> None:
    """No State before the first, and nothing invented."""
    for store in (writer, reader):
        assert store.read_state() is None
        assert store.read_evidence() == {}
        assert store.journal() == []


def test_a_spec_is_immutable(writer: Store) -> None:
    """Publishing again under the same digest changes nothing."""
    writer.publish_spec("d", "first")
    writer.publish_spec("d", "second")
    assert writer.read_spec("d") == "first"


def test_a_spec_that_was_never_published_is_a_problem(reader: Store) -> None:
    """Named by its digest."""
    with pytest.raises(StoreError) as caught:
        reader.read_spec("unheard-of")
    assert problem(caught)[0] == "store.no-spec"
    assert caught.value.problems[0].path == "unheard-of"


def test_everything_is_there_after_a_restart(path: Path) -> None:
    """Closed, opened again, and it goes on counting."""
    first = open_store(f"sqlite:{path}", writer=True)
    first.publish_spec("d", "text")
    first.commit(state(1), 0, [entry(1)], {"new": "{}"})
    first.close()
    second = open_store(f"sqlite:{path}", writer=True)
    assert second.read_state() == state(1)
    (numbered,) = second.commit(state(2), 1, [entry(2)], {})
    assert numbered.sequence == 2
    assert second.read_spec("d") == "text"
    second.close()


# ---------------------------------------------------------------------------------------------------------------------- commit
def test_a_decision_on_an_old_state_is_a_conflict(writer: Store, reader: Store) -> None:
    """And leaves nothing: neither State, nor Journal, nor Evidence."""
    writer.commit(state(5), 0, [entry(5)], {"new": "5"})
    for expected in (0, 4, 6):
        with pytest.raises(ConflictError) as caught:
            writer.commit(state(7), expected, [entry(7)], {"new": "7"})
        assert problem(caught) == ("store.conflict", f"generation is 5, the decision was made on {expected}")
    assert reader.read_state() == state(5)
    assert [one.generation for one in reader.journal()] == [5]
    assert reader.read_evidence() == {"new": "5"}


def test_a_commit_is_all_or_nothing(writer: Store, reader: Store) -> None:
    """An entry that cannot be written takes State, the entries before it and Evidence with it; the next commit goes through."""
    writer.commit(state(1), 0, [entry(1)], {"new": "1"})
    with pytest.raises(TypeError):
        writer.commit(state(2), 1, [entry(2), entry(2, share=object())], {"new": "2"})
    with pytest.raises(StoreError):
        writer.commit(state(2), 1, [entry(2), replace(entry(2), why=None)], {"new": "2"})  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        writer.commit(state(2), 1, [entry(2)], {"new": None})  # type: ignore[dict-item]
    assert reader.read_state() == state(1)
    assert [one.sequence for one in reader.journal()] == [1]
    assert reader.read_evidence() == {"new": "1"}
    assert [one.sequence for one in writer.commit(state(2), 1, [entry(2), entry(2)], {"new": "2"})] == [2, 3]


def test_a_watcher_sees_each_commit_by_its_version(writer: Store, reader: Store) -> None:
    """Every commit of the writer changes the number at once; without one it stays."""
    for generation in range(1, 6):
        before = reader.version()
        assert reader.version() == before
        writer.commit(state(generation), generation - 1, [entry(generation)], {})
        assert reader.version() != before
        found = reader.read_state()
        assert found is not None
        assert found.generation == generation
    before = reader.version()
    writer.save_evidence({"new": "{}"})
    assert reader.version() != before


def test_asking_for_the_version_costs_microseconds(reader: Store) -> None:
    """A watcher asks often: well under a millisecond, even on a busy machine (the fastest of five rounds of 1,000)."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(1000):
            reader.version()
        rounds.append(time.perf_counter() - began)
    assert min(rounds) < 0.2


# --------------------------------------------------------------------------------------------------------------------- Journal
def test_the_journal_is_numbered_without_gaps_and_read_backwards(writer: Store, reader: Store) -> None:
    """Newest first, page by page, of all or of one rollout."""
    for generation in range(1, 11):
        writer.commit(state(generation), generation - 1, [entry(generation, "new"), entry(generation, "other", n=generation)], {})
    assert [one.sequence for one in reader.journal()] == list(range(20, 0, -1))
    assert [one.sequence for one in reader.journal(limit=3)] == [20, 19, 18]
    assert [one.sequence for one in reader.journal(limit=3, before=18)] == [17, 16, 15]
    assert [one.sequence for one in reader.journal("other", limit=2)] == [20, 18]
    assert [one.numbers["n"] for one in reader.journal("other", limit=2, before=18)] == [8, 7]
    assert reader.journal("unheard-of") == []
    assert reader.journal(before=1) == []
    pages, before = [], None
    while page := reader.journal(limit=7, before=before):
        pages += page
        before = page[-1].sequence
    assert pages == reader.journal(limit=1000)


def test_the_journal_shows_a_hundred_unless_told(writer: Store) -> None:
    """A long history does not flood a terminal."""
    writer.commit(state(1), 0, [entry(1)] * 150, {})
    assert len(writer.journal()) == 100


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


COMMIT = """
import sys
from extproc.domain import Action, JournalEntry, RolloutState, State, Status
from extproc.store import open_store
store = open_store(sys.argv[1], writer=True)
found = store.read_state()
generation = found.generation if found else 0
print("open", flush=True)
while True:
    generation += 1
    one = RolloutState(Status.PROGRESSING, 0, 0.0, generation, 1, "why", "print")
    entries = [JournalEntry(0, 0.0, "new", "ada", Action.ADVANCE, "why", generation, {"filling": "x" * 2000})] * 2
    store.commit(State(generation, "digest", {"new": one}), generation - 1, entries, {"new": str(generation)})
    print(generation, flush=True)
"""


def test_a_kill_in_the_middle_of_commits_leaves_a_consistent_store(path: Path) -> None:
    """Five times kill -9 at different moments: no gaps, Journal, Evidence and State are of one generation, nothing acknowledged is lost."""
    url = f"sqlite:{path}"
    for attempt in range(5):
        process = python(COMMIT, url)
        try:
            assert line(process) == "open"
            for _ in range(3 + attempt):
                acknowledged = int(line(process))
            time.sleep(0.004 * attempt)
            process.send_signal(signal.SIGKILL)
        finally:
            output, _ = process.communicate(timeout=30)
        whole = [int(text) for text in output.splitlines(keepends=True) if text.endswith("\n")]
        acknowledged = max([acknowledged, *whole])
        # A reader comes first: what a dead writer left must be readable before anybody repairs it.
        for store in (open_store(url), open_store(url, writer=True)):
            found = store.read_state()
            assert found is not None
            assert found.generation >= acknowledged
            entries = store.journal(limit=100_000)
            assert [one.sequence for one in entries] == list(range(2 * found.generation, 0, -1))
            assert [one.generation for one in entries] == [g for g in range(found.generation, 0, -1) for _ in range(2)]
            assert store.read_evidence() == {"new": str(found.generation)}
            assert found.rollouts["new"].generation == found.generation
            store.close()


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


def test_a_watcher_that_was_first_sees_the_writer_come(path: Path) -> None:
    """Routers are started before the controller is back: the version moves with its first commit."""
    store = open_store(f"sqlite:{path}", writer=True)
    store.commit(state(), 0, [entry()], {})
    store.close()
    watcher = open_store(f"sqlite:{path}")
    before = watcher.version()
    again = open_store(f"sqlite:{path}", writer=True)
    again.commit(state(2), 1, [entry(2)], {})
    assert watcher.version() != before
    assert watcher.read_state() == state(2)
    again.close()
    watcher.close()


def test_a_reader_cannot_write(reader: Store) -> None:
    """SQLite refuses, not our good manners."""
    with pytest.raises(StoreError) as caught:
        reader.commit(state(), 0, [entry()], {})
    assert "readonly" in problem(caught)[1]
    with pytest.raises(StoreError):
        reader.save_evidence({"new": "{}"})
    with pytest.raises(StoreError):
        reader.publish_spec("d", "text")


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


def test_the_key_of_the_units_is_secret_and_stays(tmp_path: Path) -> None:
    """32 bytes, the same for readers and after restarts, another one in another store."""
    keys = []
    for name in ("one.db", "two.db"):
        url = f"sqlite:{tmp_path / name}"
        first = open_store(url, writer=True)
        key = first.unit_key()
        first.close()
        again, reader = open_store(url, writer=True), open_store(url)
        assert key == again.unit_key() == reader.unit_key()
        again.close()
        reader.close()
        keys.append(key)
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


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


def test_a_heartbeat_reaches_readers_and_changes_nothing_else(writer: Store, reader: Store) -> None:
    """The newest one counts; a reader sees by its version that there is another one."""
    assert reader.read_heartbeat() is None
    for heartbeat in (Heartbeat(1, ()), Heartbeat(2, ("new", "other"))):
        before = reader.version()
        writer.beat(heartbeat)
        assert reader.version() != before
        assert reader.read_heartbeat() == heartbeat
    assert reader.read_state() is None


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
