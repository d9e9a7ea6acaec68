"""Redaction of JSON values, such as the arguments of tools: strings and keys by themselves, so the value stays JSON whatever is found."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.judge.redact.finds import MARK, Kind, marker
from extproc.judge.redact.redactor import Redacted, Redactor

DEEPEST: Final = 200
"""Levels that are read; a person writes ten. What is deeper becomes `[cut]`."""

_PASSWORD: Final = re.compile(
    r"(?:.*[_-])?(?:user|db|my|admin|root)?(?:password|passwd|passphrase|passcode|pwd|pass|secret|client_?secret|api_?key|private_?key)",
    re.IGNORECASE,
)
"""Keys whose whole value is a secret, blanks or not."""


@dataclass(frozen=True, slots=True)
class RedactedValue:
    """A JSON value without what was found in it."""

    value: Any
    found: Mapping[str, int]


def redact_json(redactor: Redactor, value: Any) -> RedactedValue:
    """All strings of a JSON value, keys too, and numbers that are found, which become their marker. Never raises.

    A key is read together with its value: `{"ssn": 219099999}` says more than the number. Keys that become the same are told apart by a
    number behind the marker.
    """
    counts: Counter[str] = Counter()
    return RedactedValue(_redacted(redactor, value, "", counts, 0), dict(counts))


def redact_json_text(redactor: Redactor, text: str) -> Redacted:
    """JSON as text, as models write arguments of tools: what was JSON stays JSON; what was none is redacted as any text. Never raises.

    A text in which nothing is found comes back as it was; else it is written anew, without blanks between its parts.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return redactor.redact(text)
    redacted = redact_json(redactor, value)
    if not redacted.found and redacted.value == value:
        return Redacted(text)
    return Redacted(json.dumps(redacted.value, ensure_ascii=False, separators=(",", ":")), redacted.found)


def _redacted(redactor: Redactor, value: Any, key: str, counts: Counter[str], depth: int) -> Any:
    if depth > DEEPEST:
        return "[cut]"
    if isinstance(value, str):
        return _string(redactor, value, key, counts)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _number(redactor, value, key, counts)
    if isinstance(value, Mapping):
        out: dict[str, Any] = {}
        for name, inner in value.items():
            redacted = redactor.redact(str(name))
            counts.update(redacted.found)
            out[_free(redacted.text, out)] = _redacted(redactor, inner, str(name), counts, depth + 1)
        return out
    if isinstance(value, list | tuple):
        return [_redacted(redactor, inner, key, counts, depth + 1) for inner in value]
    return _string(redactor, str(value), key, counts)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """This key, with a number where there is one like it."""
    number, free = 2, name
    while free in taken:
        free = f"{name} {number}"
        number += 1
    return free


def _string(redactor: Redactor, text: str, key: str, counts: Counter[str]) -> str:
    """By itself; and where nothing is found, as what its key names."""
    redacted = redactor.redact(text)
    counts.update(redacted.found)
    if key and redacted.text == text:
        kind = _named(redactor, key, text)
        if kind is not None:
            counts[kind] += 1
            return marker(kind)
    return redacted.text


def _number(redactor: Redactor, value: float, key: str, counts: Counter[str]) -> Any:
    text = _string(redactor, repr(value), key, counts)
    return value if text == repr(value) else text


def _named(redactor: Redactor, key: str, text: str) -> str | None:
    """The kind of a value that is only found beside its key."""
    if not text.strip() or text.strip() in ("null", "true", "false") or MARK in text or len(text) > 512:
        return None
    if _PASSWORD.fullmatch(key) and not redactor.is_marker(text) and text.strip("*•xX.# "):
        return str(Kind.PASSWORD)
    line = f"{key}: {text}"
    found = redactor.finds(line)
    behind = [kind for start, end, kind in found if end > len(key) + 2]
    return behind[0] if behind else None
