"""The shadow of a rollout: what is asked of it, and what is heard of the copies of requests. Nobody gets the canary's answers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Shadow:
    """Phase 0: before anybody meets the canary, a share of stable's requests is mirrored to it."""

    share: float
    """Of the units of the cohorts that take part in the first phase."""
    min_dwell: float
    """Seconds, watched, before the first phase."""
    max_dwell: float
    """Seconds after which a shadow that has not shown what it has to ends the attempt."""
    min_pairs: int
    """Requests answered by both, before the first phase."""
    min_judged: int
    """Pairs that a judge has compared, before the first phase; 0 where nobody judges."""
    per_release: Decimal | None
    """USD that the canary's answers may cost; None: it has no prices."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What became of a copy, as the access log of its own listener tells it."""

    rollout: str
    stream_id: str
    """That of the request of which it is a copy."""
    start: float
    duration: float
    final: bool
    """False: it is still open at the age `duration`."""
    status: int
    failed: bool
    throttled: bool
    ttft: float | None
    answered_by: str
    model: str
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Preferred:
    """What a judge says of a pair: both answers to one request, shown in both orders, blind."""

    request: str
    """Envoy's x-request-id."""
    rollout: str
    generation: int
    unit: str
    """Keyed hash, 16 hex digits."""
    start: float
    value: float
    """1: the canary's answer is better; 0: stable's is; 0.5: a tie."""
