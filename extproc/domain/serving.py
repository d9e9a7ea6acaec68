"""What requests are like, and what it takes to answer them on machines of one's own: nouns of the cost sheet and of scaling."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import floor
from typing import Final

USUAL_PEAK: Final = 3.0
"""Requests in the busiest minutes, as a multiple of the day's mean: people sleep, and half of a day's requests come in six hours of it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is known of a mean request, as far as it was written; None: not written."""

    input: int | None = None
    """All that is read, from a cache or not."""
    cached_share: float | None = None
    """Part of the input that comes from a cache."""
    output: int | None = None
    """All that is written, reasoning included."""
    reasoning: int | None = None
    """Part of the output that nobody sees."""
    uncertainty: float | None = None
    """The means may be so much larger or smaller, as a share of themselves."""


UNSAID: Final = Tokens()
"""Nothing was written."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A model on GPUs of one's own: paid by the hour, whether it is asked or not."""

    gpu_hour: Decimal
    """USD for one GPU and hour."""
    concurrency: int
    """Requests that one replica answers at once."""
    tokens_per_second: float
    """Output tokens of one replica that answers so many, all of them together."""
    gpus_per_replica: int = 1
    replicas: int | None = None
    """That run when all requests come to this model; None: as many as the requests take."""
    spare: int = 1
    """Replicas beyond what the requests take: one may be lost, or be replaced, at the peak."""
    utilization: float = 0.7
    """Share of a replica's places that may be taken at the peak: above it waits grow faster than traffic does."""

    @property
    def bears(self) -> int:
        """Requests under way that one replica bears: those beyond it want one more replica."""
        # Rounded first: 0.29 * 100 is a little less than 29.
        return max(1, floor(round(self.concurrency * self.utilization, 6)))
