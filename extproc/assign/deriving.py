"""One rollout's part of a Snapshot: where State has put it, as thresholds and ready replies.

What a status means for requests is said here and nowhere else:
* pending, rolled back: everybody meets stable. Of an open conversation, a token that is not revoked still counts after a rollback (State
  raises the epoch where conversations have to move).
* shadow: everybody meets stable; of the units of its share a copy of the request goes to the canary as well, whose answer nobody gets.
* progressing, paused, awaiting approval: the ring at the phase's share; cohorts have their own shares. One that has been rolled back by
  itself meets stable, its open conversations too, and stays there when the rollout is completed: nobody has taken that back.
* withdrawn: nobody watches; everybody meets stable, nothing is mirrored, tokens do not count, whatever anybody has signed or listed apart
  from QA headers.
* completed: the canary is the default; a holdback, whoever is excluded, and open conversations stay on stable.

It is made in steps, between which requests are decided: no step makes more than a few replies, however many cohorts there are and
however many members a pool has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final

from extproc.assign.answered import Stamp
from extproc.assign.bucket import Thresholds, thresholds
from extproc.assign.prepared import Prepared, PreparedRollout
from extproc.assign.selectors import reader
from extproc.assign.snapshot import Arms, Choice, CompiledCohort, CompiledConversation, CompiledOverrides, CompiledRollout, More, Pooled
from extproc.domain import Arm, Assignment, Cohort, Fact, FactKind, Reason, Rollout, RolloutState, Status

Encoder = Callable[[Assignment, bool], bytes]
"""(assignment, durable) -> reply bytes before the unit's hash."""

OUTSIDE: Final = ""
"""Cohort of requests that match no cohort or have no unit."""
MODEL_LAYER: Final = "model"
"""The layer whose arms are models with clusters; those of others are variants."""
STEP: Final = 4
"""Choices made in one step: twice as many replies, of about 20 us each."""
Made = Generator[None, None, Arms]
"""Yields between its steps."""


class Choices:
    """Makes the answers of a Snapshot."""

    def __init__(self, prepared: Prepared, encode: Encoder) -> None:
        self._models, self._pools, self._encode = prepared.spec.models, prepared.pools, encode
        self._key = prepared.stamping
        # A stamp costs about as much as a reply.
        self._step = STEP // 2 if self._key else STEP
        self.made: list[Choice] = []

    def arms(self, assignment: Assignment) -> Made:
        """The answer for an assignment without a cluster: one, or one for each member of the model's pool."""
        if assignment.layer != MODEL_LAYER:
            return (yield from self._choice(assignment, affinity=False))
        model = self._models[assignment.model]
        affinity = model.affinity is not None and model.affinity.header is None
        made: list[Choice] = []
        for backend in model.backends:
            made.append((yield from self._choice(replace(assignment, cluster=backend.cluster), affinity)))
        return made[0] if len(made) == 1 else Pooled(self._pools[model.name], tuple(made))

    def _choice(self, assignment: Assignment, affinity: bool) -> Generator[None, None, Choice]:
        more = self._more(assignment, affinity) if affinity or self._key else None
        made = Choice(assignment, self._encode(assignment, True), self._encode(assignment, False), len(self.made), more)
        self.made.append(made)
        if not len(self.made) % self._step:
            yield
        return made

    def _more(self, one: Assignment, affinity: bool) -> More | None:
        stamp = Stamp(self._key, one.rollout, one.generation, one.cohort, one.arm) if self._key and one.layer == MODEL_LAYER else None
        return More(affinity, stamp) if affinity or stamp is not None else None


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
    for cohort in rollout.cohorts:
        cohorts.append((yield from _cohort(rollout, state, reason, stable, choices, cohort)))
    return CompiledRollout(
        name=rollout.name,
        matches=prepared.matches,
        slot=prepared.slot,
        unit=prepared.unit,
        cookie=rollout.unit.cookie,
        seat=prepared.seat,
        cohorts=tuple(cohorts),
        overrides=(yield from _overrides(prepared, reason, stable, choices)),
        conversation=(yield from _conversation(prepared, state, reason, stable, choices)),
        no_cohort=(yield from choices.arms(replace(default, reason=Reason.NO_COHORT))),
        no_unit=(yield from choices.arms(replace(default, reason=Reason.NO_UNIT))),
    )


def _standing(state: RolloutState | None, withdrawn: bool) -> Reason:
    """Why a unit meets what it meets, as far as the rollout as a whole goes."""
    if state is None or state.status in (Status.PENDING, Status.ROLLED_BACK):
        return Reason.NOT_EXPOSED
    if state.status is Status.COMPLETED:
        return Reason.COMPLETED
    if withdrawn:
        return Reason.WITHDRAWN
    return Reason.SHADOW if state.status is Status.SHADOW else Reason.RING


def _cohort(
    rollout: Rollout, state: RolloutState | None, reason: Reason, stable: Assignment, choices: Choices, cohort: Cohort
) -> Generator[None, None, CompiledCohort]:
    limits, why = exposure(rollout, cohort, state, reason)
    if reason is Reason.SHADOW:
        return (yield from _mirrored(stable, choices, cohort, limits))
    # Outside of Evidence, a unit belongs to no arm: units of the canary's share are among these.
    named = stable if why is Reason.WITHDRAWN else replace(stable, cohort=cohort.name)
    rest = replace(named, reason=why)
    return CompiledCohort(
        canary_below=limits.canary_below,
        control_from=limits.control_from,
        canary=(yield from choices.arms(replace(rest, arm=Arm.CANARY, model=rollout.canary))),
        control=(yield from choices.arms(replace(rest, arm=Arm.CONTROL))),
        rest=(yield from choices.arms(rest)),
        excluded=(yield from choices.arms(replace(named, reason=Reason.EXCLUDED))),
    )


def _mirrored(stable: Assignment, choices: Choices, cohort: Cohort, limits: Thresholds) -> Generator[None, None, CompiledCohort]:
    """The canary's end of the ring, where units are mirrored; everybody meets stable."""
    rest = replace(stable, cohort=cohort.name, reason=Reason.NOT_EXPOSED)
    others = yield from choices.arms(rest)
    copied = replace(rest, reason=Reason.SHADOW, mirrored=True)
    return CompiledCohort(
        canary_below=limits.canary_below,
        control_from=limits.control_from,
        canary=(yield from choices.arms(copied)),
        control=others,
        rest=others,
        excluded=(yield from choices.arms(replace(rest, reason=Reason.EXCLUDED))),
    )


def exposure(rollout: Rollout, cohort: Cohort, state: RolloutState | None, standing: Reason) -> tuple[Thresholds, Reason]:
    """Both ends of the ring for a cohort where its rollout stands, and the reason that goes with them."""
    if standing is Reason.SHADOW:
        # Who does not take part in the first phase is not mirrored either: no prompt goes where its cohort does not go.
        takes_part = rollout.shadow is not None and cohort.shares[0] > 0
        return thresholds(rollout.shadow.share if takes_part and rollout.shadow is not None else 0.0), standing
    if standing not in (Reason.RING, Reason.COMPLETED):
        return thresholds(0.0), standing
    if state is not None and cohort.name in state.cohorts_out:
        return thresholds(0.0), Reason.COHORT_OUT
    if standing is Reason.COMPLETED or state is None:
        return thresholds(1.0, rollout.holdback), standing
    share = cohort.shares[state.phase]
    return thresholds(share, rollout.holdback), Reason.RING if share > 0 else Reason.NOT_YET


def _overrides(
    prepared: PreparedRollout, reason: Reason, stable: Assignment, choices: Choices
) -> Generator[None, None, CompiledOverrides | None]:
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
        qa_canary=(yield from choices.arms(replace(by_qa, arm=Arm.CANARY, model=prepared.rollout.canary))),
        qa_stable=(yield from choices.arms(by_qa)),
        forced_canary=(yield from choices.arms(replace(by_list, arm=Arm.CANARY, model=prepared.rollout.canary))),
        forced_stable=(yield from choices.arms(by_list)),
    )


def _conversation(
    prepared: PreparedRollout, state: RolloutState | None, reason: Reason, stable: Assignment, choices: Choices
) -> Generator[None, None, CompiledConversation | None]:
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
        canary=(yield from choices.arms(replace(pinned, arm=Arm.CANARY, model=prepared.rollout.canary))),
        stable=(yield from choices.arms(pinned)),
        cookie=one.conversation.cookie,
    )
