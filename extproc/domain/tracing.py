"""Traces: where Envoy sends the spans that it makes, and of how many requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.domain.places import Tls

SHARE_STEP: Final = 0.0001
"""The least share, and the difference of two: Envoy counts in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """An OpenTelemetry collector that listens to OTLP over gRPC."""

    host: str
    port: int
    tls: Tls | None
    share: float
    """Of requests, in steps of SHARE_STEP."""
