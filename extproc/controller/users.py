"""What users tell reaches the loop: signals without a word (`signals`), as marks on outcomes and as ratings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from extproc import contract
from extproc.controller.loop import Loop
from extproc.controller.signals import Signals
from extproc.domain import Outcome

LOOK_EVERY: Final = 0.5
"""Seconds between two looks."""


class Users:
    """Of one controller."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._signals = Signals()
        self._registry = registry = CollectorRegistry()
        self._lost = Gauge(contract.METRIC_SIGNALS_LOST, "What there was no room for.", ["what"], registry=registry)
        self._open = Gauge(contract.METRIC_SESSIONS_OPEN, "Sessions that are being counted.", registry=registry)
        self.look(0.0)

    def hear(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The outcomes with what is known of them now."""
        return self._signals.hear(outcomes)

    async def keep(self) -> None:
        """Forever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look(time.time())

    def look(self, now: float) -> None:
        """Follow the Spec, and hand over what is ripe; `now` is Unix seconds."""
        spec = self._loop.spec
        self._signals.follow(spec.asked_again, spec.sessions)
        self._loop.rate(self._signals.ripe(now))

    def document(self) -> dict[str, Any]:
        """For `status`."""
        counts = self._signals.counts
        return {
            "sessions_open": counts.open if counts is not None else 0,
            "sessions_dropped": counts.dropped if counts is not None else 0,
            "prompts_forgotten": self._signals.repeats.forgotten,
        }

    def exposition(self) -> bytes:
        """Prometheus text."""
        document = self.document()
        self._lost.labels("sessions").set(document["sessions_dropped"])
        self._lost.labels("prompts").set(document["prompts_forgotten"])
        self._open.set(document["sessions_open"])
        return generate_latest(self._registry)
