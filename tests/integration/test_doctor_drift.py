"""What Envoy says of its configuration against what the Spec renders: no difference where there is none, on every Envoy we promise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml

from extproc import contract, spec
from extproc.cli.doctor.compare import differences, dumped
from extproc.demo.processes import free_port
from extproc.domain import Spec
from extproc.render import EnvoySettings, Profile, RouterTls, envoy_snippet, envoy_yaml
from loadtest.geography import write_country_database
from tests.support import certificates
from tests.support.envoy_stand import OLD_ENVOY, a_rollout, document, merged, running_envoy

FULL_AND_CORE = [(Profile.FULL, None), (Profile.CORE, OLD_ENVOY)]


def release(directory: Path) -> Spec:
    """Everything that a configuration can have: geoip, cookies, keys, TLS, rewrites, hosts, several models and paths."""
    key = directory / "key"
    key.write_text("a-key")
    tls = {"host": "127.0.0.1", "port": 4433, "tls": {"sni": "models.example"}}
    models: dict[str, Any] = {
        "old": {"endpoint": {"host": "127.0.0.1", "port": 4001}, "credential": {"file": str(key)}},
        "new": {"endpoint": tls, "send_model": 'new "100%" é', "host_rewrite": "models.example"},
    }
    rollouts = {
        "chat": a_rollout("50%", {"paths": ["/v1/", "/v2/"], "models": ["old", "older"]}),
        "geo": a_rollout("5%", {"paths": ["/geo/"]}, [{"name": "germany", "country": ["DE"]}]),
        "host": a_rollout("100%", {"hosts": ["Llm.Example"], "paths": ["/host/"]}),
    }
    listener = {
        "kind": "edge",
        "address": "127.0.0.1",
        "port": free_port(),
        "admin_port": free_port(),
        "trusted_hops": 1,
        "geoip": {"database": str(write_country_database(directory / "country.mmdb"))},
    }
    path = directory / "release.yaml"
    path.write_bytes(orjson.dumps(document(listener, models, rollouts)))
    return spec.read(str(path))


def somebodys() -> dict[str, Any]:
    """An Envoy that was there before."""
    extensions = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "theirs",
        "route_config": {"virtual_hosts": [{"name": "theirs", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "redirect": {}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"static_resources": {"listeners": [{"name": "theirs", "filter_chains": [{"filters": [network]}]}], "clusters": []}}


@contextmanager
def config_of(text: str, directory: Path, admin: int, envoy: Path | None) -> Iterator[Any]:
    """The /config_dump of an Envoy that runs with this configuration."""
    path = directory / "envoy.yaml"
    path.write_text(text)
    with running_envoy(path, admin, envoy):
        yield httpx.get(f"http://127.0.0.1:{admin}/config_dump", trust_env=False, timeout=60).json()


@pytest.mark.parametrize(("profile", "envoy"), FULL_AND_CORE)
def test_no_difference_where_there_is_none(profile: Profile, envoy: Path | None, tmp_path: Path) -> None:
    """A whole configuration with all its parts, in both profiles; and the profile is recognised."""
    loaded = release(tmp_path)
    settings = EnvoySettings(contract.endpoints(f"unix:{tmp_path}/r.sock", 3), "127.0.0.1:9000", profile)
    with config_of(envoy_yaml(loaded, settings, "a test"), tmp_path, loaded.listener.admin_port, envoy) as config:
        there = dumped(config, tuple(loaded.rollouts))
        assert there.profile is profile
        assert there.digest == loaded.digest
        assert differences(loaded, settings, there) == []
        other = EnvoySettings(settings.router[:2], "127.0.0.1:9001", profile, message_timeout=0.1)
        found = {one.path for one in differences(loaded, other, there)}
    # Two addresses and a timeout; and what the circuit breaker lets through goes with the number of workers.
    assert len(found) == 6, found


@pytest.mark.parametrize(("profile", "envoy"), FULL_AND_CORE)
def test_what_somebody_else_has_around_ours_is_theirs(profile: Profile, envoy: Path | None, tmp_path: Path) -> None:
    """The snippet in a foreign configuration, with TLS to the router; a route put before ours, and one of ours taken away, are seen."""
    loaded = release(tmp_path)
    files = certificates.write(tmp_path)
    tls = RouterTls(str(files.ca), "localhost", str(files.client), str(files.client_key))
    settings = EnvoySettings(("127.0.0.1:9100",), f"unix:{tmp_path}/c.sock", profile, router_tls=tls)
    snippet = yaml.safe_load(envoy_snippet(loaded, settings, "a test"))
    host = merged(somebodys(), snippet, loaded.listener.port, loaded.listener.admin_port)
    with config_of(yaml.safe_dump(host), tmp_path, loaded.listener.admin_port, envoy) as config:
        assert differences(loaded, settings, dumped(config, tuple(loaded.rollouts))) == []
    resources = host["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    routes.insert(0, routes.pop(2))
    manager["http_filters"].reverse()
    changed = {"configs": [{"listener": resources["listeners"][0]}, *({"cluster": one} for one in resources["clusters"])]}
    found = differences(loaded, settings, dumped(changed, tuple(loaded.rollouts)))
    assert {one.path for one in found} == {"routes (order)", "http_filters (order)"}


def test_an_envoy_without_us(tmp_path: Path) -> None:
    """Every part is missing, and it says so."""
    loaded = release(tmp_path)
    found = differences(loaded, EnvoySettings(), dumped({"configs": []}, tuple(loaded.rollouts)))
    assert {"clusters.extproc_router", "clusters.extproc_collector", "http_filters.envoy.filters.http.ext_proc"} <= {
        one.path for one in found
    }
