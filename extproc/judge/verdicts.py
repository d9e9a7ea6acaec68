"""A judge's answer -> marks, strictly: what is not exactly a verdict is Nonsense with its reason, never a guess. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.domain import Preference, Rubric

LONGEST: Final = 64_000
"""Characters of an answer that are read; a verdict has some hundreds."""
LONGEST_REASON: Final = 400
"""Characters of the judge's words that are kept."""
LOWEST: Final = 1
HIGHEST: Final = 5


@dataclass(frozen=True, slots=True)
class Nonsense:
    """No verdict."""

    why: str
    """Without a word of the judge's answer, which may repeat what it judged."""


@dataclass(frozen=True, slots=True)
class Marks:
    """A pointwise verdict."""

    value: float
    """Weighted mean, in [0, 1]."""
    by_criterion: Mapping[str, float]
    reason: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """A pairwise verdict, by places: A is the answer shown first."""

    preference: Preference
    by_criterion: Mapping[str, Preference]
    reason: str


class _NonsenseError(Exception):
    pass


def read_marks(rubric: Rubric, text: str, nonce: str) -> Marks | Nonsense:
    """The answer to `prompt.pointwise`. 1..5 become 0, .25, .5, .75, 1."""
    try:
        said = _criteria(rubric, text, nonce, "score")
        scaled = {name: _scaled(name, value) for name, (value, _) in said.items()}
    except _NonsenseError as error:
        return Nonsense(str(error))
    value = math.fsum(one.weight * scaled[one.name] for one in rubric.criteria) / math.fsum(one.weight for one in rubric.criteria)
    return Marks(min(1.0, max(0.0, value)), scaled, _reason(said))


def read_ballot(rubric: Rubric, text: str, nonce: str) -> Ballot | Nonsense:
    """The answer to `prompt.pairwise`. The place with more weight behind it is preferred."""
    try:
        said = _criteria(rubric, text, nonce, "better")
        words = {name: _word(name, value) for name, (value, _) in said.items()}
    except _NonsenseError as error:
        return Nonsense(str(error))
    sides = {Preference.A: 1.0, Preference.B: -1.0, Preference.TIE: 0.0}
    lead = sum(criterion.weight * sides[words[criterion.name]] for criterion in rubric.criteria)
    preference = Preference.TIE if abs(lead) < 1e-9 else Preference.A if lead > 0 else Preference.B
    return Ballot(preference, words, _reason(said))


def both_orders(in_order: Ballot, in_reverse: Ballot) -> tuple[Preference, Mapping[str, Preference]]:
    """(preference, by criterion) of two ballots, the second with the answers in each other's place: what both say, else a tie."""
    by_criterion = {name: _agreed(word, in_reverse.by_criterion[name].swapped) for name, word in in_order.by_criterion.items()}
    return _agreed(in_order.preference, in_reverse.preference.swapped), by_criterion


def printable(text: str, most: int = LONGEST_REASON) -> str:
    """A stranger's words on one line, without controls, short."""
    line = " ".join(text[: most * 4].split())
    line = "".join(letter for letter in line if letter.isprintable())
    return line if len(line) <= most else line[: most - 1] + "…"


# ------------------------------------------------------------------------------------------------------------------------- reading
def _criteria(rubric: Rubric, text: str, nonce: str, key: str) -> dict[str, tuple[Any, str]]:
    """Criterion -> (value, reason)."""
    document = _exactly(_parsed(text), {"ticket", "criteria"}, "the answer")
    if document["ticket"] != nonce:
        raise _NonsenseError("the answer's ticket is not the one that was given: it may be somebody else's verdict")
    criteria = _exactly(document["criteria"], {criterion.name for criterion in rubric.criteria}, "criteria")
    found = {}
    for criterion in rubric.criteria:
        entry = _exactly(criteria[criterion.name], {"reason", key}, criterion.name)
        if not isinstance(entry["reason"], str):
            raise _NonsenseError(f"the reason of {criterion.name} is no text")
        found[criterion.name] = (entry[key], entry["reason"])
    return found


def _parsed(text: str) -> Any:
    if len(text) > LONGEST:
        raise _NonsenseError(f"the answer has {len(text)} characters; a verdict has at most {LONGEST}")
    try:
        # Not orjson: of a key that is there twice it would keep one silently.
        return json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except RecursionError as error:
        raise _NonsenseError("the answer is nested too deep") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise _NonsenseError("there is text after the JSON object") from error
        raise _NonsenseError("the answer is not one JSON object alone") from error
    except ValueError as error:  # a number of thousands of digits
        raise _NonsenseError("the answer holds a number that is none") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NonsenseError("a key is there twice")
    return found


def _constant(_: str) -> Any:
    raise _NonsenseError("the answer holds a number that is none")


def _exactly(value: Any, keys: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _NonsenseError(f"{what} is no JSON object")
    missing = sorted(keys - value.keys())
    if missing:
        raise _NonsenseError(f"{what} lacks {', '.join(missing)}")
    if len(value) > len(keys):
        raise _NonsenseError(f"{what} has keys that were not asked for")
    return value


def _scaled(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int) or not LOWEST <= value <= HIGHEST:
        raise _NonsenseError(f"the score of {name} is no whole number from {LOWEST} to {HIGHEST}")
    return (value - LOWEST) / (HIGHEST - LOWEST)


def _word(name: str, value: Any) -> Preference:
    if not isinstance(value, str) or value not in {str(word) for word in Preference}:
        raise _NonsenseError(f"{name} says neither A nor B nor tie")
    return Preference(value)


def _agreed(one: Preference, other: Preference) -> Preference:
    return one if one is other else Preference.TIE


def _reason(said: Mapping[str, tuple[Any, str]]) -> str:
    return printable("; ".join(f"{name}: {printable(reason, LONGEST_REASON // len(said))}" for name, (_, reason) in said.items()))
