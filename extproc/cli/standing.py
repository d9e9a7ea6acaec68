"""Where rollouts stand, for an explanation without a controller: as a store has it, or as somebody supposes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from extproc import spec as spec_room
from extproc.assign import Prepared, Secrets, conversation_key, prepare
from extproc.assign.question import Question
from extproc.controller.explaining import explained
from extproc.domain import RolloutState, Spec, State, Status
from extproc.errors import Problem, SettingsError, StoreError
from extproc.router.secrets import SHORTEST, read_secret
from extproc.store import open_store


@dataclass(frozen=True, slots=True)
class Standing:
    """A Spec, compiled, and a State."""

    prepared: Prepared
    state: State
    withdrawn: frozenset[str]
    verifies_tokens: bool
    notes: tuple[str, ...]

    def explain(self, question: Question, now: float, drawn_id: str) -> dict[str, Any]:
        """See controller.explaining.explained."""
        document = explained(self.prepared, self.state, question, now, drawn_id, self.withdrawn, self.verifies_tokens)
        return {**document, "notes": [*document["notes"], *self.notes]}


def supposed(path: Path | None, phases: list[str]) -> Standing:
    """Every rollout in progress, at its first phase or at the one that is named (`25%`, or `ROLLOUT=25%`)."""
    assert path is not None, "what is supposed is supposed of a Spec"
    spec = spec_room.read(str(path))
    places = dict.fromkeys(spec.rollouts, 0)
    for written in phases:
        places |= _places(spec, written)
    rollouts = {name: RolloutState(Status.PROGRESSING, place, 0.0, 1, 1, "supposed", "") for name, place in places.items()}
    where = ", ".join(f"{name} in progress at {spec.rollouts[name].phases[place].name}" for name, place in places.items())
    prepared = prepare(spec, Secrets(qa=_qa_secrets(spec)))
    return Standing(prepared, State(1, spec.digest, rollouts), frozenset(), False, (f"as if: {where}", *_unpolled(spec, {})))


def _places(spec: Spec, written: str) -> dict[str, int]:
    """Rollout -> index of the phase that is named; without a rollout's name, of all that have such a phase."""
    before, equals, after = written.partition("=")
    names, phase = ([before], after) if equals and before in spec.rollouts else (list(spec.rollouts), written)
    known = {name: [one.name for one in spec.rollouts[name].phases] for name in names}
    found = {name: of.index(phase) for name, of in known.items() if phase in of}
    if not found:
        hint = "; ".join(f"{name}: {', '.join(of)}" for name, of in known.items())
        raise SettingsError(Problem("settings.phase", "--phase", f"there is no phase {phase!r}", hint or "the Spec has no rollout"))
    return found


def stored(url: str, path: Path | None) -> Standing:
    """As the State in a store has it, with the Spec that it names, or with another one that is given."""
    store = open_store(url)
    try:
        state = store.read_state()
        if state is None:
            raise StoreError(Problem("explain.no-state", url, "holds no State yet", "start the controller with a Spec"))
        spec = spec_room.read(str(path)) if path is not None else spec_room.load(store.read_spec(state.spec_digest))
        polled = {source: orjson.loads(store.read_spec(digest)) for source, digest in state.flags.items()}
        secrets = Secrets(conversation_key(store.unit_key()), _qa_secrets(spec))
        heartbeat = store.read_heartbeat()
    finally:
        store.close()
    exposed = {name for name, one in state.rollouts.items() if one.status.asks_the_canary}
    blind = exposed & set(heartbeat.blind if heartbeat is not None else ())
    notes = [*_unpolled(spec, polled)]
    if spec.digest != state.spec_digest:
        notes.append(f"{path} is Spec {spec.digest}; in force is {state.spec_digest}, whose State this goes by")
        state = replace(state, rollouts=_fitting(spec, state))
    return Standing(prepare(spec, secrets, polled), state, frozenset(blind), True, tuple(notes))


def _fitting(spec: Spec, state: State) -> dict[str, RolloutState]:
    """State of the rollouts that another Spec has, none of them beyond its last phase."""
    return {
        name: replace(one, phase=min(one.phase, len(spec.rollouts[name].phases) - 1))
        for name, one in state.rollouts.items()
        if name in spec.rollouts
    }


def _qa_secrets(spec: Spec) -> dict[str, bytes]:
    """Those that can be read here: the router reads them by the same references, on its machine."""
    references = ((name, rollout.overrides.qa_secret) for name, rollout in spec.rollouts.items())
    found = {name: read_secret(reference) for name, reference in references if reference is not None}
    return {name: secret for name, secret in found.items() if len(secret) >= SHORTEST}


def _unpolled(spec: Spec, polled: Mapping[str, Any]) -> tuple[str, ...]:
    missing = [name for name, source in spec.flags.items() if source.document is None and name not in polled]
    if not missing:
        return ()
    return (f"flags of {', '.join(missing)} are polled by the controller, and not known here: nobody is in them",)
