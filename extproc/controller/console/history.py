"""What the e-values of a rollout were, since this process has started: bounded, thinner the longer it gets. Pure: status documents in.

Older points are in the Journal, which keeps the Findings of every decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MOST_POINTS: Final = 1_440
"""Points of a rollout; more than a screen has pixels for. 24 hours at one a second become one in 64 s."""
MOST_MARKS: Final = 200
MOST_GATES: Final = 32
MOST_ROLLOUTS: Final = 100
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Point:
    """One moment."""

    at: float
    share: float
    values: Mapping[str, tuple[float, float | None]]
    """Gate -> ln of E against "no worse", ln of E against "worse by the margin"; None where it need not be shown to be safe."""
    worst: float
    """The largest share of a limit that any of them has reached."""


@dataclass(slots=True)
class Track:
    """Of one rollout."""

    every: float = 0.0
    """Seconds that one point stands for."""
    points: list[Point] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    """Where status or phase have changed."""
    limits: dict[str, float] = field(default_factory=dict)

    def add(self, at: float, rollout: Mapping[str, Any]) -> None:
        """One more moment; of those that one point stands for, the worst one is kept."""
        stands = {"phase": rollout["phase"], "status": rollout["status"], "attempt": rollout["attempt"]}
        if not self.marks or {key: self.marks[-1][key] for key in stands} != stands:
            self.marks = [*self.marks[1 - MOST_MARKS :], {"at": at, **stands}]
        findings = [one for one in rollout["findings"] if one["log_e_limit"]][:MOST_GATES]
        for one in findings:
            self.limits[one["gate"]] = one["log_e_limit"]
        values = {one["gate"]: (one["log_e_harm"], one["log_e_safe"] if one["within"] else None) for one in findings}
        worst = max((one["log_e_harm"] / one["log_e_limit"] for one in findings), default=0.0)
        point = Point(at, rollout["share"], values, worst)
        if self.points and self.every and at - self.points[-1].at < self.every:
            self.points[-1] = _worse(self.points[-1], point)
            return
        self.points.append(point)
        if len(self.points) > MOST_POINTS:
            pairs = zip(self.points[::2], [*self.points[1::2], self.points[-1]], strict=False)
            self.points = [_worse(first, second) for first, second in pairs]
            self.every = max(2 * self.every, 2 * (self.points[-1].at - self.points[0].at) / MOST_POINTS)

    def document(self) -> dict[str, Any]:
        """Columns: what charts draw."""
        gates = dict.fromkeys(gate for point in self.points for gate in point.values)
        return {
            "every": self.every,
            "at": [round(point.at, _DIGITS) for point in self.points],
            "share": [point.share for point in self.points],
            "gates": {
                gate: {
                    "limit": self.limits[gate],
                    "harm": [_told(point, gate, 0) for point in self.points],
                    "safe": [_told(point, gate, 1) for point in self.points],
                }
                for gate in gates
            },
            "marks": self.marks,
        }


class History:
    """Of all rollouts."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._last = 0.0

    def add(self, status: Mapping[str, Any]) -> None:
        """A status document; one that is not newer than the last adds nothing."""
        if status["at"] <= self._last:
            return
        self._last = status["at"]
        for name, rollout in status["rollouts"].items():
            if name in self._tracks or len(self._tracks) < MOST_ROLLOUTS:
                self._tracks.setdefault(name, Track()).add(status["at"], rollout)

    def document(self, rollout: str) -> dict[str, Any]:
        """Of one rollout, empty columns where nothing is known."""
        return self._tracks.get(rollout, Track()).document()


def _worse(one: Point, other: Point) -> Point:
    """The values of the worse one, at the instant of the first."""
    worse = other if other.worst >= one.worst else one
    return Point(one.at, worse.share, worse.values, worse.worst)


def _told(point: Point, gate: str, index: int) -> float | None:
    value = point.values.get(gate, (None, None))[index]
    return round(value, _DIGITS) if value is not None else None
