"""Laws of making a Snapshot: in steps or at once, here or in another process, from the store or anew, it says the same."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import wire
from extproc.assign import Prepared, Snapshot, derive, derive_in_steps, prepare
from extproc.assign.deriving import STEP
from extproc.domain import (
    Affinity,
    AffinityPolicy,
    Arm,
    Assignment,
    Bucketing,
    Conversation,
    Not,
    RandomShare,
    Reason,
    Rollout,
    RolloutState,
    Spec,
    State,
    Status,
)
from tests.support.assigning import SECRETS, ask
from tests.support.specs import SHARES, cohort, conversation, header, ids, model, overrides, rollout, spec, tiers

law = settings(max_examples=60, deadline=None, derandomize=True)
SLOTS = {"a": (0.0, 0.3), "b": (0.3, 1.0)}
NAMES = ("new", "tone", "docs")


def nouns(snapshot: Snapshot) -> list[Any]:
    """What a Snapshot says, without the closures that say it."""
    layers = [
        [
            (
                one.name, one.slot, one.cookie, one.no_cohort, one.no_unit,
                [(each.canary_below, each.control_from, each.canary, each.control, each.rest, each.excluded) for each in one.cohorts],
                one.overrides and replace(one.overrides, qa=None), one.conversation and (one.conversation.epoch, one.conversation.lifetime),
            )
            for one in layer
        ]
        for layer in snapshot.layers
    ]  # fmt: skip
    return [snapshot.generation, layers, snapshot.choices, snapshot.needed_headers, snapshot.needs_time]


@st.composite
def rollouts(draw: st.DrawFn, name: str, layer: str) -> Rollout:
    cohorts = [
        cohort(
            f"c{number}",
            header("x-c", str(number)),
            ids("out") if draw(st.booleans()) else None,
            draw(st.sampled_from([SHARES, (0.0,) * 5])),
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    talk: Conversation | None = conversation() if draw(st.booleans()) else None
    by_hand = {"overrides": overrides(ids("s1"), ids("c1"))} if draw(st.booleans()) else {}
    holdback = draw(st.sampled_from([0.0, 0.1]))
    return rollout(name, layer=layer, cohorts=tuple(cohorts), conversation=talk, holdback=holdback, **by_hand)


@st.composite
def stands(draw: st.DrawFn) -> tuple[Spec, State, Collection[str]]:
    """Any Spec and any State of it: pools of any size, layers, rollouts that State does not know, some withdrawn."""
    layers = draw(st.lists(st.sampled_from(["model", "model", "prompt"]), min_size=1, max_size=3))
    made = [draw(rollouts(name, layer)) for name, layer in zip(NAMES, layers, strict=False)]
    members = {name: draw(st.integers(1, 12)) for name in ("old", "new")}
    affinity = draw(st.sampled_from([None, Affinity(AffinityPolicy.MAGLEV, None), Affinity(AffinityPolicy.MAGLEV, "x-talk")]))
    models = {name: model(name, *(f"{name}-{number}" for number in range(count)), affinity=affinity) for name, count in members.items()}
    states = {
        one.name: RolloutState(
            draw(st.sampled_from(Status)),
            draw(st.integers(0, 4)),
            0.0,
            7,
            1,
            "",
            "",
            draw(st.integers(0, 3)),
            draw(st.sampled_from([(), ("c0",)])),
        )
        for one in made
        if draw(st.integers(0, 5))
    }
    withdrawn = [one.name for one in made if draw(st.booleans())]
    return spec(*made, models=models), State(9, "digest", states), withdrawn


@law
@given(stands())
def test_derived_in_steps_or_at_once_it_is_the_same(given_stand: tuple[Spec, State, Collection[str]]) -> None:
    """Every threshold, every reply, every index; and no step makes more than a handful of replies."""
    made, state, withdrawn = given_stand
    prepared = prepare(made, SECRETS)
    encoded = [0]

    def encode(assignment: Assignment, durable: bool) -> bytes:
        encoded[-1] += 1
        return wire.encode_reply(assignment, durable)

    ended: list[Snapshot] = []

    def stepped() -> Iterator[None]:
        ended.append((yield from derive_in_steps(prepared, state, encode, withdrawn)))

    for _ in stepped():
        encoded.append(0)
    assert nouns(ended[0]) == nouns(derive(prepared, state, wire.encode_reply, withdrawn))
    assert max(encoded) <= 2 * STEP
    assert sum(encoded) == 2 * len(ended[0].choices)


@law
@given(stands())
def test_what_an_answer_says_is_what_the_spec_allows(given_stand: tuple[Spec, State, Collection[str]]) -> None:
    """Each prebuilt answer names one of the rollout's two models and one of that model's clusters; index is its place; the canary is
    named only by an arm that is the canary's, and nobody meets it before it is exposed but by a signed header."""
    made, state, withdrawn = given_stand
    snapshot = derive(prepare(made, SECRETS), state, wire.encode_reply, withdrawn)
    for place, choice in enumerate(snapshot.choices):
        assignment, one = choice.assignment, made.rollouts[choice.assignment.rollout]
        assert choice.index == place
        assert assignment.model == (one.canary if assignment.arm is Arm.CANARY else one.stable)
        if assignment.layer == "model":
            assert assignment.cluster in [backend.cluster for backend in made.models[assignment.model].backends]
            affinity = made.models[assignment.model].affinity
            assert choice.affinity is (affinity is not None and affinity.header is None)
        else:
            assert (assignment.cluster, choice.affinity) == ("", False)
        assert choice.durable_reply != choice.transient_reply
    for one in made.rollouts.values():
        stood = state.rollouts.get(one.name)
        exposed = stood is not None and (stood.status is Status.COMPLETED or (stood.status.exposes and one.name not in withdrawn))
        drains = stood is not None and stood.status is Status.ROLLED_BACK and one.conversation is not None
        if not exposed and not drains:
            layer = next(index for index, layer in enumerate(snapshot.layers) for each in layer if each.name == one.name)
            (compiled,) = (each for each in snapshot.layers[layer] if each.name == one.name)
            limits = [(each.canary_below, each.excluded) for each in compiled.cohorts]
            assert all(below == 0 for below, _ in limits)
            assert compiled.conversation is None


# ------------------------------------------------------------------------------------------------------------------ other processes
def everything(share: float = 0.25) -> Prepared:
    """All that is hashed: rings of every vendor, random cohorts, slots, pools."""
    some = (cohort("some", Not(RandomShare(0.4)), RandomShare(0.1)), cohort("gold", tiers("gold"), shares=(share,) * 5), cohort("rest"))
    made = [rollout("a", slot="a", cohorts=some), rollout("b", slot="b", cohorts=some)]
    made += [rollout(f"by-{bucket}", layer=f"l-{bucket}", bucket=bucket, salt="4711", cohorts=some) for bucket in Bucketing]
    models = {"old": model("old", "o1", "o2", weights=(2.0, 1.0)), "new": model("new", "n1", "n2", "n3"), "third": model("third")}
    return prepare(spec(*made, models=models, layers={"model": SLOTS}))


def fingerprint(users: int = 400) -> str:
    """Every assignment of some users in every layer, hashed."""
    prepared = everything()
    state = State(7, "", {name: RolloutState(Status.PROGRESSING, 2, 0.0, 7, 1, "", "") for name in prepared.spec.rollouts})
    snapshot = derive(prepared, state, wire.encode_reply)
    hashed = hashlib.sha256()
    for number in range(users):
        for layer in range(len(snapshot.layers)):
            answer = ask(
                snapshot,
                f"ü{number}" if number % 3 else "",
                layer=layer,
                request_id=b"r-%d" % number,
                x_user_tier="gold" if number % 2 else "",
            )
            assert answer is not None
            hashed.update(repr((answer.choice.assignment, answer.unit, answer.durable, answer.point)).encode())
    return hashed.hexdigest()


def test_a_restart_and_another_process_agree() -> None:
    """Whatever is hashed and wherever: another interpreter's hash seed, another start, another replica say the same of everybody."""
    program = "from tests.properties.test_snapshots import fingerprint; print(fingerprint())"
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        )
        for seed in ("1", "2")
    ]
    assert {one.stdout for one in said} == {f"{fingerprint()}\n"}


@pytest.mark.parametrize("status", [Status.PROGRESSING, Status.PAUSED, Status.COMPLETED, Status.ROLLED_BACK])
def test_deriving_again_moves_nobody(status: Status) -> None:
    """A State that only its generation and its words tell apart gives the same model to everybody."""
    prepared = everything()
    states = [
        State(number, "", {name: RolloutState(status, 2, float(number), number, 1, f"{number}", "") for name in prepared.spec.rollouts})
        for number in (7, 8)
    ]
    before, after = (derive(prepared, state, wire.encode_reply) for state in states)
    for number in range(300):
        for layer in range(len(before.layers)):
            one, other = (ask(snapshot, f"u{number}", layer=layer) for snapshot in (before, after))
            assert one is not None
            assert other is not None
            assert replace(one.choice.assignment, generation=8) == replace(other.choice.assignment, generation=8)
            assert other.choice.assignment.reason in (Reason.RING, Reason.COMPLETED, Reason.NOT_EXPOSED, Reason.EXCLUDED)
