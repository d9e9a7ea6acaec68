"""What the judge's process writes down reaches the loop: scores as ratings, and how the judge is doing. Read a few times a second.

The loop never waits for the judge, and nothing but a file is between the two: either may be killed at any moment, and goes on from it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from extproc import contract
from extproc.controller.loop import Loop
from extproc.domain import ANSWERED, Standing
from extproc.errors import StoreError
from extproc.measures import JUDGE, TRIPWIRES
from extproc.store.samples import ScoreLog

LOOK_EVERY: Final = 0.5
"""Seconds between two readings."""
SILENT_AFTER: Final = 10.0
"""Seconds after which a judge's process that says nothing of itself is away; it says something every two."""

log = logging.getLogger(__name__)


class Scores:
    """Of one controller."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        since = min((desk.evidence.rated.horizon for desk in loop.desks.values() if desk.rollout.judging is not None), default=0.0)
        self._file = ScoreLog(Path(contract.samples_path(loop.store_url)), since)
        self._standing: Standing | None = None
        self._problem = ""
        self._registry = registry = CollectorRegistry()
        self._ends = Gauge(contract.METRIC_JUDGED, "Questions to the judge by what became of them.", ["end"], registry=registry)
        self._spent = Gauge(contract.METRIC_JUDGE_SPENT, "USD that judging has cost.", ["rollout"], registry=registry)
        self._waiting = Gauge(contract.METRIC_JUDGE_WAITING, "Samples that wait for the judge.", registry=registry)
        self._noise = Gauge(contract.METRIC_JUDGE_NOISE, "Noise of one score: the sd of the same answer judged again.", registry=registry)
        self._silent = Gauge(contract.METRIC_JUDGE_SILENT, "1 while the judge says less than it might.", registry=registry)

    async def keep(self) -> None:
        """Forever, while the Spec has a judge."""
        try:
            while True:
                if self._loop.spec.judge is not None:
                    self.look(time.time())
                await asyncio.sleep(LOOK_EVERY)
        finally:
            self._file.close()

    def look(self, now: float) -> None:
        """Hand over what is new; `now` is Unix seconds."""
        try:
            ratings, preferred = self._file.news(), self._file.preferences()
            self._standing = self._file.standing()
            self._problem = ""
        except StoreError as error:
            ratings, preferred, problem = [], [], str(error.problems[0])
            if not self._problem:
                log.error("scores cannot be read, the judge has no data meanwhile: %s", problem)
            self._problem = problem
        silent = self.silent(now)
        # Rules need the process, and no judge.
        self._loop.rate(ratings, {JUDGE.name: silent, TRIPWIRES.name: self._away(now)})
        self._loop.distrust(JUDGE.name, self._lopsided())
        self._loop.prefer(preferred, silent)

    def _away(self, now: float) -> str:
        """Why nothing is heard of sampled answers at all; empty where something is."""
        standing = self._standing
        if self._problem:
            return self._problem
        if standing is None:
            return "its process has not begun yet"
        if now - standing.at > SILENT_AFTER:
            return f"its process has said nothing for {now - standing.at:.0f} s"
        return ""

    def silent(self, now: float) -> str:
        """Why the judge says less than it might; empty where it does not."""
        away, standing = self._away(now), self._standing
        if away or standing is None:
            return away
        lately = Counter(standing.document.get("lately", {}))
        failed = {end: count for end, count in lately.items() if end not in ANSWERED}
        if not failed:
            return ""
        why = standing.document.get("why", "")
        return f"{sum(failed.values())} of the last {lately.total()} answers have no score ({', '.join(sorted(failed))}): {why}"

    def _lopsided(self) -> dict[str, tuple[int, str]]:
        """Rollout -> (visit, why its scores cannot be compared, or nothing), as the judge's process last said."""
        said = self._standing.document.get("by_arm", {}) if self._standing is not None else {}
        return {name: (one["generation"], one["why"]) for name, one in said.items()}

    def document(self, now: float) -> dict[str, Any] | None:
        """For `status`; None where nobody judges."""
        if self._loop.spec.judge is None:
            return None
        standing = self._standing
        said = dict(standing.document) if standing is not None else {}
        return {**said, "at": standing.at if standing is not None else None, "silent": self.silent(now)}

    def exposition(self, now: float) -> bytes:
        """Prometheus text; nothing where nobody judges."""
        document = self.document(now)
        if document is None:
            return b""
        for end, count in document.get("ends", {}).items():
            self._ends.labels(end).set(count)
        for rollout, usd in document.get("spent", {}).items():
            self._spent.labels(rollout).set(usd)
        self._waiting.set(document.get("waiting", 0))
        noise = document.get("noise")
        self._noise.set(noise["sd"] if noise else float("nan"))
        self._silent.set(bool(document["silent"]))
        return generate_latest(self._registry)
