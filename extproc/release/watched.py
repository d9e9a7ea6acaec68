"""What is read of each request of a rollout: one reading per quality, and from these the events and values that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from extproc.domain import Gate, Outcome, Prices, Rollout
from extproc.measures import ERRORS, MEASURES, AtDeadline, Kind, Measure, Reader
from extproc.release.compare import MeanTest
from extproc.release.limits import Limits, is_rare

Readings = Sequence[float | None]


class Watched:
    """The measures that any phase of a rollout has a gate or a ceiling for, and of which outcomes tell. Which they are does not change
    while it runs."""

    def __init__(self, rollout: Rollout, prices: Mapping[str, Prices]) -> None:
        """`prices` by cluster that answers."""
        self._prices = prices
        self.gates = _gates(rollout)
        """The first gate of each measure: its tolerance is that of the whole release."""
        ceilings = {ceiling.measure for phase in rollout.phases for ceiling in phase.ceilings}
        told = [name for name, measure in MEASURES.items() if measure.read is not None]
        names = [name for name in told if name in self.gates or name in ceilings or name == ERRORS.name]
        self._readers: list[tuple[Reader, AtDeadline]] = []
        self.reading: dict[str, int] = {name: self._place(MEASURES[name]) for name in names}
        """Measure -> index of its reading; the measures of one quality share it."""
        gated = [MEASURES[name] for name in names if name in self.gates]
        quantiles = [measure for measure in gated if measure.quantile is not None]
        self.quantiles: Final = [(one, self.reading[one.name], self.tolerance(one)) for one in quantiles]
        self.means: Final = [(one, self.reading[one.name]) for one in gated if one.kind is Kind.MEAN]
        place = {measure.name: index for index, measure in enumerate(quantiles)}
        self.rare: Final = [measure for measure in gated if is_rare(measure)]
        self._events = [(1 << bit, self.reading[one.name]) for bit, one in enumerate(self.rare) if one.quantile is None]
        self._exceeded = [
            (1 << bit, self.reading[one.name], place[one.name]) for bit, one in enumerate(self.rare) if one.quantile is not None
        ]
        medians = [one for one in quantiles if not is_rare(one)]
        self._indicators = [(self.reading[one.name], place[one.name]) for one in medians]
        safe_events = [one for one in gated if one.kind is Kind.EVENT]
        self._shares = [self.reading[one.name] for one in safe_events]
        self._within = [(self.reading[one.name], place[one.name], _margins(rollout, one.name)) for one in quantiles]
        self.slots = {one.name: slot for slot, one in enumerate([*(mean for mean, _ in self.means), *medians, *safe_events, *quantiles])}
        """Measure -> where its values for evidence of safety are."""
        self._harm_slots = {one.name: slot for slot, one in enumerate([*(mean for mean, _ in self.means), *medians])}

    def tolerance(self, measure: Measure) -> float:
        """By what share of stable's value the canary may be worse before that is harm."""
        given = self.gates[measure.name].tolerance
        return measure.tolerance if given is None else given

    def _place(self, measure: Measure) -> int:
        assert measure.read is not None
        reader = measure.read, measure.at_deadline
        if reader not in self._readers:
            self._readers.append(reader)
        return self._readers.index(reader)

    @property
    def readings(self) -> int:
        """Number of readings of a request."""
        return len(self._readers)

    # ---------------------------------------------------------------------------------------------------------------- requests
    def read(self, outcome: Outcome, open_: bool, deadline: float) -> list[float | None]:
        """What a request says at its deadline; `open_`: it had not ended by then."""
        prices = self._prices.get(outcome.answered_by)
        if not open_:
            return [read(outcome, prices) for read, _ in self._readers]
        return [_at_deadline(kind, outcome, deadline) for _, kind in self._readers]

    def events(self, readings: Readings, limits: Limits, canary: bool) -> int:
        """Bit i is set where the request is an event of rare measure i."""
        mask = 0
        for bit, index in self._events:
            if readings[index]:
                mask |= bit
        for bit, index, place in self._exceeded:
            value = readings[index]
            if value is not None and value > limits.thresholds[place][canary]:
                mask |= bit
        return mask

    def values(self, readings: Readings, limits: Limits, canary: bool, phase: int) -> list[float | None]:
        """One value per slot: means, medians as indicators, shares of events, quantiles within the phase's margin as indicators."""
        found = [readings[index] for _, index in self.means]
        for index, place in self._indicators:
            value = readings[index]
            found.append(None if value is None else 1.0 if value > limits.thresholds[place][canary] else 0.0)
        for index in self._shares:
            found.append(readings[index])
        for index, place, margins in self._within:
            value = readings[index]
            if value is not None and canary:
                value /= 1 + margins[phase]
            found.append(None if value is None else 1.0 if value > limits.thresholds[place][0] else 0.0)
        return found

    # ------------------------------------------------------------------------------------------------------------------- tests
    def harm_tests(self) -> list[MeanTest]:
        """One for each mean and each median."""
        return [self._harm_test(MEASURES[name], slot) for name, slot in self._harm_slots.items()]

    def _harm_test(self, measure: Measure, slot: int) -> MeanTest:
        if measure.quantile is not None:
            return MeanTest(measure.name, slot, 0.0, relative=False, more_is_worse=True, safety=False)
        return MeanTest(measure.name, slot, self.tolerance(measure), True, measure.more_is_worse, safety=False)

    def safety_tests(self, gates: Sequence[Gate]) -> list[MeanTest]:
        """One for each guardrail of a phase."""
        found = []
        for gate in gates:
            measure = MEASURES[gate.measure]
            if is_guardrail(gate) and measure.read is not None:
                # A quantile's margin is in its indicator already: the canary's value was divided by it.
                margin = 0.0 if measure.quantile is not None else gate.margin
                relative = measure.relative and measure.quantile is None
                found.append(MeanTest(gate.measure, self.slots[gate.measure], margin, relative, measure.more_is_worse, safety=True))
        return found


def is_guardrail(gate: Gate) -> bool:
    """True where the step to the next phase needs evidence of safety."""
    return MEASURES[gate.measure].guardrail if gate.guardrail is None else gate.guardrail


def _gates(rollout: Rollout) -> dict[str, Gate]:
    found: dict[str, Gate] = {}
    for phase in rollout.phases:
        for gate in phase.gates:
            found.setdefault(gate.measure, gate)
    return found


def _margins(rollout: Rollout, name: str) -> list[float]:
    """By phase; that of the measure where a phase has no such gate."""
    return [
        next((gate.margin for gate in phase.gates if gate.measure == name), MEASURES[name].margin(index))
        for index, phase in enumerate(rollout.phases)
    ]


def _at_deadline(kind: AtDeadline, outcome: Outcome, deadline: float) -> float | None:
    if kind is AtDeadline.NOTHING:
        return None
    if kind is AtDeadline.EVENT:
        return 1.0
    if kind is AtDeadline.TOLD and outcome.ttft is not None:
        return min(outcome.ttft, deadline)
    return deadline
