"""State and Journal entries <-> JSON, for every kind of store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson

from extproc.domain import RolloutState, State, Status, SwitchedOff
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
