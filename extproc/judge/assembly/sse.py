"""Server-sent events, as the WHATWG HTML standard has them: LF, CR or CRLF; comments; data over several lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_FIELDS: Final = ("data", "event", "id", "retry")


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    name: str
    """Of its `event:` field; empty without one."""
    data: str
    closed: bool
    """Its blank line was there. The standard drops an event without one; a server may end a stream so all the same, and what is cut off
    in the middle is told by its data, which is no JSON then."""


def events(stream: str) -> Iterator[Event]:
    """All events that have data."""
    name, data = "", list[str]()
    for line in _LINE_END.split(stream.removeprefix("\ufeff")):
        if not line:
            if data:
                yield Event(name, "\n".join(data), True)
            name, data = "", []
            continue
        key, _, value = line.partition(":")
        if key == "data":
            data.append(value.removeprefix(" "))
        elif key == "event":
            name = value.removeprefix(" ")
    if data:
        yield Event(name, "\n".join(data), False)


def is_stream(body: bytes) -> bool:
    """Whether a body begins as a stream of events does: with a field or a comment."""
    start = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")[:8].decode("latin-1")
    return start.startswith(":") or any(start.startswith(f"{field}:") for field in _FIELDS)
