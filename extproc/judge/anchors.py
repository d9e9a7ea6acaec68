"""JSON lines -> Anchors: exhibits whose worth is known, one a line. Pure; all problems at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extproc.domain import Anchor, Band, Exhibit
from extproc.errors import ExtprocError, Problem

BANDS: Final[Mapping[Band, tuple[float, float]]] = {Band.GOOD: (0.75, 1.0), Band.MIDDLING: (0.3, 0.75), Band.BAD: (0.0, 0.35)}
"""Scores that are expected of a sound judge. They meet, since no author's `middling` ends where a judge's begins."""


class AnchorsError(ExtprocError):
    """The anchors are not valid; `problems` lists everything that is wrong with them."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    band: Band
    conversation: Annotated[tuple[tuple[str, str], ...], Field(min_length=1)]
    """[role, text] each."""
    answer: Annotated[str, Field(min_length=1)]
    calls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a judge's scores of anchors lie."""

    inside: int
    """Scores within their anchor's band."""
    judged: int
    inverted: int
    """Pairs of a good and a bad anchor of which the bad one has the better score, or the same one."""
    outside: tuple[str, ...]
    """Names of anchors whose score is not in their band."""
    sentence: str


def load(text: str) -> tuple[Anchor, ...]:
    """Every anchor of a JSON-lines text; raises AnchorsError with every problem found."""
    anchors: list[Anchor] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            read = _Line.model_validate_json(line)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                where = ".".join(str(part) for part in detail["loc"]) or "anchors"
                problems.append(Problem("anchors.value", where, detail["msg"], "docs/judge.md shows a line", number))
            continue
        if any(anchor.name == read.name for anchor in anchors):
            problems.append(Problem("anchors.twice", read.name, "is there already", "name each anchor once", number))
        exhibit = Exhibit(read.conversation, read.answer, read.calls)
        anchors.append(Anchor(read.name, exhibit, read.band, *BANDS[read.band]))
    if not anchors and not problems:
        problems.append(Problem("anchors.empty", "anchors", "there is none", "write about twelve: good, middling and bad ones"))
    if problems:
        raise AnchorsError(problems)
    return tuple(anchors)


def placed(anchors: Sequence[Anchor], scores: Mapping[str, float]) -> Placed:
    """How a judge's scores (by anchor) lie in the bands; anchors without a score are left out."""
    judged = [(anchor, scores[anchor.name]) for anchor in anchors if anchor.name in scores]
    outside = tuple(anchor.name for anchor, score in judged if not anchor.low <= score <= anchor.high)
    good = [score for anchor, score in judged if anchor.band is Band.GOOD]
    bad = [score for anchor, score in judged if anchor.band is Band.BAD]
    inverted = sum(low >= high for low in bad for high in good)
    sentence = f"{len(judged) - len(outside)} of {len(judged)} anchors are scored within their band"
    sentence += f"; of {len(good) * len(bad)} pairs of a good and a bad one {inverted} are the wrong way round" if good and bad else ""
    return Placed(len(judged) - len(outside), len(judged), inverted, outside, sentence)
