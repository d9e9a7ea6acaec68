"""adopt: a new Spec meets the State that is there. What runs is immutable; what rests may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from extproc.domain import Rollout, RolloutState, Spec, State, Status
from extproc.errors import Problem, RefusedError


def adopt(state: State | None, old: Spec | None, new: Spec, fingerprints: Mapping[str, str], now: float) -> State:
    """State under the new Spec, `generation` raised by one; the same State where nothing is to change.

    `old` is the Spec that State was made under, `fingerprints` the digest of each of the new Spec's rollouts. Raises RefusedError with
    every rollout whose running part was changed or taken away.
    """
    if state is None:
        return State(1, new.digest, {name: _pending(fingerprints[name], now) for name in new.rollouts})
    if state.spec_digest == new.digest:
        return state
    problems: list[Problem] = []
    for name, one in state.rollouts.items():
        if one.status.exposes:
            conflict = _conflict(name, one, fingerprints)
            problems += [conflict] if conflict is not None else _moved(name, one, old, new)
    if problems:
        raise RefusedError(problems)
    rollouts = {
        name: _adopted(state.rollouts.get(name), old.rollouts.get(name) if old is not None else None, rollout, fingerprints[name], now)
        for name, rollout in new.rollouts.items()
    }
    return State(state.generation + 1, new.digest, rollouts)


def _conflict(name: str, state: RolloutState, fingerprints: Mapping[str, str]) -> Problem | None:
    path = f"rollouts.{name}"
    hint = f"undo the edit, or `extproc rollback {name}` first and start it again"
    if name not in fingerprints:
        return Problem("state.running-rollout-removed", path, f"is {state.status.value} and no longer in the Spec", hint)
    if fingerprints[name] != state.fingerprint:
        message = f"is {state.status.value}: its salt, unit, cohorts, models, phases and gates must stay as they are"
        return Problem("state.running-rollout-changed", path, message, hint)
    return None


def _moved(name: str, state: RolloutState, old: Spec | None, new: Spec) -> Iterator[Problem]:
    """What a running rollout rests on outside of its own block: it must stay as well. Prices and credentials may change."""
    if old is None or name not in old.rollouts:
        return
    before, after = _foundation(old, old.rollouts[name]), _foundation(new, new.rollouts[name])
    for path in before:
        if after.get(path) != before[path]:
            message = f"must stay as it is: rollout {name} rests on it and is {state.status.value}"
            hint = f"undo the edit, or `extproc rollback {name}` first and start it again"
            yield Problem("state.running-rollout-moved", path, message, hint)


def _foundation(spec: Spec, rollout: Rollout) -> dict[str, object]:
    """By path in the document: both models as requests meet them, the headers that make its cohorts, the deadline of its Evidence."""
    found: dict[str, object] = {
        f"models.{name}": replace(spec.models[name], prices=None, credential=None) for name in (rollout.stable, rollout.canary)
    }
    if any(cohort.tiers for cohort in rollout.cohorts):
        found["identity.tier_header"] = spec.tier_header
    if any(cohort.countries for cohort in rollout.cohorts):
        found["identity.country_header"] = spec.country_header
    return found | {"application.sla.latency_p99": spec.application.sla.latency_p99}


def _adopted(state: RolloutState | None, old: Rollout | None, new: Rollout, fingerprint: str, now: float) -> RolloutState:
    if state is None:
        return _pending(fingerprint, now)
    if state.fingerprint == fingerprint:
        return state
    # A completed rollout stays the default while its models stay: an edited dwell must not send everybody back to stable.
    same_models = old is not None and (old.stable, old.canary) == (new.stable, new.canary)
    if state.status.terminal and same_models:
        return replace(state, phase=min(state.phase, len(new.phases) - 1), fingerprint=fingerprint)
    return _pending(fingerprint, now)


def _pending(fingerprint: str, now: float) -> RolloutState:
    return RolloutState(Status.PENDING, 0, now, 0, 1, "has not been started", fingerprint)
