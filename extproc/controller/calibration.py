"""How far the judge can be believed: its noise, its drift, people's agreement with it, and whether it sees what is not there.

Lives in the judge's process. What it knows is kept in the file of samples under the judge's identity (who judges, by which rubric): another
judge begins anew. Nothing here decides: it is told in `status`, as metrics, and, where the judge has changed, as a reason to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from extproc.domain import Anchor, Judge
from extproc.errors import StoreError
from extproc.judge.bias import SameArms, same_arms
from extproc.judge.calibration import Agreement, Retest, kappa, noise
from extproc.judge.calibrator import Calibrator
from extproc.judge.panel import Judge as Judges
from extproc.release.eprocess import BetE

ANCHOR_EVERY: Final = 300.0
"""Seconds between two anchors: twelve an hour, which a drift of .15 needs 15 hours to be seen by, and which cost little."""
PAIRS_OF_TRIAL: Final = 40
"""Answers judged twice that make one A/A trial: first opinions against second ones, which are alike."""
TRIAL_ALPHA: Final = 0.05


class Shelf(Protocol):
    """Where it is kept; each raises StoreError where that cannot be used."""

    def calibration(self, key: str) -> dict[str, Any] | None:
        """What was kept under this key."""

    def calibrate(self, key: str, document: Mapping[str, Any]) -> None:
        """Keep this, and nothing under another key."""

    def labels(self) -> list[tuple[int, float]]:
        """(a person's level 1..5, the judge's score) of answers that have both."""


def identity(judge: Judge) -> str:
    """Of whom scores are comparable with earlier ones."""
    return "/".join([judge.rubric.digest, *(f"{one.name}={one.model}" for one in judge.endpoints)])


class Calibration:
    """Of one life of the judge's process."""

    def __init__(self, key: str, judges: Judges, judge: Judge, anchors: Sequence[Anchor], draw: Callable[[], float], shelf: Shelf) -> None:
        """Goes on from what `shelf` has under `key`."""
        self._key, self._shelf = key, shelf
        known: Mapping[str, Any] = {}
        with suppress(StoreError):
            known = shelf.calibration(key) or {}
        self._retest = Retest.from_json(known["retest"]) if "retest" in known else Retest()
        self._same = SameArms.from_json(known["same_arms"]) if "same_arms" in known else SameArms()
        self._trial, self._pairs, self._highest = BetE(1.0), 0, 0.0
        self._unsaved = False
        self._calibrator = Calibrator(judges, judge.rubric, anchors, draw, known.get("anchors"))

    def pair(self, first: float, second: float) -> None:
        """One answer was judged twice."""
        self._unsaved = True
        self._retest = self._retest.with_pair(first, second)
        self._trial.record(1 - first, 1 - second)
        self._highest = max(self._highest, self._trial.log_e)
        self._pairs += 1
        if self._pairs == PAIRS_OF_TRIAL:
            self._same = self._same.with_trial(self._highest, TRIAL_ALPHA)
            self._trial, self._pairs, self._highest = BetE(1.0), 0, 0.0

    async def watch(self) -> None:
        """Judge an anchor now and then, forever."""
        while True:
            if await self._calibrator.once():
                self._unsaved = True
            await asyncio.sleep(ANCHOR_EVERY)

    def save(self) -> None:
        """Keep what is new, where anything is; raises StoreError."""
        if not self._unsaved:
            return
        document = {"retest": self._retest.as_json(), "same_arms": self._same.as_json(), "anchors": self._calibrator.as_json()}
        self._shelf.calibrate(self._key, document)
        self._unsaved = False

    def document(self) -> dict[str, Any]:
        """For `status`: a sentence each, where there is enough to say one."""
        found, same = noise(self._retest), same_arms(self._same, TRIAL_ALPHA)
        anchors = self._calibrator.document()
        agreement = Agreement()
        with suppress(StoreError):
            for level, score in self._shelf.labels():
                agreement = agreement.with_label(level, score)
        people = kappa(agreement)
        told = None
        if found is not None:
            told = {"sd": found.sd, "share": found.share, "spread": found.spread, "pairs": found.pairs, "sentence": found.sentence}
        return {
            "noise": told,
            "anchors": anchors,
            "people": people.sentence if people is not None else None,
            "same_arms": same.sentence if same is not None else None,
        }
