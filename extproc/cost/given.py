"""What a cost sheet takes that no Spec says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from extproc.cost.tokens import Measured

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Given:
    """With values that suit a plan made before anything has run."""

    shadow_share: float = 0.0
    """Share of stable's requests that are mirrored to the canary before its first phase."""
    shadow_seconds: float = 0.0
    shadow_limit: Decimal | None = None
    """USD that the canary's answers to mirrored requests may cost; None: no limit."""
    kept_seconds: float = DAY
    """From COMPLETED until Envoy's own default has moved everywhere: a day for people to do it. So long stable keeps everything."""
    chance: float = 0.8
    """That the canary will pass; see the table of stopping and going on, which also says above which chance going on is right."""
    months: int = 6
    """In which a promoted model saves or costs: models are replaced about twice a year."""
    start: date | None = None
    """Day on which the release begins; None: days are counted from it."""
    measured: Mapping[tuple[str, str], Measured] = field(default_factory=dict)
    """(rollout, model) -> what a controller has counted."""


NOTHING_GIVEN: Final = Given()
"""Only the Spec is known."""
