"""The demo's judge: what counts as a disagreement, and what as a story that did not end as promised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from extproc.demo import books
from extproc.demo.ledger import Ledger
from extproc.demo.scenarios import SCENARIOS
from extproc.demo.story import Act, Fault

BELIEF = books.Belief(100, 0, 900, 0, 3, {"new": 1_000, "old": 9_000})
CLIENTS: dict[str, Any] = {"sent": 1_000, "errors": {}, "flips": 2}
BLIND = SCENARIOS["blind"]
CUT, MENDED = 1_000.0, 1_015.0
ACTS = {Act.CUT_ACCESS_LOG: CUT, Act.MEND_ACCESS_LOG: MENDED}


def ledger(model: str, requests: int, tokens: int, **more: Any) -> dict[str, Any]:
    return {**Ledger(model, requests=requests, ok=requests, output_tokens=tokens, asked_for={model: requests}).as_json(), **more}


DONE = books.Seen("completed")
STABLE, CANARY = ledger("old", 900, 9_000), ledger("new", 100, 1_000)


def test_books_that_agree_say_nothing() -> None:
    """To the last request and token."""
    assert books.disagreements(BELIEF, STABLE, CANARY, CLIENTS) == []


@pytest.mark.parametrize("field", ["canary", "canary_failed", "stable", "stable_failed"])
def test_one_request_too_many_or_too_few_is_a_disagreement(field: str) -> None:
    """Where nothing may be lost, nothing may be missing either."""
    for by in (1, -1):
        assert books.disagreements(replace(BELIEF, **{field: getattr(BELIEF, field) + by}), STABLE, CANARY, CLIENTS)


def test_what_a_fault_may_cost_is_forgiven_and_no_more() -> None:
    """Forty unheard requests of at most forty; one more, or one request counted twice, is told."""
    missing = replace(BELIEF, stable=870, canary=90, output_tokens={"new": 900, "old": 8_700})
    assert books.disagreements(missing, STABLE, CANARY, CLIENTS, unheard=40) == []
    assert books.disagreements(missing, STABLE, CANARY, CLIENTS, unheard=39)
    assert books.disagreements(replace(missing, canary=101), STABLE, CANARY, CLIENTS, unheard=40)


def test_controllers_one_after_the_other_are_added_up() -> None:
    """A killed one takes its counters with it; what it had counted is not lost."""
    both = books.Belief.together([BELIEF, BELIEF])
    assert both == books.Belief(200, 0, 1_800, 0, 6, {"new": 2_000, "old": 18_000})


def test_why_it_was_held_is_told_and_looked_at() -> None:
    """Of a judge that is away, talks nonsense and is slow: each reason must have been in `status`, and is in the story."""
    away = SCENARIOS["judge-away"]
    found: dict[str, str] = {}
    for end in ("unreachable", "breaker_open, nonsense, unreachable", "late, nonsense"):
        now = f"waiting for 8 s more of watched time; data for judge; judge: 5 of the last 9 answers have no score ({end}): why; calm"
        found = books.hold(away, now) | found
    seen = replace(DONE, held=found)
    assert books.shortcomings(away, seen, BELIEF, STABLE, CANARY, CLIENTS, {}) == []
    assert "held: judge: 5 of the last 9 answers have no score (late, nonsense): why." in books.held(found)
    del found[away.holds[2]]
    (told,) = books.shortcomings(away, replace(DONE, held=found), BELIEF, STABLE, CANARY, CLIENTS, {})
    assert "never held" in told
    assert books.hold(away, "nothing is missing") == {}


@pytest.mark.parametrize(
    ("silence", "told"),
    [
        ((CUT + 5, MENDED + 10), ""),
        ((CUT + 20, CUT + 40), "not withdrawn"),
        ((CUT - 1, MENDED + 10), "not withdrawn"),
        ((CUT + 5, MENDED - 1), "came back before"),
    ],
)
def test_a_withdrawal_is_seen_in_the_canarys_own_ledger(silence: tuple[float, float], told: str) -> None:
    """The longest time without a request begins soon after the fault and ends after it."""
    found = books.shortcomings(BLIND, DONE, BELIEF, STABLE, {**CANARY, "silence": silence}, CLIENTS, ACTS)
    assert bool(found) == bool(told)
    assert told in " ".join(found)


def test_a_fault_that_was_never_done_proves_nothing() -> None:
    """A rollout that was over before the script came to it."""
    found = books.shortcomings(BLIND, DONE, BELIEF, STABLE, {**CANARY, "silence": (CUT + 5, MENDED + 10)}, CLIENTS, {})
    assert found == [f"{Act.CUT_ACCESS_LOG} was never done", f"{Act.MEND_ACCESS_LOG} was never done"]


GERMANS = SCENARIOS["one-country"]
SINCE = {"at": 99.0, "requests": 9, "errors": 5, "first_error": 100.0, "last_request": 103.0}
BROKEN = {**CANARY, "errors": 5, "since": SINCE}
FIVE = {**CLIENTS, "errors": {"500": 5}}


@pytest.mark.parametrize(
    ("name", "seen", "told"),
    [
        ("one-country", books.Seen("completed", out=("germany",)), ""),
        ("one-country", books.Seen("completed"), "rolled back by themselves were nobody, not germany"),
        ("errors", books.Seen("rolled_back", out=("germany",)), "rolled back by themselves were germany, not nobody"),
        ("errors", books.Seen("rolled_back", untold=("the canary breaks",)), "it never came to this: the canary breaks"),
        ("errors", books.Seen("completed"), "the rollout ended completed, not rolled back"),
        ("slow", books.Seen("rolled_back", "latency_mean: canary 1 s"), ""),
        ("slow", books.Seen("rolled_back", "errors: canary 5 %"), "not a word of 'latency_'"),
    ],
)
def test_a_scenario_ends_as_it_says_and_for_its_reason(name: str, seen: books.Seen, told: str) -> None:
    """Rolled back for something else is not what was to be shown; nor is a cohort too few or too many."""
    found = books.shortcomings(SCENARIOS[name], seen, BELIEF, STABLE, BROKEN, FIVE, {})
    assert bool(found) == bool(told)
    assert told in " ".join(found)


def test_clients_may_see_what_the_models_did_on_purpose_and_nothing_else() -> None:
    """One failure more or less than the models' own is somebody else's."""
    for failed in (4, 6):
        found = books.shortcomings(
            GERMANS, books.Seen("completed", out=("germany",)), BELIEF, STABLE, BROKEN, {**FIVE, "errors": {"500": failed}}, {}
        )
        assert found == [f"clients saw {failed} failures {{'500': {failed}}}, the models failed or hung 5 times"]


def test_a_promise_is_kept_by_the_canarys_own_clock() -> None:
    """From the first failing response where it fails; from the change where it is only worse."""
    assert books.rollback_seconds(BROKEN) == pytest.approx(3.0)
    assert books.rollback_seconds(BROKEN, Fault.WORSE) == pytest.approx(4.0)
    late = {**BROKEN, "since": {**SINCE, "last_request": 109.0}}
    found = books.shortcomings(GERMANS, books.Seen("completed", out=("germany",)), BELIEF, STABLE, late, FIVE, {})
    assert found == [f"the last canary request came 9.0 s after {Fault.FAILS}; promised are 8 s"]
    unbroken = {**BROKEN, "since": {**SINCE, "first_error": None}}
    assert "the canary never failed" in books.shortcomings(
        GERMANS, books.Seen("completed", out=("germany",)), BELIEF, STABLE, unbroken, FIVE, {}
    )


def test_an_incident_calls_somebody_and_moves_nobody() -> None:
    """Held without a word would be as wrong as a rollback."""
    incident, acts = SCENARIOS["incident"], {Act.RESUME: 1.0}
    paged = books.Seen("completed", paged=frozenset({"incident in both arms, held: errors"}))
    assert books.shortcomings(incident, paged, BELIEF, STABLE, BROKEN, FIVE, acts) == []
    assert books.shortcomings(incident, DONE, BELIEF, STABLE, BROKEN, FIVE, acts) == ["nobody was called for an incident in both arms"]
    assert books.shortcomings(incident, paged, BELIEF, STABLE, BROKEN, {**FIVE, "flips": 9}, acts)


def test_people_who_were_moved_back_are_told() -> None:
    """More than had no decision: somebody's model changed without a reason."""
    healthy = SCENARIOS["healthy"]
    assert books.shortcomings(healthy, DONE, BELIEF, STABLE, CANARY, CLIENTS, {}) == []
    assert books.shortcomings(healthy, DONE, BELIEF, STABLE, CANARY, {**CLIENTS, "flips": 4}, {})


def test_the_longest_silence_of_a_model() -> None:
    """From one arrival to the next, not to the present."""
    made = Ledger("new")
    for now in (10.0, 11.0, 18.0, 19.0, 22.0):
        made.arrived(now, "new", stream=False, foreign=False)
    assert made.silence == (11.0, 18.0)
