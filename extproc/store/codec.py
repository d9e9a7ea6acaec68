"""State, heartbeat and Journal entries <-> JSON, for every kind of store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson

from extproc.domain import Action, Heartbeat, JournalEntry, RolloutState, State, Status, SwitchedOff
from extproc.errors import Problem, StoreError


def encode_state(state: State) -> bytes:
    """JSON of a State."""
    return orjson.dumps(asdict(state))


def decode_state(text: bytes | str) -> State:
    """The State in a JSON document; raises StoreError where it is none."""
    try:
        document: dict[str, Any] = orjson.loads(text)
        rollouts = {name: _rollout(one) for name, one in document["rollouts"].items()}
        off = SwitchedOff(**document["off"]) if document.get("off") is not None else None
        return State(document["generation"], document["spec_digest"], rollouts, dict(document.get("flags", {})), off)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        hint = "restore a backup, or move the file away to begin anew"
        raise StoreError(Problem("store.state", "state", f"cannot be understood: {error}", hint)) from error


def _rollout(one: dict[str, Any]) -> RolloutState:
    # What earlier versions did not write has its default.
    return RolloutState(**{**one, "status": Status(one["status"]), "cohorts_out": tuple(one.get("cohorts_out", ()))})


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """JSON of a heartbeat."""
    return orjson.dumps(asdict(heartbeat))


def decode_heartbeat(text: bytes) -> Heartbeat:
    """The heartbeat in a JSON document; raises StoreError where it is none."""
    try:
        document: dict[str, Any] = orjson.loads(text)
        return Heartbeat(document["number"], tuple(document["blind"]))
    except (ValueError, TypeError, KeyError) as error:
        hint = "the controller's next one takes its place"
        raise StoreError(Problem("store.heartbeat", "heartbeat", f"cannot be understood: {error}", hint)) from error


def encode_entry(entry: JournalEntry) -> bytes:
    """JSON of a Journal entry. Raises TypeError where its numbers cannot be written, StoreError where it is not complete."""
    texts = (entry.rollout, entry.actor, entry.why)
    if not all(isinstance(one, str) for one in texts):
        raise StoreError(Problem("store.value", f"journal[{entry.sequence}]", "lacks a text", "nothing was written"))
    return orjson.dumps(asdict(entry))


def decode_entry(text: bytes) -> JournalEntry:
    """The entry in a JSON document; raises StoreError where it is none."""
    try:
        document: dict[str, Any] = orjson.loads(text)
        return JournalEntry(**{**document, "action": Action(document["action"])})
    except (ValueError, TypeError, KeyError) as error:
        hint = "use the version of extproc that wrote it, or restore a backup"
        raise StoreError(Problem("store.journal", "journal", f"cannot be understood: {error}", hint)) from error
