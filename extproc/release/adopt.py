"""adopt: a new Spec meets the State that is there. What runs is immutable; what rests may change."""

from __future__ import annotations

from collections.abc import Mapping

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
    problems = [
        problem
        for name, one in state.rollouts.items()
        if one.status.exposes and (problem := _conflict(name, one, fingerprints)) is not None
    ]
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


def _adopted(state: RolloutState | None, old: Rollout | None, new: Rollout, fingerprint: str, now: float) -> RolloutState:
    if state is None:
        return _pending(fingerprint, now)
    if state.fingerprint == fingerprint:
        return state
    # A completed rollout stays the default while its models stay: an edited dwell must not send everybody back to stable.
    same_models = old is not None and (old.stable, old.canary) == (new.stable, new.canary)
    if state.status.terminal and same_models:
        phase = min(state.phase, len(new.phases) - 1)
        return RolloutState(state.status, phase, state.since, state.generation, state.attempt, state.why, fingerprint)
    return _pending(fingerprint, now)


def _pending(fingerprint: str, now: float) -> RolloutState:
    return RolloutState(Status.PENDING, 0, now, 0, 1, "has not been started", fingerprint)
