"""A posted body becomes Feedback. Pure; whatever is in it, there is an answer.

    one item, or a list of at most 100:
    {"kind": "thumbs_up", "token": "..."}                   of an answer whose signed token was kept
    {"kind": "rating", "value": 4, "request_id": "..."}     of an answer whose x-request-id was kept
    and, where wanted: "id": the client's own name of this item (it counts once), "at": when it happened, in Unix seconds

Items are judged one by one: what is wrong with some does not cost the others. Nothing of an item is repeated in a Problem but its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from extproc.assign.answered import Seen, read
from extproc.domain import Answered, Feedback, FeedbackKind
from extproc.errors import Problem

LONGEST_BODY: Final = 65_536
"""Bytes."""
MOST_ITEMS: Final = 100
NO_SECONDS: Final = 1e11
"""What is larger is no Unix time in seconds, but one in milliseconds."""
_KEYS: Final = frozenset(("id", "kind", "value", "request_id", "token", "at"))
_ID: Final = re.compile(r"[\x21-\x7e]{1,100}")
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""As Envoy makes them. The digit of the UUID's version is any: Envoy keeps there whether the request is traced."""
_KINDS: Final = {kind.value: kind for kind in FeedbackKind}
_RANGES: Final[Mapping[FeedbackKind, tuple[int, int]]] = {FeedbackKind.RATING: (1, 5), FeedbackKind.EDIT: (0, 1)}
_TOKENS: Final[Mapping[Seen, tuple[str, str, str]]] = {
    Seen.FORGED: ("feedback.token", "is not signed by a router of ours", "send the value of the answer's header as it came"),
    Seen.EXPIRED: ("feedback.expired", "its answer is too old", "feedback counts within the attribution window"),
    Seen.EARLY: ("feedback.early", "its answer is yet to come", "the clock of the router or of this service is wrong"),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What is believed."""

    keys: Sequence[bytes]
    """Of tokens, the newest first."""
    window: float
    """Seconds after an answer in which feedback counts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a body says."""

    items: tuple[Feedback, ...]
    places: tuple[str, ...]
    """Where each item stands, such as `[3]`; empty where the body is one item."""
    problems: tuple[Problem, ...]
    count: int
    """Items that it has, good or bad."""


def read_body(body: bytes, rules: Rules, may_name: bool, now: float) -> Reading:
    """Feedback and Problems of a body. `may_name`: the sender may name an answer by its request id."""
    if len(body) > LONGEST_BODY:
        return _nothing("feedback.size", "the body is too long", f"at most {LONGEST_BODY} bytes: send less at once")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _nothing("feedback.body", "is no JSON", 'send {"kind": "thumbs_up", "token": "..."}, or a list of such')
    given = document if isinstance(document, list) else [document]
    if not 0 < len(given) <= MOST_ITEMS:
        return _nothing("feedback.body", f"has {len(given)} items", f"send 1 to {MOST_ITEMS} at once")
    problems: list[Problem] = []
    items: list[Feedback] = []
    places: list[str] = []
    for place, one in enumerate(given):
        path = f"[{place}]" if isinstance(document, list) else ""
        found = _item(one, path, rules, may_name, now)
        if isinstance(found, Feedback):
            items.append(found)
            places.append(path)
        else:
            problems += found
    return Reading(tuple(items), tuple(places), tuple(problems), len(given))


def _item(given: object, path: str, rules: Rules, may_name: bool, now: float) -> Feedback | list[Problem]:
    """One item, or everything that is wrong with it."""
    if not isinstance(given, dict):
        return [Problem("feedback.item", path or "body", "is no object", 'an item is {"kind": "...", "token": "..."}')]
    dot = f"{path}." if path else ""
    problems: list[Problem] = []
    if given.keys() - _KEYS:
        unknown = len(given.keys() - _KEYS)
        problems.append(Problem("feedback.unknown-key", path or "body", f"{unknown} unknown", f"there are: {', '.join(sorted(_KEYS))}"))
    kind = _kind(given.get("kind"), f"{dot}kind", problems)
    value = _value(given.get("value"), kind, f"{dot}value", problems) if kind is not None else None
    at = _at(given.get("at"), f"{dot}at", problems, rules.window, now)
    answer = _answer(given, path, rules, may_name, now, problems)
    own = given.get("id")
    if own is not None and not (isinstance(own, str) and _ID.fullmatch(own)):
        problems.append(Problem("feedback.id", f"{dot}id", "is no id", "1 to 100 visible ASCII characters, or none at all"))
    if problems or kind is None or answer is None:
        return problems
    request_id, token = answer
    about = token.answer if token is not None else request_id
    return Feedback(_identity(about, own) if own else "", kind, value, request_id, token, at, now)


def _kind(given: object, path: str, problems: list[Problem]) -> FeedbackKind | None:
    if isinstance(given, str) and given in _KINDS:
        return _KINDS[given]
    problems.append(Problem("feedback.kind", path, "is no kind of feedback", f"there are: {', '.join(FeedbackKind)}"))
    return None


def _value(given: Any, kind: FeedbackKind, path: str, problems: list[Problem]) -> float | None:
    if kind not in _RANGES:
        if given is not None:
            problems.append(Problem("feedback.value", path, f"{kind} has no value", "leave it out"))
        return None
    low, high = _RANGES[kind]
    if not _is_number(given) or not low <= given <= high:
        problems.append(Problem("feedback.value", path, f"is no value of {kind}", f"a number from {low} to {high}"))
        return None
    return float(given)


def _at(given: Any, path: str, problems: list[Problem], window: float, now: float) -> float:
    """A client's clock may be wrong, and what it says is kept within what can be."""
    if given is None:
        return now
    if not _is_number(given) or not 0 <= given < NO_SECONDS:
        problems.append(Problem("feedback.at", path, "is no instant", "Unix seconds (Date.now() / 1000), or none at all"))
        return now
    return min(max(float(given), now - window), now)


def _answer(
    given: Mapping[str, Any], path: str, rules: Rules, may_name: bool, now: float, problems: list[Problem]
) -> tuple[str, Answered | None] | None:
    """The answer that it is about, by request id or token."""
    dot = f"{path}." if path else ""
    request_id, token = given.get("request_id"), given.get("token")
    if (request_id is None) == (token is None):
        hint = "send `token` (the answer's x-extproc-feedback) or `request_id` (its x-request-id)"
        problems.append(Problem("feedback.answer", path or "body", "names no answer, or two", hint))
        return None
    if token is not None:
        seen = read(rules.keys, token, rules.window, now) if isinstance(token, str) else None
        if seen is not None and seen.seen is Seen.VALID:
            return "", seen.answered
        identity, message, hint = _TOKENS[seen.seen if seen is not None else Seen.FORGED]
        problems.append(Problem(identity, f"{dot}token", message, hint))
        return None
    if not may_name:
        hint = "send the answer's token; or, from a server, `Authorization: Bearer <feedback key>`"
        problems.append(Problem("feedback.key", f"{dot}request_id", "only who has a feedback key may name a request", hint))
        return None
    if not (isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)):
        problems.append(Problem("feedback.request-id", f"{dot}request_id", "is no request id", "send the answer's x-request-id as it came"))
        return None
    return request_id, None


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _identity(answer: str, own: str) -> str:
    """Of the client's own id and the answer: nobody uses up an id of somebody else."""
    return blake2b(f"{answer}\n{own}".encode(), digest_size=16, person=b"id").hexdigest()


def _nothing(identity: str, message: str, hint: str) -> Reading:
    return Reading((), (), (Problem(identity, "body", message, hint),), 0)
