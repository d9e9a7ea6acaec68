"""Who is in a flag by the vendor's own SDK is in the cohort: from the bytes of Envoy's message to the bytes of the reply."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from extproc import contract
from extproc import spec as specs
from extproc.domain import FlagVendor
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.router.processor import Processor
from extproc.router.source import fixed_snapshot
from extproc.spec.bundle import bundled
from tests.support import flag_specs
from tests.support.flag_documents import ATTRIBUTES, DOCUMENTS, KEYS
from tests.support.flag_sdks import sdk
from tests.support.flag_specs import UNIT_NAMES

REQUESTS = 3_000
"""Of each vendor; each is asked about every flag."""
LEAST_EACH = 200
"""Requests in the cohort of a flag, and outside of it."""
MISSING: Any = object()
NUMBERS: dict[str, Any] = {
    "10": 10,
    "9": 9,
    "3": 3,
    "2": 2,
    "0": 0,
    "-5": -5,
    "9.99": 9.99,
    "10.0": 10.0,
    "1e3": 1000.0,
    "+12": 12,
    "007": 7,
    **dict.fromkeys(("", "ten", "1_000", "nan", "inf", "-inf", "1e999", "10,5", "0x1f", "--1"), MISSING),
}
"""What stands in the header -> the number that the flag sees."""
BOOLEANS: dict[str, Any] = {"true": True, "false": False, "TRUE": True, "False": False, **dict.fromkeys(("", "1", "yes", "tru"), MISSING)}
TEXTS = ("Gold", "gold", "internal", "größe", "", "GO")
VERSIONS = ("2.0.1", "2.0.0", "1.9.9", "3.1.4-rc.1", "", "x")
TEAMS: list[Any] = ["sales", "platform", "größe", "", ["sales", "platform"], []]
"""A claim that is a list is no attribute."""


def processor(vendor: FlagVendor, key: str, variants: list[str] | None = None) -> Processor:
    """A cohort of those for whom the flag is on, everybody else beside it; all meet the canary."""
    flag = {"source": "ours", "key": key} | ({"variants": variants} if variants else {})
    rollout = {
        "stable": "old",
        "canary": "new",
        "unit": {"kind": "user", "sources": [{"header": "x-user-id"}]},
        "cohorts": [{"name": "flagged", "flag": flag}, {"name": "others"}],
        "phases": [{"share": "100%"}],
    }
    source = {"vendor": vendor.value, "file": "flags/ours.json", "attributes": ATTRIBUTES}
    text = flag_specs.text({"r": rollout}, flags={"ours": source})
    loaded = specs.load(bundled(text, {"flags/ours.json": orjson.dumps(DOCUMENTS[vendor]).decode()}))
    return Processor(fixed_snapshot(loaded, None), b"k" * 32)


def request(random: Random) -> tuple[ProcessingRequest, dict[str, Any]]:
    """What Envoy sends, and the attributes that the application would give the SDK, the unit's id under `unit`."""
    unit = f"{random.choice(('user-', 'ü/', '日本'))}{random.randrange(10 if random.random() < 0.2 else 10**6)}"
    message, known = ProcessingRequest(), {"unit": unit}
    headers = {"x-user-id": unit}
    if random.random() < 0.85:
        headers["x-user-tier"] = known["tier"] = random.choice(TEXTS)
    if random.random() < 0.9:
        headers["x-seats"] = random.choice(list(NUMBERS))
        known["seats"] = NUMBERS[headers["x-seats"]]
    if random.random() < 0.9:
        written = random.choice(list(BOOLEANS))
        headers["cookie"], known["beta"] = f"a=b; beta={written}; c=d", BOOLEANS[written]
    if random.random() < 0.85:
        headers["x-version"] = known["version"] = random.choice(VERSIONS)
    if random.random() < 0.85:
        team = random.choice(TEAMS)
        known["team"] = team if isinstance(team, str) else MISSING
        message.metadata_context.filter_metadata[contract.JWT_NAMESPACE].update({contract.JWT_FIELD: {"org": {"team": team}}})
    for name, value in headers.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    return message, {name: value for name, value in known.items() if value is not MISSING and value != ""}


def cohort(of: Processor, message: bytes) -> str:
    reply = of.process(message)
    assert reply is not None
    found: str = ProcessingResponse.FromString(reply).dynamic_metadata[contract.assignment_namespace("model")]["cohort"]
    return found


@pytest.mark.parametrize("vendor", FlagVendor)
def test_who_is_in_the_flag_is_in_the_cohort(vendor: FlagVendor, tmp_path: Path) -> None:
    """Thousands of requests, six flags: typed attributes, missing and empty ones, claims, cookies; not one difference."""
    random, seen, differences = Random(20264), Counter[tuple[str, bool]](), []
    asked = [(key, None, processor(vendor, key)) for key in KEYS]
    first, second = {FlagVendor.LAUNCHDARKLY: ("1", "2")}.get(vendor, ("blue", "green"))
    asked += [
        ("variants", [first], processor(vendor, "variants", [first])),
        ("variants", [first, second], processor(vendor, "variants", [first, second])),
    ]
    with sdk(vendor, DOCUMENTS[vendor], tmp_path) as ask:
        for _ in range(REQUESTS):
            message, known = request(random)
            written, unit = message.SerializeToString(), known.pop("unit")
            attributes = {UNIT_NAMES[vendor]: unit, **known}
            answers = {key: ask(key, attributes) for key in KEYS}
            for key, variants, ours in asked:
                expected = answers[key].variant in variants if variants else answers[key].on
                got = cohort(ours, written) == "flagged"
                seen[f"{key} {variants or ''}", got] += 1
                if got is not expected:
                    differences.append((key, variants, attributes, answers[key], got))
    print(f"\n{vendor.value}: {seen.total()} answers, differences: {len(differences)}; {dict(seen)}")
    assert differences[:2] == []
    for name in {name for name, _ in seen}:
        assert min(seen[name, True], seen[name, False]) >= LEAST_EACH, name
