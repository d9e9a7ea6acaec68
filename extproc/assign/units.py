"""Where a unit's id comes from. HOT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from extproc.assign.code import Draft
from extproc.assign.selectors import LIST_SEPARATOR, Reader, reader
from extproc.domain import Source, SourceKind, Subject, fact_of

UnitSource = Callable[[Subject], bytes]
"""A unit's id from a request; empty where there is none."""


def unit_of(sources: Sequence[Source]) -> UnitSource:
    """What the first source that has an id gives."""
    draft = Draft()
    found = [
        draft.fact(source.name) if source.kind is SourceKind.HEADER else f"{draft.constant(unit_source(source))}(subject)"
        for source in sources
    ]
    unit: UnitSource = draft.value(" or ".join((*found, 'b""')))
    return unit


def unit_source(source: Source) -> UnitSource:
    """From a header, a cookie, a claim, or an API key (hashed: the key itself goes no further)."""
    if source.kind is SourceKind.API_KEY:
        return _api_key(source.name)
    read = reader(fact_of(source))
    return _one_value(read) if source.kind is SourceKind.CLAIM else read


def _one_value(read: Reader) -> UnitSource:
    def source(subject: Subject) -> bytes:
        value = read(subject)
        # A claim that is a list names nobody.
        return b"" if LIST_SEPARATOR in value else value

    return source


def _api_key(name: str) -> UnitSource:
    def source(subject: Subject) -> bytes:
        key = subject.get(name, b"")
        if key[:7].lower() == b"bearer ":
            key = key[7:]
        key = key.strip()
        return sha256(key).hexdigest().encode() if key else b""

    return source
