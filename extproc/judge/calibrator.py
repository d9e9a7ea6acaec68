"""Watches the judge itself: anchors, answers whose worth is known, are judged again and again, and compared with what it said at first.

Both arms are judged by the same judge, so a judge that changes favours none of them; but its scores do not mean any more what they meant,
and somebody has to know. The reference is its own mean of each anchor over the first rounds; another judge or rubric begins another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from extproc.domain import Anchor, Rubric, Score
from extproc.judge.anchors import Placed, placed
from extproc.judge.drift import Drift, drifted
from extproc.judge.panel import Judge

ROUNDS: Final = 5
"""Scores of each anchor that make its reference."""


class Calibrator:
    """Of one judge, or panel, and one rubric."""

    def __init__(
        self, judge: Judge, rubric: Rubric, anchors: Sequence[Anchor], draw: Callable[[], float], state: Mapping[str, Any] | None
    ) -> None:
        """`draw`: uniform in [0, 1), for the order of anchors. `state`: what `as_json` gave; None: it begins."""
        self._judge, self._rubric, self._draw = judge, rubric, draw
        self._anchors = {anchor.name: anchor for anchor in anchors}
        self._first: dict[str, list[float]] = {name: [] for name in self._anchors}
        self._drift = Drift()
        if state is not None:
            self._drift = Drift.from_json(state["drift"])
            self._first |= {name: list(map(float, scores)) for name, scores in state["first"].items() if name in self._anchors}

    async def once(self) -> bool:
        """Judge one anchor, drawn by chance; False where there was no score."""
        waiting = [name for name, scores in self._first.items() if len(scores) < ROUNDS]
        names = waiting or list(self._anchors)
        name = names[int(self._draw() * len(names))]
        said = await self._judge.score(self._rubric, self._anchors[name].exhibit)
        if not isinstance(said, Score):
            return False
        if waiting:
            self._first[name].append(said.value)
        else:
            self._drift = self._drift.with_score(self._reference(name), said.value)
        return True

    def _reference(self, name: str) -> float:
        return sum(self._first[name]) / len(self._first[name])

    def as_json(self) -> dict[str, Any]:
        """For another life."""
        return {"first": self._first, "drift": self._drift.as_json()}

    def document(self) -> dict[str, Any]:
        """For `status`: whether it has changed, and whether it scores the anchors as a sound judge does."""
        missing = sum(max(0, ROUNDS - len(scores)) for scores in self._first.values())
        if missing:
            return {"changed": False, "sentence": f"{missing} anchor scores are missing to the judge's reference"}
        found = drifted(self._drift)
        sound: Placed = placed(tuple(self._anchors.values()), {name: self._reference(name) for name in self._anchors})
        changed = found is not None and found.changed
        said = found.sentence if found is not None else "anchors have not been judged again yet"
        return {"changed": changed, "sentence": f"{said}; {sound.sentence}"}
