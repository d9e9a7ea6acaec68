"""Canaries without a healthy endpoint, files of EndpointSlices, and the switch: what the loop is told, and what it does with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc import spec as specs
from extproc.controller.loop import Loop
from extproc.controller.readiness import OFF, Readiness
from extproc.controller.slices import SliceFiles, ready_in
from extproc.controller.switch import document as switched
from extproc.controller.switch import switch
from extproc.domain import Action, Spec, Status
from extproc.store import Store, open_store
from tests.support.envoy_stand import Model, a_rollout, document

BEGIN = 1_000_000.0


def a_slice(name: str, *addresses: str, ready: bool | None = True, ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """As Kubernetes writes it, without what nobody reads."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "llm"},
        "addressType": "IPv4",
        "ports": ports or [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
    }


def text_of(*documents: Any) -> str:
    return "\n".join(orjson.dumps(one).decode() for one in documents)


def a_list(*slices: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(slices)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (text_of(a_list(a_slice("a", "10.0.0.2", "10.0.0.1"), a_slice("b", "10.0.0.3"))), ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        (text_of(a_list()), ()),
        (text_of(a_slice("a", "10.0.0.1"), a_slice("a", "10.0.0.2")), ("10.0.0.2",)),
        (text_of(a_slice("a", "10.0.0.1", ready=False), a_slice("b", "10.0.0.2", ready=None)), ("10.0.0.2",)),
        (text_of({"type": "ADDED", "object": a_slice("a", "10.0.0.1")}, {"type": "DELETED", "object": a_slice("a", "10.0.0.1")}), ()),
        ("kind: EndpointSlice\nports: [{port: 8000}]\nendpoints:\n- addresses: [10.0.0.9]\n---\n", ("10.0.0.9",)),
        (text_of({**a_slice("a", "name.example"), "addressType": "FQDN"}), ()),
        ("", ()),
    ],
)
def test_what_is_ready_is_read_in_every_form(text: str, found: tuple[str, ...]) -> None:
    """A list, slices one after the other, watch events, YAML; not ready is left out, unknown is ready, names are nobody's address."""
    assert ready_in(text, None) == tuple((address, 8000) for address in found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"kind": "Pod"}', "is no EndpointSlice"),
        ("[1, 2]", "mapping is due"),
        ('{"kind": "EndpointSlice", "ports"', "delimiter"),
        ("a: [", "neither JSON nor YAML"),
        (text_of(a_slice("a", "10.0.0.1", ports=[{"name": "http", "port": 1}, {"name": "grpc", "port": 2}])), "http, grpc"),
        (text_of(a_slice("a", "10.0.0.1", ports=[{"port": "http"}])), "no port"),
        (text_of(a_slice("a", "new.example")), "new.example"),
    ],
)
def test_what_is_no_slice_is_refused(text: str, why: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=why):
        ready_in(text, None)


def test_a_port_is_chosen_by_its_name() -> None:
    """And a slice that has none of that name has nothing."""
    text = text_of(a_slice("a", "10.0.0.1", ports=[{"name": "http", "port": 1}, {"name": "grpc", "port": 2}]))
    assert ready_in(text, "grpc") == (("10.0.0.1", 2),)
    assert ready_in(text, "other") == ()


def a_spec(new: dict[str, Any]) -> Spec:
    listener = {"kind": "edge", "port": 8080, "set_by": {"x-user-id": "us"}}
    models = {"old": {"endpoint": {"host": "127.0.0.1", "port": 1}}, "new": new}
    return specs.load(orjson.dumps(document(listener, models, {"chat": a_rollout("50%", {"paths": ["/v1/"]})})).decode())


def test_a_bad_file_leaves_the_last_good_endpoints(tmp_path: Path) -> None:
    """It is told why; a good one is in force with the next look."""
    file = tmp_path / "slices.json"
    spec, files = a_spec({"endpoint_slices": {"file": str(file)}}), SliceFiles()
    assert files.look(spec) == {"new": ()}
    assert "cannot be used" in files.problems["new"].message
    file.write_text(text_of(a_list(a_slice("a", "10.0.0.1"))))
    assert files.look(spec) == {"new": (("10.0.0.1", 8000),)}
    assert files.problems == {}
    file.write_text("{")
    assert files.look(spec) == {"new": (("10.0.0.1", 8000),)}
    assert list(files.problems) == ["new"]
    file.write_text(text_of(a_list()))
    assert files.look(spec) == {"new": ()}


# --------------------------------------------------------------------------------------------------------------------- the loop
@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:{tmp_path}/x.db", writer=True)
    yield opened
    opened.close()


def begun(store: Store, new: dict[str, Any]) -> Loop:
    listener = {"kind": "edge", "port": 8080, "set_by": {"x-user-id": "us"}}
    models = {"old": {"endpoint": {"host": "127.0.0.1", "port": 1}}, "new": new}
    text = orjson.dumps(document(listener, models, {"chat": a_rollout("50%", {"paths": ["/v1/"]})})).decode()
    loop = Loop(text, store, BEGIN)
    loop.tick(BEGIN + 1, 1.0)
    assert loop.state.rollouts["chat"].status is Status.PROGRESSING
    return loop


def test_probes_find_a_canary_that_goes_and_comes(store: Store) -> None:
    """One miss is none; two in a row, and its rollout is away: named in the heartbeat, held with the reason; one good answer ends it."""
    model = Model("new")
    loop = begun(store, {"endpoint": model.endpoint, "probe": {"path": "/health", "every": "100ms"}})
    readiness = Readiness(loop)

    async def looked(times: int) -> None:
        for _ in range(times):
            await readiness.look(time.monotonic())
            await asyncio.gather(*(one.asking for one in readiness._replicas.values() if one.asking is not None))
            await asyncio.sleep(0.11)
        await readiness.look(time.monotonic() - 1000)

    async def story() -> None:
        nonlocal model
        await looked(2)
        assert loop.away == {}
        model.close()
        await looked(1)
        assert loop.away == {}
        await looked(2)
        assert loop.away == {"chat": "canary new has no healthy endpoint (of 1)"}
        loop.tick(BEGIN + 2, 1.0)
        assert loop.heartbeat.blind == ("chat",)
        decision = loop.desks["chat"].decision
        assert (decision.action, decision.why, decision.page) == (Action.HOLD, loop.away["chat"], True)
        assert b'extproc_canary_unready{rollout="chat"} 1.0' in readiness.exposition()
        model = Model("new", port=model.port)
        # On a busy machine it may miss its time once more.
        while loop.away:
            await looked(1)
        loop.tick(BEGIN + 3, 1.0)
        assert loop.heartbeat.blind == ()
        for client in readiness._clients.values():
            await client.aclose()

    try:
        asyncio.run(story())
    finally:
        model.close()


def test_a_file_without_a_ready_endpoint_is_a_canary_that_is_away(store: Store, tmp_path: Path) -> None:
    """It needs no probe for that."""
    file = tmp_path / "slices.json"
    file.write_text(text_of(a_list(a_slice("a", "10.0.0.1", ready=False))))
    loop = begun(store, {"endpoint_slices": {"file": str(file)}})
    readiness = Readiness(loop)
    asyncio.run(readiness.look(0.0))
    assert loop.away == {"chat": "canary new has no healthy endpoint (of 0)"}
    file.write_text(text_of(a_list(a_slice("a", "10.0.0.1"))))
    asyncio.run(readiness.look(0.0))
    assert loop.away == {}
    assert readiness.ready == {"new": (("10.0.0.1", 8000),)}


def test_a_rollback_by_a_person_is_not_held(store: Store, tmp_path: Path) -> None:
    """Who is away may always be lowered."""
    loop = begun(store, {"endpoint_slices": {"file": str(tmp_path / "nowhere.json")}})
    asyncio.run(Readiness(loop).look(0.0))
    loop.tick(BEGIN + 2, 1.0)
    loop.act("chat", Action.ROLL_BACK, "ada", "enough", BEGIN + 3)
    assert loop.state.rollouts["chat"].status is Status.ROLLED_BACK
    asyncio.run((readiness := Readiness(loop)).look(0.0))
    assert loop.away == {}
    assert readiness.document()["slices"]["new"]["path"].endswith("nowhere.json")


def test_the_switch_is_in_state_and_in_the_journal(store: Store) -> None:
    """Committed with who and why; survives a restart and another Spec; what is so already is not done again; rollouts hold meanwhile."""
    loop = begun(store, {"endpoint": {"host": "127.0.0.1", "port": 2}})
    generation = loop.state.generation
    assert switch(loop, "off", "ada", "it is mad", BEGIN + 2, "r-1")["generation"] == generation + 1
    assert switch(loop, "off", "bob", "again", BEGIN + 3, "r-2")["repeated"]
    assert switched(loop) == {"off": True, "since": BEGIN + 2, "actor": "ada", "why": "it is mad"}
    (entry, *_) = store.journal("chat")
    assert (entry.action, entry.actor, entry.why, entry.generation) == (Action.SWITCH_OFF, "ada", "it is mad", generation + 1)
    loop.save()
    again = Loop(loop.spec_text, store, BEGIN + 4)
    assert switched(again)["off"]
    asyncio.run(Readiness(again).look(0.0))
    assert again.away == {"chat": OFF}
    again.tick(BEGIN + 5, 1.0)
    assert again.desks["chat"].decision.why == OFF
    other = loop.spec_text.replace('"daily_requests":1000000', '"daily_requests":1000001')
    assert again.adopt(other, specs.load(other), BEGIN + 6)
    assert switched(again)["off"]
    switch(again, "on", "ada", "it is not", BEGIN + 7, "")
    assert not switched(again)["off"]
    asyncio.run(Readiness(again).look(0.0))
    assert again.away == {}
    assert store.journal("chat")[0].action is Action.SWITCH_ON
