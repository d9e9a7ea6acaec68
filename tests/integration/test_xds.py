"""xDS against the real Envoy, both protocols: models come, change and go under load; what is bad is refused, shown and harmless."""

from __future__ import annotations

import copy
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography import x509

from extproc import contract
from extproc.cli.doctor.checks.configuration import configuration
from extproc.cli.doctor.seen import EnvoySeen, SpecSeen
from extproc.render.discovered import Part
from extproc.render.settings import RouterTls
from tests.support import certificates
from tests.support.envoy_stand import Document, Model, a_rollout, document
from tests.support.xds_stand import Told, telling, until


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, Model]]:
    """Three that answer with their names."""
    made = {name: Model(name) for name in ("old", "new", "third")}
    yield made
    for model in made.values():
        model.close()


def a_spec(models: dict[str, Model]) -> Document:
    """One rollout on /v1/, everything else on the default."""
    return document(
        {"kind": "edge", "default_model": "old", "set_by": {"x-user-id": "the test"}},
        {name: {"endpoint": models[name].endpoint} for name in ("old", "new")},
        {"chat": a_rollout("50%", {"paths": ["/v1/"]})},
    )


@pytest.fixture(scope="module", params=[True, False], ids=["delta", "sotw"])
def told(request: pytest.FixtureRequest, models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One Envoy for each protocol."""
    with telling(tmp_path_factory.mktemp("xds"), a_spec(models), request.param) as stand:
        yield stand


@pytest.fixture
def spec(told: Told, models: dict[str, Model]) -> Document:
    """The Spec at the beginning, in force."""
    first = a_spec(models)
    first["listener"] |= {"address": "127.0.0.1", "port": told.spec.listener.port, "admin_port": told.spec.listener.admin_port}
    told.serve(first)
    told.has_all()
    return first


def with_third(spec: Document, **endpoint: object) -> Document:
    """A model more, at /third/."""
    more = copy.deepcopy(spec)
    more["models"]["third"] = {"endpoint": endpoint}
    more["models"]["third-canary"] = {"endpoint": spec["models"]["new"]["endpoint"]}
    more["rollouts"]["third"] = a_rollout("50%", {"paths": ["/third/"]}, stable="third", canary="third-canary", layer="model")
    return more


def test_a_model_is_added_changed_and_removed_under_load(told: Told, spec: Document, models: dict[str, Model]) -> None:
    """No request fails, neither of those who do not meet it nor of those who do; listeners stay as they are."""
    modified, in_place = told.stat("listener_modified"), told.stat("listener_in_place_updated")
    more = with_third(spec, **models["third"].endpoint)
    with told.load("/v1/chat", "/other", "/third/chat") as load:
        until(lambda: load.counts["old"] > 60)
        assert set(load.counts) == {"old"}
        told.serve(more)
        told.has_all()
        until(lambda: load.counts["third"] > 20)
        # The same model somewhere else, and behind a name that has to be looked up.
        moved = copy.deepcopy(more)
        moved["models"]["third"]["endpoint"] = {"host": "localhost", "port": models["new"].port}
        told.serve(moved)
        told.has_all()
        until(lambda: load.counts["new"] > 20)
        again = with_third(spec, **models["third"].endpoint)
        again["models"]["third"]["endpoint"]["port"] = models["third"].port
        told.serve(again)
        told.has_all()
        before = load.counts["third"]
        until(lambda: load.counts["third"] > before + 20)
        told.serve(spec)
        told.has_all()
        before = load.counts["old"]
        until(lambda: load.counts["old"] > before + 60)
    assert load.failed == []
    assert told.ask("/third/chat") == "old"
    until(lambda: "third" not in told.admin.get("/clusters").text)
    assert (told.stat("listener_modified"), told.stat("listener_in_place_updated")) == (modified, in_place)
    assert told.stat("update_rejected") == 0


def test_endpoints_change_without_a_new_cluster(told: Told, spec: Document, models: dict[str, Model]) -> None:
    """Replicas come and go by EDS: the cluster is not made anew, its connections stay."""
    replicas = copy.deepcopy(spec)
    replicas["models"]["old"] = {"endpoints": [models["old"].endpoint, models["third"].endpoint]}
    changed = told.stat("cluster_manager.cluster_modified")
    with told.load("/v1/chat") as load:
        told.serve(replicas)
        told.has_all()
        until(lambda: load.counts["third"] > 10)
        told.serve(spec)
        told.has_all()
    assert load.failed == []
    assert set(load.counts) == {"old", "third"}
    assert told.stat("cluster_manager.cluster_modified") == changed


def test_what_is_bad_is_refused_shown_and_harmless(told: Told, spec: Document, models: dict[str, Model]) -> None:
    """A listener that Envoy cannot make (its country database is not there): the last good configuration stays as a whole, routes and
    clusters of the new one included; the reason is told; the mended Spec comes into force."""
    bad = with_third(spec, **models["third"].endpoint)
    bad["listener"] = {**bad["listener"], "geoip": {"database": str(told.directory / "nowhere.mmdb")}}
    good = told.spec.digest
    with told.load("/v1/chat", "/third/chat") as load:
        told.serve(bad)
        refused = until(lambda: told.told()["refused"])
        assert refused["part"] == Part.LISTENER.value
        assert "nowhere.mmdb" in refused["why"]
        until(lambda: "third-canary" not in told.admin.get("/clusters").text)
        asked = load.counts["old"]
        until(lambda: load.counts["old"] > asked + 60)
        assert set(load.counts) <= {"old", "third"}
        node = told.told()
        assert node["spec_digest"] == good
        assert node["refused"] is not None
        refusals = told.server.refusals[Part.LISTENER]
        told.serve(with_third(spec, **models["third"].endpoint))
        told.has_all()
    assert load.failed == []
    assert told.told()["refused"] is None
    assert told.server.refusals[Part.LISTENER] == refusals
    assert told.ask("/third/chat") == "third"


def test_a_restarted_controller_finds_envoy_as_it_is(told: Told, spec: Document) -> None:
    """Envoy serves while nobody tells it anything, and comes back with the same versions: nothing is sent again, no listener drains."""
    versions, added = told.has_all()["versions"], told.stat("listener_manager.listener_modified")
    updates = told.stat("listener_manager.lds.update_success")
    with told.load("/v1/chat") as load:
        told.run(told.server.stop())
        before = load.counts["old"]
        until(lambda: load.counts["old"] > before + 40)
        told.restart()
        node = told.has_all()
    assert load.failed == []
    assert node["versions"] == versions
    # (State of the world has no way to say that names are fewer: then endpoints come again, the same.)
    assert {told.server.sent[part] for part in Part if part is not Part.ENDPOINTS} == {0}
    assert told.stat("listener_manager.listener_modified") == added
    assert told.stat("listener_manager.lds.update_success") == updates


def test_the_processor_is_switched_off_and_on(told: Told, spec: Document) -> None:
    """One resource changes and Envoy asks nobody any more; no other part is sent."""
    sent = dict(told.server.sent)
    streams = "ingress.ext_proc.streams_closed"
    assert told.ask("/v1/chat") == "old"
    asked = told.stat(streams)
    assert asked > 0
    told.serve(spec, off=True)
    until(lambda: told.server.sent[Part.PROCESSOR] > sent[Part.PROCESSOR] and told.has_all())

    def asks() -> bool:
        before = told.stat(streams)
        assert told.ask("/v1/chat") == "old"
        return told.stat(streams) > before

    # Envoy has accepted it, and its threads take it up.
    until(lambda: not asks())
    asked = told.stat(streams)
    for _ in range(5):
        assert told.ask("/v1/chat") == "old"
    assert told.stat(streams) == asked
    told.serve(spec)
    until(lambda: told.server.sent[Part.PROCESSOR] > sent[Part.PROCESSOR] + 1 and told.has_all())
    until(lambda: told.ask("/v1/chat") == "old" and told.stat(streams) > asked)
    assert {part: told.server.sent[part] - sent[part] for part in Part if part is not Part.PROCESSOR} == {
        part: 0 for part in Part if part is not Part.PROCESSOR
    }


def test_endpoints_of_a_file_are_told(told: Told, spec: Document, models: dict[str, Model]) -> None:
    """Those that are ready, and none where none is: a request then has nowhere to go, and another one soon has."""
    sliced = with_third(spec)
    sliced["models"]["third"] = {"endpoint_slices": {"file": "slices.json"}}
    told.serve(sliced, ready={"third": (("127.0.0.1", models["third"].port),)})
    told.has_all()
    until(lambda: told.ask("/third/chat") == "third")
    told.serve(sliced, ready={"third": ()})
    until(lambda: told.ask("/third/chat") == "503")
    told.serve(sliced, ready={"third": (("127.0.0.1", models["new"].port),)})
    until(lambda: told.ask("/third/chat") == "new")


def test_doctor_compares_nothing_with_an_envoy_that_is_told(told: Told, spec: Document) -> None:
    """It sees by the cluster of the bootstrap that there is no file to compare, and says where to look."""
    config = told.admin.get("/config_dump").json()
    envoy = EnvoySeen(told.address, {}, {}, config, {}, {}, {}, None)
    seen: Any = SimpleNamespace(envoy=envoy, spec=SpecSeen("release.yaml", told.spec, ()))
    assert [found.id for found in configuration(seen)] == ["drift.xds"]


def test_mutual_tls_and_models_behind_tls(models: dict[str, Model], tmp_path: Path) -> None:
    """Envoy and controller know each other by certificate; authorities of a model are a secret by reference to a file, and a rotation of
    that file is followed without anybody telling anything. So are Envoy's own certificate towards the controller, the controller's, and
    the authorities of both: an Envoy that has to come again does so with the new ones, and was never restarted."""
    files, first, second = certificates.Turning(tmp_path / "files"), trustme.CA(), trustme.CA()
    files.turn(first, [first])
    away = certificates.write(tmp_path / "away")
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "ca.pem").write_bytes(away.ca.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server, files.server_key)
    secret = Model("secret", context)
    try:
        behind = a_spec(models)
        behind["models"]["old"] = {
            "endpoint": {"host": "127.0.0.1", "port": secret.port, "tls": {"sni": "localhost", "ca_file": str(trusted / "ca.pem")}}
        }
        tls = RouterTls(str(files.ca), "localhost", str(files.client), str(files.client_key))
        with telling(tmp_path, behind, True, files.security, tls) as told:
            assert told.ask("/v1/chat") == "503"
            assert told.stat(f"{contract.XDS_CLUSTER}.ssl.handshake") >= 1
            # Moved into place, as whoever rotates certificates does.
            (trusted / "next.pem").write_bytes(files.ca.read_bytes())
            (trusted / "next.pem").rename(trusted / "ca.pem")
            until(lambda: told.ask("/v1/chat") == "secret")
            assert sum(told.server.refusals.values()) == 0
            # All at once and without an overlap: what is connected stays, and nothing that is old would be believed after this.
            files.turn(second, [second])
            until(lambda: shown_at(told.address, files) == certificates.serial(files.server))
            until(lambda: f"{certificates.serial(files.client):x}" in told.admin.get("/certs").text.lower())
            assert told.told()["connected"]
            told.restart()
            told.has_all()
            assert told.ask("/v1/chat") == "secret"
    finally:
        secret.close()


def shown_at(address: str, files: certificates.Turning) -> int | None:
    """Serial number of the certificate that a new connection meets there; None as long as it is not believed."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=files.ca)
    try:
        with context.wrap_socket(socket.create_connection((host, int(port)), 30.0), server_hostname="localhost") as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(True) or b"").serial_number
    except ssl.SSLError:
        return None
