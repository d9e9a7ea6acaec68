"""Flags that are not known yet keep people on stable; typed attributes; what a flag is not told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from extproc import wire
from extproc.assign import Snapshot, assign, derive, prepare
from extproc.domain import Arm, FlagVendor, RolloutState, Spec, State, Status, Subject
from extproc.flags import FlagError
from tests.support import flag_specs
from tests.support.flag_documents import DOCUMENTS

ON: dict[str, Any] = {"flags": {"k": {"state": "ENABLED", "variants": {"on": "on", "off": ""}, "defaultVariant": "on"}}}
OFF: dict[str, Any] = {"flags": {"k": {"state": "ENABLED", "variants": {"on": "on", "off": ""}, "defaultVariant": "off"}}}
BAD: dict[str, Any] = {"flags": {"k": {"state": "ENABLED", "variants": {"on": "on"}, "targeting": {"near": [1]}}}}
FLAG = {"flag": {"source": "ours", "key": "k"}}


def spec(*cohorts: dict[str, Any], vendor: FlagVendor = FlagVendor.FLAGD, attributes: Any = None) -> Spec:
    """Everybody who is in a cohort meets the canary."""
    unit = {"kind": "user", "sources": [{"header": "x-user-id"}]}
    written = [{"name": f"c{number}", **cohort} for number, cohort in enumerate(cohorts)]
    rollout = {"stable": "old", "canary": "new", "unit": unit, "cohorts": written, "phases": [{"share": "100%"}]}
    source = {"vendor": vendor.value, "poll": {"url": "https://flags.example/"}, "attributes": attributes or {}}
    return flag_specs.spec({"r": rollout}, flags={"ours": source})


def snapshot(given: Spec, polled: Mapping[str, Any]) -> Snapshot:
    state = State(1, given.digest, {"r": RolloutState(Status.PROGRESSING, 0, 0.0, 1, 1, "test", "")})
    return derive(prepare(given, polled=polled), state, wire.encode_reply)


def canary(given: Spec, polled: Mapping[str, Any], **facts: bytes) -> bool:
    subject: Subject = {"x-user-id": b"u", **{name.replace("_", "-"): value for name, value in facts.items()}}
    answer = assign(snapshot(given, polled).layers[0], subject, b"request", 0.0)
    assert answer is not None
    return answer.choice.assignment.arm is Arm.CANARY


SELECTORS: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "flag": (FLAG, True, False),
    "not": ({"not": FLAG}, False, True),
    "not not": ({"not": {"not": FLAG}}, True, False),
    "any": ({"any": [FLAG, {"tier": ["x"]}]}, True, False),
    "not all": ({"not": {"all": [FLAG, {"not": {"tier": ["x"]}}]}}, False, True),
    "exclude": ({"exclude": FLAG}, False, True),
    "exclude not": ({"exclude": {"not": FLAG}}, True, False),
}
"""Cohort -> who meets the canary where the flag is on, and where it is off."""


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("unknown", [{}, {"ours": BAD}, {"ours": {"flags": {}}}])
def test_a_flag_that_is_not_known_brings_nobody_to_the_canary(name: str, unknown: dict[str, Any]) -> None:
    """Never read, gone from the document, or not to be evaluated: wherever it stands, the error is on the side of stable."""
    cohort, on, off = SELECTORS[name]
    given = spec(cohort)
    assert (canary(given, {"ours": ON}), canary(given, {"ours": OFF})) == (on, off)
    assert canary(given, unknown) is False


def test_a_flag_that_is_not_known_takes_no_other_with_it() -> None:
    """Of one source, the flags that can be evaluated still are; those of another too."""
    both = {"flags": {**ON["flags"], "bad": BAD["flags"]["k"]}}
    given = spec({"flag": {"source": "ours", "key": "bad"}}, FLAG)
    assert canary(given, {"ours": both})


def test_a_flag_in_a_file_is_an_error_instead() -> None:
    """The Spec was checked: it cannot happen, and must not pass unseen."""
    from dataclasses import replace

    given = spec(FLAG)
    broken = replace(given, flags={"ours": replace(given.flags["ours"], document=BAD, poll=None)})
    with pytest.raises(FlagError):
        prepare(broken)


NUMBERS = {
    b"10": True,
    b"11.5": True,
    b"9": False,
    b"1e2": True,
    b"+10": True,
    b"010": True,
    **dict.fromkeys((b"1_000", b"ten", b"", b"nan", b"inf", b"1e999", b"0x20", b"10,5", "١٢".encode(), b"9" * 5000), False),
}


@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_number_is_a_number(vendor: FlagVendor) -> None:
    """seats >= 10 by each vendor; what is no number is not there. `9` times 5000 is beyond floats."""
    flag = {"flag": {"source": "ours", "key": "seats"}}
    given = spec(flag, vendor=vendor, attributes={"seats": {"header": "x-seats", "type": "number"}})
    for written, expected in NUMBERS.items():
        assert canary(given, {"ours": DOCUMENTS[vendor]}, x_seats=written) is expected, written


@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_boolean_is_a_boolean(vendor: FlagVendor) -> None:
    """true in any case; 1 and yes are none."""
    flag = {"flag": {"source": "ours", "key": "beta"}}
    given = spec(flag, vendor=vendor, attributes={"beta": {"header": "x-beta", "type": "boolean"}})
    for written, expected in {b"true": True, b"TRUE": True, b"false": False, b"1": False, b"yes": False, b"": False}.items():
        assert canary(given, {"ours": DOCUMENTS[vendor]}, x_beta=written) is expected, written


def test_an_attribute_may_be_given_anew_to_the_units_name() -> None:
    """The Spec may say that the vendor's id is something else than the unit's."""
    document = {"flags": {"k": {**ON["flags"]["k"], "targeting": {"if": [{"==": [{"var": ["targetingKey"]}, "tenant-1"]}, "on", "off"]}}}}
    given = spec(FLAG, attributes={"targetingKey": {"header": "x-tenant"}})
    assert canary(given, {"ours": document}, x_tenant=b"tenant-1")
    assert not canary(given, {"ours": document}, x_tenant=b"tenant-2")
    assert canary(spec(FLAG, attributes={"targetingKey": "unit"}), {"ours": document}, x_user_id=b"tenant-1")
