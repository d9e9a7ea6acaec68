"""One rollout's part of a Snapshot: where State has put it, as thresholds and ready replies.

What a status means for requests is said here and nowhere else:
* pending, rolled back: everybody meets stable. Of an open conversation, a token that is not revoked still counts after a rollback (State
  raises the epoch where conversations have to move).
* progressing, paused, awaiting approval: the ring at the phase's share; cohorts have their own shares, and may have been rolled back by
  themselves.
* withdrawn: nobody watches; everybody meets stable, tokens do not count, whatever anybody has signed or listed apart from QA headers.
* completed: the canary is the default; a holdback, whoever is excluded, and open conversations stay on stable.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final

from extproc.assign.bucket import Thresholds, thresholds
from extproc.assign.pools import Pool
from extproc.assign.prepared import PreparedRollout
from extproc.assign.selectors import Matcher, reader
from extproc.assign.snapshot import Arms, Choice, CompiledCohort, CompiledConversation, CompiledOverrides, CompiledRollout, Pooled
from extproc.domain import Arm, Assignment, Cohort, Fact, FactKind, Reason, Rollout, RolloutState, Spec, Status

Encoder = Callable[[Assignment, bool], bytes]
"""(assignment, durable) -> reply bytes before the unit's hash."""

OUTSIDE: Final = ""
"""Cohort of requests that match no cohort or have no unit."""
MODEL_LAYER: Final = "model"
"""The layer whose arms are models with clusters; those of others are variants."""


class Choices:
    """Makes the answers of a Snapshot."""

    def __init__(self, spec: Spec, encode: Encoder) -> None:
        self._spec, self._encode = spec, encode
        self.made: list[Choice] = []

    def arms(self, assignment: Assignment) -> Arms:
        """The answer for an assignment without a cluster: one, or one for each member of the model's pool."""
        if assignment.layer != MODEL_LAYER:
            return self._choice(assignment, affinity=False)
        model = self._spec.models[assignment.model]
        affinity = model.affinity is not None and model.affinity.header is None
        made = tuple(self._choice(replace(assignment, cluster=backend.cluster), affinity) for backend in model.backends)
        if len(made) == 1:
            return made[0]
        return Pooled(Pool([one.cluster for one in model.backends], [one.weight for one in model.backends]), made)

    def _choice(self, assignment: Assignment, affinity: bool) -> Choice:
        made = Choice(assignment, self._encode(assignment, True), self._encode(assignment, False), len(self.made), affinity)
        self.made.append(made)
        return made


def derive_rollout(
    prepared: PreparedRollout, state: RolloutState | None, withdrawn: bool, choices: Choices
) -> Generator[None, None, CompiledRollout]:
    """Yields between its steps."""
    rollout = prepared.rollout
    reason = _standing(state, withdrawn)
    stable = Assignment(
        layer=rollout.layer,
        rollout=rollout.name,
        generation=state.generation if state is not None else 0,
        phase=rollout.phases[state.phase if state is not None else 0].name,
        cohort=OUTSIDE,
        arm=Arm.REST,
        reason=reason,
        model=rollout.stable,
        cluster="",
    )
    # At COMPLETED the canary is the default: those outside of every cohort, and those without a unit, get it too.
    default = replace(stable, arm=Arm.CANARY, model=rollout.canary) if reason is Reason.COMPLETED else stable
    cohorts: list[CompiledCohort] = []
    for cohort, matches, excludes in prepared.cohorts:
        cohorts.append(_cohort(rollout, state, reason, stable, choices, cohort, matches, excludes))
        yield
    compiled = CompiledRollout(
        name=rollout.name,
        matches=prepared.matches,
        slot=prepared.slot,
        sources=prepared.sources,
        cookie=rollout.unit.cookie,
        point=prepared.point,
        cohorts=tuple(cohorts),
        overrides=_overrides(prepared, reason, stable, choices),
        conversation=_conversation(prepared, state, reason, stable, choices),
        no_cohort=choices.arms(replace(default, reason=Reason.NO_COHORT)),
        no_unit=choices.arms(replace(default, reason=Reason.NO_UNIT)),
    )
    yield
    return compiled


def _standing(state: RolloutState | None, withdrawn: bool) -> Reason:
    """Why a unit meets what it meets, as far as the rollout as a whole goes."""
    if state is None or not (state.status.exposes or state.status is Status.COMPLETED):
        return Reason.NOT_EXPOSED
    if state.status is Status.COMPLETED:
        return Reason.COMPLETED
    return Reason.WITHDRAWN if withdrawn else Reason.RING


def _cohort(
    rollout: Rollout,
    state: RolloutState | None,
    reason: Reason,
    stable: Assignment,
    choices: Choices,
    cohort: Cohort,
    matches: Matcher | None,
    excludes: Matcher | None,
) -> CompiledCohort:
    limits, why = exposure(rollout, cohort, state, reason)
    # Outside of Evidence, a unit belongs to no arm: units of the canary's share are among these.
    named = stable if why is Reason.WITHDRAWN else replace(stable, cohort=cohort.name)
    rest = replace(named, reason=why)
    return CompiledCohort(
        matches=matches,
        excludes=excludes,
        canary_below=limits.canary_below,
        control_from=limits.control_from,
        canary=choices.arms(replace(rest, arm=Arm.CANARY, model=rollout.canary)),
        control=choices.arms(replace(rest, arm=Arm.CONTROL)),
        rest=choices.arms(rest),
        excluded=choices.arms(replace(named, reason=Reason.EXCLUDED)),
    )


def exposure(rollout: Rollout, cohort: Cohort, state: RolloutState | None, standing: Reason) -> tuple[Thresholds, Reason]:
    """Both ends of the ring for a cohort where its rollout stands, and the reason that goes with them."""
    if standing is Reason.COMPLETED:
        return thresholds(1.0, rollout.holdback), standing
    if standing is not Reason.RING or state is None:
        return thresholds(0.0), standing
    if cohort.name in state.cohorts_out:
        return thresholds(0.0), Reason.COHORT_OUT
    share = cohort.shares[state.phase]
    return thresholds(share, rollout.holdback), Reason.RING if share > 0 else Reason.NOT_YET


def _overrides(prepared: PreparedRollout, reason: Reason, stable: Assignment, choices: Choices) -> CompiledOverrides | None:
    overrides = prepared.rollout.overrides
    if not (prepared.qa_secret or prepared.stable_ids or prepared.canary_ids):
        return None
    by_qa, by_list = replace(stable, reason=Reason.OVERRIDE), replace(stable, reason=Reason.FORCED)
    exposed = reason in (Reason.RING, Reason.COMPLETED)
    return CompiledOverrides(
        qa=reader(Fact(FactKind.HEADER, overrides.qa_header)) if prepared.qa_secret else None,
        secret=prepared.qa_secret,
        stable_ids=prepared.stable_ids,
        canary_ids=prepared.canary_ids if exposed else frozenset(),
        qa_canary=choices.arms(replace(by_qa, arm=Arm.CANARY, model=prepared.rollout.canary)),
        qa_stable=choices.arms(by_qa),
        forced_canary=choices.arms(replace(by_list, arm=Arm.CANARY, model=prepared.rollout.canary)),
        forced_stable=choices.arms(by_list),
    )


def _conversation(
    prepared: PreparedRollout, state: RolloutState | None, reason: Reason, stable: Assignment, choices: Choices
) -> CompiledConversation | None:
    one = prepared.conversation
    if one is None or state is None or reason is Reason.WITHDRAWN or state.status in (Status.PENDING, Status.SHADOW):
        return None
    pinned = replace(stable, reason=Reason.PINNED)
    return CompiledConversation(
        signer=one.signer,
        token=one.token,
        id=one.id,
        speaks_of_state=one.speaks_of_state,
        epoch=state.epoch,
        lifetime=int(one.conversation.lifetime) if reason is Reason.RING else 0,
        canary=choices.arms(replace(pinned, arm=Arm.CANARY, model=prepared.rollout.canary)),
        stable=choices.arms(pinned),
        cookie=one.conversation.cookie,
    )
