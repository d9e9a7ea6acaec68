"""A request and its explanation as JSON: the same for `extproc explain`, which reads files, and for the API, which answers for what is in
force.

    {"headers": {"x-user-id": "u1"}, "path": "/v1/...", "host": "...", "model": "...", "claims": {"a.b": "c" or ["c", "d"]},
     "provider_state": false, "now": UNIX SECONDS}                                                        all of it optional
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict
from typing import Any, Final

import orjson

from extproc import contract, wire
from extproc.assign import Answer, Prepared, derive
from extproc.assign.explain import Explainer
from extproc.assign.question import Question, understood
from extproc.domain import State

_UNKNOWN: Final = b"0" * wire.HASH_DIGITS
HASHED: Final = "the unit's keyed hash"
"""What stands for the value of the affinity header."""
_TEXTS: Final = ("path", "host", "model")
_KEYS: Final = frozenset((*_TEXTS, "headers", "claims", "provider_state", "now"))


def explained(
    prepared: Prepared, state: State, question: Question, now: float, drawn_id: str, withdrawn: Collection[str], verifies_tokens: bool
) -> dict[str, Any]:
    """Every layer's answer to a request, and why.

    `drawn_id` is the x-request-id that Envoy would have drawn; `withdrawn` names the rollouts that nobody can watch. Of the headers
    nothing is repeated but what a cohort reads: among them are credentials.
    """
    snapshot = derive(prepared, state, wire.encode_reply, withdrawn)
    asked = understood(prepared.spec, snapshot.needed_headers, question, drawn_id)
    explainer = Explainer(prepared, snapshot, state, _set_headers, verifies_tokens)
    explanation = explainer.explain(asked.subject, asked.request_id, now)
    told = {name: getattr(asked.question, name) for name in _TEXTS}
    return {"at": now, "asked": told, "notes": list(asked.notes), "withdrawn": sorted(withdrawn), **asdict(explanation)}


def _set_headers(answer: Answer) -> tuple[tuple[str, str], ...]:
    """As the router's reply sets them: from its own bytes."""
    choice = answer.choice
    reply = (choice.durable_reply if answer.durable else choice.transient_reply) + _UNKNOWN
    if choice.affinity:
        reply += wire.AFFINITY_PREFIX + _UNKNOWN
    return tuple((name, HASHED if name == contract.AFFINITY_HEADER else value) for name, value in wire.set_headers(reply))


# -------------------------------------------------------------------------------------------------------------------- questions
def written(question: Question, now: float | None) -> dict[str, Any]:
    """A question as JSON."""
    document = asdict(question)
    return document if now is None else {**document, "now": now}


def read(body: bytes) -> tuple[Question, float | None]:
    """(question, instant that it is asked for, if it names one); raises ValueError, never with a value that was given."""
    document = orjson.loads(body)
    if not isinstance(document, dict) or document.keys() - _KEYS:
        raise ValueError(f"a question is an object with {', '.join(sorted(_KEYS))}")
    for name in _TEXTS:
        if not isinstance(document.get(name, ""), str):
            raise ValueError(f"{name} is a text")
    headers, claims = document.get("headers", {}), document.get("claims", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise ValueError("headers are texts by name")
    if not isinstance(claims, dict) or not all(_is_claim(value) for value in claims.values()):
        raise ValueError("claims are texts, or lists of texts, by dotted path")
    now, state = document.get("now"), document.get("provider_state", False)
    if now is not None and (isinstance(now, bool) or not isinstance(now, int | float) or not math.isfinite(now)):
        raise ValueError("now is a number of Unix seconds")
    if not isinstance(state, bool):
        raise ValueError("provider_state is true or false")
    texts = {name: document.get(name, "") for name in _TEXTS}
    lists = {name: (value,) if isinstance(value, str) else tuple(value) for name, value in claims.items()}
    return Question(headers={name.lower(): value for name, value in headers.items()}, claims=lists, provider_state=state, **texts), now


def _is_claim(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))
