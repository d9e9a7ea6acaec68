"""What happens in a demo: a table of scenarios, each with its script and the end it must come to.

A script is a list of Turns. A Turn is due when the rollout has been in a phase for some seconds; each happens once, in the order
written. Scripts turn knobs of the simulated models and the rate of the traffic, and kill, stop or cut off processes; they never ask
extproc for anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from extproc.demo.processes import DemoError
from extproc.domain import Status
from extproc.errors import Problem


class Act(StrEnum):
    """What a script does to a process."""

    KILL_WORKERS = "kill -9 of every router worker"
    KILL_CONTROLLER = "kill -9 of the controller"
    FREEZE_CONTROLLER = "SIGSTOP of the controller"
    THAW_CONTROLLER = "SIGCONT of the controller"
    CUT_ACCESS_LOG = "the access log is cut off"
    MEND_ACCESS_LOG = "the access log arrives again"


@dataclass(frozen=True, slots=True)
class Turn:
    """One change of the world."""

    phase: str
    """Name of the phase in which it happens."""
    after: float
    """Seconds in that phase."""
    sentence: str
    """What happens, for the one who watches."""
    arm: str = ""
    """`canary` or `stable`: whose knobs; empty for none."""
    knobs: Mapping[str, float] = field(default_factory=dict)
    canary_rate: float | None = None
    """Slow the traffic until so many requests per second meet the canary; it is never made faster."""
    breaks: bool = False
    """True where the fault that the scenario is about begins."""
    act: Act | None = None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Canary traffic goes to stable while nobody watches, and comes back."""

    begins: Act
    ends: Act
    within: float
    """Seconds from the beginning to the last canary request that are promised."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story."""

    name: str
    sentence: str
    script: tuple[Turn, ...]
    ends: Status
    promise: float | None = None
    """Seconds from the first failing canary response to the last canary request that are promised; None where nothing breaks."""
    lease: str = ""
    """The Spec's `watch_lease`; empty: as it stands."""
    unheard: float = 0.0
    """Seconds of traffic of which extproc may know nothing: what a kill or a cut costs. Its books are below the models' by no more."""
    withdrawal: Withdrawal | None = None
    """What must have been seen of *no watcher, no canary* and *no outcomes, no canary*."""
    spec: str = "release.yaml"
    """File of this room."""
    who: bool = False
    """Clients write down who got which answer, and a table of it ends the demo."""

    def at_phase(self, phase: str) -> Scenario:
        """The same story, told in another phase."""
        return replace(self, script=tuple(replace(turn, phase=phase) for turn in self.script))


BREAKING_PHASE: Final = "25%"
"""The phase at which scenarios break something unless told otherwise: large enough to matter, small enough to have a control."""

_ALL: Final = (
    Scenario(
        name="healthy",
        sentence="the canary is as good as stable, and ends as the default",
        script=(),
        ends=Status.COMPLETED,
    ),
    Scenario(
        name="errors",
        sentence="the canary fails totally while a quarter of the people meet it, and is rolled back within seconds",
        script=(
            Turn(BREAKING_PHASE, 0.0, "the traffic slows down: 20 requests per second meet the canary", canary_rate=20.0),
            Turn(BREAKING_PHASE, 4.0, "the canary breaks: every answer is a 500", arm="canary", knobs={"error_rate": 1.0}, breaks=True),
        ),
        ends=Status.ROLLED_BACK,
        promise=5.0,
    ),
    Scenario(
        name="crash-router",
        sentence="every router worker is killed, twice: stable answers until they are back, and no client sees an error",
        script=(
            Turn(BREAKING_PHASE, 3.0, f"{Act.KILL_WORKERS}: Envoy serves stable", act=Act.KILL_WORKERS),
            Turn("50%", 3.0, f"{Act.KILL_WORKERS}, once more", act=Act.KILL_WORKERS),
        ),
        ends=Status.COMPLETED,
    ),
    Scenario(
        name="crash-controller",
        sentence="the controller is killed, and comes back with all it knew; then it is frozen: no watcher, no canary",
        script=(
            Turn(BREAKING_PHASE, 3.0, f"{Act.KILL_CONTROLLER}: it is started again, with the same evidence", act=Act.KILL_CONTROLLER),
            Turn("50%", 3.0, f"{Act.FREEZE_CONTROLLER}: the canary is withdrawn after the lease", act=Act.FREEZE_CONTROLLER),
            Turn("50%", 13.0, f"{Act.THAW_CONTROLLER}: the canary is back", act=Act.THAW_CONTROLLER),
        ),
        ends=Status.COMPLETED,
        lease="4s",
        unheard=5.0,
        withdrawal=Withdrawal(Act.FREEZE_CONTROLLER, Act.THAW_CONTROLLER, 6.0),
    ),
    Scenario(
        name="blind",
        sentence="Envoy's access log no longer arrives: no outcomes, no canary, until it does again",
        script=(
            Turn(BREAKING_PHASE, 3.0, f"{Act.CUT_ACCESS_LOG}: the canary is withdrawn", act=Act.CUT_ACCESS_LOG),
            Turn(
                BREAKING_PHASE,
                18.0,
                f"{Act.MEND_ACCESS_LOG}: the canary is back after ten seconds of nothing lost",
                act=Act.MEND_ACCESS_LOG,
            ),
        ),
        ends=Status.COMPLETED,
        lease="4s",
        unheard=20.0,
        withdrawal=Withdrawal(Act.CUT_ACCESS_LOG, Act.MEND_ACCESS_LOG, 9.0),
    ),
    Scenario(
        name="cohorts",
        sentence="staff meet the canary first, then two countries, then those who pay, then everyone; who got what, and why",
        script=(),
        ends=Status.COMPLETED,
        spec="cohorts.yaml",
        who=True,
    ),
)
SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
"""All scenarios by name."""


def scenario_named(name: str) -> Scenario:
    """The scenario of this name; raises DemoError with the names there are."""
    if name not in SCENARIOS:
        known = "; ".join(f"{one.name}: {one.sentence}" for one in _ALL)
        raise DemoError(Problem("demo.unknown-scenario", "--scenario", f"there is no scenario {name!r}", known))
    return SCENARIOS[name]


class Script:
    """Where a script stands. Time is an argument: nothing here looks at a clock."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._left = list(turns)
        self._phase = ""
        self._since = 0.0

    def due(self, phase: str, now: float) -> list[Turn]:
        """Turns that are due while the rollout is in `phase` at monotonic time `now`."""
        if phase != self._phase:
            self._phase, self._since = phase, now
        due: list[Turn] = []
        while self._left and self._left[0].phase == phase and now - self._since >= self._left[0].after:
            due.append(self._left.pop(0))
        return due

    @property
    def untold(self) -> list[Turn]:
        """Turns that have not been due."""
        return list(self._left)
