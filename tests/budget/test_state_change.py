"""The pause of a worker's loop at a change of State: counted, bounded, and the same however large the Spec. Times are in `make bench`."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from extproc import wire
from extproc.assign import Prepared, Secrets, Snapshot, derive, derive_in_steps, prepare
from extproc.assign.deriving import STEP
from extproc.domain import Assignment, FeedbackTerms, Spec, State
from extproc.router.processor import Processor
from tests.support.cost import opcodes
from tests.support.specs import cohort, conversation, header, ids, model, overrides, rollout, spec, state_of

MOST = {"one cohort": 8_500, "300 cohorts": 8_500, "pools of 200": 8_500, "three layers": 8_500}
"""Instructions of Python in the dearest step, of which `Struct.update` takes nine tenths: about 0.2 ms."""


def sizes() -> dict[str, Spec]:
    """Small, and far larger than anybody needs; with conversations and lists, where a State makes the most replies."""
    many = tuple(cohort(f"c{number}", header("x-flag", str(number))) for number in range(300))
    rest = {"conversation": conversation(), "overrides": overrides(ids("u1"), ids("u2"))}
    pools = {name: model(name, *(f"{name}-{number}" for number in range(200))) for name in ("old", "new")}
    return {
        "one cohort": spec(rollout(cohorts=many[:1])),
        "300 cohorts": spec(rollout(cohorts=many, **rest)),
        "pools of 200": spec(rollout(**rest), models=pools),
        "three layers": spec(rollout(**rest), rollout("tone", layer="prompt"), rollout("docs", layer="retrieval")),
    }


def steps(prepared: Prepared, state: State) -> tuple[list[int], list[int], Snapshot]:
    """(instructions, replies made) of each step, and what came out."""
    made = [0]

    def encode(assignment: Assignment, durable: bool) -> bytes:
        made[-1] += 1
        return wire.encode_reply(assignment, durable)

    costs: list[int] = []
    finished: list[Snapshot] = []

    def step(work: Generator[None, None, Snapshot]) -> None:
        try:
            next(work)
        except StopIteration as end:
            finished.append(end.value)

    work = derive_in_steps(prepared, state, encode)
    while not finished:
        costs.append(opcodes(lambda: step(work)))
        made.append(0)
    return costs, made[:-1], finished[0]


@pytest.mark.parametrize("name", MOST)
def test_no_step_of_a_state_change_takes_long(name: str) -> None:
    """Between two steps requests are decided: each makes a handful of replies, and the dearest costs the same at every size."""
    given = sizes()[name]
    prepared, state = prepare(given), state_of(given)
    derive(prepared, state, wire.encode_reply)  # protobuf's own caches
    costs, made, snapshot = steps(prepared, state)
    assert max(made) <= 2 * STEP
    assert sum(made) == 2 * len(snapshot.choices)
    assert max(costs) <= MOST[name]
    whole = derive(prepared, state, wire.encode_reply)
    assert [(one.durable_reply, one.transient_reply, one.index) for one in snapshot.choices] == [
        (one.durable_reply, one.transient_reply, one.index) for one in whole.choices
    ]


def test_no_step_takes_longer_where_answers_carry_tokens() -> None:
    """A step makes fewer replies then: stamps are made with them."""
    many = tuple(cohort(f"c{number}", header("x-flag", str(number))) for number in range(300))
    given = spec(rollout(cohorts=many), feedback=FeedbackTerms(60.0, (), "", False, tokens=True))
    prepared, state = prepare(given, Secrets(feedback=b"f" * 32)), state_of(given)
    derive(prepared, state, wire.encode_reply)
    costs, made, snapshot = steps(prepared, state)
    assert all(choice.more is not None for choice in snapshot.choices)
    assert max(made) <= STEP
    assert max(costs) <= MOST["300 cohorts"]


def test_the_swap_itself_costs_the_same_at_every_size() -> None:
    """One reference and a list of zeros; what was counted before is added up when somebody asks."""
    costs = set()
    for given in sizes().values():
        snapshots = [derive(prepare(given), state_of(given), wire.encode_reply) for _ in range(2)]
        processor = Processor(snapshots[0], bytes(32))
        costs.add(opcodes(lambda processor=processor, snapshot=snapshots[1]: processor.swap(snapshot)))
    assert len(costs) == 1
    assert max(costs) < 100
