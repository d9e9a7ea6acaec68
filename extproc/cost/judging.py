"""What LLM judges cost while a release runs: a sample of both compared arms, within the Spec's two limits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from extproc.cost.rates import MILLION
from extproc.cost.tokens import Load, exact
from extproc.domain import Judge, JudgeEndpoint

RULES: Final = Decimal(1200)
"""Tokens of the rules and the rubric before what is judged."""
LONGEST_READ: Final = Decimal(6000)
"""Of a conversation no judge reads more: 24,000 characters (judge.prompt)."""
LONGEST_ANSWER: Final = Decimal(4000)
"""Of an answer: 16,000 characters."""
VERDICT: Final = Decimal(400)
"""Tokens that a judge writes: a reason and a number for each of some four criteria."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Of one phase."""

    samples: Decimal
    """Answers that a judge is asked about, before any limit."""
    usd: Decimal
    """With the limits."""
    limited: bool
    """A limit holds: fewer answers are judged."""


def question(judge: Judge, load: Load) -> Decimal:
    """USD of one verdict of everybody who votes. What has no prices costs nothing here."""
    seen = min(load.output - load.reasoning, LONGEST_ANSWER)
    read = RULES + min(load.input, LONGEST_READ) + seen
    return sum((_asked(one, read) for one in judge.endpoints), Decimal(0))


def _asked(one: JudgeEndpoint, read: Decimal) -> Decimal:
    return (read * one.prices.input + VERDICT * one.prices.output) / MILLION if one.prices is not None else Decimal(0)


def bill(judge: Judge, each: Decimal, requests: Decimal, share: Decimal, hours: Decimal, left: Decimal) -> Bill:
    """Of a phase with so many requests of both arms in so many hours. `each`: USD of a question; `left`: USD that the release may cost yet.

    Control is as large as the canary up to a half, and shrinks above it.
    """
    samples = requests * (share + min(share, 1 - share)) * exact(judge.sample)
    wanted = samples * (1 + exact(judge.again)) * each
    usd = min(wanted, judge.per_hour * hours, left)
    return Bill(samples, usd, usd < wanted)
