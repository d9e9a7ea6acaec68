"""Disks that are full, files that cannot be written, are locked, deleted, replaced or damaged: nothing moves, it is said, it recovers.

On real files with real processes beside them. Where this machine lets us (root with its privileges, ext4) the disk is a tmpfs filled to
its last byte and the file is immutable; everywhere a limit of the kernel for the size of files stands for the one, and a connection
that was told not to write for the other.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from extproc.cli.picture import picture
from extproc.controller.collector import Collector
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.view import status_document
from extproc.domain import Action, Status
from extproc.errors import StoreError
from extproc.store import Store, backup, open_store
from extproc.store.schema import LOG_KEPT
from extproc.store.sqlite import SqliteStore
from extproc.transport import parse_address
from tests.support.disks import can_make_immutable, can_mount, immutable, limited_files, no_room, small_disk, somebody_else
from tests.unit.test_loop import NAME, World
from tests.unit.test_store import entry, kill, line, python, said, state
from tests.unit.test_watch import Follower

ROOT = Path(__file__).parents[2]
LARGE = "x" * 50_000


def move(store: Store, generation: int, evidence: str = "{}") -> None:
    """One decision, on the one before."""
    store.commit(state(generation), generation - 1, [entry(generation)], {"new": evidence})


def refused(store: Store, generation: int, evidence: str = "{}") -> str:
    """The id of the Problem that the next decision meets; with a hint, counted, and remembered."""
    before = sum(store.health.failures.values())
    with pytest.raises(StoreError) as caught:
        move(store, generation, evidence)
    (problem,) = caught.value.problems
    assert problem.hint
    assert sum(store.health.failures.values()) == before + 1
    assert store.health.problem == problem
    return problem.id


def generations(store: Store) -> tuple[int, list[int]]:
    """Of State, and of the Journal."""
    found = store.read_state()
    return found.generation if found is not None else 0, [one.generation for one in reversed(store.journal())]


def all_well(store: Store, url: str, last: int) -> None:
    """What was acknowledged is there, nothing else is, for this store, for a new reader and after a restart; the Problem is gone."""
    expected = (last, list(range(1, last + 1)))
    assert generations(store) == expected
    assert store.health.problem is None
    reader = open_store(url)
    assert generations(reader) == expected
    reader.close()
    store.close()
    again = open_store(url, writer=True)
    assert generations(again) == expected
    again.close()


# ------------------------------------------------------------------------------------------------------------------------- full
def _really_full(directory: Path) -> AbstractContextManager[None]:
    return no_room(directory)


def _limited(directory: Path) -> AbstractContextManager[None]:
    return limited_files((directory / "x.db-wal").stat().st_size)


@contextmanager
def _mounted() -> Iterator[Path]:
    with small_disk() as directory:
        yield directory


@contextmanager
def _somewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


FULL = {"limit": (_somewhere, _limited)} | ({"disk": (_mounted, _really_full)} if can_mount() else {})


@pytest.mark.parametrize("snapshot", [False, True], ids=["alone", "with a reader's snapshot"])
@pytest.mark.parametrize("way", list(FULL))
def test_a_full_disk_stops_everything_and_nothing_is_lost(way: str, snapshot: bool) -> None:
    """Decisions are refused as often as they are tried, readers read on; as soon as there is room the same store goes on.

    A reader that holds a snapshot keeps the log from beginning again, so that it has to grow.
    """
    place, fill = FULL[way]
    with place() as directory:
        url = f"sqlite:{directory / 'x.db'}"
        store, reader = open_store(url, writer=True), open_store(url)
        for generation in (1, 2, 3):
            move(store, generation)
        with ExitStack() as held:
            if snapshot:
                other = held.enter_context(closing(sqlite3.connect(directory / "x.db", isolation_level=None)))
                other.execute("BEGIN")
                other.execute("SELECT * FROM state").fetchall()
            with fill(directory):
                for _ in range(3):
                    assert refused(store, 4, LARGE) == "store.full"
                    assert generations(reader) == generations(store) == (3, [1, 2, 3])
                with pytest.raises(StoreError):
                    store.save_evidence({"new": LARGE})
                assert store.health.failures == {"full": 4, "read_only": 0, "busy": 0, "damaged": 0, "other": 0}
                assert reader.health.problem is None
            move(store, 4, LARGE)
            assert generations(reader) == (4, [1, 2, 3, 4])
        assert reader.read_evidence() == {"new": LARGE}
        reader.close()
        all_well(store, url, 4)


@pytest.mark.parametrize("way", list(FULL))
def test_a_full_disk_at_the_start(way: str) -> None:
    """Nothing half made stays behind that a later start would trip over."""
    place, _ = FULL[way]
    with place() as directory:
        url = f"sqlite:{directory / 'x.db'}"
        with no_room(directory) if way == "disk" else limited_files(8192), pytest.raises(StoreError) as caught:
            open_store(url, writer=True)
        assert caught.value.problems[0].id == "store.full"
        store = open_store(url, writer=True)
        move(store, 1)
        all_well(store, url, 1)


# -------------------------------------------------------------------------------------------------------------------- read-only
@contextmanager
def _told_not_to_write(store: SqliteStore, directory: Path) -> Iterator[None]:
    store._db.execute("PRAGMA query_only=1")
    yield
    store._db.execute("PRAGMA query_only=0")


def _immutable(store: SqliteStore, directory: Path) -> AbstractContextManager[None]:
    return immutable(*(directory / name for name in ("x.db", "x.db-wal")))


with tempfile.TemporaryDirectory() as _probe:
    READ_ONLY: dict[str, Callable[[SqliteStore, Path], AbstractContextManager[None]]] = {"connection": _told_not_to_write}
    READ_ONLY |= {"immutable": _immutable} if can_make_immutable(Path(_probe)) else {}


@pytest.mark.parametrize("way", list(READ_ONLY))
def test_a_file_that_becomes_read_only(tmp_path: Path, way: str) -> None:
    """While it is open: refused, counted under its own kind, read on; writable again, it goes on."""
    url = f"sqlite:{tmp_path / 'x.db'}"
    store, reader = open_store(url, writer=True), open_store(url)
    assert isinstance(store, SqliteStore)
    move(store, 1)
    with READ_ONLY[way](store, tmp_path):
        for _ in range(2):
            assert refused(store, 2) == "store.read-only"
        assert store.health.failures["read_only"] == 2
        assert generations(reader) == (1, [1])
    move(store, 2)
    assert generations(reader) == (2, [1, 2])
    reader.close()
    all_well(store, url, 2)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_start_on_what_cannot_be_written(what: str) -> None:
    """Refused with the user's number and the command that shows why; nothing is made."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "x.db"
        url = f"sqlite:{path}"
        if what == "file":
            open_store(url, writer=True).close()
            path.chmod(0o444)
            files = {one.name for one in directory.iterdir()}
            (directory / "x.db.writer.lock").chmod(0o666)
        else:
            files = set()
        directory.chmod(0o777 if what == "file" else 0o555)
        with somebody_else(), pytest.raises(StoreError) as caught:
            open_store(url, writer=True)
        directory.chmod(0o755)
        assert {one.name for one in directory.iterdir()} == files
        (problem,) = caught.value.problems
        assert problem.id == "store.read-only"
        assert f"user {65534 if os.geteuid() == 0 else os.geteuid()}" in problem.hint


def test_a_reader_of_a_resting_store_in_a_directory_that_it_may_not_write() -> None:
    """SQLite needs its side files, even to read: it is said, and ends when the controller is there and has made them."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "x.db"
        url = f"sqlite:{path}"
        open_store(url, writer=True).close()
        path.chmod(0o644)
        directory.chmod(0o555)
        with somebody_else(), pytest.raises(StoreError) as caught:
            open_store(url)
        assert caught.value.problems[0].id == "store.read-only"
        directory.chmod(0o755)
        store = open_store(url, writer=True)
        move(store, 1)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").chmod(0o644)
        directory.chmod(0o555)
        with somebody_else():
            reader = open_store(url)
            assert generations(reader) == (1, [1])
            reader.close()
        directory.chmod(0o755)
        store.close()


# ------------------------------------------------------------------------------------------------------------------------- busy
HOLD = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement)
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_somebody_holds_a_transaction_open(tmp_path: Path, lock: str) -> None:
    """In another process: refused, and no loop stands still for it, however often it is tried; readers notice nothing. Then it goes on."""
    path = tmp_path / "x.db"
    url = f"sqlite:{path}"
    store, reader = open_store(url, writer=True), open_store(url)
    move(store, 1)
    other = python(HOLD, str(path), lock, "UPDATE state SET generation = 99")
    try:
        assert line(other) == "held"
        took = []
        for _ in range(50):
            began = time.monotonic()
            assert refused(store, 2) == "store.busy"
            took.append(time.monotonic() - began)
            assert generations(reader) == (1, [1])
        # The first one waits 0.2 s; SQLite's own default would be 5. The machine may be late by itself, but not most times.
        assert sorted(took)[25] < 0.15, took
        assert store.health.failures["busy"] == 50
        assert reader.health.failures["busy"] == 0
    finally:
        kill(other)
    move(store, 2)
    reader.close()
    all_well(store, url, 2)


def test_a_short_transaction_of_somebody_else_is_waited_for(tmp_path: Path) -> None:
    """Less than the writer's patience: no failure is counted, also after one that was longer."""
    path = tmp_path / "x.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert refused(store, 2) == "store.busy"
        other.execute("ROLLBACK")
        move(store, 2)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.05, other.execute, ("ROLLBACK",))
        release.start()
        move(store, 3)
        release.join()
    assert store.health.failures["busy"] == 1
    all_well(store, url, 3)


def test_a_whole_file_that_is_locked_away(tmp_path: Path) -> None:
    """Exclusive locking mode shuts even readers out: they say so at once, and come in when it is over."""
    path = tmp_path / "x.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    store.close()
    other = python(HOLD, str(path), "PRAGMA locking_mode=EXCLUSIVE", "UPDATE state SET generation = generation")
    try:
        assert line(other) == "held"
        for writer in (False, True):
            with pytest.raises(StoreError) as caught:
                open_store(url, writer=writer)
            assert caught.value.problems[0].id == "store.busy"
    finally:
        kill(other)
    all_well(open_store(url, writer=True), url, 1)


def test_the_log_that_a_reader_made_grow_shrinks_again(tmp_path: Path) -> None:
    """A snapshot that somebody holds keeps every page since then in the log; when it ends, the disk is given back."""
    path = tmp_path / "x.db"
    log = Path(f"{path}-wal")
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM state").fetchall()
        for _ in range(12):
            store.save_evidence({"new": "x" * (2 << 20)})
        grown = log.stat().st_size
        assert grown > 20 << 20
    for generation in (2, 3):
        move(store, generation)
    assert log.stat().st_size <= LOG_KEPT
    all_well(store, url, 3)


# ------------------------------------------------------------------------------------------------------------ deleted, replaced
@pytest.mark.parametrize("names", [("",), ("-wal",), ("-shm",), ("-wal", "-shm"), (".writer.lock",), ("", "-wal", "-shm", ".writer.lock")])
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "alone"])
def test_files_deleted_underneath_are_written_again(tmp_path: Path, names: tuple[str, ...], watched: bool) -> None:
    """SQLite itself would go on writing into files that nobody will ever find. Watchers, new readers and a restart find everything."""
    path = tmp_path / "x.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    reader = open_store(url) if watched else None
    key = store.unit_key()
    for suffix in names:
        Path(f"{path}{suffix}").unlink()
    if reader is not None and "" in names:
        with pytest.raises(StoreError) as caught:
            reader.version()
        assert caught.value.problems[0].id == "store.gone"
    move(store, 2)
    move(store, 3)
    if reader is not None:
        assert generations(reader) == (3, [1, 2, 3])
        assert reader.health.problem is None
        before = reader.version()
        move(store, 4)
        assert reader.version() != before
        reader.close()
    with pytest.raises(StoreError) as caught:
        open_store(url, writer=True)
    assert caught.value.problems[0].id == "store.locked"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.unit_key() == key
    all_well(store, url, 4 if watched else 3)
    assert not [one for one in tmp_path.iterdir() if one.name.endswith(".copy")]


def test_a_deleted_file_on_a_disk_that_cannot_take_it_back(tmp_path: Path) -> None:
    """Refused as long as that is so; the open connection still has everything, and then it is written again."""
    path = tmp_path / "x.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1, LARGE)
    path.unlink()
    with limited_files(4096):
        for _ in range(2):
            assert refused(store, 2) == "store.full"
    assert not path.exists()
    move(store, 2, LARGE)
    all_well(store, url, 2)


def test_a_directory_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    """An unmounted volume: refused, not written elsewhere; mounted again, it goes on."""
    directory, away = tmp_path / "store", tmp_path / "away"
    url = f"sqlite:{directory / 'x.db'}"
    store, reader = open_store(url, writer=True), open_store(url)
    move(store, 1)
    directory.rename(away)
    assert refused(store, 2) == "store.file"
    with pytest.raises(StoreError):
        reader.version()
    away.rename(directory)
    move(store, 2)
    assert generations(reader) == (2, [1, 2])
    reader.close()
    all_well(store, url, 2)


def test_another_file_in_its_place_is_not_written(tmp_path: Path) -> None:
    """Neither it nor the one that was moved away; put back, it goes on."""
    path, moved, other = tmp_path / "x.db", tmp_path / "moved.db", tmp_path / "other.db"
    url = f"sqlite:{path}"
    theirs = open_store(f"sqlite:{other}", writer=True)
    move(theirs, 1)
    theirs.close()
    content = other.read_bytes()
    store = open_store(url, writer=True)
    for generation in (1, 2):
        move(store, generation)
    path.rename(moved)
    shutil.copy(other, path)
    for _ in range(2):
        assert refused(store, 3) == "store.replaced"
    assert path.read_bytes() == content
    moved.replace(path)
    move(store, 3)
    all_well(store, url, 3)


# ---------------------------------------------------------------------------------------------------------------------- damaged
def _filled(path: Path, last: int = 40) -> None:
    store = open_store(f"sqlite:{path}", writer=True)
    for generation in range(1, last + 1):
        move(store, generation, LARGE)
    store.close()


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 4096)


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5 * 4096)


def _foreign_log(path: Path) -> None:
    Path(f"{path}-wal").write_bytes(b"this is the log of another program\n" * 100)


def _statement(text: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(text)

    return run


DAMAGE = {
    "overwritten": _overwritten,
    "cut short": _cut_short,
    "foreign log": _foreign_log,
    "journal with a gap": _statement("DELETE FROM journal WHERE sequence = 7"),
    "state of the past": _statement("UPDATE state SET generation = 3"),
    "no state": _statement("DELETE FROM state"),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_file_is_refused_at_the_start(tmp_path: Path, damage: str) -> None:
    """With the way to restore in the hint, and the file as it was; a backup of it is refused as well."""
    path = tmp_path / "x.db"
    _filled(path)
    DAMAGE[damage](path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        open_store(f"sqlite:{path}", writer=True)
    (problem,) = caught.value.problems
    assert problem.id == "store.damaged"
    assert problem.path.startswith(str(path))
    assert "extproc backup sqlite:BACKUP" in problem.hint
    assert path.read_bytes() == before
    if damage != "foreign log":
        with pytest.raises(StoreError):
            backup(f"sqlite:{path}", tmp_path / "copy.db")
        assert not (tmp_path / "copy.db").exists()


# ----------------------------------------------------------------------------------------------------------------------- backup
def extproc(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as people type it."""
    return subprocess.run([sys.executable, "-m", "extproc", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=150)


def test_backups_while_somebody_writes(tmp_path: Path) -> None:
    """Every one is complete as of one moment, private, and one file; the writer notices nothing."""
    path, copy = tmp_path / "x.db", tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    stop = threading.Event()

    def write() -> None:
        generation = 1
        while not stop.is_set():
            generation += 1
            move(store, generation, LARGE)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        seen = [backup(url, copy, force=True) for _ in range(10)]
    finally:
        stop.set()
        writing.join()
    assert seen[-1].generation > seen[0].generation
    assert [one.entries for one in seen] == [one.generation for one in seen]
    assert [one.name for one in copy.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert store.health.failures == dict.fromkeys(store.health.failures, 0)
    key = store.unit_key()
    store.close()
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        assert db.execute("SELECT generation FROM state").fetchone() == (seen[-1].generation,)
    again = open_store(f"sqlite:{copy}", writer=True)
    assert again.unit_key() == key
    again.close()


def test_the_command_makes_and_restores_a_backup(tmp_path: Path) -> None:
    """While a controller writes; what it says is what is in it. Not over another file without --force, never over a store in use."""
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    for generation in (1, 2, 3):
        move(store, generation)
    done = extproc("backup", url, copy)
    assert done.returncode == 0, done.stderr
    assert f"{copy}: generation 3, 3 entries in the Journal, {copy.stat().st_size:,} bytes, verified" in done.stdout
    content = copy.read_bytes()
    done = extproc("backup", url, copy)
    assert (done.returncode, "store.exists" in done.stderr, "--force" in done.stderr) == (1, True, True)
    assert copy.read_bytes() == content
    move(store, 4)
    done = extproc("backup", f"sqlite:{copy}", path, "--force")
    assert (done.returncode, "store.locked" in done.stderr) == (1, True)
    assert generations(store) == (4, [1, 2, 3, 4])
    assert extproc("backup", url, path, "--force").returncode == 1
    assert extproc("backup", f"sqlite:{tmp_path / 'none.db'}", copy, "--force").returncode == 1
    assert copy.read_bytes() == content
    store.close()
    done = extproc("backup", f"sqlite:{copy}", path, "--force")
    assert done.returncode == 0, done.stderr
    all_well(open_store(url, writer=True), url, 3)
    assert {one.name for one in tmp_path.iterdir()} == {"x.db", "x.db.writer.lock", "copy.db"}


KILLED = """
import os, signal, sys
from extproc.store import open_store
from tests.unit.test_loop import NAME, World
from tests.unit.test_store import entry, state
store = open_store(sys.argv[1], writer=True)
for generation in range(2, 30):
    store.commit(state(generation), generation - 1, [entry(generation)], {"new": "x" * 50_000})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_restore_over_a_killed_store_with_watchers(tmp_path: Path) -> None:
    """The log of the old file would be replayed over the new one: the command takes it away. Routers that watch see the change."""
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    backup(url, copy)
    store.close()
    watcher = open_store(url)
    said(python(KILLED, url))
    assert Path(f"{path}-wal").stat().st_size > 0
    assert generations(watcher)[0] == 29
    before = watcher.version()
    backup(f"sqlite:{copy}", path, force=True)
    assert watcher.version() != before
    assert generations(watcher) == (1, [1])
    again = open_store(url, writer=True)
    move(again, 2)
    assert generations(watcher) == (2, [1, 2])
    watcher.close()
    all_well(again, url, 2)


def test_a_plain_copy_over_a_stopped_store_is_a_restore(tmp_path: Path) -> None:
    """stop, cp, start: a controller that was stopped leaves no log that could be replayed, even while routers watch."""
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    url = f"sqlite:{path}"
    store = open_store(url, writer=True)
    move(store, 1)
    backup(url, copy)
    watcher = open_store(url)
    for generation in range(2, 20):
        move(store, generation, LARGE)
    store.close()
    shutil.copyfile(copy, path)
    again = open_store(url, writer=True)
    assert generations(again) == (1, [1])
    move(again, 2)
    assert generations(watcher) == (2, [1, 2])
    watcher.close()
    all_well(again, url, 2)


# ----------------------------------------------------------------------------------------------------------------- the controller
def _locked_away(directory: Path) -> AbstractContextManager[None]:
    @contextmanager
    def held() -> Iterator[None]:
        with closing(sqlite3.connect(directory / "x.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield

    return held()


FAULTS = {"full": _limited, "busy": _locked_away}


@pytest.mark.parametrize("kind", list(FAULTS))
def test_nothing_moves_while_the_store_refuses(tmp_path: Path, kind: str) -> None:
    """People's acts are refused with 503 and the hint, the automation holds, status, picture and metric say why; then all of it goes on
    by itself: the decision that was due is made, and no outcome of the meantime is missing."""
    world = World(tmp_path)
    metrics = ControllerMetrics()
    collector = Collector(parse_address(f"unix:{tmp_path}/c.sock"), lambda *_: None)
    for _ in range(6):
        world.second()
    before, heartbeat = world.loop.state, world.loop.heartbeat
    assert heartbeat.number == 6
    with FAULTS[kind](tmp_path):
        for _ in range(3):
            world.second(canary_errors=1.0)
            assert world.loop.state == before == world.store.read_state()
            with pytest.raises(StoreError) as caught:
                world.loop.act(NAME, Action.PAUSE, "ann", "because", world.now)
            assert caught.value.problems[0].id == f"store.{kind}"
        shown = status_document(world.loop, collector, [], world.now)
        assert shown["store"]["url"] == world.url
        assert shown["store"]["problem"]["id"] == f"store.{kind}"
        assert shown["store"]["failures"][kind] >= 7
        said = metrics.exposition(world.loop, {}).decode()
        assert f'extproc_store_failures_total{{kind="{kind}"}} {shown["store"]["failures"][kind]}.0' in said
        told = _seen(shown)
        assert f"[store.{kind}]" in told
        assert "nothing moves until it can" in told
        assert world.loop.heartbeat == world.store.read_heartbeat() == heartbeat
    world.second(canary_errors=1.0)
    assert world.status is Status.ROLLED_BACK
    assert world.store.read_heartbeat() == replace(heartbeat, number=heartbeat.number + 1)
    assert [one.action for one in world.store.journal(NAME)] == [Action.ROLL_BACK, Action.START, Action.ADOPT]
    shown = status_document(world.loop, collector, [], world.now)
    assert shown["store"]["problem"] is None
    assert "[store." not in _seen(shown)
    arms = world.loop.desks[NAME].evidence.arms
    # Ten seconds less the one before the start and the one of the warm-up.
    assert arms["canary"].requests + arms["stable"].requests == 8 * 200
    world.store.close()


@pytest.mark.parametrize("way", list(FULL))
def test_whoever_cannot_write_does_not_watch(way: str) -> None:
    """A full disk ends the heartbeat although the loop goes on: after the lease a worker sends canary traffic to stable; with room again
    it comes back by itself."""
    place, fill = FULL[way]

    async def work(follower: Follower) -> None:
        following = asyncio.create_task(follower.source.follow(follower.seen.append))
        ticking = asyncio.create_task(_tick(follower))
        await follower.until(exposed=True)
        generation = follower.loop.state.generation
        with fill(directory):
            refused_from = sum(follower.store.health.failures.values())
            await follower.until(exposed=False)
            heartbeat = follower.store.read_heartbeat()
            assert sum(follower.store.health.failures.values()) > refused_from
            assert follower.source.withdrawn == {NAME}
            assert follower.source.failures == 0, "the store can be read all the time"
            await asyncio.sleep(1.0)
            assert follower.store.read_heartbeat() == heartbeat
        await follower.until(exposed=True)
        assert follower.loop.state.generation == generation
        ticking.cancel()
        following.cancel()

    with place() as directory:
        follower = Follower(directory)
        follower.loop.act(NAME, Action.START, "ann", "begin", time.time())
        try:
            asyncio.run(_opened(follower, work))
        finally:
            follower.store.close()


async def _opened(follower: Follower, work: Callable[[Follower], Awaitable[None]]) -> None:
    await follower.source.open()
    await work(follower)


async def _tick(follower: Follower) -> None:
    while True:
        follower.beat()
        await asyncio.sleep(0.25)


def _seen(status: dict[str, Any]) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(picture({**status, "stale": 0.0, "flags": {}, "judge": None, "users": {"feedback": None}}, []))
    return out.getvalue()
