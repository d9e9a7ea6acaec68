"""Sample ratio mismatch: do units fall into the arms as planned? Where they do not, no comparison can be believed.

Units (not requests) that were first met in this visit, by cohort, by cohort and router, and all cohorts together. A hit holds the
release and pages; it never moves anything: a broken assignment, a router that is behind, or a canary that drives people away all look
like this.
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
"""Cohorts, and routers in each; later routers are in their cohort alone."""
ARMS: Final = (Arm.CANARY, Arm.CONTROL, Arm.REST)
EVERY_ROUTER: Final = ""

Cell = tuple[str, str]
"""(cohort, router)."""
Plan = tuple[float, float, float]
"""Shares of canary, control and rest."""


class SampleRatio:
    """Distinct units by arm, of one visit."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        """`shares` of the canary by cohort; control has as much, as far as there is room, and the rest the rest. A cohort in which there
        is but one arm is left out."""
        self._plans = {cohort: _plan(share) for cohort, share in shares.items() if 0.0 < share < 1.0}
        self.cells: dict[Cell, list[int]] = {}
        self.before: dict[Cell, float] = {}
        """ln of the weighted sum of the e-values before each restart: which units were counted then is not known any more."""
        self.restarts = 0
        self._told: dict[str, list[int]] = {}
        """By cohort: units that were met before the last restart, for people."""

    def add(self, cohort: str, router: str, arm: Arm) -> None:
        """A unit is met for the first time."""
        if cohort not in self._plans:
            return
        index = ARMS.index(arm)
        self.cells.setdefault((cohort, EVERY_ROUTER), [0, 0, 0])[index] += 1
        if router:
            cell = self.cells.get((cohort, router))
            if cell is None:
                if len(self.cells) >= CELLS_KEPT:
                    return
                cell = self.cells[cohort, router] = [0, 0, 0]
            cell[index] += 1

    def counts(self) -> tuple[int, int, int]:
        """Units that were met: canary, control, rest."""
        canary, control, rest = (sum(column) for column in zip(*self._met().values(), strict=True)) if self._met() else (0, 0, 0)
        return canary, control, rest

    def expected(self) -> tuple[float, float, float]:
        """How many of as many units there should be."""
        canary, control, rest = (
            sum(sum(counts) * self._plans[cohort][index] for cohort, counts in self._met().items()) for index in range(len(ARMS))
        )
        return canary, control, rest

    def _met(self) -> dict[str, list[int]]:
        found = {cohort: list(counts) for cohort, counts in self._told.items()}
        for (cohort, router), counts in self.cells.items():
            if router == EVERY_ROUTER:
                found[cohort] = [a + b for a, b in zip(found.get(cohort, [0, 0, 0]), counts, strict=True)]
        return found

    def log_e(self) -> float:
        """ln of the e-value against the plan: half for all cohorts together, half for the cells, in the order in which they came."""
        known = list(self.before | self.cells)
        together = sum(self._of(cell) for cell in known if cell[1] == EVERY_ROUTER)
        parts = [math.log(0.5) + together, math.log(0.5 / (len(known) + 1))]
        parts += [math.log(0.5 / (number * (number + 1))) + self._of(cell) for number, cell in enumerate(known, start=1)]
        return log_sum_exp(parts)

    def worst(self) -> Cell:
        """The cell that tells most."""
        return max(self.before | self.cells, key=self._of)

    def _of(self, cell: Cell) -> float:
        before = self.before.get(cell, _log(1 - WHOLE.rest(self.restarts)))
        counts = self.cells.get(cell)
        if counts is None:
            return log_sum_exp((before, _log(WHOLE.rest(self.restarts))))
        present = math.log(WHOLE.weight(self.restarts + 1)) + self._log_bf(cell, counts)
        return log_sum_exp((before, present, math.log(WHOLE.rest(self.restarts + 1))))

    def _log_bf(self, cell: Cell, counts: list[int]) -> float:
        plan = self._plans[cell[0]]
        used = [index for index, share in enumerate(plan) if share > 0]
        return sample_ratio_log_bf([counts[index] for index in used], [plan[index] for index in used])

    def to_json(self) -> dict[str, Any]:
        """All units as if a restart had just been: none that comes is known to be new."""
        restarts, before = self.restarts, self.before
        if self.cells:
            restarts += 1
            weight, spent, empty = math.log(WHOLE.weight(restarts)), _log(1 - WHOLE.rest(self.restarts)), [0, 0, 0]
            before = {
                cell: log_sum_exp((self.before.get(cell, spent), weight + self._log_bf(cell, self.cells.get(cell, empty))))
                for cell in self.before | self.cells
            }
        return {"restarts": restarts, "counts": self._met(), "before": [[*cell, value] for cell, value in before.items()]}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        self.restarts = int(document["restarts"])
        self._told = {cohort: [int(count) for count in counts] for cohort, counts in document["counts"].items() if cohort in self._plans}
        self.before = {(cohort, router): float(value) for cohort, router, value in document["before"] if cohort in self._plans}
        self.cells = {}


def _plan(share: float) -> Plan:
    control = min(share, 1 - share)
    return share, control, max(0.0, 1 - share - control)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
