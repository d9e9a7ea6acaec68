"""A list as another controller tells it: what `lines` writes as JSON, read again. Over its API, or as a file that somebody brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

import orjson

from extproc.errors import ExtprocError, Problem, StoreError
from extproc.store.exposures.gaps import Cause, Gap
from extproc.store.exposures.reading import PAGE, Summary
from extproc.store.exposures.record import Exposure
from extproc.store.exposures.wanted import Wanted

_FIELDS: Final = tuple(name for name in Exposure._fields if name not in ("id", "start"))
_COUNTS: Final = ("rollout", "requests", "failed", "open", "undecided", "transient", "units", "began", "as_of")
_HINT: Final = "`extproc exposures ROLLOUT --part -o FILE` makes one"

_Read = TypeVar("_Read")


class Told:
    """One list in lines of JSON, which end with its summary; `pages` may be read once."""

    def __init__(self, name: str, lines: Iterable[bytes | str], wanted: Wanted) -> None:
        """`name`: where they come from, for people."""
        self._name = name
        self._wanted = wanted
        self._lines = lines
        self.summary = Summary()

    def pages(self) -> Iterator[list[Exposure]]:
        """Raises StoreError where it is no list, or was cut off, and the other side's own Problems."""
        page: list[Exposure] = []
        ended = False
        for line in self._lines:
            document = self._understood(_document, line)
            if "problems" in document:
                raise ExtprocError([Problem(**one) for one in document["problems"]])
            ended = "summary" in document
            if ended:
                self.summary = self._summary(document["summary"])
                continue
            read = self._understood(_exposure, document)
            if self._wanted.has(read):
                page.append(read)
            if len(page) >= PAGE:
                yield page
                page = []
        if page:
            yield page
        if not ended:
            raise StoreError(
                Problem("exposures.cut", self._name, "has no summary at its end: it was cut off", f"take it once more: {_HINT}")
            )

    def _summary(self, document: dict[str, Any]) -> Summary:
        found = self._understood(_summary, document)
        if found.rollout != self._wanted.rollout:
            message = f"is the list of {found.rollout or 'another rollout'}, not of {self._wanted.rollout}"
            raise StoreError(Problem("exposures.part", self._name, message, _HINT))
        return found

    def _understood(self, read: Callable[[Any], _Read], given: Any) -> _Read:
        try:
            return read(given)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"is no list of exposures: {type(error).__name__}: {str(error)[:80]}"
            raise StoreError(Problem("exposures.part", self._name, message, _HINT)) from error


def _document(line: bytes | str) -> dict[str, Any]:
    return dict(orjson.loads(line))


def _exposure(document: dict[str, Any]) -> Exposure:
    start = document["start"]
    begun = float(start) if "T" not in start else datetime.fromisoformat(start).timestamp()
    return Exposure(id="", start=begun, **{name: document[name] for name in _FIELDS})


def _summary(document: dict[str, Any]) -> Summary:
    gaps = [Gap(Cause(one["cause"]), one["since"], one["until"], one["about"], one["rollout"], one["detail"]) for one in document["gaps"]]
    # Of a version that does not tell them yet.
    more = {"rate": document.get("rate", 0.0), "owners": tuple(document.get("owners", ()))}
    return Summary(**{name: document[name] for name in _COUNTS}, next=document["next"], gaps=gaps, **more)
