"""`extproc check` of flags: the exact text for each fault, with path, line, flag and rule; and what is valid but worth knowing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from extproc import spec as specs
from extproc.domain import FlagVendor, flag_keys
from extproc.errors import Problem, SpecError
from extproc.spec.bundle import bundled, parted
from tests.support import flag_specs
from tests.support.flag_documents import ATTRIBUTES, DOCUMENTS

WRITTEN = """\
version: 1
application:
  name: chat
  type: chatbot
  daily_requests: 2000000
  daily_units: 50000
  sla: {latency_p99: 8s, ttft: 2s, uptime: 99.9%}
  infrastructure: kubernetes
listener: {kind: internal, port: 8080}
models: {old: {}, new: {}}
flags:
  ours:
    vendor: VENDOR
    file: flags.json
rollouts:
  to-new:
    stable: old
    canary: new
    unit: user
    cohorts:
      - name: testers
        any:
          - tier: [internal]
          - flag: {source: ours, key: KEY}
      - name: others
        exclude:
          not:
            flag: {source: ours, key: KEY}
    phases:
      - {share: 100%}
"""


def problems(text: str, files: dict[str, Any]) -> list[Problem]:
    contents = {name: content if isinstance(content, str) else orjson.dumps(content).decode() for name, content in files.items()}
    with pytest.raises(SpecError) as caught:
        specs.load(bundled(text, contents))
    return list(caught.value.problems)


def written(vendor: FlagVendor, key: str) -> str:
    return WRITTEN.replace("VENDOR", vendor.value).replace("KEY", key)


# ------------------------------------------------------------------------------------------------------------------------ the flag
@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_flag_that_is_not_there_is_told_at_each_place(vendor: FlagVendor) -> None:
    """With the line of the cohort that names it, and the nearest name that there is."""
    found = problems(written(vendor, "seat"), {"flags.json": DOCUMENTS[vendor]})
    assert [(one.id, one.path, one.line) for one in found] == [
        ("flag.unknown", "rollouts.to-new.cohorts[0].any[1].flag.key", 24),
        ("flag.unknown", "rollouts.to-new.cohorts[1].exclude.not.flag.key", 28),
    ]
    for one in found:
        assert one.message.startswith(("flags.seat: ", "flags: "))
        assert re.search("['\"]seat['\"]", one.message)
        assert "seats" in one.hint


UNSUPPORTED: dict[FlagVendor, tuple[dict[str, Any], str]] = {
    FlagVendor.UNLEASH: (
        {"features": [{"name": "k", "enabled": True, "strategies": [{"name": "ours", "parameters": {}}]}]},
        "flag.unsupported-strategy",
    ),
    FlagVendor.LAUNCHDARKLY: (
        {
            "segments": {},
            "flags": {
                "k": {
                    "key": "k",
                    "on": True,
                    "variations": [1],
                    "fallthrough": {"variation": 0},
                    "rules": [{"variation": 0, "clauses": [{"attribute": "a", "op": "soundsLike", "values": ["b"], "negate": False}]}],
                }
            },
        },
        "flag.unsupported-operator",
    ),
    FlagVendor.GROWTHBOOK: (
        {"features": {"k": {"defaultValue": 1, "rules": [{"force": 2}, {"condition": {"a": {"$near": 1}}, "force": 2}]}}},
        "flag.unsupported-operator",
    ),
    FlagVendor.FLAGD: (
        {"flags": {"k": {"state": "ENABLED", "variants": {"a": "a"}, "targeting": {"if": [{"near": [1, 2]}, "a", "a"]}}}},
        "flag.unsupported-operator",
    ),
}
RULES = {
    FlagVendor.UNLEASH: "flags.k.strategies[0]",
    FlagVendor.LAUNCHDARKLY: "flags.k.rules[0].clauses[0]",
    FlagVendor.GROWTHBOOK: "flags.k.rules[1].condition",
    FlagVendor.FLAGD: "flags.k.targeting",
}


@pytest.mark.parametrize("vendor", FlagVendor)
def test_what_cannot_be_evaluated_is_refused_with_flag_and_rule(vendor: FlagVendor) -> None:
    """Never answered approximately: the flag, the rule inside of it, and the line of the cohort."""
    document, identity = UNSUPPORTED[vendor]
    for one in problems(written(vendor, "k"), {"flags.json": document}):
        assert one.id.startswith("flag.")
        assert one.line in (24, 28)
        assert RULES[vendor] in one.message
        assert one.hint
        assert identity == one.id


def test_check_prints_it_and_exits_1(tmp_path: Path) -> None:
    """The command reads the file beside the Spec, wherever it is called from."""
    (tmp_path / "release.yaml").write_text(written(FlagVendor.GROWTHBOOK, "k"))
    (tmp_path / "flags.json").write_bytes(orjson.dumps(UNSUPPORTED[FlagVendor.GROWTHBOOK][0]))
    done = subprocess.run(
        [sys.executable, "-m", "extproc", "check", str(tmp_path / "release.yaml")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()[0], done.stderr.splitlines()[2]
    assert first.startswith("rollouts.to-new.cohorts[0].any[1].flag.key (line 24): flags.k.rules[1].condition.a.$near: ")
    assert second.startswith("rollouts.to-new.cohorts[1].exclude.not.flag.key (line 28): flags.k.rules[1]")
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------------------------------------------------------- the source
def changed(**source: Any) -> str:
    values = yaml.safe_load(written(FlagVendor.FLAGD, "share"))
    values["flags"]["ours"] = {key: value for key, value in {**values["flags"]["ours"], **source}.items() if value is not None}
    text: str = yaml.safe_dump(values, sort_keys=False)
    return text


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no file": (
        written(FlagVendor.FLAGD, "share"),
        {},
        "flags.ours.file (line 14): file 'flags.json' is not there, or cannot be read [spec.file]\n"
        "    paths are relative to the Spec's own folder",
    ),
    "no JSON": (
        written(FlagVendor.FLAGD, "share"),
        {"flags.json": '{"flags": '},
        "flags.ours.file (line 14): file 'flags.json' is no JSON: unexpected end of data: line 1 column 11 (char 10) [spec.flag-file]\n"
        "    export the flags again",
    ),
    "no object": (
        written(FlagVendor.FLAGD, "share"),
        {"flags.json": [1]},
        "flags.ours.file (line 14): file 'flags.json' holds JSON that is no object [spec.flag-file]\n    export the flags again",
    ),
    "no such source": (
        written(FlagVendor.FLAGD, "share").replace("source: ours, key: share}\n      - name", "source: our, key: share}\n      - name"),
        {"flags.json": DOCUMENTS[FlagVendor.FLAGD]},
        "rollouts.to-new.cohorts[0].any[1].flag.source (line 24): there is no source of flags 'our' [spec.unknown-flag-source]\n"
        "    did you mean 'ours'?",
    ),
    "file and poll": (
        changed(poll={"url": "https://flags.example/"}),
        {"flags.json": DOCUMENTS[FlagVendor.FLAGD]},
        "flags.ours (line 19): name exactly one of file and poll [spec.value]\n    ",
    ),
    "our header": (
        changed(attributes={"a": {"header": "x-llm-cluster"}}),
        {"flags.json": DOCUMENTS[FlagVendor.FLAGD]},
        "flags.ours.attributes.a.header (line 24): header 'x-llm-cluster' is extproc's own [spec.reserved-header]\n"
        "    Envoy strips x-llm-*: choose another header",
    ),
    "unverified claim": (
        changed(attributes={"a": {"claim": "org"}}),
        {"flags.json": DOCUMENTS[FlagVendor.FLAGD]},
        "flags.ours.attributes.a.claim (line 24): a claim is read, but nobody verifies tokens [spec.claim-without-jwt]\n"
        "    add listener.jwt with the issuer and its keys",
    ),
    "two places": (
        changed(attributes={"a": {"header": "x-a", "cookie": "a"}}),
        {"flags.json": DOCUMENTS[FlagVendor.FLAGD]},
        "flags.ours.attributes.a (line 23): name exactly one of unit, header, cookie and claim [spec.value]\n    ",
    ),
    "a password in the address": (
        changed(file=None, poll={"url": "https://me:secret@flags.example/"}),
        {},
        "flags.ours.poll.url (line 22): holds a name or a password [spec.flag-url]\n"
        "    give it by reference: poll.credential with env or file",
    ),
    "no host": (
        changed(file=None, poll={"url": "https:///flags"}),
        {},
        "flags.ours.poll.url (line 22): names no host [spec.flag-url]\n    write it as https://HOST/PATH",
    ),
    "no port": (
        changed(file=None, poll={"url": "https://flags.example:http/"}),
        {},
        "flags.ours.poll.url (line 22): is no address: ",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_source_is_answered_with_its_exact_text(name: str) -> None:
    """One fault, one Problem; no secret is repeated."""
    text, files, expected = FAULTS[name]
    (problem,) = problems(text, files)
    assert str(problem).startswith(expected)
    assert "secret" not in str(problem)


@pytest.mark.parametrize("vendor", FlagVendor)
def test_what_is_right_is_accepted(vendor: FlagVendor) -> None:
    """Every flag of the document, from a file and polled; the unit's id is there under the vendor's name for it."""
    text = written(vendor, "everything")
    loaded = specs.load(bundled(text, {"flags.json": orjson.dumps(DOCUMENTS[vendor]).decode()}))
    assert loaded.flags["ours"].document == DOCUMENTS[vendor]
    assert [name for name, one in loaded.flags["ours"].attributes.items() if one.fact is None] == [flag_specs.UNIT_NAMES[vendor]]
    assert flag_keys(loaded, "ours") == {"everything"}
    polled = specs.load(text.replace("file: flags.json", "poll: {url: 'https://flags.example/', every: 30s, credential: {env: KEY}}"))
    assert polled.flags["ours"].document is None
    assert polled.flags["ours"].poll is not None
    assert polled.flags["ours"].poll.every == 30.0


def test_another_file_is_another_spec() -> None:
    """The digest tells documents apart: routers load what has changed."""
    text, one = written(FlagVendor.FLAGD, "share"), DOCUMENTS[FlagVendor.FLAGD]
    other = {"flags": {**one["flags"], "more": one["flags"]["share"]}}
    digests = {specs.load(bundled(text, {"flags.json": orjson.dumps(given).decode()})).digest for given in (one, one, other)}
    assert len(digests) == 2


# ------------------------------------------------------------------------------------------------------------------- worth knowing
@pytest.mark.parametrize("vendor", FlagVendor)
def test_an_attribute_that_nobody_gives_is_a_blind_spot(vendor: FlagVendor) -> None:
    """The flag asks for it and the Spec takes it from nowhere: valid, and surely not meant. With all of them there is none."""
    files = {"flags.json": orjson.dumps(DOCUMENTS[vendor]).decode()}
    values = yaml.safe_load(written(vendor, "seats"))
    for attributes, expected in (({}, 1), (ATTRIBUTES, 0)):
        values["flags"]["ours"]["attributes"] = attributes
        values["listener"]["jwt"] = {"issuer": "https://issuer.example", "jwks_file": "/jwks.json"}
        loaded = specs.load(bundled(yaml.safe_dump(values), files))
        spots = [spot for spot in specs.blind_spots(loaded) if spot.id == "blind.flag-attribute"]
        assert len(spots) == expected
        for spot in spots:
            assert (spot.path, spot.message) == (
                "flags.ours.attributes",
                "flag 'seats' asks for 'seats', which is missing in every request",
            )


@pytest.mark.parametrize("content", ["a\u2028b", "a\x85b", "\ufeff", "a\x7fb", "a\nb\r\n# extproc files: {}", 'quote " and \\u2028'])
def test_a_bundle_can_be_read_by_every_yaml_parser(content: str) -> None:
    """Whatever the files hold: the comment at the end stays one line, and nothing is lost."""
    text = "version: 1\nname: x\n"
    bundle = bundled(text, {"a.txt": content})
    assert yaml.safe_load(bundle) == {"version": 1, "name": "x"}
    assert parted(bundle) == (text, {"a.txt": content})
