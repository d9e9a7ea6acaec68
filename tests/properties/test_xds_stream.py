"""Laws of an ADS stream: whatever changes come and in whatever order the other side answers, it ends with what is meant, and no route
ever leads where there is nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.controller.xds.resources import Resource, Resources
from extproc.controller.xds.stream import LOOKUP, PATIENCE, Heard, Reply, Stream, set_version
from extproc.render.discovered import Part

NAMES = ("a", "b", "c", "d")
BAD = "bad"


def target_of(clusters: dict[str, int], endpoints: dict[str, int], named: bool = False, processor: int = 0) -> Resources:
    """A configuration whose one listener has one table of routes, which lead to all clusters."""
    route = set_version(Resource(name, "", b"") for name in clusters)
    made: dict[Part, dict[str, Resource]] = {part: {} for part in Part}
    for name, version in clusters.items():
        made[Part.CLUSTER][name] = Resource(name, f"{version}", b"", ((Part.ENDPOINTS, name),), named)
        made[Part.ENDPOINTS][name] = Resource(name, f"e{endpoints.get(name, 0)}", b"")
    made[Part.LISTENER]["l"] = Resource("l", "1", b"", ((Part.ROUTES, "r"), (Part.PROCESSOR, "p")))
    made[Part.PROCESSOR]["p"] = Resource("p", f"p{processor}", b"")
    made[Part.ROUTES]["r"] = Resource("r", route, " ".join(clusters).encode())
    return made


@dataclass
class Envoy:
    """What an Envoy does with answers, as far as it matters here: it has, it warms, it asks for what it needs."""

    delta: bool
    has: dict[Part, dict[str, Resource]] = field(default_factory=lambda: {part: {} for part in Part})
    asked: dict[Part, set[str]] = field(default_factory=lambda: {part: set() for part in Part})
    nonces: dict[Part, str] = field(default_factory=dict)
    versions: dict[Part, str] = field(default_factory=dict)
    warm: set[str] = field(default_factory=set)
    outbox: deque[Heard] = field(default_factory=deque)
    refuses: bool = True

    def begins(self) -> None:
        """A first question; or the first of a new stream, with what it has."""
        self.nonces = {}
        self.outbox.clear()
        for part in (Part.CLUSTER, *(part for part in Part if self.asked[part]), Part.LISTENER):
            if not any(one.part is part for one in self.outbox):
                self._asks(part, first=True)

    def _asks(self, part: Part, new: frozenset[str] = frozenset(), gone: frozenset[str] = frozenset(), first: bool = False) -> None:
        nonce = self.nonces.get(part, "")
        if self.delta:
            versions = {name: one.version for name, one in self.has[part].items()} if first else {}
            names = frozenset(self.asked[part]) if first else new
            self.outbox.append(Heard(part, "", None, names, gone, has=versions))
        else:
            version = self.versions.get(part, "")
            self.outbox.append(Heard(part, nonce, None, frozenset(self.asked[part]), version=version))

    def takes(self, reply: Reply) -> None:
        """An answer comes: it is refused as a whole where something of it is bad, else taken."""
        part = reply.part
        self.nonces[part] = reply.nonce
        if self.refuses and any(one.body == BAD.encode() for one in reply.resources):
            self.outbox.append(self._answer(part, reply.nonce, "is bad"))
            return
        self.versions[part] = reply.version
        whole = part in (Part.CLUSTER, Part.LISTENER)
        if not self.delta and whole:
            for name in self.has[part].keys() - {one.name for one in reply.resources}:
                self._loses(part, name)
        for name in reply.removed:
            self._loses(part, name)
        for one in reply.resources:
            before = self.has[part].get(one.name)
            self.has[part][one.name] = one
            if part is Part.CLUSTER and (before is None or before.version != one.version):
                # A new cluster, and one that changed, waits for endpoints although it had some; a changed one serves meanwhile.
                self.has[Part.ENDPOINTS].pop(one.name, None)
            if part is Part.ENDPOINTS:
                self.warm.add(one.name)
        self.outbox.append(self._answer(part, reply.nonce, None))
        self._needs()
        if part is Part.ROUTES:
            self.never_leads_nowhere()

    def _answer(self, part: Part, nonce: str, refused: str | None) -> Heard:
        names = frozenset() if self.delta else frozenset(self.asked[part])
        return Heard(part, nonce, refused, names, version=self.versions.get(part, ""))

    def _loses(self, part: Part, name: str) -> None:
        self.has[part].pop(name, None)
        if part is Part.CLUSTER:
            self.warm.discard(name)
            self.never_leads_nowhere()

    def _needs(self) -> None:
        needed: dict[Part, set[str]] = {part: set() for part in Part}
        for part in (Part.CLUSTER, Part.LISTENER):
            for one in self.has[part].values():
                for kind, name in one.needs:
                    needed[kind].add(name)
        for part in (Part.ENDPOINTS, Part.PROCESSOR, Part.ROUTES):
            new, gone = needed[part] - self.asked[part], self.asked[part] - needed[part]
            if new or gone:
                self.asked[part] = needed[part]
                for name in gone:
                    self.has[part].pop(name, None)
                self._asks(part, frozenset(new), frozenset(gone))

    def never_leads_nowhere(self) -> None:
        """A route that is in force leads to clusters that are there and have had their endpoints."""
        for one in self.has[Part.ROUTES].values():
            for cluster in one.body.decode().split():
                assert cluster in self.has[Part.CLUSTER], f"a route leads to {cluster}, which is not there"
                assert cluster in self.warm, f"a route leads to {cluster}, which has no endpoints yet"


class World:
    """Both sides, and messages that are on their way."""

    def __init__(self, delta: bool) -> None:
        self.now = 100.0
        self.envoy = Envoy(delta)
        self.stream = Stream(delta)
        self.sent: deque[Reply] = deque()
        self.replies = 0

    def connect(self) -> None:
        """A new stream, whatever was on its way."""
        target = self.stream._target
        self.stream = Stream(self.envoy.delta)
        self.stream.aim(target)
        self.sent.clear()
        self.envoy.begins()

    def step(self, envoy_first: bool) -> bool:
        """One message one way; False where there was none."""
        return any(side() for side in ((self._up, self._down) if envoy_first else (self._down, self._up)))

    def _up(self) -> bool:
        if not self.envoy.outbox:
            return False
        self.stream.hear(self.envoy.outbox.popleft(), self.now)
        self.send()
        return True

    def _down(self) -> bool:
        if not self.sent:
            return False
        self.envoy.takes(self.sent.popleft())
        return True

    def send(self) -> None:
        """What is due."""
        due = self.stream.due(self.now)
        self.replies += len(due)
        self.sent.extend(due)

    def settle(self) -> None:
        """Until nobody has anything to say, however long that is waited for."""
        for _ in range(500):
            if not self.step(True):
                wake = self.stream.wake_at(self.now)
                self.send()
                if not self.sent and wake is None:
                    return
                self.now = max(self.now, wake or 0.0)
                self.send()
        raise AssertionError("it never ends")

    def is_as(self, target: Resources) -> None:
        """Envoy has this, and nothing else."""
        for part in (Part.CLUSTER, Part.LISTENER, Part.ENDPOINTS, Part.ROUTES, Part.PROCESSOR):
            found = {name: one.version for name, one in self.envoy.has[part].items()}
            assert found == {name: one.version for name, one in target[part].items()}, part


versions = st.integers(0, 2)
targets = st.builds(
    target_of,
    st.dictionaries(st.sampled_from(NAMES), versions, min_size=1),
    st.dictionaries(st.sampled_from(NAMES), versions),
    st.booleans(),
    versions,
)


@settings(max_examples=150, deadline=None)
@given(delta=st.booleans(), changes=st.lists(st.tuples(targets, st.lists(st.booleans(), max_size=12)), min_size=1, max_size=5))
def test_it_ends_with_what_is_meant_and_no_route_leads_nowhere(delta: bool, changes: list[tuple[Resources, list[bool]]]) -> None:
    """Targets change while answers to earlier ones are under way, messages overtake each other between the two directions."""
    world = World(delta)
    world.envoy.begins()
    for target, steps in changes:
        world.stream.aim(target)
        world.send()
        for envoy_first in steps:
            world.step(envoy_first)
    world.settle()
    world.is_as(changes[-1][0])
    assert world.stream.complete
    assert world.stream.refusal is None


@settings(max_examples=80, deadline=None)
@given(delta=st.booleans(), target=targets, again=targets, steps=st.lists(st.booleans(), max_size=10))
def test_who_comes_again_is_sent_what_is_missing(delta: bool, target: Resources, again: Resources, steps: list[bool]) -> None:
    """After a restart of either side: nothing where nothing has changed; else it ends as it should, without a route into nothing."""
    world = World(delta)
    world.stream.aim(target)
    world.envoy.begins()
    world.settle()
    before = world.replies
    world.connect()
    world.settle()
    assert world.replies == before
    assert world.stream.complete
    assert world.stream.accepted.keys() >= {Part.CLUSTER, Part.LISTENER, Part.ROUTES}
    # Clusters that go may be needed by routes for a moment; in state of the world only a stream that has sent them can keep them.
    if delta or target[Part.CLUSTER].keys() <= again[Part.CLUSTER].keys():
        world.stream.aim(again)
        world.connect()
        for envoy_first in steps:
            world.step(envoy_first)
        world.settle()
        world.is_as(again)


@pytest.mark.parametrize("delta", [False, True])
def test_what_is_refused_is_sent_once_and_undone_by_going_back(delta: bool) -> None:
    """A refusal is kept with its reason, the answer is not repeated; aimed at the last good one, the other side has that again."""
    world = World(delta)
    good = target_of({"a": 0}, {})
    world.stream.aim(good)
    world.envoy.begins()
    world.settle()
    bad = target_of({"a": 0, "b": 0}, {})
    clusters = {**bad[Part.CLUSTER], "b": Resource("b", "bad", BAD.encode())}
    world.stream.aim({**bad, Part.CLUSTER: clusters, Part.ROUTES: good[Part.ROUTES]})
    world.send()
    world.settle()
    refusal = world.stream.refusal
    assert refusal is not None
    assert (refusal.part, refusal.why) == (Part.CLUSTER, "is bad")
    assert not world.stream.complete
    sent = world.replies
    world.settle()
    assert world.replies == sent
    world.stream.aim(good)
    world.settle()
    world.is_as(good)
    assert world.stream.complete
    mended = target_of({"a": 0, "b": 1}, {})
    world.stream.aim(mended)
    world.send()
    world.settle()
    world.is_as(mended)


@pytest.mark.parametrize("delta", [False, True])
def test_the_processor_waits_for_nothing(delta: bool) -> None:
    """The off switch is sent while a cluster's answer is still awaited."""
    world = World(delta)
    world.stream.aim(target_of({"a": 0}, {}))
    world.envoy.begins()
    world.settle()
    world.stream.aim(target_of({"a": 1, "b": 0}, {}, processor=1))
    assert [one.part for one in world.stream.due(world.now)] == [Part.CLUSTER, Part.PROCESSOR]


@pytest.mark.parametrize("delta", [False, True])
def test_a_new_name_is_given_time_to_be_looked_up(delta: bool) -> None:
    """Routes to a cluster that needs DNS come LOOKUP seconds after it was accepted, and not at once."""
    world = World(delta)
    world.stream.aim(target_of({"a": 0}, {}))
    world.envoy.begins()
    world.settle()
    world.stream.aim(target_of({"a": 0, "b": 0}, {}, named=True))
    world.send()
    while world.step(True):
        pass
    assert "b" not in world.envoy.has[Part.ROUTES]["r"].body.decode()
    assert world.stream.wake_at(world.now) is not None
    world.now += LOOKUP
    world.send()
    while world.step(True):
        pass
    assert "b" in world.envoy.has[Part.ROUTES]["r"].body.decode()


def test_an_answer_to_an_older_nonce_says_nothing() -> None:
    """Neither accepts nor refuses what came after it."""
    stream = Stream(delta=False)
    stream.aim(target_of({"a": 0}, {}))
    stream.hear(Heard(Part.CLUSTER, ""), 0.0)
    (first,) = stream.due(0.0)
    stream.hear(Heard(Part.CLUSTER, first.nonce, version=first.version), 0.0)
    stream.aim(target_of({"a": 1}, {}))
    (second,) = stream.due(PATIENCE)
    stream.hear(Heard(Part.CLUSTER, first.nonce, "too late"), PATIENCE)
    assert stream.refusal is None
    assert stream.due(PATIENCE) == []
    stream.hear(Heard(Part.CLUSTER, second.nonce, "no"), PATIENCE)
    assert stream.refusal is not None


@settings(max_examples=60, deadline=None)
@given(delta=st.booleans(), heard=st.lists(st.tuples(st.sampled_from(list(Part)), st.text("0123", max_size=2), st.booleans(),
       st.frozensets(st.sampled_from((*NAMES, "*"))), st.frozensets(st.sampled_from(NAMES))), max_size=30))  # fmt: skip
def test_whatever_is_said_it_goes_on(
    delta: bool, heard: list[tuple[Part, str, bool, frozenset[str], frozenset[str]]]
) -> None:  # fmt: skip
    """Nonces never given, names that do not exist, refusals of nothing: never an error, at most one answer of a kind at a time."""
    stream = Stream(delta)
    stream.aim(target_of({"a": 0, "b": 1}, {}))
    waiting: dict[Part, str] = {}
    for number, (part, nonce, refused, names, unwanted) in enumerate(heard):
        stream.hear(Heard(part, nonce, "no" if refused else None, names, unwanted), float(number))
        if waiting.get(part) == nonce:
            waiting.pop(part, None)
        for reply in stream.due(float(number)):
            assert reply.part not in waiting
            waiting[reply.part] = reply.nonce
