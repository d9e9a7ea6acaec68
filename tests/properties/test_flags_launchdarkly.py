"""LaunchDarkly's flags are answered as LaunchDarkly's SDK answers them: over many generated flags and contexts, without one difference."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ldclient.client import LDClient
from ldclient.config import Config
from ldclient.context import Context
from ldclient.impl.evaluator_common import _bucket_context, _match_single_context_value
from ldclient.impl.integrations.files import file_data_source
from ldclient.impl.model import Clause
from ldclient.impl.model.attribute_ref import AttributeRef, req_attr_ref_with_opt_context_kind
from ldclient.impl.model.value_parsing import parse_semver, parse_time
from ldclient.integrations import Files

from extproc.domain import RING, ring_length
from extproc.flags import FlagAnswer
from extproc.flags.launchdarkly import compile_flag, point_of
from extproc.flags.launchdarkly.bucketing import point_of_bits
from extproc.flags.launchdarkly.operators import OPERATORS as OURS
from extproc.flags.launchdarkly.operators import milliseconds, version
from extproc.flags.launchdarkly.operators import test_of as operator_test
from extproc.flags.launchdarkly.reading import Found, Node
from extproc.flags.launchdarkly.reference import getter
from tests.support.flags_launchdarkly import KEYS, ONE_OUTCOME, OPERATORS, Oracle, answer_of, context_attributes, context_of, document

DOCUMENTS = 700
CONTEXTS = 50
"""For each document; each asks two of its flags."""
SEEN_AT_LEAST = 500
EACH_OUTCOME_AT_LEAST = 50


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The SDK logs each odd context: thousands of lines that nobody reads."""
    log = logging.getLogger("ldclient")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(before)


def same(ours: FlagAnswer, theirs: FlagAnswer) -> bool:
    """Equal, and of the same types: True is not 1 here."""
    return ours == theirs and type(ours.value) is type(theirs.value)


def test_every_answer_is_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """35,000 contexts, 70,000 evaluations of 1,400 flags; every operator and feature often enough, and with both outcomes."""
    seen: Counter[tuple[str, bool | None]] = Counter()
    differences: list[Any] = []
    for number in range(DOCUMENTS):
        random = Random(number)
        given = document(random)
        oracle = Oracle(given, seen, monkeypatch)
        flags = [compile_flag(given, key) for key in ("f0", "f1")]
        for _ in range(CONTEXTS):
            attributes = context_attributes(random)
            for flag in flags:
                theirs = oracle.answer(flag.key, attributes)
                for known in (attributes, {name: attributes[name] for name in flag.needs & attributes.keys()}):
                    ours = flag.evaluate(known, 0.0)
                    if not same(ours, theirs):
                        differences.append((number, flag.key, attributes, ours, theirs))
    report(seen)
    assert differences == []
    features = {name for name, _ in seen}
    assert set(OPERATORS) <= features
    assert len(features) >= 45
    for feature in features:
        assert seen[feature, None] >= SEEN_AT_LEAST, feature
        for outcome in (True, False):
            if ONE_OUTCOME.get(feature, outcome) is outcome:
                assert seen[feature, outcome] >= EACH_OUTCOME_AT_LEAST, (feature, outcome)


def report(seen: Counter[tuple[str, bool | None]]) -> None:
    """How often each feature was met (an evaluation counts under true and false where it met several such conditions)."""
    print(f"\n{'feature':32}{'evaluations':>12}{'true':>8}{'false':>8}")
    for name in sorted({name for name, _ in seen}):
        print(f"{name:32}{seen[name, None]:12}{seen[name, True]:8}{seen[name, False]:8}")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The SDK's public client over a file with generated documents; no events, no network."""
    flags: dict[str, Any] = {}
    segments: dict[str, Any] = {}
    for number in range(20):
        text = json.dumps(document(Random(f"client {number}")))
        for old in ("f0", "f1", "f2", "s0", "s1", "s2"):
            text = text.replace(f'"{old}"', f'"{old}-{number}"')
        given = json.loads(text)
        flags |= {key: flag for key, flag in given["flags"].items() if key != "grave"}
        segments |= {key: segment for key, segment in given["segments"].items() if key != "grave"}
    for item in (*flags.values(), *segments.values()):
        drop_graves(item)
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": flags, "segments": segments}))
    # JSON read as JSON: where PyYAML is installed the file source reads YAML 1.1, to which 1e300 is a text and an escaped emoji two halves.
    monkeypatch.setattr(file_data_source, "have_yaml", False)
    config = Config("sdk-key", update_processor_class=Files.new_data_source(paths=[str(path)]), send_events=False, diagnostic_opt_out=True)
    opened = LDClient(config, start_wait=5)
    yield opened, json.loads(path.read_text())
    opened.close()


def drop_graves(item: dict[str, Any]) -> None:
    """The SDK's file source keeps no tombstones."""
    item["prerequisites"] = [one for one in item.get("prerequisites", ()) if one["key"] != "grave"]
    for rule in item["rules"]:
        for clause in rule["clauses"]:
            clause["values"] = [value for value in clause["values"] if value != "grave"]


def test_the_public_client_says_the_same(client: Any) -> None:
    """Through LDClient.variation_detail, contexts given as a dictionary too wherever the SDK takes it."""
    opened, given = client
    random = Random("public client")
    flags = [compile_flag(given, key) for key in given["flags"]]
    valid = 0
    for flag in flags:
        for _ in range(30):
            attributes = context_attributes(random)
            ours = flag.evaluate(attributes, 0.0)
            assert same(ours, answer_of(opened.variation_detail(flag.key, context_of(attributes), None))), (flag.key, attributes)
            from_dict = Context.from_dict({"kind": "user"} | attributes)
            if from_dict.valid:
                valid += 1
                assert same(ours, answer_of(opened.variation_detail(flag.key, from_dict, None))), (flag.key, attributes)
    assert valid > 500


@pytest.mark.parametrize(("flag_key", "salt", "seed"), [("f", "abc123", None), ("флаг", "", None), ("f", "abc123", 61), ("f", "", -7)])
def test_a_point_below_the_share_is_a_place_in_the_first_bucket(flag_key: str, salt: str, seed: int | None) -> None:
    """`point_of` sees the same people as the SDK's rollout: at every share, for ids of every script."""
    point = point_of(f"{flag_key}.{salt}" if seed is None else str(seed))
    units = [*(key for key in KEYS if key != "\udcff"), *(f"id-{n}" for n in range(2000)), *(f"ид-{n}" for n in range(500))]
    for weight in (1, 1_000, 5_000, 25_000, 50_000, 99_999, 100_000):
        shares = [{"variation": 1, "weight": weight}, {"variation": 0, "weight": 100_000 - weight}]
        flag = {"key": flag_key, "salt": salt, "version": 1, "on": True, "variations": [0, 1]}
        given = {"flags": {flag_key: flag | {"fallthrough": {"rollout": {"variations": shares, "seed": seed}}}}}
        with pytest.MonkeyPatch.context() as patch:
            oracle = Oracle(given, Counter(), patch)
            below = ring_length(weight / 100_000)
            inside = [unit for unit in units if oracle.answer(flag_key, {"key": unit}).value == 1]
            assert [unit for unit in units if point(unit.encode()) < below] == inside
        assert abs(len(inside) - len(units) * weight / 100_000) <= 100


def test_points_keep_the_sdks_side_at_every_edge() -> None:
    """For the hashes on both sides of every one of the 100,001 shares, in the SDK's own arithmetic; and the order is kept."""
    last = -1
    for weight in range(100_001):
        edge = round(weight / 100_000.0 * (1 << 60))
        for bits in (edge - (5 << 28), edge - 129, edge - 1, edge, edge + 128, edge + (4 << 28)):
            if 0 <= bits < 1 << 60:
                point = point_of_bits(bits)
                assert last <= point < RING
                inside = bits / float(0xFFFFFFFFFFFFFFF) < weight / 100_000.0
                # The very last hashes round up to 1.0, beyond a share of all; the SDK then gives the last bucket that there is.
                assert (point < ring_length(weight / 100_000)) == (inside or weight == 100_000), (weight, bits)
                last = point


def test_a_point_is_the_sdks_bucket_to_the_share_of_a_weight() -> None:
    """Directly against the SDK's bucket, and any bytes have a point."""
    point = point_of("f.salt")
    for number in range(5000):
        bucket = _bucket_context(None, Context.create(f"u{number}"), None, "f", "salt", None)
        assert abs(point(b"u%d" % number) / RING - bucket) < 1e-5
    for unit in (b"", b"\xff\xfe", b"\x00", bytes(range(256))):
        assert 0 <= point(unit) < RING


def changed(random: Random, text: str, alphabet: str) -> str:
    """A text with up to three characters put in, taken out or replaced."""
    for _ in range(random.randrange(4)):
        place = random.randrange(len(text) + 1)
        text = text[:place] + random.choice([*alphabet, ""]) + text[place + random.randrange(2) :]
    return text


def test_times_are_read_as_the_sdk_reads_them() -> None:
    """What is a time, and which, to the last bit: 20,000 texts that are nearly one, and some that are."""
    random, times = Random("times"), 0
    starts = ["2024-01-31T23:59:59.5Z", "20240131T235959+0530", "2024-W05-3 01:02:03,123456-07:00", "0001-01-01T00:00:00+14:00"]
    for _ in range(20_000):
        text = changed(random, random.choice(starts), "0129zZtT +-:.,\nW\udcff٣")
        theirs = parse_time(text)
        times += theirs is not None
        assert milliseconds(text) == theirs, text
    assert 4_000 < times < 16_000


def test_versions_are_read_as_the_sdk_reads_them() -> None:
    """What is a version, short ones and those that the SDK mends by accident included: 20,000 texts."""
    random, versions = Random("versions"), 0
    starts = ["1", "1.2", "10.20.30", "1.2.3-rc.1+build.7", "2-beta", "1.2\nfoo", "0.0-0"]
    for _ in range(20_000):
        text = changed(random, random.choice(starts), "019.-+aB\n v\udcff٣")
        theirs, ours = parse_semver(text), version(text)
        versions += theirs is not None
        assert (None if ours is None else ours.to_tuple()) == (None if theirs is None else theirs.to_tuple()), text
    assert 4_000 < versions < 16_000


def test_references_are_read_as_the_sdk_reads_them() -> None:
    """Which references are valid, with a context kind and without, and which attribute they need: 20,000 texts."""
    random, paths = Random("references"), 0
    for _ in range(20_000):
        text, kind = changed(random, random.choice(["plan", "/plan", "/a/b", "/a~1b/~0c"]), "/~01a\n"), random.choice(["", "user"])
        found = Found([], set())
        get = getter(Node({}, "clause", found), "attribute", text, bool(kind))
        theirs: AttributeRef = req_attr_ref_with_opt_context_kind(text, kind)
        assert (get is not None) == theirs.valid == (not found.problems), text
        if theirs.valid:
            assert found.needs == {theirs[0]}
            names = [theirs[index] for index in range(theirs.depth)]
            attributes: Any = "found"
            for name in reversed(names):
                attributes = {name: attributes}
            assert get is not None
            assert get(attributes, "user") == "found", text
            paths += theirs.depth > 1
    assert paths > 1_000


def test_versions_are_ordered_as_the_sdk_orders_them() -> None:
    """Each of 40 versions against each, plain ones (which take a short cut) and others."""
    cores = ["0.0.0", "1.2.3", "1.2.10", "10.0.0", "999999999.0.0", "1000000000.0.0", "1.2", "1"]
    given = [core + tail for core in cores for tail in ("", "-1", "-rc.1", "-rc.1+build", "+build")]
    for op in ("semVerEqual", "semVerLessThan", "semVerGreaterThan"):
        for one in given:
            ours = operator_test(OURS[op], [OURS[op].parse(one)])
            for other in given:
                data = Clause({"attribute": "v", "op": op, "values": [one]})
                assert ours(other) == _match_single_context_value(data, other), (op, other, one)
