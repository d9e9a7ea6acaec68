"""What a Record says in numbers: means with intervals, counts, money. Pure; for eyes, decisions are the gate's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any, Final

from extproc.domain import Preference
from extproc.judge.bias import Places, place_bias
from extproc.judge.calibration import LEAST_PAIRS, Retest, noise
from extproc.judge.offline.records import Answered, Preferred, Record, Scored, Side, Unjudged

_Z: Final = NormalDist().inv_cdf(0.975)
LEAST: Final = 3
"""Values below which a mean has no interval."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its 95 % interval (Student's), for one look at the end."""

    value: float
    low: float | None
    high: float | None
    """None below LEAST values."""
    n: int

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {"mean": self.value, "low": self.low, "high": self.high, "n": self.n}


def mean(values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> Mean | None:
    """None of nothing. `least`, `most`: what a value can be, beyond which no interval goes."""
    n = len(values)
    if not n:
        return None
    middle = fmean(values)
    if n < LEAST:
        return Mean(middle, None, None, n)
    half = _student(n - 1) * stdev(values) / math.sqrt(n)
    return Mean(middle, max(least, middle - half), min(most, middle + half), n)


def _student(freedom: int) -> float:
    """97.5 % quantile of Student's t, by its expansion around the normal one (Abramowitz & Stegun 26.7.5): within 2 % from 2 degrees on."""
    z, v = _Z, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v ** (power + 1) for power, term in enumerate(terms))


def quantile(values: Iterable[float], share: float) -> float | None:
    """The nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


# -------------------------------------------------------------------------------------------------------------------------- pairs
def pairs(record: Record, names: Iterable[str]) -> list[tuple[float, float]]:
    """(canary's, stable's) score of each question of which both have one, in this order."""
    scores = record.scores
    both = ((scores.get((Side.CANARY, name)), scores.get((Side.STABLE, name))) for name in names)
    return [(canary.value, stable.value) for canary, stable in both if canary is not None and stable is not None]


def failures(record: Record, names: Iterable[str]) -> list[tuple[bool, bool]]:
    """(canary failed, stable failed) of each question that was put to both, in this order."""
    answers = record.answers
    both = ((answers.get((Side.CANARY, name)), answers.get((Side.STABLE, name))) for name in names)
    return [(canary.failed, stable.failed) for canary, stable in both if canary is not None and stable is not None]


def preferred(record: Record, names: Iterable[str]) -> dict[str, int]:
    """How often the judge preferred the canary, neither, stable."""
    found = Counter(record.preferences[name].winner for name in names if name in record.preferences)
    return {"wins": found[Side.CANARY], "ties": found[None], "losses": found[Side.STABLE]}


def places(record: Record, names: Iterable[str]) -> Places:
    """Whether the judge likes a place."""
    found = Places()
    for name in names:
        one = record.preferences.get(name)
        if one is not None:
            found = found.plus(_place(one))
    return found


def _place(one: Preferred) -> Places:
    if Preference.TIE in (one.in_order, one.in_reverse):
        return Places(level=1)
    if one.in_order is not one.in_reverse:
        return Places(agreed=1)
    return Places(first=1) if one.in_order is Preference.A else Places(second=1)


def retest(record: Record, sides: Sequence[Side], names: Iterable[str]) -> Retest:
    """Answers that were judged twice."""
    found = Retest()
    for name in names:
        for side in sides:
            first, second = record.scores.get((side, name)), record.again.get((side, name))
            if first is not None and second is not None:
                found = found.with_pair(first.value, second.value)
    return found


# --------------------------------------------------------------------------------------------------------------------------- sides
def side_document(record: Record, side: Side, model: str, names: Sequence[str]) -> dict[str, Any]:
    """One model in numbers, JSON-ready."""
    answers = [record.answers[side, name] for name in names if (side, name) in record.answers]
    scores = [record.scores[side, name] for name in names if (side, name) in record.scores]
    good = [one for one in answers if not one.failed]
    score = mean([one.value for one in scores], 0.0, 1.0)
    return {
        "model": model,
        "asked": len(answers),
        "failed": len(answers) - len(good),
        "failures": dict(Counter(f"{one.ending}: {one.why}" for one in answers if one.failed).most_common()),
        "retried": sum(one.tries > 1 for one in answers),
        "scored": len(scores),
        "score": score.as_json() if score is not None else None,
        "criteria": _criteria(scores),
        "tripwires": dict(Counter(wire for one in good for wire in one.tripwires).most_common()),
        "finish": dict(Counter(one.finish for one in good).most_common()),
        "input_tokens": _sum(good, lambda one: one.input_tokens),
        "output_tokens": _sum(good, lambda one: one.output_tokens),
        "seconds": {name: quantile([one.seconds for one in good], share) for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))},
        "usd": sum(one.usd for one in answers if one.usd is not None) if any(one.usd is not None for one in answers) else None,
    }


def _criteria(scores: Sequence[Scored]) -> dict[str, Any]:
    by_name: dict[str, list[float]] = {}
    for score in scores:
        for name, value in score.by_criterion.items():
            by_name.setdefault(name, []).append(value)
    found = {name: mean(values, 0.0, 1.0) for name, values in by_name.items()}
    return {name: one.as_json() for name, one in found.items() if one is not None}


def _sum(answers: Sequence[Answered], read: Callable[[Answered], int | None]) -> int | None:
    """None where no answer tells."""
    told = [value for one in answers if (value := read(one)) is not None]
    return sum(told) if told else None


def judge_document(record: Record, sides: Sequence[Side], names: Sequence[str], judges: Mapping[str, str], rubric: str) -> dict[str, Any]:
    """The judge in numbers, JSON-ready. `judges`: name -> model."""
    twice, seen = retest(record, sides, names), places(record, names)
    found, bias = noise(twice), place_bias(seen)
    spent: list[Scored | Preferred | Unjudged] = [
        *record.scores.values(),
        *record.again.values(),
        *record.preferences.values(),
        *record.unjudged,
    ]
    too_few = f"answers judged twice: {twice.pairs}; {LEAST_PAIRS} are needed for a figure of the judge's noise"
    return {
        "rubric": rubric,
        "judges": dict(judges),
        "questions": len(spent),
        "unscored": dict(Counter(one.failing for one in record.unjudged).most_common()),
        "unscored_why": dict(Counter(one.why for one in record.unjudged).most_common(5)),
        "input_tokens": sum(one.input_tokens for one in spent),
        "output_tokens": sum(one.output_tokens for one in spent),
        "usd": record.judge_usd if any(one.usd is not None for one in spent) else None,
        "noise": None if found is None else {"sd": found.sd, "low": found.low, "high": found.high, "pairs": found.pairs},
        "noise_said": found.sentence if found is not None else too_few,
        "places": {"first": seen.first, "second": seen.second, "agreed": seen.agreed, "level": seen.level},
        "places_said": bias.sentence if bias is not None else "",
    }
