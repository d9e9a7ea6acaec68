"""Of what a demo's story is made: Turns that change the world, and the end that it must come to.

A script is a list of Turns. A Turn is due when the rollout has been in a phase for some seconds; each happens once, in the order
written. Scripts turn knobs of the simulated models and the rate of the traffic, and kill, stop or cut off processes; what a person does in
one is done by the command that people use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from extproc.demo.readers import Reacts
from extproc.domain import Status

BREAKING_PHASE: Final = "25%"
"""The phase at which scenarios break something unless told otherwise: large enough to matter, small enough to have a control."""


class Act(StrEnum):
    """What a script does to a process, or a person to the rollout."""

    KILL_WORKERS = "kill -9 of every router worker"
    KILL_CONTROLLER = "kill -9 of the controller"
    FREEZE_CONTROLLER = "SIGSTOP of the controller"
    THAW_CONTROLLER = "SIGCONT of the controller"
    CUT_ACCESS_LOG = "the access log is cut off"
    MEND_ACCESS_LOG = "the access log arrives again"
    RESUME = "extproc resume"


class Fault(StrEnum):
    """From where a fault is timed, by the canary's own ledger."""

    FAILS = "the first failing response of the canary"
    WORSE = "the change of the canary"
    """Its answers are good, but late or dear; or there is none."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One change of the world."""

    phase: str
    """Name of the phase in which it happens; `shadow` before the first one."""
    after: float
    """Seconds in that phase."""
    sentence: str
    """What happens, for the one who watches."""
    quiet: float = 0.0
    """Seconds of dwell before these: --fast shortens them."""
    arm: str = ""
    """`canary`, `stable`, `both` or `judge`: whose knobs; empty for none."""
    knobs: Mapping[str, float | str] = field(default_factory=dict)
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
    fault: Fault | None = None
    """What the canary's fault is timed from; None where the canary is as good as stable."""
    promise: float | None = None
    """Seconds from there to the last canary request (of those whom the fault concerns) that are promised."""
    lease: str = ""
    """The Spec's `watch_lease`; empty: as it stands."""
    unheard: float = 0.0
    """Seconds of traffic of which extproc may know nothing: what a kill or a cut costs. Its books are below the models' by no more."""
    withdrawal: Withdrawal | None = None
    """What must have been seen of *no watcher, no canary* and *no outcomes, no canary*."""
    spec: str = "release.yaml"
    """File of this room."""
    change: Callable[[dict[str, Any]], None] | None = None
    """What is changed in it."""
    who: bool = False
    """Clients write down who got which answer, and a table of it ends the demo."""
    out: str = ""
    """The cohort that must have been rolled back by itself, and no other."""
    page: str = ""
    """Words of the sentence with which somebody must have been paged; empty: nobody may have been, unless extproc itself was broken."""
    says: tuple[str, ...] = ()
    """Words of the sentence with which it must end."""
    holds: tuple[str, ...] = ()
    """Patterns of reasons for which it must have been held on the way, as `status` said them."""
    knobs: Mapping[str, float | str] = field(default_factory=dict)
    """Of both models, from the beginning."""
    reacts: Reacts = Reacts.NOT
    """What people do with the answers that they read."""
    people: int = 20_000
    """How many there are, unless the one who watches says otherwise."""
    rate: float = 0.0
    """Requests per second; 0: the demo's usual rate."""
    patience: float = 30.0
    """Seconds after which a client gives up."""
    dwell: Mapping[str, float] = field(default_factory=dict)
    """Least dwell of a phase, seconds, where it is another than the Spec's; --fast shortens it."""
    max_dwell: float = 0.0
    """Most dwell of all phases, seconds; 0: the Spec's. --fast shortens it."""

    def at_phase(self, phase: str) -> Scenario:
        """The same story, told in another phase."""
        return replace(self, script=tuple(replace(turn, phase=phase) for turn in self.script))

    def shortened(self, by: float) -> Scenario:
        """The same story with shorter dwells, and the quiet times in them."""
        script = tuple(replace(turn, quiet=turn.quiet * by) for turn in self.script)
        return replace(self, script=script, dwell={name: one * by for name, one in self.dwell.items()}, max_dwell=self.max_dwell * by)


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
        while self._left and self._left[0].phase == phase and now - self._since >= self._left[0].quiet + self._left[0].after:
            due.append(self._left.pop(0))
        return due

    @property
    def untold(self) -> list[Turn]:
        """Turns that have not been due."""
        return list(self._left)
