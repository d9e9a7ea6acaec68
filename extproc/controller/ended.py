"""What has ended, by rollout, cohort, arm and phase: results, seconds, tokens and USD; counted as outcomes arrive, families at scrape.

Seconds and tokens have the names of OpenTelemetry's conventions for generative AI as Prometheus writes them: dots are underscores, and a
unit that has a name is the last word. A row shows all of its results from its first outcome on, at 0 where there is none: of a series
that begins with its first failure, a rate would not see that failure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from extproc import contract
from extproc.domain import Outcome, Prices
from extproc.measures import COST

SECONDS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0, 120.0)
"""Bucket ends for answers of LLMs, from a cached word to a long report."""
TOKENS: Final = tuple(float(4**power) for power in range(11))
"""Bucket ends for tokens: powers of four, as OpenTelemetry advises, up to a million."""
RESULTS: Final = ("ok", "failed", "throttled", "client_aborted")
ROW: Final = ("rollout", "cohort", "arm", "phase")


class Histogram:
    """Counts between bounds. One of prometheus-client takes 2 us for a value (a lock, a walk over the bounds), this one 0.3, as timed."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One value; an end belongs to the bucket that it ends."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: how many are at most so large."""
        ends = [*(str(bound) for bound in self._bounds), "+Inf"]
        return list(zip(ends, accumulate(self.counts), strict=True))


class _Row:
    __slots__ = ("duration", "input", "output", "results", "ttft", "usd")

    def __init__(self) -> None:
        self.results = dict.fromkeys(RESULTS, 0)
        self.ttft, self.duration = Histogram(SECONDS), Histogram(SECONDS)
        self.input, self.output = Histogram(TOKENS), Histogram(TOKENS)
        self.usd = 0.0


class Ended(Collector):
    """All rows of a controller; a collector for prometheus-client."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, str], _Row] = {}

    def count(self, outcome: Outcome, prices: Mapping[str, Prices]) -> None:
        """A request that has ended; `prices` by the cluster that answered."""
        key = outcome.rollout, outcome.cohort, outcome.arm.value, outcome.phase
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row()
        row.results[_result(outcome)] += 1
        row.duration.observe(outcome.duration)
        if outcome.ttft is not None:
            row.ttft.observe(outcome.ttft)
        if outcome.input_tokens is not None:
            row.input.observe(outcome.input_tokens)
        if outcome.output_tokens is not None:
            row.output.observe(outcome.output_tokens)
        assert COST.read is not None
        row.usd += COST.read(outcome, prices.get(outcome.answered_by)) or 0.0

    def collect(self) -> Iterator[Metric]:
        """The families."""
        outcomes = CounterMetricFamily(contract.METRIC_OUTCOMES, "Requests that ended, by result.", labels=[*ROW, "result"])
        usd = CounterMetricFamily(contract.METRIC_COST, "USD by the Spec's prices of the model that answered.", labels=ROW)
        ttft = HistogramMetricFamily(contract.METRIC_TTFT, "Time to the first token.", labels=ROW)
        duration = HistogramMetricFamily(contract.METRIC_DURATION, "Time to the end of an answer.", labels=ROW)
        usage = HistogramMetricFamily(contract.METRIC_TOKEN_USAGE, "Tokens of a request.", labels=[*ROW, "gen_ai_token_type"])
        for labels, row in self._rows.items():
            for result, count in row.results.items():
                outcomes.add_metric([*labels, result], count)
            usd.add_metric(labels, row.usd)
            ttft.add_metric(labels, row.ttft.buckets(), row.ttft.total)
            duration.add_metric(labels, row.duration.buckets(), row.duration.total)
            for kind, tokens in (("input", row.input), ("output", row.output)):
                usage.add_metric([*labels, kind], tokens.buckets(), tokens.total)
        yield from (outcomes, usd, ttft, duration, usage)


def _result(outcome: Outcome) -> str:
    if outcome.failed:
        return "failed"
    if outcome.throttled:
        return "throttled"
    return "client_aborted" if outcome.client_aborted else "ok"
