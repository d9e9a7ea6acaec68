"""A shadow's pairs: how they are joined, what counts against a canary, what decides, what survives a restart."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from extproc.domain import Action, Arm, Mirrored, Outcome, Preferred, Prices, Reason, Rollout, RolloutState, Shadow, Status, Verdict
from extproc.errors import RefusedError
from extproc.release import Pairs, Wish, decide_shadow, human, shadow_needs
from tests.support.outcomes import outcome
from tests.support.specs import cohort, rollout

DEADLINE = 8.0
SHADOW = Shadow(share=0.05, min_dwell=60.0, max_dwell=3600.0, min_pairs=100, min_judged=0, per_release=Decimal(5))
JUDGED = replace(SHADOW, min_judged=50)
ROLLOUT: Rollout = replace(rollout(cohorts=(cohort("everyone"),)), shadow=SHADOW)
PRICES = {"new": Prices(Decimal(10), Decimal(1), Decimal(20))}
STATE = RolloutState(Status.SHADOW, 0, 0.0, 7, 1, "starts by itself", "x")


def pairs(shadow: Shadow = SHADOW) -> Pairs:
    return Pairs(replace(ROLLOUT, shadow=shadow), DEADLINE, 7, 1, PRICES)


def asked(number: int, start: float = 100.0, **changes: Any) -> Outcome:
    """Stable's answer to a request that was to be mirrored."""
    return outcome(number, start, canary=False, **{"generation": 7, "reason": Reason.SHADOW, "arm": Arm.REST, **changes})


def copy(number: int, start: float = 100.0, **changes: Any) -> Mirrored:
    """The canary's answer to its copy."""
    plain: dict[str, Any] = {
        "rollout": "new", "stream_id": f"s{number}", "start": start, "duration": 0.3, "final": True, "status": 200, "failed": False,
        "throttled": False, "ttft": 0.1, "answered_by": "new", "model": "", "input_tokens": 100, "cached_tokens": 0, "output_tokens": 50,
    }  # fmt: skip
    return Mirrored(**(plain | changes))


def fed(one: Pairs, count: int, failing: float = 0.0, now: float = 101.0, **changes: Any) -> Pairs:
    """So many pairs, the canary failing this share of them."""
    draw = random.Random(3)
    for number in range(count):
        one.hear(asked(number), now)
        one.hear_copy(copy(number, **({"failed": True, "status": 503} if draw.random() < failing else {}) | changes), now)
    return one


@pytest.mark.parametrize("copy_first", [False, True])
def test_a_request_and_its_copy_are_one_pair_whichever_is_told_first(copy_first: bool) -> None:
    """By the request's name; both arms, how much longer the copy took, and what it cost."""
    one = pairs()
    told = [lambda: one.hear(asked(1, duration=0.2), 101.0), lambda: one.hear_copy(copy(1, duration=0.5), 101.0)]
    for tell in reversed(told) if copy_first else told:
        tell()
    assert (one.count, one.arms["canary"].requests, one.arms["stable"].requests) == (1, 1, 1)
    assert one.slower.mean == pytest.approx(0.3)
    assert one.spent == pytest.approx((100 * 10 + 50 * 20) / 1e6)


def test_what_is_of_another_visit_is_no_pair() -> None:
    """A router that is behind, an attempt before this one."""
    one = pairs()
    one.hear(asked(1, generation=6), 101.0)
    one.hear_copy(copy(1), 101.0)
    assert one.count == 0


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, False),
        ({"status": 503, "failed": True}, True),
        ({"status": 400}, True),
        ({"status": 422}, True),
        ({"status": 429, "throttled": True}, None),
        ({"duration": DEADLINE + 0.1}, True),
    ],
)
def test_what_counts_against_the_canary(changes: dict[str, Any], failed: bool | None) -> None:
    """Failures, answers after the deadline, and that it refuses what stable takes; being told to wait is counted apart."""
    one = pairs()
    one.hear(asked(1), 101.0)
    one.hear_copy(copy(1, **changes), 101.0)
    assert (one.count, one.throttled) == ((0, 1) if failed is None else (1, 0))
    assert one.arms["canary"].failures == bool(failed)


def test_what_both_refuse_is_the_clients_fault() -> None:
    """A request that stable answers with 400 as well."""
    one = pairs()
    one.hear(asked(1, status=400), 101.0)
    one.hear_copy(copy(1, status=400), 101.0)
    assert (one.count, one.arms["canary"].failures) == (1, 0)


def test_a_copy_that_hangs_has_failed_at_the_deadline() -> None:
    """It is known to be open by its periodic entries; without any it is missing, which is nobody's failure."""
    one = pairs()
    for number in (1, 2):
        one.hear(asked(number), 101.0)
    one.hear_copy(copy(1, final=False, duration=1.0), 101.0)
    one.tick(100.0 + DEADLINE + 4.0, 1.0, unseen=False)
    assert one.count == 0
    one.tick(100.0 + DEADLINE + 6.0, 1.0, unseen=False)
    assert (one.count, one.arms["canary"].failures, one.missing) == (1, 1, 1)


def test_a_mirror_that_is_silent_is_told() -> None:
    """Requests go on, copies do not: it is held and a person is called, and nothing moves forward whatever was seen before."""
    one = fed(pairs(), 150)
    one.watched = 1e6
    assert decide_shadow(ROLLOUT, STATE, one, 200.0).action is Action.ADVANCE
    for number in range(1000, 1030):
        one.hear(asked(number, start=150.0), 151.0)
    one.tick(200.0, 1.0, unseen=False)
    decision = decide_shadow(ROLLOUT, STATE, one, 200.0)
    assert (decision.action, decision.page) == (Action.HOLD, True)
    assert decision.why == "the mirror is silent: of the last 50 requests to be mirrored 30 have no copy in the access log"
    fed(one, 30, now=210.0)
    assert one.silent == ""


def test_entries_that_were_lost_are_no_silence() -> None:
    """While nobody sees, what waits is forgotten and the dwell does not count."""
    one = pairs()
    for number in range(40):
        one.hear(asked(number), 101.0)
    one.tick(102.0, 1.0, unseen=True)
    one.tick(1000.0, 1.0, unseen=False)
    assert (one.missing, one.silent, one.watched) == (0, "", 0.0)


def test_it_goes_on_when_everything_is_there() -> None:
    """Dwell, pairs, and where somebody judges, judged pairs: each is named while it is missing."""
    one = fed(pairs(JUDGED), 40)
    for _ in range(30):
        one.tick(102.0, 1.0, unseen=False)
    assert list(shadow_needs(one)) == [
        "30 s more that are watched",
        "60 more pairs (it has 40)",
        "50 more pairs that the judge has compared (it has 0)",
    ]
    one.prefer((), "its process has said nothing for 12 s")
    assert decide_shadow(ROLLOUT, STATE, one, 200.0).why.endswith("(it has 0); judge: its process has said nothing for 12 s")
    fed(one, 100)
    one.watched = 60.0
    one.prefer([Preferred(f"s{n}", "new", 7, f"{n:016x}", 100.0, 0.5) for n in range(50)], "")
    decision = decide_shadow(ROLLOUT, STATE, one, 200.0)
    assert (decision.action, decision.to_phase) == (Action.ADVANCE, 0)
    assert decision.why == (
        "errors in the shadow: canary 0.00% (0 of 140), stable 0.00% (0 of 140) of the same requests; the canary takes 0.100 s longer "
        "(95 % interval +0.100 s to +0.100 s); harm E 0.82 of 40; judge in the shadow: canary better in 0, stable in 0, no difference in "
        "50 of 50 pairs; harm E 0.68 of 40"
    )


def test_a_canary_that_fails_ends_the_shadow() -> None:
    """As soon as the evidence says so, whatever else is missing: it is rolled back, and that nobody has met it is said."""
    one = fed(pairs(), 60, failing=0.5)
    decision = decide_shadow(ROLLOUT, STATE, one, 200.0)
    assert decision.action is Action.ROLL_BACK
    assert decision.why.startswith("errors in the shadow: canary ")
    assert decision.why.endswith("; nobody has met the canary")
    assert [one.verdict for one in decision.findings] == [Verdict.FAIL]


def test_a_canary_that_answers_worse_ends_the_shadow() -> None:
    """The judge alone, by the pairs in which stable is better."""
    one = fed(pairs(JUDGED), 200)
    one.prefer([Preferred(f"s{n}", "new", 7, f"{n:016x}", 100.0, 0.0 if n % 4 else 0.5) for n in range(60)], "")
    decision = decide_shadow(replace(ROLLOUT, shadow=JUDGED), STATE, one, 200.0)
    assert decision.action is Action.ROLL_BACK
    assert "stable in 45, no difference in 15 of 60 pairs" in decision.why


def test_one_person_cannot_end_it() -> None:
    """A unit counts once, however often it asks."""
    one = pairs(JUDGED)
    for number in range(500):
        one.hear(asked(number, unit="a" * 16), 101.0)
        one.hear_copy(copy(number, failed=True, status=500), 101.0)
    one.prefer([Preferred(f"s{n}", "new", 7, "a" * 16, 100.0, 0.0) for n in range(500)], "")
    assert all(finding.verdict is Verdict.PASS for finding in one.findings())


@pytest.mark.parametrize(
    ("spent", "now", "said"),
    [(5.01, 100.0, "the $5.00 that the shadow may cost are spent, and it still needs"), (0.0, 3600.0, "max dwell of the shadow is over")],
)
def test_a_shadow_that_cannot_show_enough_ends(spent: float, now: float, said: str) -> None:
    """Its money or its time is over: rolled back, with what is missing."""
    one = fed(pairs(), 20)
    one.spent = spent
    decision = decide_shadow(ROLLOUT, STATE, one, now)
    assert decision.action is Action.ROLL_BACK
    assert said in decision.why
    assert "80 more pairs (it has 20)" in decision.why


def test_a_large_first_phase_waits_for_a_person() -> None:
    """Automation raises exposure only as far as the Spec lets it."""
    one = fed(pairs(), 150)
    one.watched = 60.0
    decision = decide_shadow(replace(ROLLOUT, approval_above=0.001), STATE, one, 200.0)
    assert decision.action is Action.HOLD
    assert decision.why.startswith("1% of the units needs a person's approval: extproc promote new; ")
    said = human(ROLLOUT, STATE, Action.ADVANCE, "looked at the pairs")
    assert (said.action, said.to_phase) == (Action.ADVANCE, 0)
    with pytest.raises(RefusedError, match="possible now: promote, rollback"):
        human(ROLLOUT, STATE, Action.PAUSE, "wait", Wish())


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3])
def test_an_equal_canary_is_seldom_ended(rate: float) -> None:
    """300 shadows of 400 pairs, failing as often as stable, looked at after each pair: fewer than alpha are ended."""
    draw, ended = random.Random(11), 0
    for _ in range(300):
        one = pairs()
        for number in range(400):
            one.hear(asked(number, failed=draw.random() < rate), 101.0)
            one.hear_copy(copy(number, failed=draw.random() < rate), 101.0)
            if one.findings()[0].verdict is Verdict.FAIL:
                ended += 1
                break
    assert ended <= 300 * ROLLOUT.alpha


def test_a_restart_goes_on() -> None:
    """Through JSON and back: the same findings; a judge's words are told again by whoever has written them down."""
    one = fed(pairs(), 80, failing=0.05)
    one.watched = 33.0
    other = pairs()
    other.restore(json.loads(json.dumps(one.to_json())))
    assert other.findings() == one.findings()
    assert (other.watched, other.spent, other.count) == (33.0, one.spent, 80)
    another = Pairs(ROLLOUT, DEADLINE, 8, 1, PRICES)
    with pytest.raises(ValueError, match="another visit"):
        another.restore(one.to_json())
