"""The shadow: phase 0, before anybody meets the canary."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from extproc.spec.document.base import Block, Dollars, Duration, Percent


class ShadowBlock(Block):
    """Mirror a share of stable's requests to the canary; nobody gets its answers."""

    share: Annotated[
        Percent,
        Field(gt=0, json_schema_extra={"default": "5%"}, description="Share of the units of the first phase's cohorts that are mirrored."),
    ] = 0.05
    min_dwell: Annotated[
        Duration, Field(ge=0, json_schema_extra={"default": "30m"}, description="Least time, watched, before the first phase.")
    ] = 1800.0
    max_dwell: Annotated[
        Duration,
        Field(gt=0, json_schema_extra={"default": "24h"}, description="When a shadow that has not shown enough ends the attempt."),
    ] = 86400.0
    min_pairs: Annotated[int, Field(ge=1, description="Requests answered by both models before the first phase.")] = 200
    min_judged: Annotated[int, Field(ge=0, description="Pairs that the judge has compared, where the Spec has one.")] = 50
    per_release: Annotated[
        Dollars, Field(gt=0, json_schema_extra={"default": "$50"}, description="What the canary's answers may cost.")
    ] = Decimal(50)
