"""Nouns of the LLM judge: what it reads, by which rubric, where it lives, and what it says.

A judge is blind: nothing here names a model under test or an arm. Scores are in [0, 1], larger is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from extproc.domain.vendors import Credential, Prices


class Preference(StrEnum):
    """Which of two answers is better."""

    A = "A"
    B = "B"
    TIE = "tie"

    @property
    def swapped(self) -> Preference:
        """The same preference where the two answers have changed places."""
        return {Preference.A: Preference.B, Preference.B: Preference.A}.get(self, Preference.TIE)


class Band(StrEnum):
    """How good an anchor is, by its author."""

    GOOD = "good"
    MIDDLING = "middling"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One question of a rubric."""

    name: str
    """Lower-case letters, digits and underscores: a key of the judge's answer."""
    question: str
    weight: float
    """Its part of the score; the weights of a rubric sum to 1."""
    anchors: tuple[str, str, str, str, str]
    """What earns 1, 2, 3, 4 and 5."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """By what answers are judged."""

    name: str
    purpose: str
    """What the application is for, and what a good answer does; the judge reads it."""
    criteria: tuple[Criterion, ...]
    digest: str
    """SHA-256 of what is written, 16 hex digits: scores of different digests are not compared."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One answer and what led to it. All of it was written by strangers."""

    conversation: tuple[tuple[str, str], ...]
    """(role, text) of each turn before the answer."""
    answer: str
    calls: tuple[tuple[str, str], ...] = ()
    """(name, arguments as JSON text) of the tools that the answer calls."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An exhibit whose worth is known. Judged again and again, anchors show whether the judge has changed."""

    name: str
    exhibit: Exhibit
    band: Band
    low: float
    high: float
    """The score expected of a sound judge, inclusive."""


@dataclass(frozen=True, slots=True)
class JudgeEndpoint:
    """An OpenAI-compatible endpoint that judges."""

    name: str
    url: str
    """Without `/chat/completions`, such as https://api.openai.com/v1."""
    model: str
    credential: Credential | None
    prices: Prices | None
    temperature: float | None
    """None: not sent; models that reason refuse it."""
    timeout: float
    """Seconds for one whole answer."""
    concurrency: int
    """Requests that are open at the same time."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges, by what, how much, and what becomes of the texts."""

    endpoints: tuple[JudgeEndpoint, ...]
    """One, or several that vote."""
    rubric: Rubric
    sample: float
    """Share of the canary's and of control's requests whose bodies are copied."""
    per_hour: Decimal
    """USD."""
    per_release: Decimal
    within: float
    """Seconds after a request's start at which its score is looked at."""
    again: float
    """Share of the answers that are judged twice."""
    language: str | None
    """ISO 639-1, that every answer must have; None: the user's."""
    patterns: Mapping[str, str]
    """Name -> regular expression of what else is taken out of samples."""
    retention: float
    """Seconds for which samples are kept."""
    longest: int
    """Bytes of a body that are copied."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a judge, or a panel, says of one answer."""

    value: float
    """In [0, 1]."""
    by_criterion: Mapping[str, float]
    """In [0, 1] each."""
    reason: str
    """The judge's words: printable, short, not to be believed, and as private as what was judged, which they may repeat."""
    judge: str
    """Name of the endpoint or panel."""
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    """None: the endpoint has no prices."""
    seconds: float
    """From the question to the answer, waits and retries included."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a judge, or a panel, says of two answers to the same conversation, asked in both orders."""

    preference: Preference
    """TIE also where the two orders do not agree."""
    by_criterion: Mapping[str, Preference]
    in_order: Preference
    """Where A was shown first: A is the first place."""
    in_reverse: Preference
    """Where B was shown first, in places as well: A is the first place, which B had. Both give the position bias."""
    reason: str
    judge: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    seconds: float


class Failing(StrEnum):
    """Why there is no score. None of these says anything about the answer."""

    UNREACHABLE = "unreachable"
    """No connection, a broken one, or 5xx."""
    REFUSED = "refused"
    """4xx, a redirect, or a credential that cannot be read."""
    SLOW = "slow"
    NONSENSE = "nonsense"
    """The judge answered with what is no verdict."""
    OVER_BUDGET = "over_budget"
    BREAKER_OPEN = "breaker_open"
    """It failed so often lately that it is left alone for a while."""


@dataclass(frozen=True, slots=True)
class Unscored:
    """There is no score: NO_DATA, never a bad one."""

    kind: Failing
    why: str
    """For people; without secrets and without judged text."""
    judge: str
    input_tokens: int = 0
    output_tokens: int = 0
    """Nonsense is paid for as well."""
    cost_usd: Decimal | None = None
    seconds: float = 0.0
