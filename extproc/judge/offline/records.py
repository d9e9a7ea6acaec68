"""The lines of results.jsonl: a header that says what the results are of, then one line for each thing that has ended. Pure.

What has a line is never asked again: an answer (a failure is one), a score, a preference. That there is *no* score has a line for its cost
alone, and is asked again. A Record is what the lines say together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import orjson

from extproc.domain import Judge, Model, Preference
from extproc.errors import Problem, SettingsError

VERSION: Final = 1
_NO_ANSWER_DEPENDS_ON: Final = ("prices", "credential", "affinity")
WHOLE: Final = "whole"


class Side(StrEnum):
    """Whose answer it is."""

    CANARY = "canary"
    STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Header:
    """What results are of. Results of two headers are never put together."""

    rollout: str
    canary: str
    """Digest of the Spec's model: name, addresses, rewrites. 16 hex digits."""
    stable: str
    prompts: str
    rubric: str
    judges: str
    """Digest of who judges."""
    texts: str
    """`kept`, or the digest of the patterns by which they are redacted."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One model's answer to one question, or its failure."""

    side: Side
    id: str
    ending: str
    """A domain.Ending; all but `whole` are failures, and are not judged."""
    why: str = ""
    """Of a failure, for people."""
    answer: str = ""
    """Or the vendor's refusal in words."""
    calls: tuple[tuple[str, str], ...] = ()
    tripwires: tuple[str, ...] = ()
    finish: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    """None: no prices, or no tokens told."""
    seconds: float = 0.0
    """Of the last try."""
    tries: int = 1

    @property
    def failed(self) -> bool:
        return self.ending != WHOLE


@dataclass(frozen=True, slots=True)
class Scored:
    """One score of one answer."""

    side: Side
    id: str
    again: bool
    value: float
    by_criterion: Mapping[str, float]
    reason: str
    usd: float | None
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Preferred:
    """Both answers to one question compared, in both orders."""

    id: str
    winner: Side | None
    """None: a tie."""
    by_criterion: Mapping[str, Side | None]
    in_order: Preference
    """By places, as in domain.Comparison."""
    in_reverse: Preference
    a: Side
    """Whose answer the judge calls A in its reason."""
    reason: str
    usd: float | None
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A question to the judge that brought nothing, and may have cost something."""

    id: str
    failing: str
    """A domain.Failing."""
    why: str
    usd: float | None
    input_tokens: int
    output_tokens: int


Line = Answered | Scored | Preferred | Unjudged
_KINDS: Final[Mapping[str, type[Line]]] = {"answer": Answered, "score": Scored, "preference": Preferred, "unjudged": Unjudged}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


@dataclass(slots=True)
class Record:
    """What is there so far."""

    answers: dict[tuple[Side, str], Answered] = field(default_factory=dict)
    scores: dict[tuple[Side, str], Scored] = field(default_factory=dict)
    again: dict[tuple[Side, str], Scored] = field(default_factory=dict)
    preferences: dict[str, Preferred] = field(default_factory=dict)
    unjudged: list[Unjudged] = field(default_factory=list)
    models_usd: dict[Side, float] = field(default_factory=dict)
    judge_usd: float = 0.0

    @property
    def usd(self) -> float:
        """All that was spent."""
        return self.judge_usd + sum(self.models_usd.values())

    def take(self, line: Line) -> None:
        """One line more. Of two that say the same thing, as a torn file could have them, the first counts; both were paid for."""
        match line:
            case Answered():
                self.answers.setdefault((line.side, line.id), line)
                self.models_usd[line.side] = self.models_usd.get(line.side, 0.0) + (line.usd or 0.0)
                return
            case Scored():
                (self.again if line.again else self.scores).setdefault((line.side, line.id), line)
            case Preferred():
                self.preferences.setdefault(line.id, line)
            case Unjudged():
                self.unjudged.append(line)
        self.judge_usd += line.usd or 0.0


# ------------------------------------------------------------------------------------------------------------------------ digests
def header_of(rollout: str, canary: Model, stable: Model, prompts: str, judge: Judge, keep_texts: bool) -> Header:
    """What a run's results are of."""
    judges = [[one.name, one.url, one.model, one.temperature] for one in judge.endpoints]
    texts = "kept" if keep_texts else _digest(["redacted", dict(judge.patterns)])
    return Header(rollout, _of_model(canary), _of_model(stable), prompts, judge.rubric.digest, _digest([judges, judge.language]), texts)


def _of_model(model: Model) -> str:
    return _digest({name: value for name, value in asdict(model).items() if name not in _NO_ANSWER_DEPENDS_ON})


def _digest(value: Any) -> str:
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


# -------------------------------------------------------------------------------------------------------------------------- lines
def write_header(header: Header) -> bytes:
    """The first line."""
    return orjson.dumps({"kind": "header", "version": VERSION, **asdict(header)}) + b"\n"


def write_line(line: Line) -> bytes:
    """Any other."""
    return orjson.dumps({"kind": _NAMES[type(line)], **asdict(line)}) + b"\n"


def read(lines: Iterable[bytes], wanted: Header, where: str) -> Record:
    """What whole lines say; raises SettingsError where they are of something else, or are no results."""
    record = Record()
    for number, line in enumerate(lines, 1):
        try:
            document = orjson.loads(line)
            if number == 1:
                _same(document, wanted, where)
            else:
                record.take(_line(document))
        except (ValueError, KeyError, TypeError) as error:
            hint = "give another directory with -o, or delete this one to begin anew"
            raise SettingsError(Problem("judge.results", where, f"is no line of results ({type(error).__name__})", hint, number)) from error
    return record


def _same(document: Mapping[str, Any], wanted: Header, where: str) -> None:
    if document["kind"] != "header" or document["version"] != VERSION:
        raise ValueError("no header")
    words = {
        "rollout": "another rollout",
        "canary": "another canary",
        "stable": "another stable",
        "prompts": "other prompts",
        "rubric": "another rubric",
        "judges": "other judges",
        "texts": "texts that are redacted otherwise",
    }
    other = [word for name, word in words.items() if document[name] != getattr(wanted, name)]
    if other:
        message = f"holds results of {', '.join(other)}"
        hint = "give another directory with -o, or delete this one to begin anew: results of both cannot be compared"
        raise SettingsError(Problem("judge.other-results", where, message, hint))


def _line(document: dict[str, Any]) -> Line:
    kind = _KINDS[document.pop("kind")]
    for name in ("side", "a"):
        if name in document:
            document[name] = Side(document[name])
    if kind is Preferred:
        document["winner"] = _side(document["winner"])
        document["by_criterion"] = {name: _side(side) for name, side in document["by_criterion"].items()}
        document["in_order"], document["in_reverse"] = Preference(document["in_order"]), Preference(document["in_reverse"])
    if kind is Answered:
        document["calls"] = tuple((str(name), str(arguments)) for name, arguments in document["calls"])
        document["tripwires"] = tuple(document["tripwires"])
    return kind(**document)


def _side(value: str | None) -> Side | None:
    return None if value is None else Side(value)
