"""Traces in the rendered configuration: off unless asked for, whose word counts, where spans go, and which files and ports that takes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from extproc import contract, spec
from extproc.demo.envoy import find_envoy
from extproc.domain import Spec, Tls, Tracing
from extproc.plan import kubernetes
from extproc.plan.kubernetes.mounts import files_of
from extproc.render import EnvoySettings, Profile, RenderError, envoy_document, envoy_snippet, envoy_yaml
from extproc.render.discovered import Part, discovered
from extproc.render.tracing import told_of_model
from tests.support.envoy_stand import OLD_ENVOY, a_rollout, document
from tests.support.manifests import changed

OTLP = {"host": "otel-collector", "port": 4317}
PROFILES = pytest.mark.parametrize("profile", Profile)
KNOWN = {
    "api.openai.com": "openai",
    "acme.openai.azure.com": "azure.ai.openai",
    "api.anthropic.com": "anthropic",
    "europe-west4-aiplatform.googleapis.com": "gcp.vertex_ai",
    "bedrock-runtime.eu-central-1.amazonaws.com": "aws.bedrock",
    "acme-1.eu-central-1.elb.amazonaws.com": None,
    "notapi.openai.com.example": None,
    "vllm.internal": None,
}
"""Host of a model -> who answers there."""


TRACED = {"otlp": OTLP, "share": "5%"}


def a_spec(host: str = "127.0.0.1", tracing: Any = TRACED, **listener: Any) -> Spec:
    """Traced behind an edge, unless something else is said."""
    blocks = {name: {"endpoint": {"host": host, "port": 1}} for name in ("old", "new")}
    rollouts = {"chat": a_rollout("50%", {"paths": ["/v1/"]})}
    rollouts["prompt"] = a_rollout("50%", {"paths": ["/v1/"]}, layer="prompt", stable="a", canary="b")
    said = {"kind": "edge", **({"tracing": tracing} if tracing is not None else {})} | listener
    return spec.load(orjson.dumps(document(said, blocks, rollouts)).decode())


def snippet(given: Spec, profile: Profile = Profile.FULL) -> dict[str, Any]:
    return dict(yaml.safe_load(envoy_snippet(given, EnvoySettings(profile=profile), "a test")))


def cluster(given: Spec, name: str) -> dict[str, Any]:
    (found,) = (one for one in snippet(given)["clusters"] if one["name"] == name)
    return dict(found)


def removed_early(given: Spec, profile: Profile) -> set[str]:
    (mutations,) = snippet(given, profile)["http_connection_manager"]["early_header_mutation_extensions"]
    return {one["remove"] for one in mutations["typed_config"]["mutations"] if "remove" in one}


@PROFILES
def test_without_the_block_there_is_nothing_of_it(profile: Profile) -> None:
    """No tag, no cluster, no filter before the router, and a client's trace context passes as it did."""
    on, off = a_spec(), a_spec(tracing=None)
    with_traces, without = (envoy_yaml(given, EnvoySettings(profile=profile), "a test") for given in (on, off))
    assert off.listener.tracing is None
    for word in ("tracing", "trace", contract.TRACES_CLUSTER, contract.MODEL_NAMESPACE):
        assert word in with_traces
        assert word not in without


@PROFILES
@pytest.mark.parametrize(
    ("listener", "believed"), [({}, False), ({"set_by": {"traceparent": "the gateway"}}, True), ({"kind": "internal"}, True)]
)
def test_whose_word_counts(listener: dict[str, Any], believed: bool, profile: Profile) -> None:
    """A stranger's does not; that of callers inside, and of somebody whom the Spec names, does."""
    given = a_spec(**listener)
    tracing = snippet(given, profile)["http_connection_manager"]["tracing"]
    assert tracing["client_sampling"]["value"] == 0
    assert tracing["random_sampling"] == tracing["overall_sampling"] == {"value": 100 if believed else 5}
    sampler = tracing["provider"]["typed_config"].get("sampler")
    assert (sampler is not None) is believed
    if sampler is not None:
        ratio = sampler["typed_config"]["wrapped_sampler"]["typed_config"]
        assert ratio["sampling_percentage"] == {"numerator": 500, "denominator": "TEN_THOUSAND"}
    gone = removed_early(given, profile)
    assert ("traceparent" in gone) is ("tracestate" in gone) is (not believed and profile is Profile.CORE)
    assert ("x-client-trace-id" in gone) is (given.listener.kind.value == "edge")


def test_tags_are_of_every_layer_and_never_of_a_header() -> None:
    """What was decided, by metadata alone; the unit is not among it, and in the core profile nothing that Envoy 1.36 does not know."""
    for profile in Profile:
        tags = {one["tag"]: one for one in snippet(a_spec(), profile)["http_connection_manager"]["tracing"]["custom_tags"]}
        assert {"extproc.rollout", "extproc.arm", "extproc.prompt.rollout", "extproc.prompt.arm", "gen_ai.request.model"} <= set(tags)
        assert not any("unit" in tag or "request_header" in one for tag, one in tags.items())
        by_value = {tag for tag, one in tags.items() if "value" in one}
        assert by_value == ({"http.url"} if profile is Profile.FULL else set())


@pytest.mark.parametrize(("host", "provider"), KNOWN.items())
def test_who_answers_is_named_where_it_is_known(host: str, provider: str | None) -> None:
    """By the host alone, and by nothing like it."""
    given = a_spec(host)
    told = told_of_model(given, given.models["new"], given.models["new"].backends[0])
    said = told["metadata"]["filter_metadata"][contract.MODEL_NAMESPACE]
    assert said == {"name": "new", "request": "new"} | ({"provider": provider} if provider is not None else {})


def test_tls_towards_the_collector_is_that_of_other_endpoints() -> None:
    """The host is its name, and the system's authorities are believed, unless the Spec says so otherwise."""
    given = a_spec(tracing={"otlp": OTLP | {"tls": {"ca_file": "/etc/otel/ca.crt"}}})
    assert given.listener.tracing == Tracing("otel-collector", 4317, Tls("otel-collector", "/etc/otel/ca.crt"), 0.01)
    socket = cluster(given, contract.TRACES_CLUSTER)["transport_socket"]["typed_config"]
    assert socket["sni"] == "otel-collector"
    assert socket["common_tls_context"]["validation_context"]["trusted_ca"] == {"filename": "/etc/otel/ca.crt"}
    assert socket["common_tls_context"]["alpn_protocols"] == ["h2"]
    parts = discovered(given, EnvoySettings())
    assert parts.of[Part.CLUSTER][contract.TRACES_CLUSTER]["type"] == "STRICT_DNS"
    assert f"{contract.TRACES_CLUSTER}.authorities" in parts.of[Part.SECRET]


def test_its_cluster_is_no_models() -> None:
    """A model cannot take the name."""
    blocks = {"old": {"endpoint": {"host": "h", "port": 1}}, "new": {"cluster": "extproc_traces", "endpoint": {"host": "h", "port": 1}}}
    written = document({"kind": "edge"}, blocks, {"chat": a_rollout("50%", {"paths": ["/v1/"]})})
    with pytest.raises(RenderError, match="extproc's own"):
        envoy_document(spec.load(orjson.dumps(written).decode()), EnvoySettings())


@pytest.mark.parametrize(
    ("profile", "envoy", "kind"), [(Profile.FULL, None, "internal"), (Profile.CORE, None, "edge"), (Profile.CORE, OLD_ENVOY, "internal")]
)
def test_envoy_accepts_it(profile: Profile, envoy: Path | None, kind: str, tmp_path: Path) -> None:
    """full on Envoy 1.40, core on 1.36.4 and 1.40; with TLS. tests/integration runs the others."""
    config = tmp_path / "envoy.yaml"
    given = a_spec(tracing={"otlp": OTLP | {"tls": True}, "share": "0.29%"}, kind=kind)
    config.write_text(envoy_yaml(given, EnvoySettings(profile=profile), "a test"))
    command = [str(envoy or find_envoy()), "--mode", "validate", "-c", str(config)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("name", ["chatbot", "content-generation"])
def test_manifests_let_envoy_reach_the_collector(name: str) -> None:
    """In every overlay: its port is open to pods with an Envoy and to no other, its authority is mounted, its block is in the patches."""

    def traced(values: Any) -> None:
        values["listener"]["tracing"] = {"otlp": OTLP | {"tls": {"ca_file": "/etc/otel/ca.crt"}}}

    one = changed(name, traced)
    assert "/etc/otel/ca.crt" in files_of(one, "envoy")
    seen = 0
    for path, text in kubernetes.files(one).items():
        if path.endswith(("/envoy-filter.yaml", "/patch-policy.yaml", "/envoy.yaml")):
            assert "OpenTelemetryConfig" in text, path
        if path.endswith("/network.yaml"):
            for policy in yaml.safe_load_all(text):
                ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", ())}
                component = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                assert (OTLP["port"] in ports) is (component != "brain"), path
                seen += component != "brain"
    assert seen == 4


def test_a_cloud_run_service_has_no_file_for_its_authority() -> None:
    """As for models: it would have to be in the image."""

    def traced(values: Any) -> None:
        values["listener"]["tracing"] = {"otlp": OTLP | {"tls": {"ca_file": "/etc/otel/ca.crt"}}}

    with pytest.raises(RenderError, match="would have to be in the image"):
        kubernetes.files(changed("search", traced))
