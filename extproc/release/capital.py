"""All e-processes of one attempt: against harm, for safety, against ceilings, against the planned shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from extproc.domain import Phase
from extproc.measures import ERRORS, MEASURES, Kind
from extproc.release.compare import EventLane, MeanLane, MeanTest
from extproc.release.eprocess import log_sum_exp
from extproc.release.flight import Member, Window
from extproc.release.guards import CANARY, STABLE, GuardLane, Guards
from extproc.release.lanes import EVERYBODY, View
from extproc.release.sampleratio import SampleRatio
from extproc.release.scales import SCALE_WEIGHT, SCALES, WHOLE
from extproc.release.watched import Readings, Watched

HALF: Final = math.log(0.5)
QUARTER: Final = math.log(0.25)
LOG_SCALE: Final = math.log(SCALE_WEIGHT)
LAST: Final = len(SCALES) - 1
"""The scale of a whole visit, where ceilings are concerned."""
NOBODY_YET: Final = Phase("", 0.0, 0.0, 0.0, 0, 0, (), ())


class Capital:
    """Lanes by kind; each kind has one lane per scale."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        rare = [measure.name for measure in watched.rare]
        tolerances = [watched.tolerance(measure) for measure in watched.rare]
        self._rare = {name: index for index, name in enumerate(rare)}
        tests = watched.harm_tests()
        self._means = {test.name: index for index, test in enumerate(tests)}
        self._errors = self._rare.get(ERRORS.name)
        errors_tolerance = tolerances[self._errors] if self._errors is not None else 0.0
        self.early = [EventLane(scale, [ERRORS.name], [errors_tolerance]) for scale in SCALES]
        """Failed within the first age; the unit's first request."""
        self.first = [EventLane(scale, rare, tolerances) for scale in SCALES]
        """Rare events by the deadline; the unit's first request."""
        self.any = [EventLane(scale, rare, tolerances) for scale in SCALES]
        """Rare events of any request in the unit's window."""
        self.first_means = [MeanLane(scale, tests) for scale in SCALES]
        """Means of the unit's first request alone: known a window sooner."""
        self.means = [MeanLane(scale, tests) for scale in SCALES]
        """Means of the unit's window."""
        self.begin_visit(NOBODY_YET, {})

    def begin_visit(self, phase: Phase, shares: Mapping[str, float]) -> None:
        """What belongs to a visit begins anew; harm goes on. `shares` of the canary by cohort."""
        tests: list[MeanTest] = self._watched.safety_tests(phase.gates)
        self._safe = {test.name: index for index, test in enumerate(tests)}
        self.safe = [MeanLane(WHOLE, tests), MeanLane(WHOLE, tests)]
        """Of the unit's first request in this visit, and of the window in which it is."""
        self.guards = Guards(phase.ceilings)
        self.ratio = SampleRatio(shares)
        self._guarded = bool(phase.ceilings)
        self._guarded_events: list[tuple[int, int, float]] = []
        """(place of the ceiling, index of the reading, value above which it is an event)."""
        self._guarded_means: list[tuple[int, int]] = []
        for place, ceiling in enumerate(phase.ceilings):
            measure, index = MEASURES[ceiling.measure], self._watched.reading[ceiling.measure]
            if measure.kind is Kind.MEAN:
                self._guarded_means.append((place, index))
            else:
                self._guarded_events.append((place, index, ceiling.limit if measure.quantile is not None else 0.0))
        self._guards_errors = tuple(place for place, one in enumerate(phase.ceilings) if one.measure == ERRORS.name)

    def exclude(self, cohort: str) -> None:
        """From now on this cohort is not part of the whole."""
        for lane in self._lanes():
            lane.exclude(cohort)

    def _lanes(self) -> list[EventLane | MeanLane]:
        return [lane for lanes in self._kinds().values() for lane in lanes]

    # ---------------------------------------------------------------------------------------------------------------- requests
    def add_early(self, member: Member, failed: bool) -> None:
        """A unit's first request has reached the first age."""
        if self._errors is not None:
            self._feed(self.early, member, 1 if failed else 0)

    def add_first(self, member: Member, mask: int, values: list[float | None]) -> None:
        """A unit's first request has reached its deadline."""
        self._feed(self.first, member, mask)
        if self._means:
            limits, epochs = member.limits, member.epochs
            assert limits is not None
            for scale in range(member.lowest, member.scales):
                self.first_means[scale].feed(epochs[scale], member.stratum, limits, member.canary, values)

    def _feed(self, lanes: Sequence[EventLane], member: Member, mask: int) -> None:
        limits, stratum, canary, epochs = member.limits, member.stratum, member.canary, member.epochs
        assert limits is not None
        for scale in range(member.lowest, member.scales):
            lanes[scale].feed(epochs[scale], stratum, limits, canary, mask)

    def add_safe_first(self, member: Member, values: list[float | None]) -> None:
        """A unit's first request in this visit has reached its deadline."""
        assert member.limits is not None
        if self._safe:
            self.safe[0].feed(0, member.stratum, member.limits, member.canary, values)

    def add_window(self, window: Window, present: bool) -> None:
        """All of a unit's requests in a window have reached their deadline. `present`: the unit's first window in this visit."""
        epochs, stratum, limits, canary = window.epochs, window.stratum, window.limits, window.canary
        if not stratum.compared:
            return
        lowest, scales = window.lowest, window.scales
        if self._rare:
            mask, lanes = window.mask, self.any
            for scale in range(lowest, scales):
                lanes[scale].feed(epochs[scale], stratum, limits, canary, mask)
        if self._means and lowest < scales:
            values = window.means()
            for scale in range(lowest, scales):
                self.means[scale].feed(epochs[scale], stratum, limits, canary, values)
        if present and self._safe:
            self.safe[1].feed(0, stratum, limits, canary, window.means())

    # ------------------------------------------------------------------------------------------------------------------ guards
    def guard_early(self, member: Member, failed: bool) -> None:
        """A request of the present visit has reached the first age."""
        if self._guards_errors:
            self._guard(self.guards.early, member, self._guards_errors if failed else (), ())

    def guard_late(self, member: Member, readings: Readings) -> None:
        """A request of the present visit has reached its deadline."""
        if not self._guarded:
            return
        events = [place for place, index, limit in self._guarded_events if (readings[index] or 0.0) > limit]
        values = [(place, value) for place, index in self._guarded_means if (value := readings[index]) is not None]
        self._guard(self.guards.late, member, events, values)

    def _guard(self, lanes: Sequence[GuardLane], member: Member, events: Sequence[int], values: Sequence[tuple[int, float]]) -> None:
        arm = CANARY if member.canary else STABLE
        if not member.durable:
            for lane in lanes:
                lane.feed(lane.scale.epoch(member.start), arm, events, values)
            return
        epochs = member.epochs
        for scale in range(member.lowest, min(member.scales, LAST)):
            lanes[scale].feed(epochs[scale], arm, events, values)
        if member.visit:
            lanes[LAST].feed(0, arm, events, values)

    # ----------------------------------------------------------------------------------------------------------------- reading
    def log_e_harm(self, measure: str, view: View = EVERYBODY) -> float:
        """ln of the e-value of one measure, all scales and ways of looking together; 0 where it is not watched."""
        terms: list[float] = []
        if measure in self._rare:
            index = self._rare[measure]
            terms += [HALF + lane.log_e(index, view) for lane in self.any]
            if index == self._errors:
                terms += [QUARTER + lane.log_e(0, view) for lane in self.early]
                terms += [QUARTER + lane.log_e(index, view) for lane in self.first]
            else:
                terms += [HALF + lane.log_e(index, view) for lane in self.first]
        elif measure in self._means:
            terms += [HALF + lane.log_e(self._means[measure], view) for lane in (*self.first_means, *self.means)]
        else:
            return 0.0
        return LOG_SCALE + log_sum_exp(terms)

    def log_e_early(self, view: View = EVERYBODY) -> float:
        """ln of the e-value of failures within the first age alone."""
        return LOG_SCALE + log_sum_exp([lane.log_e(0, view) for lane in self.early])

    def log_e_first(self, measure: str) -> float:
        """ln of the e-value of units' first requests at their deadline alone."""
        return LOG_SCALE + log_sum_exp([lane.log_e(self._rare[measure]) for lane in self.first])

    def log_e_safe(self, measure: str) -> float:
        """ln of the e-value against "worse by the margin, or more" in this visit; 0 where it is no guardrail."""
        index = self._safe.get(measure)
        return log_sum_exp([HALF + lane.log_e(index) for lane in self.safe]) if index is not None else 0.0

    # ------------------------------------------------------------------------------------------------------------- persistence
    def to_json(self) -> dict[str, Any]:
        """What a restart needs."""
        return {
            "harm": {name: [lane.to_json() for lane in lanes] for name, lanes in self._kinds().items()},
            "safe": [lane.to_json() for lane in self.safe],
            "guards": self.guards.to_json(),
            "ratio": self.ratio.to_json(),
        }

    def _kinds(self) -> dict[str, Sequence[EventLane | MeanLane]]:
        return {"early": self.early, "first": self.first, "any": self.any, "first_means": self.first_means, "means": self.means}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        for name, lanes in self._kinds().items():
            for lane, written in zip(lanes, document["harm"][name], strict=True):
                lane.restore(written)
        for lane, written in zip(self.safe, document["safe"], strict=True):
            lane.restore(written)
        self.guards.restore(document["guards"])
        self.ratio.restore(document["ratio"])
