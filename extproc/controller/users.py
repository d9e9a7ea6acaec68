"""What users tell reaches the loop: signals without a word (`signals`), and what they say of answers (`approvals`)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from extproc import contract
from extproc.controller.approvals import Approvals
from extproc.controller.hearing import FeedbackKeeper
from extproc.controller.loop import Loop
from extproc.controller.signals import Signals
from extproc.domain import Outcome
from extproc.errors import StoreError
from extproc.measures import THUMBS
from extproc.store.feedback import FeedbackLog

LOOK_EVERY: Final = 0.5
"""Seconds between two looks."""
LINES: Final = 1000
"""Lines of the log that are read at a time; what is more waits for the next look, the loop for nothing."""

log = logging.getLogger(__name__)


class Users:
    """Of one controller."""

    def __init__(self, loop: Loop, keeper: FeedbackKeeper) -> None:
        self._loop = loop
        self._keeper = keeper
        self._signals = Signals()
        self._approvals: Approvals | None = None
        self._log = FeedbackLog(Path(contract.feedback_path(loop.store_url)))
        self._sequence: int | None = None
        """The last line that was read; None before the first look into the log."""
        self._unread = 0
        """Lines that were removed before they could be read."""
        self._problem = ""
        self._registry = registry = CollectorRegistry()
        self._lost = Gauge(contract.METRIC_SIGNALS_LOST, "What users told and nobody looked at.", ["what"], registry=registry)
        self._open = Gauge(contract.METRIC_SESSIONS_OPEN, "Sessions that are being counted.", registry=registry)
        labels = ["rollout", "arm"]
        self._rate = Gauge(contract.METRIC_RESPONSE_RATE, "Share of answers that users speak of, in this visit.", labels, registry=registry)
        self._follow()

    def hear(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The outcomes with what is known of them now."""
        if self._approvals is not None:
            self._approvals.meet(outcomes)
        return self._signals.hear(outcomes)

    async def keep(self) -> None:
        """Forever."""
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY)
                self.look(time.time())
        finally:
            self._log.close()

    def look(self, now: float) -> None:
        """Follow the Spec, and hand over what is ripe; `now` is Unix seconds."""
        self._follow()
        self._loop.rate(self._signals.ripe(now))
        if self._approvals is not None:
            self._read(self._approvals, now)
            self._loop.rate(self._approvals.ripe(now), {THUMBS.name: self._problem})

    def _follow(self) -> None:
        spec = self._loop.spec
        self._signals.follow(spec.asked_again, spec.sessions)
        if spec.feedback != (self._approvals.terms if self._approvals is not None else None):
            self._approvals = Approvals(spec.feedback) if spec.feedback is not None else None
            # What was said under other terms and is not old enough is read again.
            self._sequence = None

    # --------------------------------------------------------------------------------------------------------------------- log
    def _read(self, approvals: Approvals, now: float) -> None:
        """What was written since the last look; after a start, since the oldest answer that has not been looked at."""
        try:
            if self._sequence is None:
                self._sequence = _before(self._log, self._horizon(now - approvals.terms.looked_at))
            gap = self._log.gap(self._sequence)
            if gap is not None:
                # What was removed before this controller began was read by the one before, or is too old.
                self._unread += gap.count or 0 if self._sequence else 0
                self._sequence = gap.resume
            lines = self._log.after(self._sequence, LINES)
            self._problem = ""
        except StoreError as error:
            problem = str(error.problems[0])
            if not self._problem:
                log.error("feedback cannot be read, it has no say meanwhile: %s", problem)
            self._problem, lines = problem, []
        approvals.hear((said for _, said in lines), now)
        if lines:
            self._sequence = lines[-1][0]
        self._keeper.read_up_to = self._sequence or 0

    def _horizon(self, earliest: float) -> float:
        """Feedback that was received before this is of answers that have been looked at, or are too old."""
        rated = [desk.evidence.rated for desk in self._loop.desks.values()]
        return max(earliest, min((one[THUMBS.name].horizon for one in rated if THUMBS.name in one), default=earliest))

    # ----------------------------------------------------------------------------------------------------------------- reading
    def document(self) -> dict[str, Any]:
        """For `status`."""
        counts, approvals = self._signals.counts, self._approvals
        lost = {"prompts": self._signals.repeats.forgotten, "sessions": counts.dropped if counts is not None else 0}
        document: dict[str, Any] = {"sessions_open": counts.open if counts is not None else 0, "lost": lost, "feedback": None}
        if approvals is not None:
            lost |= {f"feedback_{what}": count for what, count in approvals.lost.items()} | {"feedback_unread": self._unread}
            response = {name: one.document() for name, one in approvals.response.items()}
            document["feedback"] = {"waiting": approvals.waiting, "response": response, "problem": self._problem}
        return document

    def exposition(self) -> bytes:
        """Prometheus text, that of the feedback process included."""
        document = self.document()
        for what, count in document["lost"].items():
            self._lost.labels(what).set(count)
        self._open.set(document["sessions_open"])
        for rollout, arms in (document["feedback"] or {"response": {}})["response"].items():
            for arm, one in arms.items():
                self._rate.labels(rollout, arm).set(one["rate"])
        return generate_latest(self._registry) + self._keeper.series


def _before(lines: FeedbackLog, since: float) -> int:
    """The sequence of the last line that was received before `since`; 0 where there is none. The log is in the order of receipt, but for
    a second or so; that is asked for again, and recognised."""
    since -= 2.0

    def begins_after(sequence: int) -> bool:
        found = lines.after(sequence, 1)
        return not found or found[0][1].received >= since

    low, high = 0, 1
    if begins_after(0):
        return 0
    while not begins_after(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if begins_after(middle) else (middle, high)
    return high
