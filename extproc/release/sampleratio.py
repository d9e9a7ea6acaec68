"""Sample ratio mismatch: do units fall into the arms as planned? Where they do not, no comparison can be believed.

Units (not requests) that were first met in this visit, by cohort and router, and all together. A hit holds the release and pages; it
never moves anything: a broken assignment, a router that is behind, or a canary that drives people away all look like this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from extproc.domain import Arm
from extproc.release.eprocess import log_sum_exp, sample_ratio_log_bf
from extproc.release.scales import WHOLE

ALPHA: Final = 0.001
LOG_LIMIT: Final = -math.log(ALPHA)
CELLS_KEPT: Final = 500
"""Cohorts times routers; later ones are in the whole alone."""
ARMS: Final = (Arm.CANARY, Arm.CONTROL, Arm.REST)
TOGETHER: Final = ("", "")

Cell = tuple[str, str]
"""(cohort, router)."""
Plan = tuple[float, float, float]
"""Shares of canary, control and rest."""


class SampleRatio:
    """Distinct units by arm, of one visit."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        """`shares` of the canary by cohort; control has as much, as far as there is room, and the rest the rest."""
        self._plans = {cohort: _plan(share) for cohort, share in shares.items()}
        plans = set(self._plans.values())
        self.planned = plans.pop() if len(plans) == 1 else None
        """Shares of canary, control and rest in all cohorts together; None where that depends on how large each of them is."""
        self.cells: dict[Cell, list[int]] = {TOGETHER: [0, 0, 0]}
        self.before: dict[Cell, float] = {}
        """ln of the weighted sum of the e-values before each restart: which units were counted then is not known any more."""
        self.restarts = 0
        self._told = [0, 0, 0]
        """Units that were met before the last restart, for people."""

    def add(self, cohort: str, router: str, arm: Arm) -> None:
        """A unit is met for the first time."""
        index = ARMS.index(arm)
        self.cells[TOGETHER][index] += 1
        cell = self.cells.get((cohort, router))
        if cell is None:
            if len(self.cells) > CELLS_KEPT:
                return
            cell = self.cells[cohort, router] = [0, 0, 0]
        cell[index] += 1

    def counts(self) -> tuple[int, int, int]:
        """Units that were met: canary, control, rest."""
        canary, control, rest = (before + since for before, since in zip(self._told, self.cells[TOGETHER], strict=True))
        return canary, control, rest

    def log_e(self) -> float:
        """ln of the e-value against the plan: half for all together, half for the cells, in the order in which they came."""
        together, parts = math.log(0.5) + self._of(TOGETHER), []
        for number, cell in enumerate(self.cells, start=0):
            if cell != TOGETHER:
                parts.append(math.log(0.5 / (number * (number + 1))) + self._of(cell))
        parts.append(math.log(0.5 / len(self.cells)))
        return log_sum_exp([together, *parts])

    def worst(self) -> Cell:
        """The cell that tells most, all together aside."""
        return max((cell for cell in self.cells if cell != TOGETHER), key=self._of, default=TOGETHER)

    def _of(self, cell: Cell) -> float:
        before = self.before.get(cell, _log(1 - WHOLE.rest(self.restarts)))
        counts = self.cells.get(cell, [0, 0, 0])
        if not any(counts):
            return log_sum_exp((before, _log(WHOLE.rest(self.restarts))))
        present = math.log(WHOLE.weight(self.restarts + 1)) + self._log_bf(cell, counts)
        return log_sum_exp((before, present, math.log(WHOLE.rest(self.restarts + 1))))

    def _log_bf(self, cell: Cell, counts: list[int]) -> float:
        plan = self.planned if cell == TOGETHER else self._plans.get(cell[0])
        if plan is None:
            return 0.0
        used = [index for index, share in enumerate(plan) if share > 0]
        return sample_ratio_log_bf([counts[index] for index in used], [plan[index] for index in used]) if len(used) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """All units as if a restart had just been: none that comes is known to be new."""
        if not any(self.cells[TOGETHER]):
            return self._document(self.restarts, self.before)
        weight, spent = math.log(WHOLE.weight(self.restarts + 1)), _log(1 - WHOLE.rest(self.restarts))
        before = {
            cell: log_sum_exp((self.before.get(cell, spent), weight + self._log_bf(cell, counts))) for cell, counts in self.cells.items()
        }
        return self._document(self.restarts + 1, before)

    def _document(self, restarts: int, before: dict[Cell, float]) -> dict[str, Any]:
        return {"restarts": restarts, "counts": list(self.counts()), "before": [[*cell, value] for cell, value in before.items()]}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        self.restarts = int(document["restarts"])
        self._told = [int(count) for count in document["counts"]]
        self.before = {(cohort, router): float(value) for cohort, router, value in document["before"]}
        self.cells = {TOGETHER: [0, 0, 0]} | {cell: [0, 0, 0] for cell in self.before}


def _plan(share: float) -> Plan:
    control = min(share, 1 - share)
    return share, control, max(0.0, 1 - share - control)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
