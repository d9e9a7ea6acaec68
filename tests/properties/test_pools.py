"""Laws of pools: weights mean shares, and a unit stays where it is unless its own member goes or another one gains it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.assign.pools import Pool
from extproc.domain import Arm
from tests.support.assigning import ask, chi_square, compiled, found, near, users
from tests.support.specs import cohort, model, rollout

law = settings(max_examples=80, deadline=None, derandomize=True)
UNITS = [user.encode() for user in users(300)]
weights = st.floats(0.01, 100)
pools = st.dictionaries(st.sampled_from([f"c{number}" for number in range(8)]), weights, min_size=2, max_size=6)


def picks(members: dict[str, float]) -> list[str]:
    """The member that has each unit."""
    clusters = list(members)
    pool = Pool(clusters, list(members.values()))
    return [clusters[pool.pick(unit)] for unit in UNITS]


@pytest.mark.parametrize(
    "given_weights",
    [(1, 1), (95, 5), (1, 1, 1), (5, 3, 2), (0.9, 0.05, 0.05), (1000, 10, 1), (1,) * 20],
    ids=lambda given_weights: ":".join(map(str, given_weights[:4])),
)
def test_a_weight_means_its_share(given_weights: tuple[float, ...]) -> None:
    """Weight over the sum of weights of the units, within 4 standard deviations: 5 % asked, 5 % given."""
    pool = Pool([f"cluster-{number}" for number in range(len(given_weights))], given_weights)
    seen = Counter(pool.pick(b"unit-%d" % number) for number in range(40_000))
    for place, weight in enumerate(given_weights):
        assert near(seen[place], 40_000, weight / sum(given_weights))


@law
@given(pools, st.data())
def test_only_the_units_of_a_member_that_goes_move(members: dict[str, float], data: st.DataObject) -> None:
    """Everybody else stays; read backwards: a new member takes units, and moves nobody between the others."""
    gone = data.draw(st.sampled_from(sorted(members)))
    before = picks(members)
    after = picks({name: weight for name, weight in members.items() if name != gone})
    assert all(one in (other, gone) for one, other in zip(before, after, strict=True))


@law
@given(pools, st.data(), st.floats(1, 100))
def test_a_member_that_weighs_more_gains_and_loses_nobody(members: dict[str, float], data: st.DataObject, factor: float) -> None:
    """Units move to it alone."""
    heavier = data.draw(st.sampled_from(sorted(members)))
    before, after = picks(members), picks({**members, heavier: members[heavier] * factor})
    assert all(one == other or other == heavier for one, other in zip(before, after, strict=True))


@law
@given(pools, st.randoms(use_true_random=False), st.floats(0.001, 1000))
def test_neither_order_nor_scale_counts(members: dict[str, float], random: object, scale: float) -> None:
    """A pool is what its members are, in whatever order they are written; 1:2 is 50:100."""
    shuffled = list(members.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert picks(dict(shuffled)) == picks(members)
    assert picks({name: weight * 4 for name, weight in members.items()}) == picks(members), "a power of two is exact"
    moved = sum(one != other for one, other in zip(picks({n: w * scale for n, w in members.items()}), picks(members), strict=True))
    assert moved <= 1, "rounding alone"


def test_the_hash_at_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest and the largest hash have a score: no logarithm of 0, no division by 0."""
    from extproc.assign import pools as room

    for value, wins in ((0, False), ((1 << 64) - 1, True)):
        monkeypatch.setattr(room, "xxh3_64_intdigest", lambda key, value=value: value if b"edge" in key else 1 << 63)
        assert (Pool(["plain", "edge"], [1.0, 1.0]).pick(b"u") == 1) is wins


def test_a_pool_says_nothing_of_the_arm() -> None:
    """The member is picked by a hash of its own: it is independent of the arm, and of the members of the other arm's pool."""
    models = {"old": model("old", "o1", "o2", weights=(3.0, 1.0)), "new": model("new", "n1", "n2")}
    snapshot = compiled(rollout(cohorts=(cohort("all"),)), share=0.5, around={"models": models})
    table: Counter[tuple[Arm, bool]] = Counter()
    members: Counter[str] = Counter()
    for user in users(20_000):
        one = found(ask(snapshot, user))
        members[one.cluster] += 1
        table[one.arm, Pool(["o1", "o2"], [1.0, 1.0]).pick(user.encode()) == 0] += 1
    canary = members["n1"] + members["n2"]
    assert near(canary, 20_000, 0.5)
    assert near(members["n1"], canary, 0.5)
    assert near(members["o1"], 20_000 - canary, 0.75)
    assert chi_square(table) < 15.2


def test_a_unit_keeps_its_member_while_the_ramp_goes_on() -> None:
    """From the phase on at which it enters: the KV cache of its conversation is on one of them."""
    models = {"old": model("old", "o1", "o2"), "new": model("new", "n1", "n2", "n3")}
    seen: dict[str, set[str]] = {user: set() for user in users(300)}
    for share in (0.05, 0.25, 0.5, 1.0):
        snapshot = compiled(rollout(cohorts=(cohort("all"),)), share=share, around={"models": models})
        for user, clusters in seen.items():
            clusters.add(found(ask(snapshot, user)).cluster)
    for clusters in seen.values():
        assert len({cluster for cluster in clusters if cluster.startswith("n")}) == 1
        assert len({cluster for cluster in clusters if cluster.startswith("o")}) <= 1
