"""All e-processes of one attempt: against harm, for safety, against ceilings, against the planned shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from extproc.domain import Phase
from extproc.measures import ERRORS, MEASURES, Kind
from extproc.release.compare import EventPanel, MeanPanel, MeanTest
from extproc.release.eprocess import log_sum_exp
from extproc.release.flight import Member, Window
from extproc.release.guards import LAST, GuardPanel, Guards
from extproc.release.lanes import EVERYBODY, View
from extproc.release.sampleratio import SampleRatio
from extproc.release.scales import BLINK, LONGER, SCALE_WEIGHT, SCALES, WHOLE
from extproc.release.watched import Readings, Watched

HALF: Final = math.log(0.5)
QUARTER: Final = math.log(0.25)
LOG_SCALE: Final = math.log(SCALE_WEIGHT)
EVERY_SCALE: Final = tuple(range(len(SCALES)))
ONE_EPOCH: Final = (0,)
"""Of lanes that have no scale but the visit."""
NOBODY_YET: Final = Phase("", 0.0, 0.0, 0.0, 0, 0, (), ())


class Capital:
    """Panels by kind; each has one lane per scale."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        rare = [measure.name for measure in watched.rare]
        tolerances = [watched.tolerance(measure) for measure in watched.rare]
        self._rare = {name: index for index, name in enumerate(rare)}
        tests = watched.harm_tests()
        self._means = {test.name: index for index, test in enumerate(tests)}
        self._errors = self._rare.get(ERRORS.name)
        errors_tolerance = tolerances[self._errors] if self._errors is not None else 0.0
        self.early = EventPanel([ERRORS.name], [errors_tolerance])
        """Failed within the first age; the unit's first request."""
        self.first = EventPanel(rare, tolerances)
        """Rare events by the deadline; the unit's first request."""
        self.any_of_blink, self.any_of_minute = EventPanel(rare, tolerances, (BLINK,)), EventPanel(rare, tolerances, LONGER)
        """Rare events of any request in the unit's window. Windows of two lengths are over at two ages, so they have panels apart."""
        self.first_means = MeanPanel(tests)
        """Means of the unit's first request alone: known a window sooner."""
        self.means_of_blink, self.means_of_minute = MeanPanel(tests, (BLINK,)), MeanPanel(tests, LONGER)
        """Means of the unit's window."""
        self.begin_visit(NOBODY_YET, {})

    def begin_visit(self, phase: Phase, shares: Mapping[str, float]) -> None:
        """What belongs to a visit begins anew; harm goes on. `shares` of the canary by cohort."""
        tests: list[MeanTest] = self._watched.safety_tests(phase.gates)
        self._safe = {test.name: index for index, test in enumerate(tests)}
        self.safe = [MeanPanel(tests, (WHOLE,)), MeanPanel(tests, (WHOLE,))]
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
        for panel in self._kinds().values():
            panel.exclude(cohort)

    # ---------------------------------------------------------------------------------------------------------------- requests
    def add_early(self, who: Member, failed: bool) -> None:
        """A unit's first request has reached the first age."""
        if self._errors is not None:
            assert who.limits is not None
            self.early.feed(who.stratum, who.epochs, who.limits, who.canary, failed, who.lowest, who.scales)

    def add_first(self, who: Member, mask: int, values: list[float | None]) -> None:
        """A unit's first request has reached its deadline."""
        assert who.limits is not None
        if self._rare:
            self.first.feed(who.stratum, who.epochs, who.limits, who.canary, mask, who.lowest, who.scales)
        if self._means:
            self.first_means.feed(who.stratum, who.epochs, who.limits, who.canary, values, who.lowest, who.scales)

    def add_safe_first(self, who: Member, values: list[float | None]) -> None:
        """A unit's first request in this visit has reached its deadline."""
        assert who.limits is not None
        if self._safe:
            self.safe[0].feed(who.stratum, ONE_EPOCH, who.limits, who.canary, values, 0, 1)

    def add_blink(self, who: Window) -> None:
        """All of a unit's requests in two seconds have reached their deadline."""
        self._add_window(who, self.any_of_blink, self.means_of_blink)

    def add_minute(self, who: Window, present: bool) -> None:
        """The same in a minute. `present`: the unit's first window in this visit."""
        self._add_window(who, self.any_of_minute, self.means_of_minute)
        if present and self._safe and who.stratum.compared:
            self.safe[1].feed(who.stratum, ONE_EPOCH, who.limits, who.canary, who.means(), 0, 1)

    def _add_window(self, who: Window, any_: EventPanel, means: MeanPanel) -> None:
        if who.scales > 0 and who.stratum.compared:
            if self._rare:
                any_.feed(who.stratum, who.epochs, who.limits, who.canary, who.mask, 0, who.scales)
            if self._means:
                means.feed(who.stratum, who.epochs, who.limits, who.canary, who.means(), 0, who.scales)

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

    def _guard(self, panel: GuardPanel, who: Member, events: Sequence[int], values: Sequence[tuple[int, float]]) -> None:
        places: Sequence[int] = EVERY_SCALE
        if who.durable:
            places = range(who.lowest, min(who.scales, LAST))
            if who.visit:
                places = (*places, LAST)
        panel.feed(who.epochs, who.canary, events, values, places)

    # ----------------------------------------------------------------------------------------------------------------- reading
    def log_e_harm(self, measure: str, view: View = EVERYBODY) -> float:
        """ln of the e-value of one measure, all scales and ways of looking together; 0 where it is not watched."""
        terms: list[float] = []
        if measure in self._rare:
            index = self._rare[measure]
            terms += [HALF + log_e for panel in (self.any_of_blink, self.any_of_minute) for log_e in panel.log_e(index, view)]
            if index == self._errors:
                terms += [QUARTER + log_e for log_e in self.early.log_e(0, view)]
                terms += [QUARTER + log_e for log_e in self.first.log_e(index, view)]
            else:
                terms += [HALF + log_e for log_e in self.first.log_e(index, view)]
        elif measure in self._means:
            index = self._means[measure]
            panels = (self.first_means, self.means_of_blink, self.means_of_minute)
            terms += [HALF + log_e for panel in panels for log_e in panel.log_e(index, view)]
        else:
            return 0.0
        return LOG_SCALE + log_sum_exp(terms)

    def log_e_early(self, view: View = EVERYBODY) -> float:
        """ln of the e-value of failures within the first age alone."""
        return LOG_SCALE + log_sum_exp(self.early.log_e(0, view))

    def log_e_first(self, measure: str) -> float:
        """ln of the e-value of units' first requests at their deadline alone."""
        return LOG_SCALE + log_sum_exp(self.first.log_e(self._rare[measure], EVERYBODY))

    def log_e_safe(self, measure: str) -> float:
        """ln of the e-value against "worse by the margin, or more" in this visit; 0 where it is no guardrail."""
        index = self._safe.get(measure)
        if index is None:
            return 0.0
        return log_sum_exp([HALF + log_e for panel in self.safe for log_e in panel.log_e(index, EVERYBODY)])

    # ------------------------------------------------------------------------------------------------------------- persistence
    def to_json(self) -> dict[str, Any]:
        """What a restart needs."""
        return {
            "harm": {name: panel.to_json() for name, panel in self._kinds().items()},
            "safe": [panel.to_json() for panel in self.safe],
            "guards": self.guards.to_json(),
            "ratio": self.ratio.to_json(),
        }

    def _kinds(self) -> dict[str, EventPanel | MeanPanel]:
        return {
            "early": self.early,
            "first": self.first,
            "any_of_blink": self.any_of_blink,
            "any_of_minute": self.any_of_minute,
            "first_means": self.first_means,
            "means_of_blink": self.means_of_blink,
            "means_of_minute": self.means_of_minute,
        }

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        for name, panel in self._kinds().items():
            panel.restore(document["harm"][name])
        for panel, written in zip(self.safe, document["safe"], strict=True):
            panel.restore(written)
        self.guards.restore(document["guards"])
        self.ratio.restore(document["ratio"])
