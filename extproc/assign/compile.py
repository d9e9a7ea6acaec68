"""Spec + State -> Snapshot. Cold: once per change.

`prepare` does what depends on the Spec alone (matchers, sources); `derive` what depends on State (thresholds, replies), so that a
State change costs well under a millisecond. The encoder of reply bytes is passed in: this room does not know Envoy's messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from extproc.assign.bucket import Thresholds, cohort_prefix, ring_length, ring_prefix, thresholds
from extproc.assign.matchers import Headers, cohort_matcher, needed_headers, request_matcher, unit_source
from extproc.assign.snapshot import Choice, CompiledCohort, CompiledRollout, Matcher, RandomShare, Snapshot, UnitSource
from extproc.domain import Arm, Assignment, Cohort, Reason, Rollout, RolloutState, Spec, State, Status

Encoder = Callable[[Assignment, bool], bytes]
"""(assignment, durable) -> reply bytes before the unit's hash."""

OUTSIDE = ""
"""Cohort of requests that match no cohort or have no unit."""


@dataclass(frozen=True, slots=True)
class PreparedRollout:
    rollout: Rollout
    matches: Matcher | None
    sources: tuple[UnitSource, ...]
    cohorts: tuple[tuple[Cohort, Matcher | None, RandomShare | None], ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The part of a Snapshot that depends on the Spec alone."""

    spec: Spec
    layers: tuple[tuple[PreparedRollout, ...], ...]
    needed_headers: frozenset[str]


def compile(spec: Spec, state: State, encode: Encoder) -> Snapshot:
    """Spec + State -> Snapshot."""
    return derive(prepare(spec), state, encode)


def prepare(spec: Spec) -> Prepared:
    """Compile what does not change while the Spec stays."""
    headers = Headers(tier=spec.tier_header, country=spec.country_header)
    layers: dict[str, list[PreparedRollout]] = {}
    for rollout in spec.rollouts.values():
        layers.setdefault(rollout.layer, []).append(_prepare_rollout(rollout, headers))
    return Prepared(spec, tuple(tuple(layer) for layer in layers.values()), needed_headers(spec))


def _prepare_rollout(rollout: Rollout, headers: Headers) -> PreparedRollout:
    return PreparedRollout(
        rollout=rollout,
        matches=request_matcher(rollout.match),
        sources=tuple(unit_source(source) for source in rollout.unit.sources),
        cohorts=tuple((cohort, cohort_matcher(cohort, headers), _random_share(rollout, cohort)) for cohort in rollout.cohorts),
    )


def _random_share(rollout: Rollout, cohort: Cohort) -> RandomShare | None:
    if cohort.random is None:
        return None
    return RandomShare(cohort_prefix(rollout.layer, rollout.salt, cohort.name), ring_length(cohort.random))


def derive(prepared: Prepared, state: State, encode: Encoder, withdrawn: Collection[str] = ()) -> Snapshot:
    """Thresholds and replies for a State; a rollout that State does not know serves stable.

    `withdrawn` names rollouts whose canary traffic goes to stable although State exposes them; one that is completed stays as it is.
    """
    choices: list[Choice] = []

    def derived(one: PreparedRollout) -> CompiledRollout:
        name = one.rollout.name
        return _derive_rollout(one, prepared.spec, state.rollouts.get(name), name in withdrawn, encode, choices)

    layers = tuple(tuple(map(derived, layer)) for layer in prepared.layers)
    return Snapshot(state.generation, layers, tuple(choices), prepared.needed_headers)


def _derive_rollout(
    prepared: PreparedRollout, spec: Spec, state: RolloutState | None, withdrawn: bool, encode: Encoder, choices: list[Choice]
) -> CompiledRollout:
    rollout = prepared.rollout
    limits, reason = exposure(rollout, state, withdrawn)
    phase = rollout.phases[state.phase].name if state is not None else rollout.phases[0].name
    stable = Assignment(
        layer=rollout.layer,
        rollout=rollout.name,
        generation=state.generation if state is not None else 0,
        phase=phase,
        cohort=OUTSIDE,
        arm=Arm.REST,
        reason=reason,
        model=rollout.stable,
        cluster=spec.models[rollout.stable].cluster,
    )

    def choice(assignment: Assignment) -> Choice:
        made = Choice(assignment, encode(assignment, True), encode(assignment, False), len(choices))
        choices.append(made)
        return made

    def compiled(cohort: Cohort, matches: Matcher | None, random: RandomShare | None) -> CompiledCohort:
        # Outside of every cohort is outside of Evidence: units of the canary's share are among these, and belong to no arm meanwhile.
        rest = replace(stable, cohort=OUTSIDE if reason is Reason.WITHDRAWN else cohort.name)
        canary = replace(rest, arm=Arm.CANARY, model=rollout.canary, cluster=spec.models[rollout.canary].cluster)
        control = replace(rest, arm=Arm.CONTROL)
        return CompiledCohort(matches, random, limits.canary_below, limits.control_from, choice(canary), choice(control), choice(rest))

    # At COMPLETED the canary is the default: those outside of every cohort, and those without a unit, get it too.
    default = stable
    if state is not None and state.status is Status.COMPLETED:
        default = replace(stable, model=rollout.canary, cluster=spec.models[rollout.canary].cluster, arm=Arm.CANARY)
    return CompiledRollout(
        matches=prepared.matches,
        sources=prepared.sources,
        cookie=rollout.unit.cookie,
        prefix=ring_prefix(rollout.layer, rollout.salt),
        cohorts=tuple(compiled(*cohort) for cohort in prepared.cohorts),
        no_cohort=choice(replace(default, reason=Reason.NO_COHORT)),
        no_unit=choice(replace(default, reason=Reason.NO_UNIT)),
    )


def exposure(rollout: Rollout, state: RolloutState | None, withdrawn: bool = False) -> tuple[Thresholds, Reason]:
    """Both ends of the ring where a rollout stands, and the reason that goes with them."""
    if state is None or not (state.status.exposes or state.status is Status.COMPLETED):
        return thresholds(0.0), Reason.NOT_EXPOSED
    if state.status is Status.COMPLETED:
        return thresholds(1.0, rollout.holdback), Reason.COMPLETED
    if withdrawn:
        return thresholds(0.0), Reason.WITHDRAWN
    return thresholds(rollout.phases[state.phase].share, rollout.holdback), Reason.RING
