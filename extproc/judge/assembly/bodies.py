"""A body -> the JSON documents in it: one object, the objects of an array, or the data of a stream's events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import orjson

from extproc.judge.assembly.decoding import decode
from extproc.judge.assembly.openai_chat import DONE
from extproc.judge.assembly.shapes import Table, tables
from extproc.judge.assembly.sse import events, is_stream

_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_KIND: Final = 60


@dataclass(frozen=True, slots=True)
class Body:
    """What a body holds. One of the three faults at most."""

    documents: list[tuple[str, Table]] = field(default_factory=list)
    """(name of the event, its data); the name is empty where the body is no stream, or the stream has no names."""
    is_stream: bool = False
    """Events, or an array: several documents make one answer."""
    done: bool = False
    """JSON that is complete, or a stream that has said [DONE]."""
    truncated: str = ""
    aborted: str = ""
    unreadable: str = ""


def read_body(data: bytes, kind: str, coding: str, truncated: bool, ended: bool) -> Body:
    """`kind`: of the content-type header, for a reason only: what a body looks like says what it is. `coding`: of content-encoding.
    `truncated`: the copy was cut. `ended`: the end of the body was seen."""
    decoded = decode(data, coding)
    plain = decoded.data.removeprefix(_BOM)
    cut = truncated or decoded.cut
    if decoded.problem and not cut:
        return Body(unreadable=decoded.problem)
    body = _stream(plain) if is_stream(plain) else _json(plain)
    if cut:
        return Body(body.documents, body.is_stream, body.done, truncated="longer than the copy of it")
    if not plain.strip() and not ended:
        return Body(aborted="nothing came")
    if (body.unreadable and not ended) or (decoded.ends_early and not body.done):
        return Body(body.documents, body.is_stream, aborted="it stops in the middle")
    if body.unreadable:
        return Body(unreadable=_what(plain, kind, body.unreadable))
    return body


def _json(plain: bytes) -> Body:
    try:
        value = orjson.loads(plain)
    except ValueError:
        return Body(unreadable="no JSON and no stream of events")
    if isinstance(value, dict):
        return Body([("", value)], done=True)
    if isinstance(value, list):
        return Body([("", item) for item in tables(value)], is_stream=True, done=True)
    return Body(unreadable="JSON that is no object")


def _stream(plain: bytes) -> Body:
    documents: list[tuple[str, Table]] = []
    for event in events(plain.decode("utf-8", "replace")):
        if event.data.strip() == DONE:
            return Body(documents, is_stream=True, done=True)
        try:
            value = orjson.loads(event.data)
        except ValueError:
            if event.closed:
                return Body(documents, is_stream=True, unreadable="an event whose data is no JSON")
            break
        if isinstance(value, dict):
            documents.append((event.name, value))
    return Body(documents, is_stream=True)


def _what(plain: bytes, kind: str, problem: str) -> str:
    """Why a body cannot be read, with its media type where that says something else than JSON or events."""
    media = kind.partition(";")[0].strip().lower()
    if not plain.strip():
        return "empty"
    if media and media not in ("application/json", "text/event-stream") and media.isascii() and media.isprintable():
        return f"{media[:_LONGEST_KIND]}: {problem}"
    return problem
