"""Values of metric gates, as the loop asks for them: whoever fetches them is somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Readings(Protocol):
    """Values of metric gates, fetched by somebody else."""

    def values(self, rollout: str, generation: int, /) -> Mapping[str, float | None]:
        """By metric, of this visit of a phase."""

    def document(self, rollout: str, /) -> dict[str, Any]:
        """For `status`."""


class NoReadings:
    """Where nobody fetches."""

    def values(self, _rollout: str, _generation: int) -> Mapping[str, float | None]:
        """None."""
        return {}

    def document(self, _rollout: str) -> dict[str, Any]:
        """Nothing."""
        return {}
