"""The plain form: one measure, request by request, no epochs and no maturity; as the design's own table was made, to be reproduced.

A release is 100,000 requests, 5 % to the canary, one canary request against nineteen of stable, a look after each; alpha is .01 per
measure. Peers look once a minute: sixty times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.release.eprocess import BetE, RatioE, log_sum_exp
from extproc.release.histogram import Histogram
from extproc.release.simulate.draw import Draw
from extproc.release.simulate.peers import (
    FLAGGER,
    FLAGGER_DROP,
    FLAGGER_RATIO,
    LOOKS,
    MANN_WHITNEY,
    PLANNED,
    FlaggerLike,
    GroupSequential,
    MannWhitneyPerRequest,
    Minute,
    Rule,
    rules_of_errors,
)
from extproc.release.simulate.rows import Row, Stop, row

REQUESTS: Final = 100_000
PER_CANARY: Final = 19
"""Stable requests for one of the canary: 5 %."""
MINUTES: Final = 60
LIMIT: Final = math.log(100.0)
"""1/alpha of one measure."""
OURS: Final = "e-process"
LATENCY_SIGMA: Final = 0.8
"""Of the logarithm of a latency."""
COST_SIGMA: Final = 1.0
"""Of the logarithm of a cost: answers differ more than waits."""
JUDGE_SPREAD: Final = 3.0
"""a + b of the Beta distribution of scores: a standard deviation of .20 at a mean of .80."""
ENOUGH: Final = 200
"""Values of stable before its quantiles are believed."""

Stops = dict[str, Stop | None]
"""By rule."""


def rows(world: str, releases: Sequence[Stops]) -> list[Row]:
    """A table of releases of one world, our rule first."""
    return [row(world, rule, [stops[rule] for stops in releases]) for rule in (releases[0] if releases else ())]


class _Race:
    """All rules on one release: each is asked until it rolls back."""

    def __init__(self, peers: Mapping[str, Rule], requests: int, looks: int = MINUTES) -> None:
        self.stops: Stops = dict.fromkeys((OURS, *peers))
        self._peers = peers
        self.all_batches = requests // (PER_CANARY + 1)
        self._looks = looks
        self._look = 1

    def batches(self) -> Iterator[int]:
        """Numbers of the batches, from 1, as long as anybody is interested."""
        for batch in range(1, self.all_batches + 1):
            yield batch
            if None not in self.stops.values():
                return

    def ended(self, batch: int) -> bool:
        """True where a minute ends with this batch."""
        return batch >= self._look * self.all_batches / self._looks

    def ours(self, batch: int, log_e: float) -> None:
        """Our e-value after a batch."""
        if self.stops[OURS] is None and log_e >= LIMIT:
            self.stops[OURS] = _stop(batch)

    def minute(self, batch: int, seen: Minute) -> None:
        """A minute has ended."""
        self._look += 1
        for name, rule in self._peers.items():
            if self.stops[name] is None and rule.minute(seen):
                self.stops[name] = _stop(batch)


def _stop(batch: int) -> Stop:
    return Stop(batch * (PER_CANARY + 1), batch)


# ---------------------------------------------------------------------------------------------------------------------- errors
@dataclass(frozen=True, slots=True)
class Errors:
    """Failing with these probabilities."""

    stable: float
    canary: float
    requests: int = REQUESTS

    def __call__(self, draw: Draw) -> Stops:
        """One release."""
        race, planned = _Race(rules_of_errors(), self.requests), _Race({PLANNED: GroupSequential()}, self.requests, LOOKS)
        e, chance = RatioE(), draw.random
        until = _gap(chance(), self.stable)
        since, look = _Since(), _Since()
        for batch in range(1, race.all_batches + 1):
            failed = chance() < self.canary
            failures = 0
            until -= PER_CANARY
            while until < 0:
                failures += 1
                until += _gap(chance(), self.stable)
            if (failed or failures) and race.stops[OURS] is None:
                e.record(failed, failures, 1, PER_CANARY)
                race.ours(batch, e.log_e)
            for one, window in ((race, since), (planned, look)):
                window.add(failed, failures)
                if one.ended(batch):
                    one.minute(batch, window.taken())
            if None not in race.stops.values() and planned.stops[PLANNED] is not None:
                break
        return {**race.stops, PLANNED: planned.stops[PLANNED]}


class _Since:
    """What ended since somebody looked."""

    def __init__(self) -> None:
        self._n = self._x = self._y = 0

    def add(self, failed: bool, failures: int) -> None:
        """One canary request, and those of stable that go with it."""
        self._n, self._x, self._y = self._n + 1, self._x + failed, self._y + failures

    def taken(self) -> Minute:
        """It, and a new beginning."""
        n, x, y = self._n, self._x, self._y
        self._n = self._x = self._y = 0
        return Minute(n, n * PER_CANARY, x, y, x / n, y / (n * PER_CANARY))


def _gap(chance: float, rate: float) -> int:
    """Requests until the next event, itself included: geometric, so that only events cost time."""
    return 10**9 if rate <= 0 else int(math.log(1 - chance) / math.log(1 - rate)) + 1


# --------------------------------------------------------------------------------------------------------------------- latency
@dataclass(frozen=True, slots=True)
class Latency:
    """Lognormal, the canary's times a factor. Mean, p50, p95 and p99 averaged."""

    factor: float
    requests: int = REQUESTS

    def __call__(self, draw: Draw) -> Stops:
        """One release."""
        test = MannWhitneyPerRequest()
        race = _Race({MANN_WHITNEY: test, FLAGGER: FlaggerLike(ratio=FLAGGER_RATIO)}, self.requests)
        e, gauss, exp, factor = _LatencyE(), draw.gauss, math.exp, self.factor
        canaries: list[float] = []
        stables: list[float] = []
        for batch in race.batches():
            x = factor * exp(gauss(0.0, LATENCY_SIGMA))
            ys = [exp(gauss(0.0, LATENCY_SIGMA)) for _ in range(PER_CANARY)]
            if race.stops[OURS] is None:
                race.ours(batch, e.record(x, ys))
            canaries.append(x)
            stables.extend(ys)
            if race.ended(batch):
                for values, canary in ((canaries, True), (stables, False)):
                    for value in values:
                        test.add(math.floor(math.log(value) * 50), canary)
                seen = Minute(len(canaries), len(stables), sum(canaries), sum(stables), _p99(canaries), _p99(stables))
                race.minute(batch, seen)
                canaries, stables = [], []
        return race.stops


def _p99(values: list[float]) -> float:
    """Interpolated between the two values beside it."""
    values.sort()
    place = 0.99 * (len(values) - 1)
    low = int(place)
    return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])


class _LatencyE:
    """The mean of four e-values, with thresholds and a cap from stable's past."""

    def __init__(self) -> None:
        self._past, self._seen, self._due = Histogram(), 0, ENOUGH
        self._thresholds: tuple[float, float, float] | None = None
        self._mean: BetE | None = None
        self._median = BetE(1.0)
        self._tails = (RatioE(), RatioE())

    def record(self, x: float, ys: Sequence[float]) -> float:
        """One canary request against those of stable; ln of the e-value after it."""
        if self._thresholds is not None and self._mean is not None:
            middle, *tails = self._thresholds
            self._mean.record(x, sum(min(y, self._mean.cap) for y in ys) / len(ys))
            self._median.record(float(x > middle), sum(y > middle for y in ys) / len(ys))
            for e, threshold in zip(self._tails, tails, strict=True):
                e.record(x > threshold, sum(y > threshold for y in ys), 1, len(ys))
        for y in ys:
            self._past.add(y)
        self._seen += len(ys)
        if self._seen >= self._due:
            self._due *= 2
            p50, p95, p99, cap = (self._past.quantile(share) or 0.0 for share in (0.5, 0.95, 0.99, 0.999))
            self._thresholds = (p50, p95, p99)
            self._mean = BetE(cap, vector=self._mean.vector if self._mean is not None else None)
        if self._mean is None:
            return 0.0
        return log_sum_exp([one.log_e for one in (self._mean, self._median, *self._tails)]) - math.log(4)


# -------------------------------------------------------------------------------------------------------------- judge and cost
@dataclass(frozen=True, slots=True)
class Judge:
    """Scores in [0, 1] with these means; what is missing to 1 is the harm."""

    stable: float
    canary: float
    requests: int = REQUESTS

    def __call__(self, draw: Draw) -> Stops:
        """One release."""
        checks = FlaggerLike(drop=FLAGGER_DROP)
        return _means(self.requests, BetE(1.0), checks, lambda: 1 - score(draw, self.canary), lambda: 1 - score(draw, self.stable))


@dataclass(frozen=True, slots=True)
class Cost:
    """Lognormal, the canary's times a factor; capped at the p99.9."""

    factor: float
    requests: int = REQUESTS

    def __call__(self, draw: Draw) -> Stops:
        """One release."""
        e = BetE(math.exp(3.09 * COST_SIGMA))
        return _means(self.requests, e, FlaggerLike(ratio=FLAGGER_RATIO), lambda: self.factor * cost(draw), lambda: cost(draw))


def score(draw: Draw, mean: float) -> float:
    """Of one answer."""
    return draw.betavariate(mean * JUDGE_SPREAD, (1 - mean) * JUDGE_SPREAD)


def cost(draw: Draw) -> float:
    """Of one request, 1 in the middle."""
    return math.exp(draw.gauss(0.0, COST_SIGMA))


def _means(requests: int, e: BetE, checks: FlaggerLike, canary: Callable[[], float], stable: Callable[[], float]) -> Stops:
    race = _Race({FLAGGER: checks}, requests)
    total_c = total_s = 0.0
    n = 0
    for batch in race.batches():
        x, ys = canary(), [stable() for _ in range(PER_CANARY)]
        if race.stops[OURS] is None:
            e.record(x, sum(min(y, e.cap) for y in ys) / len(ys))
            race.ours(batch, e.log_e)
        total_c, total_s, n = total_c + x, total_s + sum(ys), n + 1
        if race.ended(batch):
            race.minute(batch, Minute(n, n * PER_CANARY, total_c, total_s, total_c / n, total_s / (n * PER_CANARY)))
            total_c = total_s = 0.0
            n = 0
    return race.stops


# --------------------------------------------------------------------------------------------------------------------- advance
def requests_to_advance(e: BetE, canary: Callable[[], float], stable: Callable[[], float], most: int = 100_000) -> int | None:
    """Canary requests until an identical canary is shown to be within the margin; `e` bets on stable's side."""
    limit = math.log(20.0)
    for seen in range(1, most + 1):
        e.record(canary(), sum(stable() for _ in range(PER_CANARY)) / PER_CANARY)
        if e.log_e >= limit:
            return seen
    return None


TABLE: Final[Mapping[str, Callable[[Draw], Stops]]] = {
    "errors: A/A .5 %": Errors(0.005, 0.005),
    "errors: .5 -> 1 %": Errors(0.005, 0.01),
    "errors: .5 -> 5 %": Errors(0.005, 0.05),
    "errors: .5 -> 100 %": Errors(0.005, 1.0),
    "latency: A/A": Latency(1.0),
    "latency: +10 %": Latency(1.1),
    "latency: +50 %": Latency(1.5),
    "judge: A/A": Judge(0.80, 0.80),
    "judge: .80 -> .77": Judge(0.80, 0.77),
    "cost: A/A": Cost(1.0),
    "cost: +15 %": Cost(1.15),
}
"""The worlds of the design's table."""
