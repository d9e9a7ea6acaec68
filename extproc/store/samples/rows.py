"""Rows of the table of samples -> Samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from extproc.domain import Arm, Purpose, Sample

_NAMES: Final = (
    *("request", "rollout", "generation", "phase", "cohort", "arm", "unit", "durable", "start", "purpose", "ending", "tripwires"),
    *("turns", "answer", "calls", "redacted"),
)
COLUMNS: Final = ", ".join(f"s.{name}" for name in _NAMES)
"""Of the table `samples`, called `s`."""


def sample_of(row: Sequence[Any]) -> Sample:
    """The Sample in a row that begins with COLUMNS."""
    (
        request,
        rollout,
        generation,
        phase,
        cohort,
        arm,
        unit,
        durable,
        start,
        purpose,
        ending,
        tripwires,
        turns,
        answer,
        calls,
        redacted,
        *_,
    ) = row
    return Sample(
        request=request,
        rollout=rollout,
        generation=generation,
        phase=phase,
        cohort=cohort,
        arm=Arm(arm),
        unit=unit,
        durable=bool(durable),
        start=start,
        purpose=Purpose(purpose),
        ending=ending,
        tripwires=tuple(orjson.loads(tripwires)),
        turns=tuple((role, text) for role, text in orjson.loads(turns)),
        answer=answer,
        calls=tuple((name, arguments) for name, arguments in orjson.loads(calls)),
        redacted=orjson.loads(redacted),
    )
