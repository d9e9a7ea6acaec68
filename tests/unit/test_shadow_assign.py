"""Whose requests are copied in a shadow: those of the canary's end of the ring who take part in the first phase; all meet stable."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from extproc import contract, wire
from extproc.assign import assign, compile, derive, prepare
from extproc.domain import Arm, Reason, Shadow, Status, Subject
from tests.support.specs import cohort, countries, rollout, spec, state_of

SHADOW = Shadow(0.1, 0.0, 60.0, 10, 0, Decimal(1))
COHORTS = (
    cohort("later", selector=countries("FR"), shares=(0.0, 0.05, 0.25, 0.5, 1.0)),
    cohort("germany", selector=countries("DE"), exclude=countries("DE")),
    cohort("everyone"),
)


def decisions(status: Status, withdrawn: tuple[str, ...] = (), users: int = 20_000) -> Counter[tuple[str, str, bool, str, str]]:
    """(cohort, reason, mirrored, arm, model) of so many users, of three countries in turn."""
    given = spec(replace(rollout(cohorts=COHORTS), shadow=SHADOW))
    compiled = derive(prepare(given), state_of(given, 0.01, status), lambda *_: b"", withdrawn)
    seen: Counter[tuple[str, str, bool, str, str]] = Counter()
    for number in range(users):
        subject: Subject = {"x-user-id": b"user-%d" % number, "x-geo-country": (b"FR", b"DE", b"US", b"US")[number % 4]}
        answer = assign(compiled.layers[0], subject, None, 0.0)
        assert answer is not None
        one = answer.choice.assignment
        seen[one.cohort, one.reason.value, one.mirrored, one.arm.value, one.model] += 1
    return seen


def test_a_share_is_mirrored_and_everybody_meets_stable() -> None:
    """A tenth of those who take part in the first phase; nobody who comes later, or never."""
    seen = decisions(Status.SHADOW)
    assert {model for *_, model in seen} == {"old"}
    assert {arm for *_, arm, _ in seen} == {Arm.REST.value}
    mirrored = {key[0]: count for key, count in seen.items() if key[2]}
    assert mirrored.keys() == {"everyone"}
    assert mirrored["everyone"] == pytest.approx(1000, abs=4 * 30)
    assert {key[:2] for key in seen if not key[2]} == {
        ("later", Reason.NOT_EXPOSED.value),
        ("germany", Reason.EXCLUDED.value),
        ("everyone", Reason.NOT_EXPOSED.value),
    }


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SHADOW}))
def test_nothing_is_mirrored_in_any_other_status(status: Status) -> None:
    """Before it, after it, and when it is over."""
    assert not any(key[2] for key in decisions(status, users=2_000))


def test_nobody_watches_nothing_is_mirrored() -> None:
    """A shadow costs money, and sends prompts to somebody: not without a watcher."""
    seen = decisions(Status.SHADOW, ("new",), users=2_000)
    assert not any(key[2] for key in seen)
    assert {key[1] for key in seen} <= {Reason.WITHDRAWN.value, Reason.EXCLUDED.value}


def test_who_is_mirrored_is_who_enters_first() -> None:
    """The same end of the ring: who meets the canary at 1 % is among those whose requests were copied."""
    given = spec(replace(rollout(cohorts=(cohort("everyone"),)), shadow=SHADOW))
    shadow, first = (compile(given, state_of(given, 0.01, status), lambda *_: b"") for status in (Status.SHADOW, Status.PROGRESSING))
    for number in range(20_000):
        subject: Subject = {"x-user-id": b"user-%d" % number}
        before, after = assign(shadow.layers[0], subject, None, 0.0), assign(first.layers[0], subject, None, 0.0)
        assert before is not None
        assert after is not None
        assert before.choice.assignment.mirrored or after.choice.assignment.arm is not Arm.CANARY


def test_the_mark_is_one_header_more() -> None:
    """It names the way of the rollout's copies; other replies are as they were, byte for byte."""
    given = spec(replace(rollout(cohorts=(cohort("everyone"),)), shadow=SHADOW))
    compiled = compile(given, state_of(given, 0.01, Status.SHADOW), wire.encode_reply)
    marked = [choice for choice in compiled.choices if choice.assignment.mirrored]
    assert len(marked) == 1
    for choice in compiled.choices:
        names = [name for name, _ in wire.set_headers(choice.durable_reply + b"0" * wire.HASH_DIGITS)]
        assert (contract.MIRROR_HEADER in names) == choice.assignment.mirrored
    assert wire.set_headers(marked[0].durable_reply + b"0" * wire.HASH_DIGITS)[1] == (contract.MIRROR_HEADER, "extproc_shadow_new")
