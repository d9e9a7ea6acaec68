"""Who met the canary: chosen from what the collector hears, on the loop's thread, and handed to the scribe. Never waits.

An exposure is a request that was assigned to the canary, whatever the reason (ring, completed, pinned, override, forced), whoever
answered it; and one that a backend of the canary alone has answered, whatever its assignment, or without any. A request counts once it
has ended; one that is open is noted once, so that it is in the list even if nobody hears of its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from extproc import contract
from extproc.controller.loop import CLOCK_SET, LONGEST_TICK, WARM_UP, Loop
from extproc.controller.scribe import Scribe
from extproc.controller.sight import LAG, Blindness
from extproc.domain import Arm, Outcome, Spec, Status, Undecided
from extproc.store.exposures import Cause, Gap, Keep, Stray

OPEN_KEPT: Final = 200_000
"""Open requests that are remembered as noted; one that is forgotten is noted again, which changes nothing."""
_NONE: Final[frozenset[str]] = frozenset()

log = logging.getLogger(__name__)


class Exposures:
    """Of one controller."""

    def __init__(self, loop: Loop, keep: Keep, now: float, owner: str = "") -> None:
        """`now`: Unix seconds, when the collector begins to listen; `owner`: name of the controller."""
        self._loop = loop
        self._scribe = Scribe(loop.store_url, keep, now, WARM_UP, owner)
        self._noted: dict[tuple[str, str], None] = {}
        self._spec: Spec | None = None
        self._clusters: dict[str, frozenset[str]] = {}
        self._last_tick: float | None = None
        self._bad_messages = 0
        self._blind: dict[str, Gap] = {}
        self._registry = registry = CollectorRegistry()
        self._written = Counter(contract.METRIC_EXPOSURES, "Requests that met the canary, written to the list.", registry=registry)
        self._lost = Counter(contract.METRIC_EXPOSURES_LOST, "Those that could not be written: a gap says when.", registry=registry)
        self._waiting = Gauge(contract.METRIC_EXPOSURES_WAITING, "Those that are to be written.", registry=registry)
        self._shown = (0, 0)

    def start(self) -> None:
        """Begin to write; what is heard before is kept."""
        self._scribe.start()

    async def stop(self, timeout: float) -> None:
        """Write what is left, unless the disk does not take it in time."""
        if not await asyncio.to_thread(self._scribe.stop, timeout):
            log.error("exposures were not written to the end within %.0f s; the next start states the gap", timeout)

    # ------------------------------------------------------------------------------------------------------------------ what is heard
    def receive(self, outcomes: Sequence[Outcome], undecided: Sequence[Undecided], now: float) -> None:
        """What the collector heard by `now` (Unix seconds)."""
        if self._loop.spec is not self._spec:
            self._spec = self._loop.spec
            self._clusters = canary_clusters(self._spec)
        clusters = self._clusters
        met: list[Outcome | Stray] = [
            one for one in outcomes if (one.arm is Arm.CANARY or one.answered_by in clusters.get(one.rollout, _NONE)) and self._is_news(one)
        ]
        if undecided:
            met += self._strays(undecided)
        if met:
            self._scribe.hand(met)
        self._scribe.heard = now

    def _is_news(self, outcome: Outcome) -> bool:
        """True at its end, and where it is heard of as open for the first time."""
        key = outcome.rollout, outcome.stream_id
        if outcome.final:
            self._noted.pop(key, None)
            return True
        if key in self._noted:
            return False
        self._noted[key] = None
        if len(self._noted) > OPEN_KEPT:
            del self._noted[next(iter(self._noted))]
        return True

    def _strays(self, undecided: Sequence[Undecided]) -> list[Stray]:
        found = []
        for rollout, clusters in self._clusters.items():
            state = self._loop.state.rollouts[rollout]
            if state.status.exposes or state.status is Status.COMPLETED:
                phase = self._loop.spec.rollouts[rollout].phases[state.phase].name
                found += [Stray(one, rollout, state.generation, phase) for one in undecided if one.answered_by in clusters]
        return found

    # --------------------------------------------------------------------------------------------------------------- what is not heard
    def tick(self, now: float, elapsed: float, bad_messages: int) -> None:
        """After each evaluation: what could not be heard since the last one. `elapsed`: monotonic seconds since then."""
        last = self._last_tick if self._last_tick is not None else now - elapsed
        set_by = now - last - elapsed
        if elapsed >= LONGEST_TICK or abs(set_by) > CLOCK_SET:
            self._scribe.say(Gap(Cause.STALLED, min(last, now), max(last, now)))
        if bad_messages != self._bad_messages:
            self._scribe.say(Gap(Cause.UNREAD, last, now))
        self._look_at_blindness(self._loop.blind, now, elapsed)
        self._last_tick, self._bad_messages = now, bad_messages
        self._scribe.heard = now

    def _look_at_blindness(self, blind: Mapping[str, Blindness], now: float, elapsed: float) -> None:
        """While a rollout is blind the gap grows by what is missed of its decisions, times the share of the canary."""
        for name, one in blind.items():
            missing = max(0, one.decided - one.heard) * self._share(name)
            before = self._blind.get(name)
            if before is None:
                gap = Gap(Cause.BLIND, now - one.seconds - LAG, None, round(missing), name, str(one))
            else:
                gap = replace(before, about=(before.about or 0) + round(missing / one.seconds * elapsed), detail=str(one))
            self._blind[name] = self._scribe.say(gap)
        for name in self._blind.keys() - blind.keys():
            self._scribe.say(replace(self._blind.pop(name), until=now))

    def _share(self, name: str) -> float:
        """About how many of a rollout's decisions are for the canary."""
        state, rollout = self._loop.state.rollouts[name], self._loop.spec.rollouts[name]
        if state.status.exposes:
            return rollout.phases[state.phase].share
        return float(state.status is Status.COMPLETED)

    # ------------------------------------------------------------------------------------------------------------------------ for people
    def document(self) -> dict[str, Any]:
        """For `status`."""
        scribe = self._scribe
        problem = str(scribe.problem) if scribe.problem is not None else None
        return {
            "file": str(scribe.path),
            "written": scribe.written,
            "lost": scribe.lost,
            "waiting": scribe.waiting,
            "failures": scribe.failures,
            "problem": problem,
        }

    def exposition(self) -> bytes:
        """Prometheus text."""
        written, lost = self._scribe.written, self._scribe.lost
        self._written.inc(written - self._shown[0])
        self._lost.inc(lost - self._shown[1])
        self._waiting.set(self._scribe.waiting)
        self._shown = written, lost
        return generate_latest(self._registry)


def canary_clusters(spec: Spec) -> dict[str, frozenset[str]]:
    """Rollout -> the clusters that answer for its canary and not for its stable."""
    clusters = {name: frozenset(backend.cluster for backend in model.backends) for name, model in spec.models.items()}
    return {
        name: clusters.get(rollout.canary, _NONE) - clusters.get(rollout.stable, _NONE)
        for name, rollout in spec.rollouts.items()
        if rollout.layer == contract.MODEL_LAYER
    }
