"""Laws of assignment: who meets the canary, whatever Spec, State and request are. Each law is the docstring of its test."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from extproc import spec as spec_room
from extproc.assign import Snapshot, derive, point, prepare
from extproc.assign.bucket import cohort_prefix, ring_prefix, slot_prefix, thresholds
from extproc.assign.deriving import exposure
from extproc.domain import (
    RING,
    AllOf,
    AnyOf,
    Arm,
    Bucketing,
    Match,
    Not,
    RandomShare,
    Reason,
    RolloutState,
    Selector,
    Spec,
    State,
    Status,
)
from extproc.errors import SpecError
from tests.support.assigning import ask, chi_square, compiled, found, met, near, no_bytes, users
from tests.support.specs import SHARES, cohort, countries, ids, model, rollout, tiers

law = settings(max_examples=120, deadline=None, derandomize=True)
whole_spec = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""A whole document takes PyYAML about 15 ms."""
EXAMPLE: Any = yaml.safe_load((Path(__file__).parents[2] / "envoy" / "release.yaml").read_text(encoding="utf-8"))
NAME = "gpt-5-mini"
EXPOSING = (Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL)
exposed = st.sampled_from([*EXPOSING, Status.COMPLETED])
TIERS = ("internal", "gold", "free")
PEOPLE = [(f"user-{number}", tier) for number in range(40) for tier in TIERS]


# ------------------------------------------------------------------------------------------------------------------------- ramps
percents = st.integers(1, 1000).map(lambda tenths: f"{tenths / 10:g}%")
conditions = st.fixed_dictionaries(
    {},
    optional={
        "tier": st.lists(st.sampled_from(TIERS), min_size=1, max_size=2),
        "random": percents,
        "ids": st.lists(st.sampled_from([user for user, _ in PEOPLE]), min_size=1, max_size=20),
        "not": st.fixed_dictionaries({"tier": st.lists(st.sampled_from(TIERS), min_size=1, max_size=1)}),
        "any": st.lists(st.fixed_dictionaries({"random": percents}), min_size=1, max_size=2),
    },
)


@st.composite
def written_rollouts(draw: st.DrawFn) -> dict[str, Any]:
    """A rollout as people write it: any ramp, cohorts with shares of their own in every way there is, some of them falling."""
    shares = [*sorted(draw(st.sets(st.integers(1, 999), max_size=4))), 1000]
    names = [f"{share / 10:g}%" for share in shares]
    cohorts = []
    for number in range(draw(st.integers(1, 3))):
        written = {"name": f"c{number}", **(draw(conditions) or {"tier": [TIERS[number]]})}
        way = draw(st.sampled_from(["", "share", "shares", "multiplier"]))
        if way == "share":
            written["share"] = draw(percents)
        elif way == "shares":
            written["shares"] = draw(st.dictionaries(st.sampled_from(names), percents, min_size=1))
        elif way == "multiplier":
            written["multiplier"] = draw(st.floats(0.01, 100))
        if draw(st.booleans()):
            written["from"] = draw(st.sampled_from(names))
        if draw(st.integers(0, 3)) == 0:
            written["exclude"] = {"random": draw(percents)}
        cohorts.append(written)
    phases = [{"share": name, "min_dwell": "1m"} for name in names]
    holdback = draw(st.sampled_from(["0%", "0%", "10%", "49%"]))
    return {"cohorts": [*cohorts, {"name": "everyone"}], "phases": phases, "holdback": holdback}


def loaded(changes: dict[str, Any]) -> Spec | set[str]:
    """The Spec of the example's rollout, changed; or what it is refused for."""
    values = copy.deepcopy(EXAMPLE)
    values["rollouts"][NAME] |= {"match": {}, **changes}
    try:
        return spec_room.load(yaml.safe_dump(values, sort_keys=False))
    except SpecError as error:
        return {problem.id for problem in error.problems}


def along(given: Spec) -> list[Snapshot]:
    """A Snapshot for each phase, and for completion."""
    (one,) = given.rollouts.values()
    prepared = prepare(given)
    places = [(Status.PROGRESSING, phase) for phase in range(len(one.phases))] + [(Status.COMPLETED, len(one.phases) - 1)]
    states = [RolloutState(status, phase, 0.0, 1, 1, "", "") for status, phase in places]
    return [derive(prepared, State(1, given.digest, {one.name: state}), no_bytes) for state in states]


def arms(snapshot: Snapshot) -> dict[tuple[str, str], Arm]:
    return {(user, tier): found(ask(snapshot, user, x_user_tier=tier)).arm for user, tier in PEOPLE}


@whole_spec
@given(written_rollouts())
def test_a_ramp_only_ever_adds_units(written: dict[str, Any]) -> None:
    """No unit of a cohort leaves the canary as phases advance, whatever shares, multiplier, first phase, holdback and exclusions are
    written; and a Spec under which one would is refused."""
    given = loaded(written)
    if not isinstance(given, Spec):
        assert given <= {"spec.share-falls", "spec.share-too-early"}
        return
    (one,) = given.rollouts.values()
    for each in one.cohorts:
        assert all(before <= after for before, after in pairwise(each.shares))
    for before, after in pairwise(map(arms, along(given))):
        assert [who for who, arm in before.items() if arm is Arm.CANARY and after[who] is not Arm.CANARY] == []


@whole_spec
@given(written_rollouts())
def test_control_is_never_treated_up_to_half(written: dict[str, Any]) -> None:
    """Whoever is in control at a share of at most 50 % has met the canary at no phase before, and stays in control up to 50 %."""
    given = loaded(written)
    if not isinstance(given, Spec):
        return
    (one,) = given.rollouts.values()
    snapshots = along(given)[:-1]
    for user, tier in PEOPLE:
        seen = [found(ask(snapshot, user, x_user_tier=tier)) for snapshot in snapshots]
        cohorts = {each.name: each for each in one.cohorts}
        shares = [cohorts[assignment.cohort].shares[phase] if assignment.cohort else 0.0 for phase, assignment in enumerate(seen)]
        below = [assignment for assignment, share in zip(seen, shares, strict=True) if share <= 0.5]
        control = [assignment.arm is Arm.CONTROL for assignment in below]
        if any(control):
            assert all(assignment.arm is not Arm.CANARY for assignment in below)
            assert control == sorted(control), "once in control, in control"


@law
@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.49), st.integers(0, RING - 1))
def test_both_ends_are_nested(one: float, other: float, holdback: float, where: int) -> None:
    """Canary and control both only grow up to 50 %, are of the same length and never meet; every point is in exactly one arm."""
    lower, higher = sorted((one, other))
    before, after = thresholds(lower, holdback), thresholds(higher, holdback)
    assert before.canary_below <= after.canary_below <= after.control_from <= before.control_from
    assert after.canary_below == RING - after.control_from
    assert (where < after.canary_below) + (after.canary_below <= where < after.control_from) + (where >= after.control_from) == 1


@law
@given(st.floats(0, 1), st.floats(0, 0.49), exposed)
def test_a_holdback_is_never_treated(share: float, holdback: float, status: Status) -> None:
    """The last part of the ring stays on stable at every share and after completion: always the same units."""
    given = rollout(holdback=holdback, cohorts=(cohort("all", shares=(share,) * 5),))
    state = RolloutState(status, 2, 0.0, 1, 1, "", "")
    standing = Reason.COMPLETED if status is Status.COMPLETED else Reason.RING
    limits, _ = exposure(given, given.cohorts[0], state, standing)
    assert limits.canary_below <= RING - round(holdback * RING)
    if status is Status.COMPLETED:
        assert limits.canary_below == limits.control_from == RING - round(holdback * RING)


@pytest.mark.parametrize("bucket", Bucketing)
def test_the_ramp_is_monotone_under_every_bucketing(bucket: Bucketing) -> None:
    """A flag vendor's hash places units as ours does: nested ends, shares within 4 standard deviations."""
    people = users(4000)
    before: set[str] = set()
    for share in SHARES:
        snapshot = compiled(rollout(bucket=bucket, salt="4711", cohorts=(cohort("all"),)), share=share)
        now = met(snapshot, people)
        assert before <= now
        assert near(len(now), len(people), share)
        assert near(len(met(snapshot, people, Arm.CONTROL)), len(people), min(share, 1 - share))
        before = now


@pytest.mark.parametrize("bucket", Bucketing)
@pytest.mark.parametrize("pooled", [False, True])
def test_0_is_nobody_and_100_is_everybody(bucket: Bucketing, pooled: bool) -> None:
    """At both ends of the ramp, in a pool or not, whoever somebody is."""
    people = [*users(2000), "", "ü", "x" * 500]
    models = {name: model(name, *(f"{name}-{member}" for member in range(3 if pooled else 1))) for name in ("old", "new")}
    for share, arm in ((0.0, Arm.REST), (1.0, Arm.CANARY)):
        snapshot = compiled(rollout(bucket=bucket, salt="4711", cohorts=(cohort("all", shares=(share,) * 5),)), around={"models": models})
        for user in people:
            assert found(ask(snapshot, user, request_id=b"r")).arm is arm


# ---------------------------------------------------------------------------------------------------------------- layers and slots
@whole_spec
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6).filter(lambda parts: sum(parts) <= 1000), st.text(min_size=1, max_size=8))
def test_slots_are_disjoint_and_exhaustive(parts: list[int], user: str) -> None:
    """Every unit is in exactly one slot of a layer that is split up entirely, and in at most one of any layer."""
    assume(user.strip("\0"))
    values = copy.deepcopy(EXAMPLE)
    values["layers"] = {"model": {"slots": {f"s{number}": f"{part / 10:g}%" for number, part in enumerate(parts)}}}
    slots = spec_room.load(yaml.safe_dump(values)).layers["model"]
    rollouts = tuple(rollout(name, slot=name) for name in slots)
    around = {"layers": {"model": slots}}
    everything = compiled(*rollouts, around=around)
    alone = [compiled(one, around=around) for one in rollouts]
    for who in [user, *users(60)]:
        taken = [found(answer).rollout for snapshot in alone if (answer := ask(snapshot, who)) is not None]
        answer = ask(everything, who)
        assert taken == ([] if answer is None else [found(answer).rollout])
        assert len(taken) == 1 or sum(parts) < 1000


def test_a_slot_has_its_share_of_units() -> None:
    """Within 4 standard deviations; the rest is in none."""
    slots = {"a": (0.0, 0.2), "b": (0.2, 0.7)}
    snapshot = compiled(rollout("a", slot="a"), rollout("b", slot="b"), around={"layers": {"model": slots}})
    answers = [ask(snapshot, user) for user in users(20_000)]
    seen = Counter(found(answer).rollout if answer is not None else "" for answer in answers)
    for name, share in (("a", 0.2), ("b", 0.5), ("", 0.3)):
        assert near(seen[name], 20_000, share)


def test_a_slot_says_nothing_of_the_arm() -> None:
    """Slots have a ring of their own: in each slot the arms have their shares, and the slots of two layers are independent
    (chi-square, p > 1e-4)."""
    slots = {"a": (0.0, 0.5), "b": (0.5, 1.0)}
    one = rollout("a", slot="a", salt="s", cohorts=(cohort("all"),))
    other = rollout("b", slot="b", salt="t", cohorts=(cohort("all"),))
    layered = {"layer": "prompt", "cohorts": (cohort("all"),)}
    snapshot = compiled(
        one,
        other,
        rollout("c", slot="a", **layered),
        rollout("d", slot="b", **layered),
        share=0.25,
        around={"layers": dict.fromkeys(("model", "prompt"), slots)},
    )
    arms: Counter[tuple[str, Arm]] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    for user in users(40_000):
        first, second = (found(ask(snapshot, user, layer=layer)) for layer in (0, 1))
        arms[first.rollout, first.arm] += 1
        both[first.rollout, second.rollout] += 1
    for name in ("a", "b"):
        total = sum(count for (which, _), count in arms.items() if which == name)
        assert near(arms[name, Arm.CANARY], total, 0.25)
        assert near(arms[name, Arm.CONTROL], total, 0.25)
    assert chi_square(both) < 15.2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"layer": "prompt"}),
        ({"salt": "same"}, {"salt": "same", "layer": "prompt"}),
        ({"match": Match((), ("/a",), ())}, {"match": Match((), ("/b",), ())}),
    ],
    ids=["two layers", "two layers and one salt", "two salts in a layer"],
)
def test_rollouts_are_independent(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The arm in one says nothing of the arm in the other (chi-square of the 3x3 table, 4 degrees of freedom, p > 1e-4)."""
    everybody = (cohort("all"),)
    first, second = (compiled(rollout(name, cohorts=everybody, **changes), share=0.25) for name, changes in (("new", one), ("tone", other)))
    table: Counter[tuple[Arm, Arm]] = Counter()
    for user in users(30_000):
        table[found(ask(first, user, path="/a")).arm, found(ask(second, user, path="/b")).arm] += 1
    assert chi_square(table) < 23.5


def test_no_two_rings_share_a_prefix() -> None:
    """What is hashed before an id tells ring, cohort's ring, slots and pools apart, whatever their names are."""
    names = ["a", "a.b", "pool", "a-b", "new"]
    prefixes = [ring_prefix(layer, salt) for layer in names for salt in names]
    prefixes += [cohort_prefix(layer, salt, name) for layer in names for salt in names for name in names]
    prefixes += [slot_prefix(layer) for layer in names]
    prefixes += [f"#pool/{name}/".encode() for name in names]
    assert len(set(prefixes)) == len(prefixes)
    assert not any(one != other and other.startswith(one) for one in prefixes for other in prefixes)


@law
@given(st.sampled_from(["autumn", "x"]), st.floats(0, 1), st.floats(0.01, 1))
def test_a_re_run_meets_the_same_units(salt: str, share: float, part: float) -> None:
    """The same layer and salt give the same arms and the same random cohorts, whatever the rollouts are called."""
    cohorts = (cohort("some", RandomShare(part), shares=(share,) * 5), cohort("all"))
    first, again = (compiled(rollout(name, salt=salt, cohorts=cohorts)) for name in ("first", "again"))
    for user in users(50):
        one, other = found(ask(first, user)), found(ask(again, user))
        assert (one.cohort, one.arm) == (other.cohort, other.arm)


# ----------------------------------------------------------------------------------------------------------------- random cohorts
@pytest.mark.parametrize(
    ("selector", "share"),
    [
        (RandomShare(0.2), 0.2),
        (Not(RandomShare(0.2)), 0.8),
        (AnyOf((RandomShare(0.1), RandomShare(0.3))), 0.3),
        (AllOf((RandomShare(0.1), RandomShare(0.3))), 0.1),
        (AllOf((Not(RandomShare(0.1)), RandomShare(0.3))), 0.2),
        (AnyOf((Not(RandomShare(0.6)), AllOf((RandomShare(0.2), tiers("x"))))), 0.4),
    ],
)
def test_exposure_is_p_and_not_p_squared(selector: Selector, share: float) -> None:
    """A random cohort, however it is nested, holds its share of units; the canary inside it has the phase's share of those."""
    snapshot = compiled(rollout(cohorts=(cohort("some", selector), cohort("rest"))), share=0.25)
    inside = [assignment for user in users(20_000) if (assignment := found(ask(snapshot, user))).cohort == "some"]
    assert near(len(inside), 20_000, share)
    assert near(sum(assignment.arm is Arm.CANARY for assignment in inside), len(inside), 0.25)


@law
@given(st.floats(0.001, 1), st.floats(0.001, 1), st.text(min_size=1, max_size=12))
def test_a_larger_random_cohort_holds_the_smaller_one(one: float, other: float, user: str) -> None:
    """Random shares of one cohort are nested: whoever is in 5 % is in 10 %."""
    smaller, larger = sorted((one, other))
    prefix = cohort_prefix("model", "new", "c")
    where = point(prefix, user.encode(errors="surrogatepass"))
    assert not (where < round(smaller * RING)) or where < round(larger * RING)


# ------------------------------------------------------------------------------------------------------------------- who goes first
selectors = st.recursive(
    st.one_of(
        st.just(tiers("gold")),
        st.just(countries("DE", "FR")),
        st.just(ids("u1", "u2", "u3")),
        st.floats(0, 1).map(RandomShare),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)
subjects = st.fixed_dictionaries(
    {},
    optional={
        "x_user_tier": st.sampled_from(["gold", "free", ""]),
        "x_geo_country": st.sampled_from(["DE", "US"]),
    },
)


@law
@given(selectors, st.sampled_from(["u1", "u9", "ü"]), subjects)
def test_a_selector_means_what_logic_says(selector: Selector, user: str, headers: dict[str, str]) -> None:
    """all, any and not over tests of a request, however deep: the compiled closure agrees with the plain reading of the data."""

    def plain(one: Selector) -> bool:
        match one:
            case AllOf(parts):
                return all(plain(part) for part in parts)
            case AnyOf(parts):
                return any(plain(part) for part in parts)
            case Not(part):
                return not plain(part)
            case RandomShare(share):
                return point(cohort_prefix("model", "new", "some"), user.encode()) < round(share * RING)
            case _ if one == ids("u1", "u2", "u3"):
                return user in ("u1", "u2", "u3")
            case _ if one == tiers("gold"):
                return headers.get("x_user_tier") == "gold"
        return headers.get("x_geo_country") in ("DE", "FR")

    snapshot = compiled(rollout(cohorts=(cohort("some", selector), cohort("rest"))))
    assert (found(ask(snapshot, user, **headers)).cohort == "some") is plain(selector)


@law
@given(st.lists(selectors, min_size=1, max_size=12), st.sampled_from(["u1", "u9"]), subjects)
def test_the_first_cohort_that_matches_counts(given_selectors: list[Selector], user: str, headers: dict[str, str]) -> None:
    """The order written is the precedence: a cohort gets whoever it matches and none before it does."""
    cohorts = tuple(cohort(f"c{number}", selector) for number, selector in enumerate(given_selectors))
    alone = [found(ask(compiled(rollout(cohorts=(one, cohort("rest")))), user, **headers)).cohort != "rest" for one in cohorts]
    together = found(ask(compiled(rollout(cohorts=(*cohorts, cohort("rest")))), user, **headers)).cohort
    assert together == (f"c{alone.index(True)}" if any(alone) else "rest")


@law
@given(selectors, selectors, st.sampled_from(SHARES), exposed, st.sampled_from(["u1", "u9"]), subjects)
def test_who_is_excluded_meets_stable(
    selector: Selector, exclude: Selector, share: float, status: Status, user: str, headers: dict[str, str]
) -> None:
    """At no phase and not after completion does the canary meet whom the cohort excludes; and nobody is passed on to the next cohort."""
    around = (cohort("some", selector), cohort("rest"))
    inside = found(ask(compiled(rollout(cohorts=around)), user, **headers)).cohort == "some"
    out = found(ask(compiled(rollout(cohorts=(cohort("some", exclude), cohort("rest")))), user, **headers)).cohort == "some"
    snapshot = compiled(rollout(cohorts=(cohort("some", selector, exclude), cohort("rest"))), share=share, status=status)
    assignment = found(ask(snapshot, user, **headers))
    if inside and out:
        assert (assignment.reason, assignment.model, assignment.cohort) == (Reason.EXCLUDED, "old", "some")
    else:
        assert assignment.reason is (Reason.COMPLETED if status is Status.COMPLETED else Reason.RING)
        assert assignment.cohort == ("some" if inside else "rest")


@law
@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from(["u1", "u9"]))
def test_before_its_phase_a_cohort_is_excluded_and_not_passed_on(first: int, phase: int, user: str) -> None:
    """Its units meet stable, outside of Evidence, although the next cohort would have them; from its phase on the ring decides."""
    late = cohort("late", tiers("gold"), shares=tuple(share if place >= first else 0.0 for place, share in enumerate(SHARES)))
    snapshot = compiled(rollout(cohorts=(late, cohort("rest", shares=(1.0,) * 5))), share=SHARES[phase])
    assignment = found(ask(snapshot, user, x_user_tier="gold"))
    assert assignment.cohort == "late"
    if phase < first:
        assert (assignment.reason, assignment.model) == (Reason.NOT_YET, "old")
    else:
        assert assignment.reason is Reason.RING
    assert found(ask(snapshot, user)).arm is Arm.CANARY


@law
@given(st.sampled_from(SHARES), exposed, st.sets(st.sampled_from(["a", "b", "c"])))
def test_a_cohort_that_is_rolled_back_moves_nobody_else(share: float, status: Status, out: set[str]) -> None:
    """Its units meet stable, after completion too; every other assignment is what it was, to the byte."""
    cohorts = (cohort("a", tiers("internal")), cohort("b", tiers("gold")), cohort("c"))
    before, after = (
        compiled(rollout(cohorts=cohorts), share=share, status=status, cohorts_out=tuple(sorted(which))) for which in (set(), out)
    )
    for user, tier in PEOPLE[:60]:
        was, now = (found(ask(snapshot, user, x_user_tier=tier)) for snapshot in (before, after))
        if was.cohort in out:
            assert (now.reason, now.model, now.cohort, now.arm) == (Reason.COHORT_OUT, "old", was.cohort, Arm.REST)
        else:
            assert now == was
