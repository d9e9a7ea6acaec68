"""What one model costs: by the request where somebody else hosts it, by the hour on GPUs of one's own; and how many replicas it takes.

Little's law: answers that are open at once = arrivals a second x seconds that an answer takes. A replica has `concurrency` places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from extproc.cost.tokens import Load, exact
from extproc.domain import Application, Model, Prices, Serving

MILLION: Final = Decimal(1_000_000)
DAY_SECONDS: Final = Decimal(86_400)
DAY_HOURS: Final = Decimal(24)


def of_prices(prices: Prices, load: Load) -> Decimal:
    """USD of a mean request, as measures.COST counts it: cached tokens are part of the input, and reasoning is part of the output."""
    fresh = load.input - load.cached
    return (fresh * prices.input + load.cached * prices.cached_input + load.output * prices.output) / MILLION


def arrivals(application: Application, share: Decimal) -> Decimal:
    """Requests a second in the busiest minutes, at a model that this share of units meets."""
    return Decimal(application.daily_requests) / DAY_SECONDS * exact(application.peak) * share


@dataclass(frozen=True, slots=True)
class Rate:
    """One model at one load. A model with `serving` is paid by the hour alone: its prices are there for the cost gate."""

    model: Model
    load: Load
    application: Application

    @property
    def known(self) -> bool:
        """True where it is known what the model costs."""
        return self.model.serving is not None or self.model.prices is not None

    @property
    def request(self) -> Decimal:
        """USD that one more request costs."""
        prices = self.model.prices
        return of_prices(prices, self.load) if self.model.serving is None and prices is not None else Decimal(0)

    def replica_hour(self) -> Decimal:
        """USD; 0 where somebody else hosts it."""
        serving = self.model.serving
        return serving.gpu_hour * serving.gpus_per_replica if serving is not None else Decimal(0)

    def hour(self, share: Decimal) -> Decimal:
        """USD of the replicas for this share of units, asked or not."""
        return self.replica_hour() * self.replicas(share)

    def whole(self) -> Decimal | None:
        """USD of one request with everything, where all requests come to this model; None where there are none to share the hours."""
        if not self.application.daily_requests:
            return None if self.model.serving is not None else self.request
        return self.request + self.hour(Decimal(1)) * DAY_HOURS / self.application.daily_requests

    def seconds(self) -> Decimal | None:
        """That a mean answer takes on a replica whose places are all taken; None where somebody else hosts it.

        Until the first token as long as the SLA allows, then at the pace of one place among `concurrency`.
        """
        serving = self.model.serving
        if serving is None:
            return None
        pace = exact(serving.tokens_per_second) / serving.concurrency
        return exact(self.application.sla.ttft) + self.load.output / pace

    def open(self, share: Decimal) -> Decimal:
        """Answers that are open at once at the peak. Where somebody else hosts it at most: each as long as the SLA allows."""
        seconds = self.seconds()
        return arrivals(self.application, share) * (exact(self.application.sla.latency_p99) if seconds is None else seconds)

    def taken(self, share: Decimal) -> int:
        """Replicas that the requests take by Little's law, spare ones included; 0 for nobody and where somebody else hosts it."""
        serving = self.model.serving
        if serving is None or share <= 0:
            return 0
        places = serving.concurrency * exact(serving.utilization)
        return max(1, math.ceil(self.open(share) / places)) + serving.spare

    def replicas(self, share: Decimal) -> int:
        """Replicas that run for this share of units: as the Spec says for everybody, in proportion; else as many as it takes."""
        serving = self.model.serving
        if serving is None or serving.replicas is None or share <= 0:
            return self.taken(share)
        return _part(serving, serving.replicas, share)


def _part(serving: Serving, whole: int, share: Decimal) -> int:
    return min(whole, max(1, math.ceil(max(1, whole - serving.spare) * share)) + serving.spare)
