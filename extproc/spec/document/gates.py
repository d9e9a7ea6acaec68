"""Blocks about what must hold before the next phase, and when that may be: gates, ceilings, metrics, windows, freezes."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from extproc.measures import MEASURES
from extproc.spec import units
from extproc.spec.document.base import Block, Count, Duration, MeasureName, Name, Percent, Text, listed
from extproc.spec.document.models import CredentialBlock

MOST_UNITS: Final = 20_000
"""Evidence counts distinct units up to here (release.evidence.UNITS_KEPT): a phase that asks for more would wait for ever."""

Instant = Annotated[
    float,
    BeforeValidator(units.instant),
    WithJsonSchema({"type": "string", "examples": ["2026-12-20T00:00Z", "2026-12-20T18:00+01:00"]}),
]
TimeOfDay = Annotated[
    float,
    BeforeValidator(units.time_of_day),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,2}:[0-9]{2}$", "examples": ["09:00", "24:00"]}),
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Query = Annotated[str, Field(min_length=1, max_length=4096)]
Bound = Annotated[float, Field(allow_inf_nan=False)]
LateReaction = Literal["hold", "ask", "return", "roll_back"]

_LIMIT: Final[list[dict[str, Any]]] = [{"type": "string", "examples": ["5%", "8s", "$0.05"]}, {"type": "number", "exclusiveMinimum": 0}]
_MEASURE: Final = {"type": "string", "enum": sorted(MEASURES), "description": "What is measured."}
_CEILING: Final[dict[str, Any]] = {
    "anyOf": [
        *_LIMIT,
        {
            "type": "object",
            "properties": {"measure": _MEASURE, "limit": {"anyOf": _LIMIT, "description": "In the measure's own unit."}},
            "required": ["measure", "limit"],
            "additionalProperties": False,
        },
    ],
    "description": "A limit in the measure's own unit, or a block with measure and limit under a name of your own.",
}


def _by_limit(value: Any) -> Any:
    return value if isinstance(value, dict) else {"limit": value}


class GateBlock(Block):
    """Settings of a comparison with stable; what is left out is the measure's default."""

    margin: Annotated[
        Percent | None,
        Field(gt=0, lt=1, description="How much worse a guardrail's canary may be: points of a share, else a part of stable's value."),
    ] = None
    weight: Annotated[float | None, Field(gt=0, le=1, description="Share of alpha; the weights of a phase sum to 1.")] = None
    tolerance: Annotated[
        Percent | None, Field(lt=1, description="Part of stable's value by which the canary may be worse before that is harm.")
    ] = None
    guardrail: Annotated[bool | None, Field(description="true: the next phase needs evidence that the canary is within the margin.")] = None


class CeilingBlock(Block):
    """An absolute limit: a value in the measure's own unit, or a block under a name of one's own."""

    measure: Annotated[MeasureName | None, Field(description="What is measured; the ceiling's name by default.")] = None
    limit: Annotated[Any, Field(description="In the measure's own unit.")]


class MetricBlock(Block):
    """A Prometheus query whose one value must keep a bound."""

    query: Annotated[Query, Field(description="PromQL whose answer is one number.")]
    max: Annotated[Bound | None, Field(description="The value must not be above this.")] = None
    min: Annotated[Bound | None, Field(description="The value must not be below this.")] = None
    on_fail: Annotated[Literal["hold", "roll_back"], Field(description="hold and page, or roll_back: on one reading.")] = "hold"

    @model_validator(mode="after")
    def _one_bound(self) -> MetricBlock:
        if (self.max is None) == (self.min is None):
            raise ValueError("name exactly one of max and min")
        return self


class GatingBlock(Block):
    """What a rollout says for all its phases, and a phase in its place: the nearest block that is written is the whole list."""

    gates: Annotated[
        dict[MeasureName, GateBlock] | None,
        Field(description="Comparisons with stable, {} for none; by default errors, latency, time to first token, and cost where priced."),
    ] = None
    ceilings: Annotated[
        dict[Name, Annotated[CeilingBlock, BeforeValidator(_by_limit), WithJsonSchema(_CEILING)]] | None,
        Field(description="Absolute limits, {} for none; errors: 5% by default."),
    ] = None
    metrics: Annotated[dict[Name, MetricBlock] | None, Field(description="Prometheus queries with a bound.")] = None


class PhaseBlock(GatingBlock):
    """One phase."""

    share: Annotated[Percent, Field(gt=0, description="Share of units that meet the canary.")]
    name: Annotated[Text | None, Field(max_length=32, description="Name; the share by default.")] = None
    min_dwell: Annotated[
        Duration, Field(ge=0, description="Least watched time before the next phase.", json_schema_extra={"default": "10m"})
    ] = 600.0
    max_dwell: Annotated[Duration, Field(gt=0, description="Time after which a person is asked.", json_schema_extra={"default": "24h"})] = (
        86400.0
    )
    min_units: Annotated[Count, Field(le=MOST_UNITS, description="Least distinct canary units.")] = 50
    min_requests: Annotated[Count, Field(description="Least canary requests.")] = 100
    on_fail: Annotated[
        Literal["roll_back", "return"], Field(description="What a failed gate or ceiling does: roll_back, or return to the phase before.")
    ] = "roll_back"
    on_inconclusive: Annotated[LateReaction, Field(description="What too little evidence does at max_dwell; until then it holds.")] = "ask"
    on_no_data: Annotated[LateReaction, Field(description="What no data at all does at max_dwell; until then it holds.")] = "ask"


class WindowBlock(Block):
    """When a rollout may be raised by itself."""

    days: Annotated[list[Day], BeforeValidator(listed), Field(min_length=1, description="mon, tue, wed, thu, fri, sat, sun.")]
    from_: Annotated[TimeOfDay, Field(alias="from", description="Time of day at which it opens.")]
    to: Annotated[TimeOfDay, Field(description="Time of day at which it closes; 24:00 is midnight.")]
    zone: Annotated[Text, Field(description="Time zone by its IANA name, such as Europe/Berlin.")] = "UTC"


class FreezeBlock(Block):
    """When it may not, whatever the windows say."""

    from_: Annotated[Instant, Field(alias="from", description="First instant, with its zone.")]
    to: Annotated[Instant, Field(description="End, with its zone.")]
    why: Annotated[Text, Field(description="For whoever waits.")]


class PrometheusBlock(Block):
    """Where the queries of `metrics` are asked; the controller asks."""

    url: Annotated[Text, Field(pattern="^https?://", description="Address, without /api/v1.")]
    credential: Annotated[CredentialBlock | None, Field(description="Secret to send, by reference; read by the controller.")] = None
    every: Annotated[Duration, Field(ge=1, le=3600, description="Time between questions.", json_schema_extra={"default": "15s"})] = 15.0
