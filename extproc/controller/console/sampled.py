"""Sampled answers for people: both arms side by side, read from the samples file in a thread; and the level that a person gives.

`latest` and `worst` are answers of each arm, to questions of their own; a pair of one question is there in a `shadow` alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from extproc import contract
from extproc.controller.answers import json_answer
from extproc.domain import COMPARED_ARMS, Sample
from extproc.errors import Problem, SettingsError
from extproc.store.samples import SampleReader, label

LATEST: Final = 200
"""Newest samples that are looked through for both arms."""
COUNT: Final = 12
"""Answers of each arm."""
LONGEST: Final = 6_000
"""Characters of a text that are sent."""
LEVELS: Final = range(1, 6)
WHICH: Final = ("latest", "worst", "shadow")

Scored = tuple[Sample, float | None, str]


class Sampled:
    """Of one store."""

    def __init__(self, store: str) -> None:
        self._path = Path(contract.samples_path(store))
        self._thread = ThreadPoolExecutor(1, "samples")

    def close(self) -> None:
        """Wait for what is being read."""
        self._thread.shutdown()

    async def read(self, request: Request) -> Response:
        """By `rollout` and `which`, of the last visit `before` then (Unix seconds); raises SettingsError for what is no question,
        StoreError."""
        given = request.query_params
        rollout, which = given.get("rollout", ""), given.get("which", "latest")
        if which not in WHICH:
            raise SettingsError(Problem("api.query", "which", f"{which[:80]!r} is unknown", f"there are: {', '.join(WHICH)}"))
        try:
            before = float(given.get("before", "inf"))
        except ValueError as error:
            raise SettingsError(Problem("api.query", "before", "is no instant", "give Unix seconds, or leave it out")) from error
        loop = asyncio.get_running_loop()
        if which == "shadow":
            pairs = await loop.run_in_executor(self._thread, self._pairs, rollout)
            return json_answer(200, {"rollout": rollout, "which": which, "pairs": pairs})
        arms = await loop.run_in_executor(self._thread, self._found, rollout, which, before)
        return json_answer(200, {"rollout": rollout, "which": which, "arms": arms})

    async def label(self, request: str, level: int, who: str) -> Response:
        """Write a person's level down; raises SettingsError where there is no such sample, StoreError."""
        if level not in LEVELS:
            raise SettingsError(Problem("api.level", "level", f"{level} is no level", "give 1 to 5; 5: nothing is wrong with it"))
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._thread, label, self._path, request, level, who, time.time()):
            raise SettingsError(
                Problem("api.sample", request[:80], "no such sample is kept", "it may have been deleted: load the page again")
            )
        return json_answer(200, {"request": request, "level": level})

    def _pairs(self, rollout: str) -> list[dict[str, Any]]:
        """Of the last shadow, the canary's worst first; `preferred`: 1 where its answer is better, 0 where stable's is, 0.5 for a tie."""
        with closing(SampleReader(self._path)) as reader:
            found = reader.pairs(rollout, COUNT)
        return [
            {
                "stable": _document(stable, None, ""),
                "canary": _document(canary, None, ""),
                "preferred": value,
                "reason": _cut(reason),
            }
            for stable, canary, value, reason in found
        ]

    def _found(self, rollout: str, which: str, before: float) -> dict[str, list[dict[str, Any]]]:
        with closing(SampleReader(self._path)) as reader:
            latest = reader.latest(rollout, LATEST, before)
            if which == "latest" or not latest:
                return {arm.value: [_document(*one) for one in latest if one[0].arm is arm][:COUNT] for arm in COMPARED_ARMS}
            generation = latest[0][0].generation
            return {arm.value: [_document(*one) for one in reader.worst(rollout, generation, arm, COUNT)] for arm in COMPARED_ARMS}


def _document(sample: Sample, score: float | None, reason: str) -> dict[str, Any]:
    return {
        "request": sample.request,
        "phase": sample.phase,
        "cohort": sample.cohort,
        "at": sample.start,
        "ending": sample.ending,
        "purpose": sample.purpose.value,
        "tripwires": sample.tripwires,
        "turns": [[role, _cut(text)] for role, text in sample.turns[-2:]],
        "answer": _cut(sample.answer),
        "calls": _calls(sample.calls),
        "redacted": dict(sample.redacted),
        "score": score,
        "reason": _cut(reason),
    }


def _calls(calls: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[name, _cut(arguments)] for name, arguments in calls]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
