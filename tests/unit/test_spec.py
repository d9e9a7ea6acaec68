"""The Spec: what the example says, what every fault is answered with, what is worth knowing, and the commands around it."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from extproc import spec
from extproc.cli.write import filled_template
from extproc.domain import (
    AllOf,
    Among,
    ApplicationType,
    Backend,
    Ceiling,
    Cohort,
    Cookie,
    Endpoint,
    Fact,
    FactKind,
    Gate,
    Geoip,
    Identity,
    Infrastructure,
    ListenerKind,
    Match,
    PathRewrite,
    Phase,
    RandomShare,
    Rollout,
    Source,
    SourceKind,
    Spec,
    StartMode,
    Tls,
)
from extproc.errors import SettingsError, SpecError
from extproc.spec.bundle import bundled

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "envoy" / "release.yaml"
FAULTS = Path(__file__).parent / "spec_faults"
SEVERAL = "all-at-once"
"""The one file with many faults; every other one has exactly one."""
HOUR = 3600.0


def example() -> Any:
    """The example's plain values, to change."""
    return yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))


def load(values: Any) -> Spec:
    """The Spec of plain values."""
    return spec.load(yaml.safe_dump(values, sort_keys=False))


def faults_of(text: str) -> tuple[Any, ...]:
    """The problems of a text that must have some."""
    with pytest.raises(SpecError) as caught:
        spec.load(text)
    return caught.value.problems


# -------------------------------------------------------------------------------------------------------------------- the example
def test_the_example_is_what_init_writes() -> None:
    """People who read envoy/release.yaml and people who run `extproc init` start from the same text."""
    assert EXAMPLE.read_text(encoding="utf-8") == filled_template("chat", "gpt-4o", "gpt-5-mini")


def test_the_example_says_that_it_is_no_envoy_configuration() -> None:
    """Whoever finds the file in a folder called envoy is told what reads it."""
    first = EXAMPLE.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# This is an extproc Spec, not an Envoy configuration")


def test_the_examples_rollout() -> None:
    """1, 5, 25, 50, 100 % for staff, one country, everyone; users by header, API key, cookie; margins narrow by phase."""
    rollout = spec.read(str(EXAMPLE)).rollouts["gpt-5-mini"]
    assert [phase.share for phase in rollout.phases] == [0.01, 0.05, 0.25, 0.5, 1.0]
    assert [phase.name for phase in rollout.phases] == ["1%", "5%", "25%", "50%", "100%"]
    errors = [gate for phase in rollout.phases for gate in phase.gates if gate.measure == "errors"]
    assert [gate.margin for gate in errors] == [0.05, 0.01, 0.005, 0.0025, 0.0025]
    slow = Ceiling("latency_p95", 6.0)
    assert [phase.ceilings for phase in rollout.phases] == [(Ceiling("errors", 0.05), slow)] * 4 + [(Ceiling("errors", 0.02), slow)]
    assert [(phase.min_dwell, phase.max_dwell) for phase in rollout.phases] == [
        (0.5 * HOUR, 24 * HOUR), (HOUR, 24 * HOUR), (2 * HOUR, 24 * HOUR), (4 * HOUR, 48 * HOUR), (12 * HOUR, 72 * HOUR)
    ]  # fmt: skip
    assert [phase.min_units for phase in rollout.phases] == [50, 200, 500, 1000, 1000]
    assert {phase.min_requests for phase in rollout.phases} == {100}
    shares = (0.01, 0.05, 0.25, 0.5, 1.0)
    assert rollout.cohorts == (
        Cohort("staff", Among(Fact(FactKind.HEADER, "x-user-tier"), ("internal",)), None, shares),
        Cohort("germany", Among(Fact(FactKind.HEADER, "x-geo-country"), ("DE",)), None, shares),
        Cohort("everyone", None, None, shares),
    )
    assert rollout.unit.kind == "user"
    assert rollout.unit.sources == (
        Source(SourceKind.HEADER, "x-user-id"), Source(SourceKind.API_KEY, "authorization"), Source(SourceKind.COOKIE, "llm_uid")
    )  # fmt: skip
    assert rollout.unit.cookie == Cookie("llm_uid", 365 * 86400, "Path=/; HttpOnly; Secure; SameSite=Lax")
    assert rollout.match == Match((), ("/v1/chat/completions",), ("gpt-4o",))
    assert (rollout.stable, rollout.canary, rollout.layer, rollout.salt) == ("gpt-4o", "gpt-5-mini", "model", "gpt-5-mini")
    assert (rollout.holdback, rollout.alpha, rollout.start) == (0.0, 0.05, StartMode.AUTOMATIC)


def test_the_examples_application_listener_and_models() -> None:
    """Durations are seconds, shares fractions, money Decimal; what is not written has its default."""
    loaded = spec.read(str(EXAMPLE))
    application, listener = loaded.application, loaded.listener
    assert (application.name, application.type, application.infrastructure) == ("chat", ApplicationType.CHATBOT, Infrastructure.KUBERNETES)
    assert (application.daily_requests, application.daily_units) == (2_000_000, 50_000)
    assert (application.sla.latency_p99, application.sla.ttft, application.sla.uptime) == (8.0, 2.0, 0.999)
    assert (listener.kind, listener.address, listener.port, listener.admin_port) == (ListenerKind.EDGE, "0.0.0.0", 8080, 9901)
    assert (listener.trusted_hops, listener.default_model, listener.geoip) == (0, None, Geoip("/etc/extproc/country.mmdb", None, None))
    assert listener.set_by == {"x-user-id": "the API gateway", "x-user-tier": "the API gateway"}
    assert loaded.identity == Identity("x-user-tier", "x-geo-country", "x-geo-region", "x-geo-asn")
    stable, canary = loaded.models["gpt-4o"], loaded.models["gpt-5-mini"]
    endpoint = Endpoint("api.openai.com", 443, Tls("api.openai.com", None))
    assert stable.backends == (Backend("gpt-4o", 1.0, (endpoint,), "api.openai.com"),)
    assert (stable.path_rewrite, stable.send_model, stable.affinity) == (None, None, None)
    assert canary.send_model == "gpt-5-mini"
    assert stable.credential is not None
    assert (stable.credential.header, stable.credential.prefix, stable.credential.env, stable.credential.file) == (
        "authorization", "Bearer ", "OPENAI_API_KEY", None
    )  # fmt: skip
    assert stable.prices is not None
    prices = (stable.prices.input, stable.prices.cached_input, stable.prices.output)
    assert prices == (Decimal("2.50"), Decimal("1.25"), Decimal("10.00"))
    assert all(isinstance(price, Decimal) for price in prices)


def test_what_is_written_wins_over_every_default() -> None:
    """No default hides a value that the operator gave."""
    values = example()
    values["listener"] |= {"address": "::1", "trusted_hops": 2, "default_model": "gpt-4o", "admin_port": 9000, "kind": "internal"}
    values["models"]["gpt-4o"] = {
        "cluster": "stable-pool",
        "endpoints": [{"host": "a.example", "port": 1}, {"host": "b.example", "port": 2, "tls": False}],
        "host_rewrite": "c.example",
        "path_rewrite": {"prefix": "/v1", "to": "/openai/v1"},
        "prices": {"input": "$1", "output": "$2"},
    }
    values["models"]["gpt-5-mini"]["endpoint"]["tls"] = {"sni": "sni.example", "ca_file": "/ca.pem"}
    values["rollouts"]["gpt-5-mini"] |= {"holdback": "2%", "alpha": 0.01, "start": "manual", "salt": "s", "layer": "other"}
    values["rollouts"]["gpt-5-mini"]["unit"]["cookie"] = {"max_age": "30d", "secure": False, "same_site": "Strict"}
    values["rollouts"]["gpt-5-mini"]["cohorts"][0] = {"name": "flag", "header": {"X-Flag": "on"}, "random": "12.5%", "tier": "vip"}
    values["rollouts"]["gpt-5-mini"]["phases"][0] |= {
        "name": "first", "min_requests": 7, "gates": {"errors": {"margin": "3%", "weight": 1}}, "ceilings": {}
    }  # fmt: skip
    loaded = load(values)
    stable, canary, rollout = loaded.models["gpt-4o"], loaded.models["gpt-5-mini"], loaded.rollouts["gpt-5-mini"]
    assert (loaded.listener.address, loaded.listener.trusted_hops, loaded.listener.default_model) == ("::1", 2, "gpt-4o")
    assert (loaded.listener.kind, loaded.listener.admin_port) == (ListenerKind.INTERNAL, 9000)
    endpoints = (Endpoint("a.example", 1, None), Endpoint("b.example", 2, None))
    assert stable.backends == (Backend("stable-pool", 1.0, endpoints, "c.example"),)
    assert stable.path_rewrite == PathRewrite("/v1", "/openai/v1")
    assert stable.prices is not None
    assert stable.prices.cached_input == Decimal(1), "cached input costs as much as input unless the Spec says otherwise"
    assert canary.backends[0].endpoints[0].tls == Tls("sni.example", "/ca.pem")
    assert (rollout.holdback, rollout.alpha, rollout.start, rollout.salt, rollout.layer) == (0.02, 0.01, StartMode.MANUAL, "s", "other")
    assert rollout.unit.cookie == Cookie("llm_uid", 30 * 86400, "Path=/; HttpOnly; SameSite=Strict")
    tier, flag = (Among(Fact(FactKind.HEADER, name), values) for name, values in (("x-user-tier", ("vip",)), ("x-flag", ("on",))))
    assert rollout.cohorts[0].selector == AllOf((tier, flag, RandomShare(0.125)))
    assert rollout.phases[0] == Phase("first", 0.01, 0.5 * HOUR, 24 * HOUR, 50, 7, (Gate("errors", 0.03, 1.0),), ())


def test_a_cookie_is_safe_unless_told_otherwise() -> None:
    """Another lifetime takes no protection away."""
    values = example()
    values["rollouts"]["gpt-5-mini"]["unit"]["cookie"] = {"max_age": "1d"}
    assert load(values).rollouts["gpt-5-mini"].unit.cookie == Cookie("llm_uid", 86400, "Path=/; HttpOnly; Secure; SameSite=Lax")


def test_without_tls_the_host_header_stays() -> None:
    """A model in the own network sees the host that the client named."""
    values = example()
    values["models"]["gpt-4o"]["endpoint"] = {"host": "10.0.0.1", "port": 80}
    assert load(values).models["gpt-4o"].backends[0].host_rewrite is None


def test_digest_and_fingerprint_follow_meaning() -> None:
    """Comments and order change nothing; a value changes the digest, and only that rollout's fingerprint."""
    values = example()
    values["rollouts"]["other"] = copy.deepcopy(values["rollouts"]["gpt-5-mini"]) | {"layer": "second"}
    before = load(values)
    assert spec.load(yaml.safe_dump(values, sort_keys=True) + "# a comment\n").digest == before.digest
    values["rollouts"]["other"]["salt"] = "new-salt"
    after = load(values)
    assert after.digest != before.digest
    assert re.fullmatch("[0-9a-f]{16}", after.digest)
    prints = {name: (spec.fingerprint(before.rollouts[name]), spec.fingerprint(after.rollouts[name])) for name in before.rollouts}
    assert prints["gpt-5-mini"][0] == prints["gpt-5-mini"][1]
    assert prints["other"][0] != prints["other"][1]


# ------------------------------------------------------------------------------------------------------------------------ faults
def fault_names() -> list[str]:
    return sorted(path.stem for path in FAULTS.glob("*.yaml"))


@pytest.mark.parametrize("name", fault_names())
def test_a_bad_file_is_answered_with_its_exact_text(name: str) -> None:
    """Each file has one fault; path, line, message, id and hint are what a person reads at 3 a.m."""
    with pytest.raises(SpecError) as caught:
        spec.read(str(FAULTS / f"{name}.yaml"))
    problems = caught.value.problems
    assert "\n".join(map(str, problems)) == (FAULTS / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
    if name != SEVERAL:
        (problem,) = problems
        assert name.startswith(problem.id.removeprefix("spec.")), "a file is named after the id of its problem"


def test_every_problem_of_this_room_has_a_bad_file() -> None:
    """A rule comes with the file that breaks it; the text that is too large is made below."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "extproc" / "spec").rglob("*.py"))
    ids = set(re.findall(r'"(spec\.[a-z-]+)"', sources))
    shown = {match for name in fault_names() for match in re.findall(r"\[(spec\.[a-z-]+)\]", (FAULTS / f"{name}.txt").read_text())}
    assert len(ids) > 50
    assert ids - {"spec.too-large"} == shown
    assert {path.stem for path in FAULTS.glob("*.txt")} == set(fault_names())


def test_a_text_that_is_too_large_is_not_read() -> None:
    """A Spec is written by people; megabytes are a mistake, and PyYAML would parse them for seconds."""
    (problem,) = faults_of("#" * ((1 << 20) + 1))
    assert str(problem) == "spec: 1048577 characters [spec.too-large]\n    a Spec has at most 1048576"


def test_bytes_that_no_text_holds_are_shown_with_their_line() -> None:
    """A NUL byte, as a broken copy leaves it, cannot be seen in an editor."""
    (problem,) = faults_of("version: 1\napplication:\n  name: ch\0at\n")
    assert str(problem) == "spec (line 3): holds the character '\\x00' [spec.yaml]\n    YAML is printable text: delete it"


def test_brackets_without_end_are_told_as_such() -> None:
    """Deeper than Python's stack: still one problem, no traceback."""
    (problem,) = faults_of("a: " + "[" * 5000)
    assert problem.id == "spec.too-deep"


def test_all_faults_of_a_file_come_at_once_in_the_order_of_lines() -> None:
    """Nobody mends a file one message at a time: shape, values, references and order are reported together."""
    problems = faults_of((FAULTS / f"{SEVERAL}.yaml").read_text(encoding="utf-8"))
    lines = [problem.line for problem in problems]
    assert lines == sorted(lines)
    shape = {"spec.choice", "spec.value", "spec.unknown-key", "spec.missing-key"}
    across = {"spec.unknown-model", "spec.reserved-header", "spec.unreachable-cohort", "spec.dwell-order", "spec.shares-not-rising"}
    across |= {"spec.unguarded-phase", "spec.unknown-measure"}
    assert {problem.id for problem in problems} == shape | across


def test_a_damaged_block_accuses_no_other() -> None:
    """What depends on a block that cannot be read is not judged: a slip in a model's key does not make the model unknown."""
    values = example()
    values["models"]["gpt-5-mini"]["prics"] = {}
    rollout = values["rollouts"]["gpt-5-mini"]
    rollout["unit"] = {"sources": [{"cookies": "llm_uid"}], "cookie": {"max_age": "1d"}}
    rollout["cohorts"][2] = {"name": "everyone", "contry": ["DE"]}
    rollout["cohorts"].append({"name": "late", "tier": ["x"]})
    rollout["phases"][4]["share"] = 100
    rollout["holdback"] = 5
    rollout["phases"][4]["ceilings"] = {}
    problems = faults_of(yaml.safe_dump(values, sort_keys=False))
    assert sorted((problem.id, problem.path) for problem in problems) == [
        ("spec.unknown-key", "models.gpt-5-mini.prics"),
        ("spec.unknown-key", "rollouts.gpt-5-mini.cohorts[2].contry"),
        ("spec.unknown-key", "rollouts.gpt-5-mini.unit.sources[0].cookies"),
        ("spec.value", "rollouts.gpt-5-mini.holdback"),
        ("spec.value", "rollouts.gpt-5-mini.phases[4].share"),
    ]


def test_models_that_cannot_be_read_make_no_name_unknown() -> None:
    """One fault is told once: a list where the models belong says nothing about the names of rollouts."""
    values = example()
    values["models"] = list(values["models"])
    assert [(problem.id, problem.path) for problem in faults_of(yaml.safe_dump(values))] == [("spec.value", "models")]


def test_at_half_stable_is_enough_to_compare_with() -> None:
    """A phase of exactly 50 % needs no ceiling: control is as large as canary."""
    values = example()
    values["rollouts"]["gpt-5-mini"]["phases"][3]["ceilings"] = {}
    assert load(values).rollouts["gpt-5-mini"].phases[3].ceilings == ()


@pytest.mark.parametrize("name", ["bool", "key", "tlsblock", "credential", "phases"])
def test_names_that_are_words_of_the_format_are_told_apart(name: str) -> None:
    """A model may be called as a key is: path, line and hint of its problems stay its own."""
    values = example()
    values["models"][name] = {"endpoint": {"host": "x", "port": "1"}}
    text = yaml.safe_dump(values, sort_keys=False)
    (problem,) = faults_of(text)
    assert problem.path == f"models.{name}.endpoint.port"
    assert problem.hint == "Port."
    assert text.splitlines()[problem.line - 1].strip() == "port: '1'"


@pytest.mark.parametrize(
    ("guard", "problems"),
    [({"holdback": "2%"}, 0), ({"holdback": "0%"}, 1), ({}, 1)],
)
def test_above_half_something_must_watch(guard: dict[str, str], problems: int) -> None:
    """Above 50 % stable is too small to compare with: a ceiling or a holdback has to be there."""
    values = example()
    values["rollouts"]["gpt-5-mini"] |= guard
    values["rollouts"]["gpt-5-mini"]["phases"][4]["ceilings"] = {}
    if problems:
        assert [problem.id for problem in faults_of(yaml.safe_dump(values))] == ["spec.unguarded-phase"] * problems
    else:
        assert load(values).rollouts["gpt-5-mini"].holdback == 0.02


@pytest.mark.parametrize(
    ("change", "overlap"),
    [
        ({}, True),
        ({"layer": "prompt"}, False),
        ({"match": {"paths": ["/v1/embeddings"]}}, False),
        ({"match": {"paths": ["/v1"]}}, True),
        ({"match": {"models": ["gpt-3"]}}, False),
        ({"match": {"hosts": ["a.example"]}}, True),
        ({"match": {}}, True),
    ],
)
def test_two_rollouts_of_a_layer_share_no_request(change: dict[str, Any], overlap: bool) -> None:
    """A request is in at most one rollout of a layer; where one condition separates them, that is enough."""
    values = example()
    values["rollouts"]["second"] = copy.deepcopy(values["rollouts"]["gpt-5-mini"]) | change
    if overlap:
        assert [problem.id for problem in faults_of(yaml.safe_dump(values, sort_keys=False))] == ["spec.overlap"]
    else:
        assert set(load(values).rollouts) == {"gpt-5-mini", "second"}


def test_hosts_have_no_case() -> None:
    """Host names are compared and kept in lower case."""
    values = example()
    first = values["rollouts"]["gpt-5-mini"]
    first["match"]["hosts"] = ["Chat.Example"]
    assert load(values).rollouts["gpt-5-mini"].match.hosts == ("chat.example",)
    values["rollouts"]["second"] = copy.deepcopy(first) | {"match": {"hosts": ["chat.example"]}}
    assert [problem.id for problem in faults_of(yaml.safe_dump(values, sort_keys=False))] == ["spec.overlap"]


def test_dates_and_numbers_in_names_stay_words() -> None:
    """gpt-4o-2024-05-13 is a model's name; a bare date is a word too, not a date."""
    text = EXAMPLE.read_text(encoding="utf-8").replace("send_model: gpt-5-mini", "send_model: 2024-05-13")
    assert spec.load(text).models["gpt-5-mini"].send_model == "2024-05-13"


def test_a_file_that_cannot_be_read_is_a_setting_that_does_not_fit(tmp_path: Path) -> None:
    """Missing, a directory, not UTF-8: the path is named, and it is no fault of the Spec."""
    (tmp_path / "latin").write_bytes(b"name: caf\xe9\n")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "latin"):
        with pytest.raises(SettingsError) as caught:
            spec.read(str(path))
        assert [(problem.id, problem.path) for problem in caught.value.problems] == [("settings.spec-file", str(path))]


# ------------------------------------------------------------------------------------------------------------------- blind spots
def spots_of(values: Any) -> list[tuple[str, str]]:
    return [(spot.id, spot.path) for spot in spec.blind_spots(load(values))]


def test_the_example_has_only_the_blind_spots_of_this_version() -> None:
    """What the example leaves open is what this version cannot see, and the capacity that stable must keep."""
    assert spots_of(example()) == [
        ("blind.no-readiness", "models.gpt-5-mini"),
        ("blind.not-watched", "rollouts.gpt-5-mini"),
        ("blind.no-comparison", "rollouts.gpt-5-mini.phases[4]"),
        ("blind.no-gate", "rollouts.gpt-5-mini"),
        ("blind.keep-stable", "rollouts.gpt-5-mini"),
    ]


@pytest.mark.parametrize(
    ("header", "reader"), [("x-user-id", "the unit of gpt-5-mini"), ("x-user-tier", "cohort staff"), ("x-geo-country", "cohort germany")]
)
def test_blind_nobody_sets(header: str, reader: str) -> None:
    """At an edge a header that nobody sets is stripped: what reads it never matches. Inside, clients are trusted."""
    values = example()
    values["listener"]["set_by"].pop(header, None)
    if header == "x-geo-country":
        del values["listener"]["geoip"]
    (spot,) = [spot for spot in spec.blind_spots(load(values)) if spot.id == "blind.nobody-sets"]
    assert str(spot) == (
        f"listener.set_by: header '{header}' is stripped at the edge and nobody sets it: {reader} never matches [blind.nobody-sets]\n"
        f"    name who sets it, such as set_by: {{{header}: the API gateway}}"
    )
    values["listener"]["kind"] = "internal"
    assert "blind.nobody-sets" not in dict(spots_of(values))


def test_blind_nobody_sets_reads_cohort_headers() -> None:
    """A feature flag in a header is an identity header too."""
    values = example()
    values["rollouts"]["gpt-5-mini"]["cohorts"][1] = {"name": "flagged", "header": {"x-flag": ["on"]}}
    (spot,) = [spot for spot in spec.blind_spots(load(values)) if spot.id == "blind.nobody-sets"]
    assert "header 'x-flag' is stripped at the edge and nobody sets it: cohort flagged never matches" in str(spot)


def test_blind_no_endpoint() -> None:
    """Without an endpoint only a snippet for an existing Envoy can be rendered."""
    values = example()
    del values["models"]["gpt-4o"]["endpoint"]
    assert ("blind.no-endpoint", "models.gpt-4o") in spots_of(values)


def test_blind_no_readiness() -> None:
    """A canary that nobody asks gets traffic whether it is up or not; a probe, or a file of slices, is somebody who asks."""
    values = example()
    (spot,) = [spot for spot in spec.blind_spots(load(values)) if spot.id == "blind.no-readiness"]
    assert "canary gpt-5-mini has neither probe nor endpoint_slices" in str(spot)
    asked, sliced = copy.deepcopy(values), copy.deepcopy(values)
    asked["models"]["gpt-5-mini"]["probe"] = {"path": "/health"}
    model = sliced["models"]["gpt-5-mini"]
    del model["endpoint"]
    model["endpoint_slices"] = {"file": "/run/slices.json"}
    for better in (asked, sliced):
        assert "blind.no-readiness" not in dict(spots_of(better))


def test_blind_no_prices() -> None:
    """Without prices the cost of a model is unknown."""
    values = example()
    del values["models"]["gpt-5-mini"]["prices"]
    assert ("blind.no-prices", "models.gpt-5-mini") in spots_of(values)


def test_blind_not_watched() -> None:
    """What this version does not watch is said for each rollout."""
    (spot,) = [spot for spot in spec.blind_spots(load(example())) if spot.id == "blind.not-watched"]
    assert spot.message == "answer quality and user feedback are not watched: the Spec has no judge and no feedback"


def test_blind_no_ceiling() -> None:
    """Without a ceiling an incident that hits both models is not seen."""
    values = example()
    values["rollouts"]["gpt-5-mini"]["phases"][1]["ceilings"] = {}
    assert ("blind.no-ceiling", "rollouts.gpt-5-mini.phases[1]") in spots_of(values)


def test_blind_few_units() -> None:
    """A phase that can never see enough users would only wait for a person: 1 % of 600 users in 24 h are 6."""
    values = example()
    values["application"]["daily_units"] = 600
    spots = {spot.path: spot.message for spot in spec.blind_spots(load(values)) if spot.id == "blind.few-units"}
    assert spots["rollouts.gpt-5-mini.phases[0]"] == "about 6 units meet the canary within max_dwell, 50 are needed"
    assert list(spots) == [f"rollouts.gpt-5-mini.phases[{index}]" for index in range(4)], "100 % of 600 in 72 h are 1800, 1000 are needed"


def test_blind_keep_stable() -> None:
    """Fail-open must never point at a pool that is too small: stable keeps its capacity until Envoy's own default has moved."""
    (spot,) = [spot for spot in spec.blind_spots(load(example())) if spot.id == "blind.keep-stable"]
    assert "extproc.gpt-5-mini.completed" in spot.hint


def test_blind_cohort_jump() -> None:
    """A cohort whose own share stays below the whole is given the canary at COMPLETED all the same; a holdback is no jump."""
    values = example()
    rollout = values["rollouts"]["gpt-5-mini"]
    rollout["cohorts"][0]["share"] = "40%"
    (spot,) = [spot for spot in spec.blind_spots(load(values)) if spot.id == "blind.cohort-jump"]
    assert str(spot) == (
        "rollouts.gpt-5-mini: cohort staff ends the last phase at 40%: COMPLETED gives the canary to all of it [blind.cohort-jump]\n"
        "    let its share reach 100% there, or exclude who must never meet the canary"
    )
    rollout["cohorts"][0]["share"] = "90%"
    rollout["holdback"] = "10%"
    assert "blind.cohort-jump" not in dict(spots_of(values))


def test_blind_flag_attribute() -> None:
    """What a flag asks for and the Spec takes from nowhere is missing in every request; the unit's id is there by itself."""
    values = example()
    values["flags"] = {"ours": {"vendor": "flagd", "file": "flags.json"}}
    values["rollouts"]["gpt-5-mini"]["cohorts"][1] = {"name": "flagged", "flag": {"source": "ours", "key": "k"}}
    targeting = {"if": [{"in": [{"var": ["plan"]}, [{"var": ["targetingKey"]}, "pro"]]}, "on", "off"]}
    flag = {"state": "ENABLED", "variants": {"on": "on", "off": ""}, "defaultVariant": "off", "targeting": targeting}
    bundle = bundled(yaml.safe_dump(values), {"flags.json": json.dumps({"flags": {"k": flag}})})
    (spot,) = [spot for spot in spec.blind_spots(spec.load(bundle)) if spot.id == "blind.flag-attribute"]
    assert str(spot) == (
        "flags.ours.attributes: flag 'k' asks for 'plan', which is missing in every request [blind.flag-attribute]\n"
        "    say where it comes from, such as attributes: {plan: {header: ...}}"
    )


@pytest.mark.parametrize(
    ("selector", "header"),
    [
        ({"region": ["GB-ENG"]}, "x-geo-region"),
        ({"asn": [3320]}, "x-geo-asn"),
        ({"any": [{"tier": ["x"]}, {"not": {"header": {"x-deep": ["1"]}}}]}, "x-deep"),
        ({"tier": ["internal"], "exclude": {"header": {"x-out": ["1"]}}}, "x-out"),
        ({"flag": {"source": "ours", "key": "beta"}}, "x-plan"),
    ],
)
def test_blind_nobody_sets_looks_everywhere(selector: dict[str, Any], header: str) -> None:
    """However deep in a cohort, in who is excluded, or in what a flag asks for: what nobody sets never matches."""
    values = example()
    poll = {"url": "https://flags.example"}
    values["flags"] = {"ours": {"vendor": "unleash", "poll": poll, "attributes": {"plan": {"header": "X-Plan"}}}}
    values["rollouts"]["gpt-5-mini"]["cohorts"][1] = {"name": "deep", **selector}
    spots = [spot.message for spot in spec.blind_spots(load(values)) if spot.id == "blind.nobody-sets"]
    assert spots == [f"header '{header}' is stripped at the edge and nobody sets it: cohort deep never matches"]


def test_a_database_sets_what_it_knows() -> None:
    """Cities have countries and regions, networks their numbers; what no database knows is a blind spot."""
    values = example()
    cohorts = [{"name": "there", "region": ["GB-ENG"]}, {"name": "net", "asn": [1]}, {"name": "land", "country": ["DE"]}, {"name": "all"}]
    values["rollouts"]["gpt-5-mini"]["cohorts"] = cohorts
    known = {"city": {"x-geo-asn"}, "asn": {"x-geo-country", "x-geo-region"}, "database": {"x-geo-asn", "x-geo-region"}}
    for database, unset in known.items():
        values["listener"]["geoip"] = {database: "/db.mmdb"}
        messages = [spot.message for spot in spec.blind_spots(load(values)) if spot.id == "blind.nobody-sets"]
        assert {message.split("'")[1] for message in messages} == unset


def test_every_blind_spot_has_a_test() -> None:
    """An id without a test here would be a sentence that nobody has read."""
    written = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_spec*.py"))
    ids = re.findall(r'"(blind\.[a-z-]+)"', (ROOT / "extproc" / "spec" / "blindspots.py").read_text(encoding="utf-8"))
    for identity in ids:
        named = f"def test_{identity.replace('.', '_').replace('-', '_')}"
        assert named in written or f'spot.id == "{identity}"' in written, identity


# ------------------------------------------------------------------------------------------------------------------- JSON Schema
KEYWORDS = {
    "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "additionalProperties", "propertyNames",
    "patternProperties", "items", "anyOf", "enum", "const", "default", "examples", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
}  # fmt: skip
"""Keywords of draft 2020-12 that the schema may use."""


def schemas(node: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every subschema with where it is; the forms that a key may take share its description."""
    assert isinstance(node, dict), path
    yield path, node
    for keyword in ("$defs", "properties", "patternProperties"):
        for name, inner in node.get(keyword, {}).items():
            yield from schemas(inner, f"{path}/{keyword}/{name}")
    for keyword in ("items", "propertyNames", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from schemas(node[keyword], f"{path}/{keyword}")
    for index, inner in enumerate(node.get("anyOf", [])):
        shared = {"description": node["description"]} if "description" in node else {}
        yield from schemas({**shared, **inner}, f"{path}/anyOf/{index}")


def test_the_schema_is_draft_2020_12() -> None:
    """Editors read it: only keywords of the draft, every reference leads somewhere, every pattern compiles."""
    schema = spec.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for path, one in schemas(schema):
        assert set(one) <= KEYWORDS, path
        if "$ref" in one:
            assert one["$ref"].removeprefix("#/$defs/") in schema["$defs"], path
        if "pattern" in one:
            re.compile(one["pattern"])
        assert set(one.get("required", [])) <= set(one.get("properties", {})), path


def test_the_schema_describes_every_key_and_refuses_unknown_ones() -> None:
    """Completion in an editor shows a sentence for each key, and a typo is underlined."""
    schema = spec.json_schema()
    for path, one in schemas(schema):
        if "properties" in one or "patternProperties" in one:
            assert one["additionalProperties"] is False, path
            assert "properties" in one or one.get("description"), path
        if "properties" in one:
            for name, field in one["properties"].items():
                target = schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
                assert field.get("description") or target.get("description"), f"{path}/properties/{name}"


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """The part of JSON Schema that ours uses, enough to hold a document and the defaults against it."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "anyOf" in schema:
        return any(accepts(one, value, root) for one in schema["anyOf"])
    types: dict[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)
    }  # fmt: skip
    if "type" in schema and (not isinstance(value, types[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean")):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        return all(accepts(schema["items"], one, root) for one in value)
    if isinstance(value, dict):
        return set(schema.get("required", [])) <= set(value) and all(
            accepts(schema.get("propertyNames", {}), name, root) and _accepts_key(schema, name, one, root) for name, one in value.items()
        )
    return value is None or bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def _accepts_key(schema: dict[str, Any], name: str, value: Any, root: dict[str, Any]) -> bool:
    if name in schema.get("properties", {}):
        return accepts(schema["properties"][name], value, root)
    for pattern, inner in schema.get("patternProperties", {}).items():
        if re.search(pattern, name):
            return accepts(inner, value, root)
    other = schema.get("additionalProperties", True)
    return accepts(other, value, root) if isinstance(other, dict) else bool(other)


def test_the_schema_accepts_the_example_and_all_defaults() -> None:
    """What `init` writes is not underlined, and a default that an editor inserts is valid."""
    schema = spec.json_schema()
    assert accepts(schema, example(), schema)
    for path, one in schemas(schema):
        if "default" in one:
            assert accepts(one, one["default"], schema), path


@pytest.mark.parametrize(
    "name",
    ["unknown-key", "missing-key", "choice", "value-port-in-quotes", "value-port-range", "value-percent", "value-tls", "value-name"],
)
def test_the_schema_refuses_what_check_refuses(name: str) -> None:
    """An editor underlines the same faults of shape."""
    schema = spec.json_schema()
    assert not accepts(schema, yaml.safe_load((FAULTS / f"{name}.yaml").read_text()), schema)


# ---------------------------------------------------------------------------------------------------------------------- commands
def command(*words: str | Path, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "extproc", *map(str, words)], capture_output=True, text=True, check=False, cwd=at, timeout=60
    )


def test_check_prints_every_problem_and_exits_1() -> None:
    """All on stderr, nothing on stdout, exactly the text of the Problems: a pipeline stops, a person reads."""
    done = command("check", f"{SEVERAL}.yaml", at=FAULTS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (FAULTS / f"{SEVERAL}.txt").read_text(encoding="utf-8")


def test_check_says_what_is_worth_knowing_and_exits_0() -> None:
    """Blind spots stop no release."""
    done = command("check", EXAMPLE, at=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 models, 1 rollouts" in done.stdout
    assert "no problem\n\n5 blind spots (none of them stops a release):\n" in done.stdout
    assert "[blind.not-watched]" in done.stdout
    assert "[blind.keep-stable]" in done.stdout


def test_check_of_a_missing_file_names_it(tmp_path: Path) -> None:
    """No traceback for a slip in the path."""
    done = command("check", "missing.yaml", at=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("missing.yaml: cannot be read: ")
    assert "Traceback" not in done.stderr


def test_init_writes_once(tmp_path: Path) -> None:
    """What a person has edited is overwritten on purpose only."""
    written = tmp_path / "release.yaml"
    assert command("init", at=tmp_path).returncode == 0
    assert written.read_text(encoding="utf-8") == EXAMPLE.read_text(encoding="utf-8")
    written.write_text("mine\n")
    refused = command("init", at=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("release.yaml: is there already [settings.exists]")
    assert written.read_text() == "mine\n"
    assert (
        command("init", "--force", "--stable", "old-model", "--canary", "new-model", "--application", "shop", at=tmp_path).returncode == 0
    )
    loaded = spec.read(str(written))
    (rollout,) = loaded.rollouts.values()
    assert isinstance(rollout, Rollout)
    assert (loaded.application.name, rollout.name, rollout.stable, rollout.canary) == ("shop", "new-model", "old-model", "new-model")


def test_init_writes_nothing_that_check_would_refuse(tmp_path: Path) -> None:
    """A name that cannot be is told at once, and no file is left."""
    done = command("init", "--application", "My Shop", at=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("application.name (line 5): 'My Shop' must be a name")
    assert list(tmp_path.iterdir()) == []


def test_schema_prints_the_schema(tmp_path: Path) -> None:
    """`extproc schema > spec.schema.json` is all that an editor needs."""
    done = command("schema", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert orjson.loads(done.stdout) == spec.json_schema()
