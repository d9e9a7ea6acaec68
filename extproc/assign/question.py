"""A request as a person describes it, to be explained: which headers, which path, who.

The router sees what Envoy forwards of a request (`wire.read_subject`); here the same Subject is made of words. What the Spec does not
read is left out, as Envoy leaves it out, and told: most often it is a header's name misspelt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from extproc.assign.compile import REQUEST_STATE
from extproc.assign.selectors import CLAIM_PREFIX, LIST_SEPARATOR, REQUEST_MODEL, request_matcher
from extproc.domain import ListenerKind, Match, Rollout, Spec, Subject, identity_headers

REQUEST_ID = "x-request-id"


@dataclass(frozen=True, slots=True)
class Question:
    """One request. Empty where nothing is said."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """By name; lower case is not asked for. Cookies are the header `cookie`."""
    path: str = ""
    host: str = ""
    model: str = ""
    """The model that the body asks for."""
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Verified JWT claims by dotted path; several values are a list."""
    provider_state: bool = False
    """The body speaks of state that the provider keeps (`previous_response_id`)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A Question as it is answered: completed where nothing was said, and what there is to say about that."""

    question: Question
    subject: Subject
    request_id: bytes
    notes: tuple[str, ...]


def understood(spec: Spec, needed: frozenset[str], question: Question, drawn_id: str) -> Asked:
    """The Subject that a router would see of this request. `drawn_id`: the x-request-id that Envoy would have drawn."""
    completed, notes = _completed(spec, question)
    headers = {name.lower(): value for name, value in completed.headers.items()}
    if not headers.get(REQUEST_ID):
        headers[REQUEST_ID] = drawn_id
    unread = sorted(headers.keys() - needed)
    if unread:
        notes = (*notes, f"this Spec does not read {', '.join(unread)}: nothing depends on it (is the name right?)")
    notes = (*notes, *_at_the_door(spec, headers))
    subject: Subject = {name: value.encode() for name, value in headers.items() if name in needed}
    for name, value in ((":path", completed.path), (":authority", completed.host)):
        if name in needed:
            subject[name] = value.encode()
    if completed.model:
        subject[REQUEST_MODEL] = completed.model.encode()
    if completed.provider_state:
        subject[REQUEST_STATE] = b"1"
    for name, values in completed.claims.items():
        subject[CLAIM_PREFIX + name] = LIST_SEPARATOR.join(value.encode() for value in values if value)
    return Asked(replace(completed, headers=headers), subject, headers[REQUEST_ID].encode(), notes)


def _at_the_door(spec: Spec, headers: Mapping[str, str]) -> Iterator[str]:
    """What Envoy does to identity headers before the router sees them, where clients are strangers."""
    listener = spec.listener
    if listener.kind is not ListenerKind.EDGE:
        return
    for name in sorted(headers.keys() & identity_headers(spec).keys() - listener.set_by.keys()):
        if listener.geoip is not None and name in spec.identity.geo:
            yield f"{name}: Envoy looks it up by the client's address, and overwrites what the client sends"
        else:
            yield f"{name}: this edge listener strips it from what clients send, because listener.set_by names nobody who sets it"


def _completed(spec: Spec, question: Question) -> tuple[Question, tuple[str, ...]]:
    """Host, path and model that were not given are those of the first rollout that what was given leaves possible."""
    for rollout in spec.rollouts.values():
        if _possible(rollout, question):
            match = rollout.match
            host, path, model = (values[0] if values else "" for values in (match.hosts, match.paths, match.models))
            completed = replace(question, host=question.host or host, path=question.path or path, model=question.model or model)
            found = ((name, getattr(completed, name)) for name in ("host", "path", "model") if not getattr(question, name))
            assumed = " and ".join(f"{name} {value}" for name, value in found if value)
            return completed, (f"{assumed} assumed: that is what rollout {rollout.name} is about",) if assumed else ()
    return question, ()


def _possible(rollout: Rollout, question: Question) -> bool:
    """What is given does not speak against the rollout."""
    match = rollout.match
    given = Match(match.hosts if question.host else (), match.paths if question.path else (), match.models if question.model else ())
    test = request_matcher(given)
    subject: Subject = {":authority": question.host.encode(), ":path": question.path.encode(), REQUEST_MODEL: question.model.encode()}
    return test is None or test(subject, b"", 0.0)
