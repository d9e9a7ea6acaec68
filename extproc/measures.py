"""What can be measured of an outcome, one row each; gates, reports and dashboards iterate over these rows.

A Measure is a quality of the canary; a Metric is a Prometheus series. `read` gives the value of a request that has ended; None where it
has none (no tokens were told, it failed before there was anything to measure). A request that failed has no latency of its own, since
failing fast is not being fast; one that is still open at its deadline has the deadline, and has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from extproc.domain import Outcome, Prices

GROUP_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"errors": 0.40, "latency": 0.20, "judge": 0.16, "cost": 0.08, "thumbs": 0.08, "retries": 0.08}
)
"""Shares of a release's alpha, by how soon and how surely a measure tells of a bad canary. A group that is not there leaves its share
to the others."""
TOLERANCE: Final = 0.05
"""A canary that is 5 % slower or dearer is another model, not a fault; half of the smallest default margin (10 %)."""
_RELATIVE: Final = (0.50, 0.20, 0.10, 0.10)
_ERRORS: Final = (0.05, 0.01, 0.005, 0.0025)


AT_ONCE: Final = 0.02
"""Seconds in which an answer that is not a stream arrives: such a rate would be a hundred times that of any stream, and hide it."""


class Kind(StrEnum):
    """How a measure is compared."""

    EVENT = "event"
    """It happens or not, and rarely: RatioE."""
    MEAN = "mean"
    """A mean of something bounded: BetE, bounded by stable's past p99.9."""
    QUANTILE = "quantile"
    """How often stable's past quantile is exceeded: RatioE; BetE for the median, which is not rare."""


class AtDeadline(StrEnum):
    """What a request counts as that is still open at its deadline."""

    NOTHING = "nothing"
    EVENT = "event"
    DEADLINE = "deadline"
    TOLD = "told"
    """What has been told by then (the first token may have come); the deadline where nothing has."""


Reader = Callable[[Outcome, Prices | None], float | None]
"""(outcome that has ended, prices of the model that answered) -> value; events are 1.0 or 0.0."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurable quality."""

    name: str
    unit: str
    """`share` (of requests), `seconds`, `tokens`, `usd`, `tokens/s`, `score` (0 to 1), `requests` (of a session)."""
    sentence: str
    """What it means, for reports."""
    kind: Kind
    group: str
    """Measures of a group share one default weight: see GROUP_WEIGHTS."""
    read: Reader | None
    """None: no outcome tells of it; somebody who reads answers does, of some of them and later (domain.Rating)."""
    at_deadline: AtDeadline = AtDeadline.NOTHING
    quantile: float | None = None
    more_is_worse: bool = True
    margins: tuple[float, ...] = _RELATIVE
    """Default margin for the step to the next phase, by order of phases; the last one repeats."""
    relative: bool = True
    """True where a margin is a share of stable's value, False where it is in the measure's own unit."""
    guardrail: bool = False
    """True where the step to the next phase needs evidence that the canary is within the margin; else it only guards against harm
    (a p99 within 10 % takes ten times the requests of a mean to show)."""
    tolerance: float = TOLERANCE
    """Share of stable's value by which the canary may be worse before that is called harm."""
    scale: float = 1.0
    """What a rating of 1 is in the measure's unit: ratings are within [0, 1]."""

    def margin(self, phase: int) -> float:
        """Default margin in the phase with this index."""
        return self.margins[min(phase, len(self.margins) - 1)]


# ------------------------------------------------------------------------------------------------------------------- readings
def _failed(outcome: Outcome, _: Prices | None) -> float:
    return 1.0 if outcome.failed else 0.0


def _throttled(outcome: Outcome, _: Prices | None) -> float:
    return 1.0 if outcome.throttled else 0.0


def _client_aborted(outcome: Outcome, _: Prices | None) -> float:
    return 1.0 if outcome.client_aborted else 0.0


def _retried(outcome: Outcome, _: Prices | None) -> float:
    return 1.0 if outcome.retry else 0.0


def _regenerated(outcome: Outcome, _: Prices | None) -> float:
    return 1.0 if outcome.regenerate else 0.0


def _abandoned(outcome: Outcome, _: Prices | None) -> float | None:
    """Of answers that had begun: whoever left before that may not have seen any of it."""
    return None if outcome.ttft is None else _client_aborted(outcome, None)


def _ttft(outcome: Outcome, _: Prices | None) -> float | None:
    return None if outcome.failed or outcome.throttled else outcome.ttft


def _latency(outcome: Outcome, _: Prices | None) -> float | None:
    return None if outcome.failed or outcome.throttled else outcome.duration


def _input_tokens(outcome: Outcome, _: Prices | None) -> float | None:
    return outcome.input_tokens


def _cached_tokens(outcome: Outcome, _: Prices | None) -> float | None:
    return outcome.cached_tokens


def _output_tokens(outcome: Outcome, _: Prices | None) -> float | None:
    return outcome.output_tokens


def _reasoning_tokens(outcome: Outcome, _: Prices | None) -> float | None:
    return outcome.reasoning_tokens


def _cost(outcome: Outcome, prices: Prices | None) -> float | None:
    """USD at the prices of the model that answered; cached tokens are part of the input, and reasoning is part of the output."""
    if prices is None or outcome.input_tokens is None or outcome.output_tokens is None:
        return None
    cached = min(outcome.cached_tokens or 0, outcome.input_tokens)
    fresh = outcome.input_tokens - cached
    millionths = fresh * float(prices.input) + cached * float(prices.cached_input) + outcome.output_tokens * float(prices.output)
    return millionths / 1e6


def _output_rate(outcome: Outcome, _: Prices | None) -> float | None:
    """Tokens a second after the first one; of answers that came at once there is no rate."""
    if outcome.failed or outcome.throttled or not outcome.output_tokens:
        return None
    writing = outcome.duration - (outcome.ttft or 0.0)
    return outcome.output_tokens / writing if writing > AT_ONCE else None


# ------------------------------------------------------------------------------------------------------------------ the table
ERRORS = Measure(
    name="errors",
    unit="share",
    sentence="requests that failed: 5xx, timeout, reset, stream aborted by the model; 429 and client aborts are counted apart",
    kind=Kind.EVENT,
    group="errors",
    read=_failed,
    at_deadline=AtDeadline.EVENT,
    margins=_ERRORS,
    relative=False,
    guardrail=True,
    tolerance=0.0,
)


def _quantile(base: str, read: Reader, at_deadline: AtDeadline, share: float, what: str) -> Measure:
    percent = f"p{share * 100:.0f}"
    return Measure(
        name=f"{base}_{percent}",
        unit="seconds",
        sentence=f"{percent} of {what}",
        kind=Kind.QUANTILE,
        group="latency",
        read=read,
        at_deadline=at_deadline,
        quantile=share,
    )


def _seconds(base: str, read: Reader, at_deadline: AtDeadline, what: str) -> tuple[Measure, ...]:
    mean = Measure(
        name=f"{base}_mean",
        unit="seconds",
        sentence=f"mean of {what}",
        kind=Kind.MEAN,
        group="latency",
        read=read,
        at_deadline=at_deadline,
        guardrail=True,
    )
    return (mean, *(_quantile(base, read, at_deadline, share, what) for share in (0.5, 0.95, 0.99)))


def _event(name: str, sentence: str, read: Reader) -> Measure:
    return Measure(name, "share", sentence, Kind.EVENT, "retries", read, margins=_ERRORS, relative=False)


def _count(name: str, sentence: str, read: Reader, more_is_worse: bool = True, unit: str = "tokens", group: str = "cost") -> Measure:
    return Measure(
        name=name,
        unit=unit,
        sentence=sentence,
        kind=Kind.MEAN,
        group=group,
        read=read,
        more_is_worse=more_is_worse,
    )


COST = Measure(
    name="cost",
    unit="usd",
    sentence="mean price of a request, by the Spec's prices of the model that answered",
    kind=Kind.MEAN,
    group="cost",
    read=_cost,
    guardrail=True,
)

JUDGE = Measure(
    name="judge",
    unit="score",
    sentence="mean score that the judge gives to sampled answers, from 0 to 1",
    kind=Kind.MEAN,
    group="judge",
    read=None,
    more_is_worse=False,
    margins=(0.05, 0.03, 0.02, 0.02),
    relative=False,
    guardrail=True,
    tolerance=0.0,
)

TRIPWIRES = Measure(
    name="tripwires",
    unit="share",
    sentence="sampled answers that a rule finds wrong: empty, cut off, refused, broken JSON or tool call, another language, a loop",
    kind=Kind.MEAN,
    group="judge",
    read=None,
    margins=(0.05, 0.03, 0.02, 0.02),
    relative=False,
    tolerance=0.0,
)

RETRIES: Final = _event("retries", "requests that ask again what the same user has just asked", _retried)
REGENERATES: Final = _event("regenerates", "requests that ask again what the same user has just been answered well", _regenerated)
"""Those of RETRIES that no fault explains."""
SESSION_CAP: Final = 20
"""Requests of a session that count: one that never ends, such as a program's, must not weigh more than all others together."""
SESSION_LENGTH = Measure(
    name="session_length",
    unit="requests",
    sentence=f"mean requests of a session that began with this one, of {SESSION_CAP} at most",
    kind=Kind.MEAN,
    group="retries",
    read=None,
    more_is_worse=False,
    scale=SESSION_CAP,
)

_APPROVAL: Final = "mean approval of those who said something of an answer, from 0 to 1"
THUMBS: Final = replace(JUDGE, name="thumbs", sentence=_APPROVAL, group="thumbs", guardrail=False)
"""No guardrail: few say anything, and those who do have chosen to."""

_ALL: Final = (
    ERRORS,
    _event("throttled", "requests that were answered with 429", _throttled),
    _event("client_aborts", "requests that the client gave up", _client_aborted),
    _event("abandons", "answers that had begun, and that the client gave up before their end", _abandoned),
    RETRIES,
    REGENERATES,
    SESSION_LENGTH,
    *_seconds("ttft", _ttft, AtDeadline.TOLD, "the time to the first token"),
    *_seconds("latency", _latency, AtDeadline.DEADLINE, "the time to the end of the answer"),
    COST,
    _count("input_tokens", "mean tokens read for a request", _input_tokens),
    _count("cached_tokens", "mean tokens of a request's input that came from a cache", _cached_tokens, more_is_worse=False),
    _count("output_tokens", "mean tokens written for a request", _output_tokens),
    _count("reasoning_tokens", "mean tokens of a request's output that were reasoning", _reasoning_tokens),
    _count("output_rate", "mean tokens a second after the first one", _output_rate, False, "tokens/s", "latency"),
    JUDGE,
    TRIPWIRES,
    THUMBS,
)

SAMPLED: Final = frozenset((JUDGE.name, TRIPWIRES.name))
"""Measures that need sampled answers."""
MEASURES: Mapping[str, Measure] = MappingProxyType({measure.name: measure for measure in _ALL})
"""All measures by name."""


def default_weights(names: Iterable[str]) -> dict[str, float]:
    """Weight of each of these measures where all are gates: a group's weight is shared by its members, and all sum to 1."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(MEASURES[name].group, []).append(name)
    total = sum(GROUP_WEIGHTS[group] for group in groups)
    return {name: GROUP_WEIGHTS[group] / total / len(members) for group, members in groups.items() for name in members}
