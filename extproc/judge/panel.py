"""Several judges vote. Each is asked at the same time; those that do not answer are not waited for longer than their own patience.

Pointwise the panel's score is the *mean*: the gate compares means, k judges have 1/k of one judge's variance of noise (a median of normal
noise has half as much again), and in [0, 1] a judge that has gone wild moves it by 1/k at most. A quorum of answers is needed: a score of
whoever happened to answer would move with outages. Pairwise it is the majority of those that answered, else a tie.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from statistics import fmean
from typing import Any, Protocol

from extproc.domain import Comparison, Exhibit, Preference, Rubric, Score, Unscored
from extproc.judge.verdicts import printable


class Judge(Protocol):
    """Whoever judges: a client, or a panel."""

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        """Judge one answer."""

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        """Compare two answers."""


class Panel:
    """Judges as one judge."""

    def __init__(self, name: str, judges: Sequence[Judge], quorum: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`quorum`: so many must answer; more than half by default. A panel of nobody is never asked."""
        self.quorum = quorum if quorum is not None else len(judges) // 2 + 1
        if judges and not 1 <= self.quorum <= len(judges):
            raise ValueError(f"a quorum of {self.quorum} among {len(judges)} judges")
        self.name = name
        self._judges = tuple(judges)
        self._clock = clock

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        """The mean of those that answered."""
        began = self._clock()
        answers = await asyncio.gather(*(judge.score(rubric, exhibit) for judge in self._judges))
        return mean_score(self.name, answers, self.quorum, self._clock() - began)

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        """The majority of those that answered."""
        began = self._clock()
        answers = await asyncio.gather(*(judge.prefer(rubric, a, b) for judge in self._judges))
        return majority(self.name, answers, self.quorum, self._clock() - began)


def mean_score(name: str, answers: Sequence[Score | Unscored], quorum: int, seconds: float) -> Score | Unscored:
    """Of the answers of one panel."""
    scores = [answer for answer in answers if isinstance(answer, Score)]
    if len(scores) < quorum:
        return _no_quorum(name, answers, quorum, seconds)
    by_criterion = {key: fmean(score.by_criterion[key] for score in scores) for key in scores[0].by_criterion}
    value = min(1.0, max(0.0, fmean(score.value for score in scores)))
    return Score(value, by_criterion, _reasons(scores), name, *_spent(answers), seconds)


def majority(name: str, answers: Sequence[Comparison | Unscored], quorum: int, seconds: float) -> Comparison | Unscored:
    """Of the answers of one panel."""
    votes = [answer for answer in answers if isinstance(answer, Comparison)]
    if len(votes) < quorum:
        return _no_quorum(name, answers, quorum, seconds)
    by_criterion = {key: _most(vote.by_criterion[key] for vote in votes) for key in votes[0].by_criterion}
    return Comparison(
        _most(vote.preference for vote in votes),
        by_criterion,
        _most(vote.in_order for vote in votes),
        _most(vote.in_reverse for vote in votes),
        _reasons(votes),
        name,
        *_spent(answers),
        seconds,
    )


def _most(words: Iterable[Preference]) -> Preference:
    counts = Counter(words)
    word, count = counts.most_common(1)[0]
    return word if 2 * count > counts.total() else Preference.TIE


def _reasons(answers: Iterable[Score | Comparison]) -> str:
    return printable(" / ".join(f"{answer.judge}: {printable(answer.reason, 160)}" for answer in answers))


def _spent(answers: Sequence[Score | Comparison | Unscored]) -> tuple[int, int, Decimal | None]:
    """Input tokens, output tokens and USD, those of the silent included."""
    money = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    usd = sum(money, Decimal(0)) if money else None
    return sum(answer.input_tokens for answer in answers), sum(answer.output_tokens for answer in answers), usd


def _no_quorum(name: str, answers: Sequence[Any], quorum: int, seconds: float) -> Unscored:
    silent = [answer for answer in answers if isinstance(answer, Unscored)]
    kind = Counter(answer.kind for answer in silent).most_common(1)[0][0]
    said = "; ".join(f"{answer.judge}: {answer.why}" for answer in silent)
    why = printable(f"{len(answers) - len(silent)} of {len(answers)} judges answered, {quorum} are needed: {said}")
    return Unscored(kind, why, name, *_spent(answers), seconds)
