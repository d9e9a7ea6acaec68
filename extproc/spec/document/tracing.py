"""The block about traces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from extproc.domain import SHARE_STEP
from extproc.spec.document.base import Block, Percent, Port
from extproc.spec.document.models import EndpointBlock


class OtlpBlock(EndpointBlock):
    """An OpenTelemetry collector."""

    port: Annotated[Port, Field(description="Where it takes OTLP over gRPC; by custom 4317.")]


class TracingBlock(Block):
    """Spans of requests, made by Envoy, for OpenTelemetry."""

    otlp: Annotated[OtlpBlock, Field(description="The collector that Envoy sends spans to, such as {host: otel-collector, port: 4317}.")]
    share: Annotated[
        Percent,
        Field(
            ge=SHARE_STEP,
            le=1,
            description="Requests that are traced; of a trace that a trusted caller began, his word decides.",
            json_schema_extra={"default": "1%"},
        ),
    ] = 0.01

    @field_validator("share")
    @classmethod
    def _in_steps(cls, share: float) -> float:
        steps = share / SHARE_STEP
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError("is finer than Envoy samples: steps of 0.01%")
        return share
