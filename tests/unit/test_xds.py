"""What is told over xDS before anybody is told: parts, resources, settings of an Envoy, who gets which configuration."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
import typer
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import discovery_pb2
from typer.testing import CliRunner

from extproc import contract, spec
from extproc.cli import run
from extproc.controller.xds import messages
from extproc.controller.xds.fleet import Fleet, Offer
from extproc.controller.xds.resources import TYPE_URLS, Resources, resources
from extproc.controller.xds.server import MOST_SETTINGS, XdsServer
from extproc.controller.xds.stream import Heard, Stream
from extproc.domain import Spec
from extproc.errors import SettingsError
from extproc.render import EnvoySettings, Profile, RenderError, RouterTls, envoy_document, envoy_yaml
from extproc.render.bootstrap import METADATA, settings_told, told
from extproc.render.discovered import SKIP_ALL, Part, discovered
from extproc.render.routes import EXT_PROC
from extproc.transport import parse_address
from tests.support.envoy_stand import a_rollout, document

ENDPOINT = {"host": "127.0.0.1", "port": 9001}


def written(**changes: Any) -> dict[str, Any]:
    """A Spec with a model behind TLS and a name, a key, a shadow, and a canary that stable answers for."""
    tls = {"sni": "new.example", "ca_file": "/etc/ca/new.pem"}
    models = {
        "old": {"endpoint": ENDPOINT, "prices": {"input": "$1", "output": "$2"}},
        "new": {
            "endpoint": {"host": "new.example", "port": 443, "tls": tls},
            "credential": {"env": "KEY"},
            "send_model": "new-1",
            "prices": {"input": "$1", "output": "$2"},
        },
    }
    rollout = a_rollout(
        "50%", {"paths": ["/v1/"]}, on_canary_failure="stable", shadow={"share": "5%", "min_dwell": "1m", "max_dwell": "1h"}
    )
    return document({"kind": "edge", "port": 8080, "set_by": {"x-user-id": "us"}}, models, {"chat": rollout}) | changes


def loaded(given: dict[str, Any]) -> Spec:
    return spec.load(orjson.dumps(given).decode())


@pytest.fixture(scope="module")
def made() -> Resources:
    return resources(discovered(loaded(written()), EnvoySettings()))


def test_the_whole_is_in_the_parts() -> None:
    """Clusters, listeners, routes and secrets of the static file are there under their names, and nothing of it is in two places."""
    whole = envoy_document(loaded(written()), EnvoySettings())["static_resources"]
    parts = discovered(loaded(written()), EnvoySettings()).of
    assert list(parts[Part.CLUSTER]) == [one["name"] for one in whole["clusters"]]
    assert list(parts[Part.LISTENER]) == [one["name"] for one in whole["listeners"]] == ["extproc", "extproc_shadow_chat"]
    assert list(parts[Part.ROUTES]) == ["extproc", "extproc_shadow_chat"]
    manager = whole["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert parts[Part.ROUTES]["extproc"] == manager["route_config"]
    assert parts[Part.PROCESSOR][EXT_PROC] == next(one for one in manager["http_filters"] if one["name"] == EXT_PROC)
    assert list(parts[Part.ENDPOINTS]) == ["old"]
    assert "virtual_hosts" not in str(parts[Part.LISTENER])
    assert "forward_rules" in str(parts[Part.PROCESSOR])


def test_switched_off_the_processor_is_asked_nothing() -> None:
    """All modes are SKIP; before anything is known as well. Nothing else changes."""
    on, off = (discovered(loaded(written()), EnvoySettings(), off=off).of for off in (False, True))
    assert off[Part.PROCESSOR][EXT_PROC]["typed_config"]["processing_mode"] == SKIP_ALL
    assert on[Part.PROCESSOR][EXT_PROC]["typed_config"]["processing_mode"] != SKIP_ALL
    assert {part: body for part, body in on.items() if part is not Part.PROCESSOR} == {
        part: body for part, body in off.items() if part is not Part.PROCESSOR
    }
    discovery = next(
        one["config_discovery"]
        for one in on[Part.LISTENER]["extproc"]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        if one["name"] == EXT_PROC
    )
    assert discovery["default_config"]["processing_mode"] == SKIP_ALL


def test_secrets_are_names_of_files() -> None:
    """Certificates are watched where they lie; a key is a reference to Envoy's own environment. Nothing secret travels."""
    tls = RouterTls("/tls/ca.pem", "router.example", "/tls/own.pem", "/tls/own.key")
    parts = discovered(loaded(written()), EnvoySettings(("10.0.0.1:9000",), router_tls=tls)).of
    secrets = parts[Part.SECRET]
    assert secrets["extproc_router.certificate"]["tls_certificate"] == {
        "certificate_chain": {"filename": "/tls/own.pem"},
        "private_key": {"filename": "/tls/own.key"},
        "watched_directory": {"path": "/tls"},
    }
    assert secrets["new.authorities"]["validation_context"]["watched_directory"] == {"path": "/etc/ca"}
    assert secrets["new.key"] == {"name": "new.key", "generic_secret": {"secret": {"environment_variable": "KEY"}}}
    context = parts[Part.CLUSTER]["new"]["transport_socket"]["typed_config"]
    assert context["sni"] == "new.example"
    assert "/etc/ca" not in str(parts[Part.CLUSTER])


def test_resources_are_what_envoy_reads(made: Resources) -> None:
    """Each is a message of its kind with the name that it goes by; what it refers to is there."""
    for part, message in (
        (Part.CLUSTER, cluster_pb2.Cluster),
        (Part.LISTENER, listener_pb2.Listener),
        (Part.ROUTES, route_pb2.RouteConfiguration),
    ):
        for name, one in made[part].items():
            assert message.FromString(one.body).name == name
    for part in made.values():
        for one in part.values():
            assert all(name in made[kind] for kind, name in one.needs), one.name
    assert {need for one in made[Part.CLUSTER].values() for need in one.needs} == {
        (Part.ENDPOINTS, "old"),
        (Part.SECRET, "new.key"),
        (Part.SECRET, "new.authorities"),
    }
    assert [one.looked_up for one in (made[Part.CLUSTER]["new"], made[Part.CLUSTER]["old"])] == [True, False]


def test_what_xds_protos_does_not_have_is_there_all_the_same(made: Resources) -> None:
    """Young extensions travel as TypedStruct, and a young field of a retry policy as it is written on the wire."""
    assert b"xds.type.v3.TypedStruct" in made[Part.LISTENER]["extproc"].body
    assert b"envoy.extensions.filters.http.ai_protocol_manager" in made[Part.LISTENER]["extproc"].body
    assert b"PriorityGroupClusterSpecifier" in made[Part.ROUTES]["extproc"].body
    routes = route_pb2.RouteConfiguration.FromString(made[Part.ROUTES]["extproc"].body)
    policies = [one.route.retry_policy for host in routes.virtual_hosts for one in host.routes if one.route.HasField("retry_policy")]
    assert policies
    assert all(policy.SerializeToString().endswith(b"\x70\x01") for policy in policies)


def test_the_core_profile_needs_no_such_way() -> None:
    """Everything that Envoy 1.36 has, xds-protos has."""
    given = written()
    given["rollouts"]["chat"] |= {"on_canary_failure": "answer"}
    for part in resources(discovered(loaded(given), EnvoySettings(profile=Profile.CORE))).values():
        assert all(b"TypedStruct" not in one.body for one in part.values())


def test_versions_are_of_what_is_said(made: Resources) -> None:
    """The same again, and after another Spec that changes one thing, one is another; what is the same is not made again."""
    again = resources(discovered(loaded(written()), EnvoySettings()), made)
    assert all(again[part][name] is one for part, found in made.items() for name, one in found.items())
    given = written()
    given["models"]["old"]["endpoint"] = {"host": "127.0.0.1", "port": 9002}
    moved = resources(discovered(loaded(given), EnvoySettings()), made)
    changed = {(part, name) for part, found in moved.items() for name, one in found.items() if made[part][name].version != one.version}
    assert changed == {(Part.ENDPOINTS, "old")}


def test_endpoints_of_a_file_are_for_xds_alone() -> None:
    """A file of Envoy's cannot have them, and says what to do; over xDS those that are ready are told."""
    given = written()
    given["models"]["old"] |= {"endpoint_slices": {"file": "old.json"}}
    del given["models"]["old"]["endpoint"]
    with pytest.raises(RenderError) as refused:
        envoy_yaml(loaded(given), EnvoySettings(), "a test")
    assert [problem.id for problem in refused.value.problems] == ["render.endpoint-slices"]
    parts = discovered(loaded(given), EnvoySettings(), ready={"old": (("10.0.0.1", 80), ("10.0.0.2", 80))}).of
    (locality,) = parts[Part.ENDPOINTS]["old"]["endpoints"]
    assert len(locality["lb_endpoints"]) == 2
    assert parts[Part.CLUSTER]["old"]["type"] == "EDS"
    assert discovered(loaded(given), EnvoySettings()).of[Part.ENDPOINTS]["old"]["endpoints"] == []


@pytest.mark.parametrize("tls", [None, RouterTls("ca", "name", "", "")])
def test_settings_travel_in_the_bootstrap(tls: RouterTls | None) -> None:
    """What an Envoy says of itself is read as it was written."""
    settings = EnvoySettings(
        ("unix:/r-0.sock", "10.0.0.1:99"), "unix:/c.sock", Profile.CORE, "/ca", 0.2, tls, sampler="unix:/s", feedback="h:1"
    )
    assert settings_told({METADATA: orjson.loads(orjson.dumps(told(settings)))}) == settings


@pytest.mark.parametrize(
    "change", [{"router": []}, {"router": ["no address"]}, {"profile": "new"}, {"message_timeout": "x"}, {"collector": 7}]
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    """With what is wrong, and how a bootstrap is written."""
    with pytest.raises(RenderError, match="render bootstrap"):
        settings_told({METADATA: {**told(EnvoySettings()), **change}})
    with pytest.raises(RenderError):
        settings_told({})


# ---------------------------------------------------------------------------------------------------------------------- fleet
class Said:
    """One Envoy that asks for everything, and accepts or refuses."""

    def __init__(self, fleet: Fleet, offer: Offer, name: str) -> None:
        self.fleet, self.name = fleet, name
        self.stream = Stream(delta=True)
        self.node = fleet.joins(name, self.stream, offer, 1.0)
        self.others = False

    def ask(self, refuses: Part | None = None) -> None:
        """Until nothing more is due; an answer of the kind that it `refuses` is refused."""
        for part in Part:
            names = frozenset() if part in (Part.CLUSTER, Part.LISTENER) else frozenset(self.stream._target[part])
            self.stream.hear(Heard(part, "", None, names), 2.0)
        self.take(refuses)

    def take(self, refuses: Part | None = None) -> None:
        while due := self.stream.due(3.0):
            for reply in due:
                refused = "no" if reply.part is refuses else None
                self.stream.hear(Heard(reply.part, reply.nonce, refused), 4.0)
                self.others |= self.fleet.follow(self.node)
                self.fleet.aim(self.node)


def offers(*ports: int) -> list[tuple[Spec, Resources]]:
    """Specs that differ in one endpoint."""
    found = []
    for port in ports:
        given = copy.deepcopy(written())
        given["models"]["old"]["endpoint"] = {"host": "127.0.0.1", "port": port}
        found.append((loaded(given), resources(discovered(loaded(given), EnvoySettings()))))
    return found


def test_a_refusal_keeps_the_last_good_one_for_everybody_but_who_has_the_new_one() -> None:
    """A is good; B is accepted by one Envoy and refused by another: that one goes back to A, and a new one gets A; the first keeps B.
    With C everybody is asked again."""
    (a, of_a), (b, of_b), (c, of_c) = offers(9001, 9002, 9003)
    fleet, offer = Fleet(), Offer(a, of_a)
    one, two = Said(fleet, offer, "one"), Said(fleet, offer, "two")
    for envoy in (one, two):
        envoy.ask()
        assert envoy.node.has_all == a.digest
    offer.spec, offer.new, offer.refused = b, of_b, None
    fleet.aim(one.node)
    one.take()
    assert one.node.has_all == b.digest
    offer.good_spec, offer.good = a, of_a
    fleet.aim(two.node)
    two.take(refuses=Part.ENDPOINTS)
    assert two.others
    assert two.node.refusal is not None
    assert (two.node.digest, two.node.has_all) == (a.digest, a.digest)
    fleet.aim(one.node)
    assert one.node.digest == b.digest
    three = Said(fleet, offer, "three")
    assert three.node.digest == a.digest
    offer.spec, offer.new, offer.refused = c, of_c, None
    for envoy in (one, two, three):
        fleet.aim(envoy.node)
        assert envoy.node.digest == c.digest
    assert two.node.refusal is None


def test_without_a_good_one_what_is_refused_stays() -> None:
    """The first configuration of all is refused in a part: the rest of it is in force, the refusal is told, nothing is repeated."""
    ((a, of_a),) = offers(9001)
    fleet = Fleet()
    one = Said(fleet, Offer(a, of_a), "one")
    one.ask(refuses=Part.LISTENER)
    assert one.node.has_all == ""
    assert one.node.document(9.0)["refused"] == {"part": "listeners", "version": one.stream.version(Part.LISTENER), "why": "no", "at": 4.0}
    assert Part.ROUTES in one.node.accepted


def test_a_refusal_ends_when_what_was_refused_has_gone_without_another_spec() -> None:
    """Endpoints of a file change under the same Spec: who refused them and accepts the next ones has everything again."""
    (a, of_a), (_, other_endpoints) = offers(9001, 9002)
    fleet, offer = Fleet(), Offer(a, of_a)
    one = Said(fleet, offer, "one")
    one.ask(refuses=Part.ENDPOINTS)
    assert offer.refused is not None
    offer.new = other_endpoints
    fleet.aim(one.node)
    one.take()
    assert offer.refused is None
    assert (one.node.refusal, one.node.has_all) == (None, a.digest)


def test_a_spec_of_which_nothing_can_be_made_leaves_the_last_one() -> None:
    """It is told why; the next one that can be made takes its place."""
    first, elsewhere = loaded(written()), copy.deepcopy(written())
    del elsewhere["models"]["old"]["endpoint"]
    server = XdsServer(parse_address("unix:/tmp/x.sock"), first)
    offer = server._offer(EnvoySettings())
    before = offer.new
    server.serve(loaded(elsewhere), False, {})
    assert server.problem is not None
    assert server.problem.id == "render.no-endpoint"
    assert offer.spec is first
    assert offer.new == before
    server.serve(first, True, {})
    assert server.problem is None
    assert offer.new[Part.PROCESSOR] != before[Part.PROCESSOR]


def test_settings_are_bounded() -> None:
    """Whoever invents settings fills no memory: those that nobody uses make room, and then there is none."""
    server = XdsServer(parse_address("unix:/tmp/x.sock"), loaded(written()))
    for number in range(MOST_SETTINGS + 3):
        server._offer(replace(EnvoySettings(), message_timeout=1.0 + number))
    assert len(server._offers) <= MOST_SETTINGS


def test_requests_and_answers_of_both_protocols() -> None:
    """Fields are where the protocol has them; kinds that we do not have are passed over."""
    url = TYPE_URLS[Part.ROUTES]
    world = discovery_pb2.DiscoveryRequest(type_url=url, resource_names=["a"], version_info="7", response_nonce="3")
    world.error_detail.message = "bad"
    assert messages.heard(world, False) == Heard(Part.ROUTES, "3", "bad", frozenset({"a"}), version="7")
    delta = discovery_pb2.DeltaDiscoveryRequest(
        type_url=url, resource_names_subscribe=["a"], resource_names_unsubscribe=["b"], initial_resource_versions={"a": "1"}
    )
    assert messages.heard(delta, True) == Heard(Part.ROUTES, "", None, frozenset({"a"}), frozenset({"b"}), has={"a": "1"})
    assert messages.heard(discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/other"), False) is None
    stream = Stream(delta=True)
    stream.aim(offers(9001)[0][1])
    stream.hear(Heard(Part.CLUSTER, ""), 0.0)
    (reply,) = stream.due(0.0)
    answer = discovery_pb2.DeltaDiscoveryResponse.FromString(messages.said(reply, True))
    assert {one.name for one in answer.resources} >= {"old", "new", contract.ROUTER_CLUSTER}
    assert {one.resource.type_url for one in answer.resources} == {TYPE_URLS[Part.CLUSTER]}
    whole = discovery_pb2.DiscoveryResponse.FromString(messages.said(reply, False))
    assert (whole.version_info, len(whole.resources), whole.nonce) == (reply.version, len(reply.resources), reply.nonce)


# --------------------------------------------------------------------------------------------------------------------- server
@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\xff\xff", "no request"),
        (b"", "node.id"),
        (discovery_pb2.DiscoveryRequest(node={"id": "edge"}).SerializeToString(), "render bootstrap"),
    ],
)
def test_who_is_no_envoy_of_ours_is_told_so(message: bytes, why: str, tmp_path: Path) -> None:
    """A stream that begins with what cannot be understood ends with the reason; the server goes on."""

    async def asked() -> grpc.aio.AioRpcError:
        server = XdsServer(parse_address(f"unix:{tmp_path}/x.sock"), loaded(written()))
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"unix:{tmp_path}/x.sock") as channel:
                stream = channel.stream_stream(contract.XDS_METHOD)(iter([message]))
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stream.read()
                assert server.fleet.nodes == {}
                return refused.value
        finally:
            await server.stop()

    error = asyncio.run(asked())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert why in (error.details() or "")


def test_a_port_that_is_open_to_the_network_is_refused() -> None:
    """Without mutual TLS nobody listens there, and the option is named as it is written."""
    app = typer.Typer()
    run.register(app)
    done = CliRunner().invoke(app, ["controller", "--spec", "x.yaml", "--xds", "0.0.0.0:9973"])
    assert isinstance(done.exception, SettingsError)
    assert [problem.path for problem in done.exception.problems] == ["--xds"]
