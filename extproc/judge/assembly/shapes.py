"""Reading JSON that may hold anything: a value of another type than expected counts as one that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

MOST_TOKENS: Final = 1 << 40
"""A count above this is no count of tokens."""
LONGEST_WORD: Final = 80
"""Characters of a vendor's code or type of an error that a reason repeats."""
MARKERS: Final = ("image", "audio", "video")
"""What a part that is no text can be named by; anything else is a file."""

Table = Mapping[str, Any]


def table(value: Any) -> Table:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def tables(value: Any) -> Iterable[Table]:
    """The objects of an array; what else is in it is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The string, or an empty one."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> int | None:
    """The integer that counts something: not negative, and no bool."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS else None


def total(*values: Any) -> int | None:
    """The sum of the counts among the values; None where there is none."""
    counts = [count for count in map(number, values) if count is not None]
    return sum(counts) if counts else None


def pick(source: Table, *names: str) -> Any:
    """The first that is there: protobuf's JSON allows two spellings of a name."""
    return next((source[name] for name in names if source.get(name) is not None), None)


def written(value: Any) -> str:
    """As JSON without spaces; empty where it is nested deeper than the writer goes (254 levels)."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""


def rewritten(raw: str) -> str:
    """JSON text without its spaces, so that streamed and whole arguments are the same; as it is where it is no JSON."""
    try:
        return written(orjson.loads(raw)) or raw
    except ValueError:
        return raw


def word(*values: Any) -> str:
    """The first of a vendor's codes that is one: a short identifier, never a sentence, which could repeat what a user said."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if (
            isinstance(value, str)
            and value
            and len(value) <= LONGEST_WORD
            and value.replace("_", "").replace("-", "").replace(".", "").isalnum()
        ):
            return value
    return ""


def marker(kind: str) -> str:
    """How a part is shown that is no text: `kind` is its type or its MIME type."""
    return next((f"[{name}]" for name in MARKERS if name in kind), "[file]")


def content(value: Any) -> str:
    """The text of a message's content in the formats of OpenAI and Anthropic: a string, or parts; reasoning is left out."""
    if not isinstance(value, list):
        return text(value)
    return "".join(item if isinstance(item, str) else _part(item) for item in value if isinstance(item, str | dict))


def _part(part: Table) -> str:
    kind = text(part.get("type"))
    if "thinking" in kind or "reasoning" in kind:
        return ""
    if kind == "refusal":
        return text(part.get("refusal"))
    if isinstance(part.get("text"), str):
        return text(part.get("text"))
    return marker(text(table(part.get("source")).get("media_type")) or kind) if kind else ""
