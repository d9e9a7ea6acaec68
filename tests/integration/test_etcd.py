"""A store of many machines, on real etcd servers: who may write, what is seen, and what becomes of both when something is killed or cut."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from extproc import contract
from extproc.cli.doctor.storefile import look_at_store
from extproc.controller.loop import Loop
from extproc.domain import Action, Heartbeat
from extproc.errors import ConflictError, StoreError
from extproc.store import SharedStore, open_shared
from extproc.store.etcd import store as etcd_store
from tests.integration.test_reload import NEW, OLD, ROLLOUT, TEXT, started
from tests.integration.test_router import cluster, decide, llm_request
from tests.support import certificates
from tests.support.etcd import Etcd, Way, etcd, until
from tests.support.stored import entry, line, problem, python, state


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with etcd(tmp_path_factory.mktemp("etcd")) as made:
        yield made


@pytest.fixture
def url(server: Etcd, tmp_path: Path) -> str:
    return server.url(tmp_path.name, tmp_path)


@pytest.fixture
def stores() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def opened(stores: ExitStack, url: str, writer: bool = True) -> SharedStore:
    """A store that is closed with the test."""
    return stores.enter_context(closing(open_shared(url, writer)))


def refused(store: SharedStore, generation: int = 0) -> str:
    """The id of the Problem that a heartbeat and the next decision meet."""
    with pytest.raises(StoreError) as caught:
        store.commit(state(generation + 1), generation, [entry(generation + 1)], {"new": "{}"})
    with pytest.raises(StoreError) as beaten:
        store.beat(Heartbeat(9, ()))
    assert problem(caught)[0] == problem(beaten)[0]
    return problem(caught)[0]


# -------------------------------------------------------------------------------------------------------------------- leadership
def test_one_leads_and_the_others_wait_for_their_turn(url: str, stores: ExitStack) -> None:
    """Everybody knows who; a leader that resigns is replaced at once; who has not been elected writes nothing."""
    one, two, outsider = (opened(stores, url) for _ in range(3))
    outsider.beat(Heartbeat(1, ()))
    # A lease that a busy machine does not lose by being late.
    first, second = one.leadership("one", ttl=60.0), two.leadership("two", ttl=60.0)
    assert (first.held(), first.leader()) == (False, None)
    assert refused(one) == "store.not-leader"
    assert first.campaign(30.0)
    assert first.campaign(0.0), "again is no harm"
    assert not second.campaign(0.2)
    until(lambda: (first.leader(), second.leader()) == ("one", "one"))
    one.commit(state(1), 0, [entry(1)], {})
    assert refused(two, 1) == "store.not-leader"
    assert refused(outsider, 1) == "store.not-leader", "a controller that knows of no election stays out of it"
    first.resign()
    assert second.campaign(30.0)
    assert (first.held(), second.held()) == (False, True)
    assert refused(one, 1) == "store.not-leader"
    two.commit(state(2), 1, [entry(2)], {})
    until(lambda: first.leader() == "two")


LEADER = """
import sys
from extproc.domain import Heartbeat
from extproc.errors import StoreError
from extproc.store import open_shared
store = open_shared(sys.argv[1], writer=True)
leadership = store.leadership("frozen", ttl=2.0)
assert leadership.campaign(30.0)
print("leads", flush=True)
sys.stdin.readline()
held = leadership.held()
try:
    store.beat(Heartbeat(7, ()))
except StoreError as error:
    print(held, error.problems[0].id, leadership.held(), flush=True)
else:
    print("written", flush=True)
"""


def test_a_leader_that_was_frozen_is_fenced(url: str, stores: ExitStack) -> None:
    """SIGSTOP: another one leads after the lease. SIGCONT: the old one knows by its own clock that it is late, and its write fails."""
    store = opened(stores, url)
    leadership = store.leadership("other", ttl=60.0)
    process = python(LEADER, url)
    try:
        assert line(process) == "leads"
        process.send_signal(signal.SIGSTOP)
        assert leadership.campaign(60.0)
        store.beat(Heartbeat(8, ()))
        # The line waits for it: the first thing that it does when it is thawed is to write.
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        assert line(process) == "False store.not-leader False"
        assert store.read_heartbeat() == Heartbeat(8, ())
        assert leadership.held()
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate(timeout=30)


def test_a_lease_that_was_taken_away_fences_at_once(server: Etcd, url: str, stores: ExitStack) -> None:
    """Whatever our clock says: the key is gone, so the next write fails, and a new campaign wins another time. One that was merely late
    is renewed where etcd still has it."""
    store = opened(stores, url)
    leadership = store.leadership("one", ttl=60.0)
    assert leadership.campaign(30.0)
    leadership._lease.ends = 0.0  # type: ignore[attr-defined]
    assert not leadership.held(), "late, by our own clock"
    store.beat(Heartbeat(1, ()))
    assert leadership.campaign(30.0)
    for lease in server.ctl("lease", "list").split()[3:]:
        with suppress(Exception):
            server.ctl("lease", "revoke", lease)
    assert refused(store) == "store.not-leader"
    assert not leadership.held()
    assert leadership.campaign(30.0)
    store.beat(Heartbeat(1, ()))


# ---------------------------------------------------------------------------------------------------------------------- watching
def test_a_process_is_shown_while_it_lives(url: str, stores: ExitStack) -> None:
    """What it said last; gone when it closes; routers and controllers apart; and nobody's version moves for that."""
    writer, other = opened(stores, url), opened(stores, url, writer=False)
    before = other.version()
    writer.present("edge-1", b"{}", "controllers")
    with closing(open_shared(url)) as router:
        router.present("edge-2", b"first")
        router.present("edge-2", b"second")
        until(lambda: other.presences() == {"edge-2": b"second"})
        until(lambda: other.presences("controllers") == {"edge-1": b"{}"})
    until(lambda: other.presences() == {})
    assert other.version() == before


def test_the_doctor_says_whether_etcd_answers(url: str, stores: ExitStack) -> None:
    """And which generation it has; where nobody has written yet, that."""
    assert look_at_store(url).problem == "is empty"
    opened(stores, url).commit(state(7), 0, [entry(7)], {})
    seen = look_at_store(url)
    assert (seen.shared, seen.problem, seen.generation) == (True, "", 7)


def test_a_watcher_that_was_cut_off_catches_up_though_what_it_missed_is_compacted(
    server: Etcd, url: str, tmp_path: Path, stores: ExitStack
) -> None:
    """First by the revision that it saw last; and where etcd has thrown that away, by reading all of it anew."""
    way = Way(server.nodes[0].client)
    stores.callback(way.close)
    writer = opened(stores, url)
    writer.commit(state(1), 0, [entry(1)], {})
    watcher = opened(stores, url.replace(server.nodes[0].endpoint, way.endpoint), writer=False)
    watch = watcher._watch  # type: ignore[attr-defined]
    assert watcher.read_state() == state(1)
    for generation, compact in ((2, False), (4, True)):
        way.cut()
        until(lambda: watch.problem is not None)
        relists = watch.relists
        for one in (generation, generation + 1):
            writer.commit(state(one), one - 1, [entry(one)], {})
        if compact:
            revision = server.ctl("get", "x", "--write-out=json").partition('"revision":')[2].partition(",")[0]
            server.ctl("compact", revision)
        until(lambda: _away(watcher))
        way.mend()
        until(lambda wanted=generation + 1: not _away(watcher) and watcher.read_state() == state(wanted))
        assert watch.relists - relists == compact
    assert watcher.health.failures["other"] > 0
    watcher.version()
    assert watcher.health.problem is None


def _away(store: SharedStore) -> bool:
    try:
        store.version()
    except StoreError as error:
        return error.problems[0].id == "store.away"
    return False


def test_a_decision_whose_answer_was_lost_is_not_made_twice(server: Etcd, url: str, stores: ExitStack) -> None:
    """The caller is told that nobody knows, at once the next time too; then the same decision is found written, another one conflicts."""
    way = Way(server.nodes[0].client)
    stores.callback(way.close)
    reader = opened(stores, url)
    patient = url.replace(server.nodes[0].endpoint, way.endpoint)
    writer = opened(stores, patient.replace("timeout=30", "timeout=2"))
    writer.commit(state(1), 0, [entry(1)], {})
    for generation in (2, 3):
        way.deafen()
        with pytest.raises(StoreError) as caught:
            # Its first look is not answered either: nothing was sent.
            writer.commit(state(generation), generation - 1, [entry(generation)], {})
        assert problem(caught)[0] == "store.away"
        begun = time.monotonic()
        for _ in range(30):
            assert not _writes(writer)
        assert time.monotonic() - begun < 30.0, "it does not wait two seconds of its timeout each time"
        way.mend()
        until(lambda: _writes(writer))
        _lose_the_answer(writer, way, generation)
        until(lambda wanted=generation: reader.read_state() == state(wanted))
        way.mend()
        until(lambda: _writes(writer))
        if generation == 2:
            (again,) = writer.commit(state(2), 1, [entry(2)], {})
            assert again.sequence == 2
        else:
            with pytest.raises(ConflictError):
                writer.commit(state(4), 2, [entry(4)], {})
    assert [one.generation for one in reader.journal()] == [3, 2, 1]
    assert writer.health.problem is None or writer.health.problem.id != "store.away"


def _writes(store: SharedStore) -> bool:
    try:
        store.beat(Heartbeat(1, ()))
    except StoreError:
        return False
    return True


def _lose_the_answer(writer: SharedStore, way: Way, generation: int) -> None:
    """The transaction itself goes out, and its answer does not come back."""
    inner = writer._writer  # type: ignore[attr-defined]
    send = inner._send

    async def deaf(*arguments: object) -> object:
        way.deafen()
        return await send(*arguments)

    inner._send = deaf
    try:
        with pytest.raises(StoreError) as caught:
            writer.commit(state(generation), generation - 1, [entry(generation)], {})
    finally:
        inner._send = send
    assert problem(caught)[0] == "store.unsure"


# ---------------------------------------------------------------------------------------------------------------------- a router
def test_a_router_serves_from_etcd_follows_it_and_outlives_it(tmp_path: Path, stores: ExitStack) -> None:
    """`extproc router` with such a URL decides by the State in etcd, follows each change, and keeps what it has when etcd is gone."""
    (tmp_path / "spec.yaml").write_text(TEXT)
    with etcd(tmp_path / "etcd") as server:
        url = server.url("shop", tmp_path)
        loop = Loop(TEXT, opened(stores, url), time.time())
        words = ("--listen", f"unix:{tmp_path}/r.sock", "--workers", "1", "--metrics-port", "0", "--store", url)
        with started("router", "--spec", str(tmp_path / "spec.yaml"), *words):
            (endpoint,) = contract.endpoints(f"unix:{tmp_path}/r.sock", 1)
            assert cluster(decide(endpoint, llm_request(x_user_id="u"))) == OLD, "nobody was seen to watch"
            loop.act(ROLLOUT, Action.START, "ada", "begin", time.time())
            while loop.state.rollouts[ROLLOUT].status.exposes:
                loop.act(ROLLOUT, Action.ADVANCE, "ada", "further", time.time())
            until(lambda: cluster(decide(endpoint, llm_request(x_user_id="u"))) == NEW)
            server.nodes[0].kill()
            assert {cluster(decide(endpoint, llm_request(x_user_id=f"u{number}"))) for number in range(20)} == {NEW}
        stores.close()


# --------------------------------------------------------------------------------------------------------------------- passwords
def test_passwords_and_certificates(tmp_path: Path, stores: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS both ways and a user of etcd's with a role for one prefix; a token that etcd has forgotten is fetched again, certificates and
    authorities that are others are read again; what does not fit is told as what it is."""
    files = certificates.write(tmp_path / "tls", name="127.0.0.1")
    server_flags = [f"--cert-file={files.server}", f"--key-file={files.server_key}", f"--trusted-ca-file={files.ca}", "--client-cert-auth"]
    ctl_flags = [f"--cacert={files.ca}", f"--cert={files.client}", f"--key={files.client_key}"]
    with etcd(tmp_path / "etcd", flags=server_flags, ctl_flags=ctl_flags) as server:
        for words in ("user add root:root", "user grant-role root root", "user add ada:hunter2", "role add shop"):
            server.ctl(*words.split())
        server.ctl("role", "grant-permission", "shop", "readwrite", "--prefix", "/shop/")
        server.ctl("user", "grant-role", "ada", "shop")
        server.ctl("auth", "enable")
        (tmp_path / "password").write_text("hunter2\n")
        tls = f"&ca={files.ca}&cert={files.client}&key={files.client_key}"
        user = f"&user=ada&password_file={tmp_path / 'password'}"
        url = server.url("shop", tmp_path, tls + user)
        writer, reader = opened(stores, url), opened(stores, url, writer=False)
        assert writer.leadership("one").campaign(30.0)
        writer.commit(state(1), 0, [entry(1)], {})
        until(lambda: reader.read_state() == state(1))
        # Tokens do not survive a restart; nor does our claim on them. What was believed before it is not believed after it, on either side.
        (node,) = server.nodes
        certificates.write(files.directory, name="127.0.0.1")
        node.kill()
        node.start(server.cluster)
        until(lambda: _writes(writer))
        until(lambda: not _away(reader) and reader.read_heartbeat() == Heartbeat(1, ()))
        for wrong, id_ in (
            (server.url("other", tmp_path, tls + user), "store.read-only"),
            (server.url("shop", tmp_path, tls), "store.read-only"),
            (url.replace("password_file=", "password_file=/none"), "store.file"),
            (server.url("shop", tmp_path, user).replace("timeout=30", "timeout=1"), "store.away"),
        ):
            if id_ == "store.away":
                monkeypatch.setattr(etcd_store, "OPEN_TIMEOUT", 1.0)
            with pytest.raises(StoreError) as caught:
                open_shared(wrong, writer=True)
            assert problem(caught)[0] == id_
        monkeypatch.undo()
        (tmp_path / "password").write_text("wrong")
        with pytest.raises(StoreError) as caught:
            open_shared(url)
        assert problem(caught)[0] == "store.read-only"
        stores.close()


# ----------------------------------------------------------------------------------------------------------------------- cluster
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_cluster_loses_its_leader_while_it_is_written_and_watched(how: signal.Signals, tmp_path: Path, stores: ExitStack) -> None:
    """The leading node of three is killed, or stands still: what was acknowledged is there, watchers saw every State in order, and our own
    leadership is kept."""
    with etcd(tmp_path / "etcd", nodes=3) as server:
        url = server.url("shop", tmp_path)
        writer = opened(stores, url)
        leadership = writer.leadership("one", ttl=60.0)
        assert leadership.campaign(30.0)
        writer.commit(state(1), 0, [entry(1)], {})
        seen: list[list[int]] = []
        watchers = []
        for _ in server.nodes:
            watcher = opened(stores, url, writer=False)
            seen.append(_told(watcher))
            watchers.append(watcher)
        last = 1
        leading = server.leader()
        for generation in range(2, 40):
            if generation == 10:
                leading.signal(how)
            _insist(writer, generation)
            last = generation
        assert leadership.held()
        for watcher, generations in zip(watchers, seen, strict=True):
            until(lambda watcher=watcher: not _away(watcher) and watcher.read_state() == state(last))
            assert generations == list(range(2, last + 1))
        assert [one.sequence for one in writer.journal()] == list(range(last, 0, -1))
        assert [one.generation for one in writer.journal()] == list(range(last, 0, -1))
        leading.kill()
        leading.start(server.cluster, "existing")
        until(server.healthy)
        _insist(writer, last + 1)
        stores.close()


def _told(watcher: SharedStore) -> list[int]:
    """Each generation that a watcher's cache goes through, from now on."""
    watch, generations = watcher._watch, []  # type: ignore[attr-defined, var-annotated]
    changed = watch._changed

    def told(key: bytes, kept: object, revision: int) -> None:
        changed(key, kept, revision)
        if key.endswith(b"/state"):
            found = watcher.read_state()
            assert found is not None
            generations.append(found.generation)

    watch._changed = told
    return generations


def _insist(writer: SharedStore, generation: int) -> None:
    """Until it is written: a call may fail while etcd elects another node."""

    def written() -> bool:
        try:
            writer.commit(state(generation), generation - 1, [entry(generation)], {"new": str(generation)})
        except StoreError as error:
            if error.problems[0].id not in ("store.away", "store.unsure"):
                raise
            return False
        return True

    until(written)
