"""A rendered flag sees the people whom the edge sends to the canary: by the vendor's own SDK, by our evaluator, at every phase."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from extproc.assign import Snapshot, assign
from extproc.domain import Arm, FlagVendor, Rollout, Spec
from extproc.flags import compile_flag
from extproc.render import RenderError
from extproc.render.flags import flag_document, flag_key
from extproc.router.source import fixed_snapshot
from tests.support import flag_specs
from tests.support.flag_sdks import merged, sdk
from tests.support.flag_specs import Person, person

SEED = 20263
ROLLOUTS = 30
PEOPLE = 90
"""For each rollout and phase."""
PHASES = ("p0", "p1", "p2", "p3")
LEAST = 10_000
LEAST_EACH = 2_000
"""People on the canary, and not on it."""
Asked = tuple[Rollout, Snapshot, dict[str, Any]]


def attempted(spec: Spec, rollout: Rollout, phase: int, vendor: FlagVendor) -> dict[str, Any] | set[str]:
    """The flag, or the ids of the Problems with it."""
    try:
        return flag_document(spec, rollout, phase, vendor)
    except RenderError as error:
        return {problem.id for problem in error.problems}


def rendered(vendor: FlagVendor, phase: int, made: list[Spec]) -> list[Asked]:
    """Of each Spec the rollout, its Snapshot at the phase, and the flag. Only Unleash, whose rules have no order, may need too many."""
    found = []
    for spec in made:
        (rollout,) = spec.rollouts.values()
        document = attempted(spec, rollout, phase, vendor)
        if isinstance(document, dict):
            found.append((rollout, fixed_snapshot(spec, PHASES[phase]), document))
        else:
            assert (vendor, document) == (FlagVendor.UNLEASH, {"render.flag-size"})
    assert len(found) > 0.9 * len(made)
    return found


def meets_canary(snapshot: Snapshot, who: Person) -> tuple[bool, str]:
    """The edge's answer, and the reason for it."""
    answer = assign(snapshot.layers[0], who.subject(), b"request", 0.0)
    assert answer is not None
    assignment = answer.choice.assignment
    return assignment.arm is Arm.CANARY, assignment.reason.value


@pytest.mark.parametrize("vendor", FlagVendor)
def test_the_flag_and_the_edge_see_the_same_people(vendor: FlagVendor, tmp_path: Path) -> None:
    """Random Specs with the vendor's bucket, random people, four phases: not one difference to the SDK, nor to our own evaluator."""
    random = Random(SEED)
    made = [flag_specs.spec({f"r{number}": flag_specs.rollout(random, vendor, f"s{number}")}) for number in range(ROLLOUTS)]
    people = {rollout: [person(random) for _ in range(PEOPLE)] for spec in made for rollout in spec.rollouts}
    seen: Counter[Any] = Counter()
    differences = []
    for phase in range(len(PHASES)):
        asked = rendered(vendor, phase, made)
        with sdk(vendor, merged([document for _, _, document in asked]), tmp_path) as ask:
            for rollout, snapshot, document in asked:
                key = flag_key(rollout, vendor)
                ours = compile_flag(vendor, document, key)
                for who in people[rollout.name]:
                    expected, reason = meets_canary(snapshot, who)
                    attributes = who.attributes(vendor)
                    theirs = ask(key, attributes).value in (True, "canary")
                    again = ours.evaluate({name: attributes[name] for name in ours.needs & attributes.keys()}, 0.0)
                    mine = again.on if vendor is FlagVendor.UNLEASH else again.value == "canary"
                    seen[expected] += 1
                    seen[reason] += 1
                    if not expected is theirs is mine:
                        differences.append((rollout, PHASES[phase], who, expected, theirs, mine))
    print(f"\n{vendor.value}: {seen[True] + seen[False]} people, {dict(seen)}, differences: {len(differences)}")
    assert differences[:2] == []
    assert seen[True] + seen[False] >= LEAST
    assert min(seen[True], seen[False]) >= LEAST_EACH
    assert min(seen[reason] for reason in ("ring", "no_cohort", "not_yet", "excluded", "forced")) >= 50


@pytest.mark.parametrize("vendor", FlagVendor)
def test_everybody_at_the_edge_of_a_share_is_on_the_same_side(vendor: FlagVendor, tmp_path: Path) -> None:
    """Every share that the vendor can say in whole percents, also as 1 - holdback and as a product: floats move nobody."""
    random = Random(SEED + 1)
    ids = [Person(f"user-{random.randrange(10**9)}") for _ in range(250)]
    cases = [{"holdback": f"{percent}%"} for percent in range(1, 50, 2)] + [{"multiplier": factor / 100} for factor in range(101, 200, 4)]
    asked = []
    for number, case in enumerate(cases):
        cohort = {"name": "everyone"} | ({"multiplier": case["multiplier"]} if "multiplier" in case else {})
        holdback = case.get("holdback", "0%")
        phases = [{"share": "1%" if vendor is not FlagVendor.UNLEASH else "50%", "name": "p0"}, {"share": "100%", "name": "p1"}]
        given = {"stable": "old", "canary": "new", "unit": "user", "cohorts": [cohort], "phases": phases, "holdback": holdback}
        spec = flag_specs.spec({f"r{number}": {**given, "salt": f"s{number}", "bucket": vendor.value}})
        (rollout,) = spec.rollouts.values()
        phase = 1 if "holdback" in case else 0
        document = attempted(spec, rollout, phase, vendor)
        if isinstance(document, dict):
            asked.append((rollout, fixed_snapshot(spec, f"p{phase}"), document))
        else:
            assert document == {"render.flag-share"}
    assert len(asked) >= 25
    with sdk(vendor, merged([document for _, _, document in asked]), tmp_path) as ask:
        for rollout, snapshot, _ in asked:
            for who in ids:
                said = ask(flag_key(rollout, vendor), who.attributes(vendor)).value in (True, "canary")
                assert said is meets_canary(snapshot, who)[0], (rollout, who)
