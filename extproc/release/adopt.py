"""adopt: a new Spec meets the State that is there. What runs is immutable; what rests may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from extproc.domain import FlagIs, Rollout, RolloutState, Spec, State, Status, leaves
from extproc.errors import Problem, RefusedError


def adopt(state: State | None, old: Spec | None, new: Spec, fingerprints: Mapping[str, str], now: float) -> State:
    """State under the new Spec, `generation` raised by one; the same State where nothing is to change.

    `old` is the Spec that State was made under, `fingerprints` the digest of each of the new Spec's rollouts. Raises RefusedError with
    every rollout whose running part was changed or taken away.
    """
    if state is None:
        return State(1, new.digest, {name: _pending(fingerprints[name], now, 0) for name in new.rollouts})
    if state.spec_digest == new.digest:
        return state
    problems: list[Problem] = []
    for name, one in state.rollouts.items():
        if one.status.exposes:
            conflict = _conflict(name, one, fingerprints)
            problems += [conflict] if conflict is not None else _moved(name, one, old, new)
    if problems:
        raise RefusedError(problems)
    rollouts: dict[str, RolloutState] = {}
    for name, rollout in new.rollouts.items():
        stood = state.rollouts.get(name)
        # Epochs rise by one with a write of State at most: a rollout that was removed and comes back has none that it had before.
        begun = _pending(fingerprints[name], now, stood.epoch if stood is not None else state.generation + 1)
        rollouts[name] = _adopted(stood, old.rollouts.get(name) if old is not None else None, rollout, begun)
    kept = {name: digest for name, digest in state.flags.items() if _still_read(name, old, new)}
    return State(state.generation + 1, new.digest, rollouts, kept, state.off)


def _still_read(source: str, old: Spec | None, new: Spec) -> bool:
    """True where a polled document is good for the new Spec too: it is of the same vendor, and still polled (from wherever)."""
    there = new.flags.get(source)
    if there is None or there.poll is None:
        return False
    return old is None or source not in old.flags or old.flags[source].vendor is there.vendor


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
    """By path in the document: both models as requests meet them, the slots of its layer, where the flags of its cohorts look, the deadline
    of its Evidence. Names of headers are in the rollout's own selectors."""
    models = {name: spec.models[name] for name in (rollout.stable, rollout.canary) if name in spec.models}
    found: dict[str, object] = {
        f"models.{name}": replace(model, prices=None, credential=None, probe=None) for name, model in models.items()
    }
    if rollout.slot is not None:
        found[f"layers.{rollout.layer}.slots"] = spec.layers[rollout.layer]
    selectors = [selector for cohort in rollout.cohorts for selector in (cohort.selector, cohort.exclude)]
    for source in sorted({leaf.source for selector in selectors for leaf in leaves(selector) if isinstance(leaf, FlagIs)}):
        flags = spec.flags[source]
        found[f"flags.{source}"] = flags.vendor, flags.document, flags.attributes
    return found | {"application.sla.latency_p99": spec.application.sla.latency_p99}


def _adopted(state: RolloutState | None, old: Rollout | None, new: Rollout, begun: RolloutState) -> RolloutState:
    """Where a rollout stands under its new part of the Spec; `begun`: as a new one. Tokens that were revoked stay so in both cases."""
    if state is None:
        return begun
    if state.fingerprint == begun.fingerprint:
        return state
    # A completed rollout stays the default while its models stay: an edited dwell must not send everybody back to stable.
    same_models = old is not None and (old.stable, old.canary) == (new.stable, new.canary)
    if state.status.terminal and same_models:
        return replace(state, phase=min(state.phase, len(new.phases) - 1), fingerprint=begun.fingerprint)
    return begun


def _pending(fingerprint: str, now: float, epoch: int) -> RolloutState:
    return RolloutState(Status.PENDING, 0, now, 0, 1, "has not been started", fingerprint, epoch)
