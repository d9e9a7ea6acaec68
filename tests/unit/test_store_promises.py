"""What every kind of store promises: the same tests on the real SQLite file and on a real etcd, with real processes beside them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from extproc.domain import Heartbeat
from extproc.errors import ConflictError, StoreError
from extproc.store import Store, open_store
from tests.support.etcd import Etcd, etcd, until
from tests.support.stored import entry, line, problem, python, state


@dataclass(frozen=True)
class Kind:
    """One kind of store, empty."""

    name: str
    url: Callable[[str], str]
    """Of a store by its name."""
    patience: float
    """Seconds until a watcher must have been told: none at all where the kernel tells."""

    def told(self, true: Callable[[], object]) -> None:
        """Wait until a watcher knows."""
        until(true, self.patience)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with etcd(tmp_path_factory.mktemp("etcd")) as made:
        yield made


@pytest.fixture(params=["sqlite", "etcd"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    if request.param == "sqlite":
        return Kind("sqlite", lambda name: f"sqlite:{tmp_path / name}.db", 0.0)
    server: Etcd = request.getfixturevalue("server")
    return Kind("etcd", lambda name: server.url(f"{tmp_path.name}/{name}", tmp_path), 60.0)


@pytest.fixture
def url(kind: Kind) -> str:
    return kind.url("extproc")


@pytest.fixture
def writer(url: str) -> Iterator[Store]:
    store = open_store(url, writer=True)
    yield store
    store.close()


@pytest.fixture
def reader(url: str, writer: Store) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


# ------------------------------------------------------------------------------------------------------------------- documents
def test_what_was_written_is_read_by_everybody(kind: Kind, writer: Store, reader: Store) -> None:
    """Spec, State, Evidence, Journal: equal to the last bit, in the writer and in a reader."""
    writer.publish_spec("digest", "a: ü\n")
    (numbered,) = writer.commit(state(), 0, [entry(share=0.25, findings=[{"gate": "errors", "margin": None}])], {"new#1": '{"a":1}'})
    writer.save_evidence({"other#1": "{}"})
    kind.told(reader.read_state)
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


def test_many_documents_are_one_commit(writer: Store, reader: Store) -> None:
    """Five hundred rows of Evidence, a hundred entries, a Spec of 3 MB, 7 MB in one, all or nothing; and again in smaller documents."""
    rows = {f"new#1/{number}": f"{number}:" + "x" * 8000 for number in range(500)}
    writer.commit(state(1), 0, [entry(1)] * 100, rows, {"d": "s" * 3_000_000, "flags": "{}"})
    assert reader.read_evidence() == rows
    assert (len(reader.read_spec("d")), reader.read_spec("flags")) == (3_000_000, "{}")
    with pytest.raises(ConflictError):
        writer.commit(state(3), 2, [entry(3)], dict.fromkeys(rows, "lost"), {"e": "lost"}, ["d"])
    assert reader.read_evidence() == rows
    rows = dict.fromkeys(rows, "{}")
    writer.commit(state(2), 1, [entry(2)], rows, {"new": "{}"}, ["d", "new"])
    assert reader.read_evidence() == rows
    assert reader.read_spec("new") == "{}"
    with pytest.raises(StoreError):
        reader.read_spec("d")


def test_a_spec_that_was_never_published_is_a_problem(reader: Store) -> None:
    """Named by its digest."""
    with pytest.raises(StoreError) as caught:
        reader.read_spec("unheard-of")
    assert problem(caught)[0] == "store.no-spec"
    assert caught.value.problems[0].path == "unheard-of"


def test_everything_is_there_after_a_restart(url: str) -> None:
    """Closed, opened again, and it goes on counting."""
    first = open_store(url, writer=True)
    first.publish_spec("d", "text")
    first.commit(state(1), 0, [entry(1)], {"new": "{}"})
    first.close()
    second = open_store(url, writer=True)
    assert second.read_state() == state(1)
    (numbered,) = second.commit(state(2), 1, [entry(2)], {})
    assert numbered.sequence == 2
    assert second.read_spec("d") == "text"
    second.close()


# ---------------------------------------------------------------------------------------------------------------------- commit
def test_a_decision_on_an_old_state_is_a_conflict(kind: Kind, writer: Store, reader: Store) -> None:
    """And leaves nothing: neither State, nor Journal, nor Evidence."""
    writer.commit(state(5), 0, [entry(5)], {"new": "5"})
    for expected in (0, 4, 6):
        with pytest.raises(ConflictError) as caught:
            writer.commit(state(7), expected, [entry(7)], {"new": "7"})
        assert problem(caught) == ("store.conflict", f"generation is 5, the decision was made on {expected}")
    kind.told(reader.read_state)
    assert reader.read_state() == state(5)
    assert [one.generation for one in reader.journal()] == [5]
    assert reader.read_evidence() == {"new": "5"}
    assert writer.health.problem is None


def test_a_commit_is_all_or_nothing(kind: Kind, writer: Store, reader: Store) -> None:
    """An entry that cannot be written takes State, the entries before it and Evidence with it; the next commit goes through."""
    writer.commit(state(1), 0, [entry(1)], {"new": "1"})
    with pytest.raises(TypeError):
        writer.commit(state(2), 1, [entry(2), entry(2, share=object())], {"new": "2"})
    with pytest.raises(StoreError):
        writer.commit(state(2), 1, [entry(2), replace(entry(2), why=None)], {"new": "2"})  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        writer.commit(state(2), 1, [entry(2)], {"new": None})  # type: ignore[dict-item]
    kind.told(reader.read_state)
    assert reader.read_state() == state(1)
    assert [one.sequence for one in reader.journal()] == [1]
    assert reader.read_evidence() == {"new": "1"}
    assert [one.sequence for one in writer.commit(state(2), 1, [entry(2), entry(2)], {"new": "2"})] == [2, 3]


def test_a_watcher_sees_each_commit_by_its_version(kind: Kind, writer: Store, reader: Store) -> None:
    """Every commit of the writer changes the number; without one it stays."""
    for generation in range(1, 6):
        before = reader.version()
        assert reader.version() == before
        writer.commit(state(generation), generation - 1, [entry(generation)], {})
        kind.told(lambda before=before: reader.version() != before)
        assert reader.read_state() == state(generation)


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


def test_a_kill_in_the_middle_of_commits_leaves_a_consistent_store(kind: Kind, url: str) -> None:
    """kill -9 at different moments: no gaps, Journal, Evidence and State are of one generation, nothing acknowledged is lost."""
    for attempt in range(5 if kind.name == "sqlite" else 3):
        process = python(COMMIT, url)
        try:
            assert line(process) == "open"
            for _ in range(3 + attempt):
                acknowledged = int(line(process))
            time.sleep(0.004 * attempt)
            process.send_signal(signal.SIGKILL)
        finally:
            output, _ = process.communicate(timeout=60)
        whole = [int(text) for text in output.splitlines(keepends=True) if text.endswith("\n")]
        acknowledged = max([acknowledged, *whole])
        # A reader comes first: what a dead writer left must be readable before anybody repairs it.
        for store in (open_store(url), open_store(url, writer=True)):
            # What was on its way to etcd when its sender died may still arrive, whole.
            until(lambda store=store: consistent(store), kind.patience)
            found = store.read_state()
            assert found is not None
            assert found.generation >= acknowledged
            store.close()


def consistent(store: Store) -> bool:
    """True where State, Journal and Evidence are of one generation."""
    found = store.read_state()
    assert found is not None
    entries = store.journal(limit=100_000)
    assert [one.sequence for one in entries] == list(range(len(entries), 0, -1))
    generations = [generation for generation in range(found.generation, 0, -1) for _ in range(2)]
    whole = [one.generation for one in entries] == generations and store.read_evidence() == {"new": str(found.generation)}
    return whole and found.rollouts["new"].generation == found.generation


def test_a_watcher_that_was_first_sees_the_writer_come(kind: Kind, url: str) -> None:
    """Routers are started before the controller is back: the version moves with its first commit."""
    store = open_store(url, writer=True)
    store.commit(state(), 0, [entry()], {})
    store.close()
    watcher = open_store(url)
    before = watcher.version()
    again = open_store(url, writer=True)
    again.commit(state(2), 1, [entry(2)], {})
    kind.told(lambda: watcher.version() != before)
    assert watcher.read_state() == state(2)
    again.close()
    watcher.close()


def test_a_reader_of_nothing_is_told_so_and_creates_nothing(url: str) -> None:
    """A store is made by its writer alone."""
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            open_store(url)
        assert problem(caught)[0] in ("store.sqlite", "store.empty")


def test_a_reader_cannot_write(reader: Store) -> None:
    """It is refused, and told so."""
    with pytest.raises(StoreError) as caught:
        reader.commit(state(), 0, [entry()], {})
    assert "readonly" in problem(caught)[1]
    with pytest.raises(StoreError):
        reader.save_evidence({"new": "{}"})
    with pytest.raises(StoreError):
        reader.publish_spec("d", "text")
    with pytest.raises(StoreError):
        reader.beat(Heartbeat(1, ()))


def test_the_key_of_the_units_is_secret_and_stays(kind: Kind) -> None:
    """32 bytes, the same for readers and after restarts, another one in another store."""
    keys = []
    for name in ("one", "two"):
        url = kind.url(name)
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


def test_a_heartbeat_reaches_readers_and_changes_nothing_else(kind: Kind, writer: Store, reader: Store) -> None:
    """The newest one counts; a reader sees by its version that there is another one."""
    assert reader.read_heartbeat() is None
    for heartbeat in (Heartbeat(1, ()), Heartbeat(2, ("new", "other"))):
        before = reader.version()
        writer.beat(heartbeat)
        kind.told(lambda before=before: reader.version() != before)
        assert reader.read_heartbeat() == heartbeat
    assert reader.read_state() is None
