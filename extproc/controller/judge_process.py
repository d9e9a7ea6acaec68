"""The judge's process: takes Envoy's copies, keeps redacted samples of them, has them judged, and writes all that into its file.

Started and kept alive by the controller. In: a line of JSON with JudgeSettings, then questions. Out: a line when it listens, and one for
each question. It is told nothing else: another Spec is another life of it. Nothing waits for it: Envoy looks on, the controller reads the
file, and where this process is away there is no data.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from extproc import contract, logs
from extproc import spec as spec_room
from extproc.controller.calibration import Calibration, identity
from extproc.controller.copies import CopyServer
from extproc.controller.judging import JudgeSettings
from extproc.domain import ApplicationType, Judge
from extproc.errors import StoreError
from extproc.judge.budget import Budget
from extproc.judge.client import JudgeClient
from extproc.judge.panel import Panel
from extproc.judge.pipeline import Pipeline, Terms
from extproc.judge.redact import Redactor
from extproc.judge.sampling import Chances, Sampler
from extproc.judge.sampling.choice import HOUR
from extproc.judge.shipped import anchors_for
from extproc.runtime import end_with_parent
from extproc.runtime.told import run, say
from extproc.store.samples import Kept, SampleFile

STAND_EVERY: Final = 2.0
"""Seconds between two lines in the file on how the judge is doing."""
CLEAN_EVERY: Final = 30.0
CLEAN_SOON: Final = 0.1
"""Seconds between two chunks of what is too old."""
NICENESS: Final = 5
"""Requests come first: where the machine is busy, answers are judged later."""
LISTENS: Final = b"listens"
"""A sign of life."""

log = logging.getLogger("extproc.controller.judge_process")  # and not __name__: this module is run


class Bench:
    """Everything of one life."""

    def __init__(self, judge: Judge, kind: ApplicationType, asked: frozenset[str], file: SampleFile) -> None:
        """`asked`: rollouts whose answers are judged."""
        draw, redactor = Random().random, Redactor(judge.patterns)
        self._file = file
        # The chances keep the hour's money for the whole hour; this keeps it whatever they believe.
        budget = Budget(judge.per_hour, HOUR)
        self._clients = [JudgeClient(endpoint, draw, budget) for endpoint in judge.endpoints]
        self._within = judge.within
        self._asked = asked
        self._questions = sum(endpoint.concurrency for endpoint in judge.endpoints)
        one = self._clients[0] if len(self._clients) == 1 else Panel("panel", self._clients)
        chances = Chances(float(judge.per_hour))
        terms = Terms(judge.rubric, judge.within, judge.again, float(judge.per_release), asked)
        self._calibration = Calibration(identity(judge), one, judge, anchors_for(kind), draw, file)
        self.pipeline = Pipeline(one, terms, file, redactor, chances, time.time, file.spent(), self._calibration.pair)
        with suppress(StoreError):
            self.pipeline.resume(file.stood())
        self.copies = CopyServer(Sampler(redactor, judge.language), self.pipeline, chances, judge.longest)

    async def run(self) -> None:
        """Until cancelled. What an earlier life has written down and not judged is judged, while its score still counts."""
        for sample in self._file.unscored(time.time() - self._within):
            if sample.rollout in self._asked:
                self.pipeline.wait(sample)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._questions):
                    group.create_task(self.pipeline.work())
                group.create_task(self.copies.work())
                if self._asked:
                    # A judge that nobody asks need not be calibrated: an anchor costs as much as an answer.
                    group.create_task(self._calibration.watch())
                group.create_task(self._stand())
                group.create_task(self._clean())
        finally:
            for client in self._clients:
                await client.close()

    async def _stand(self) -> None:
        while True:
            with suppress(StoreError):
                document = {**self.pipeline.document(), **self.copies.document(), **self._calibration.document()}
                self._file.stand(document, time.time())
                self._calibration.save()
            await asyncio.sleep(STAND_EVERY)

    async def _clean(self) -> None:
        while True:
            removed = 0
            with suppress(StoreError):
                removed = self._file.remove_old(time.time())
            await asyncio.sleep(CLEAN_SOON if removed else CLEAN_EVERY)


async def _serve(first: bytes, lines: asyncio.StreamReader) -> None:
    """Until the end of input."""
    settings = JudgeSettings.read(first)
    spec = spec_room.load(settings.spec)
    judge = spec.judge
    if judge is None:
        return
    file = SampleFile(Path(contract.samples_path(settings.store)), Kept(judge.retention))
    asked = frozenset(name for name, rollout in spec.rollouts.items() if rollout.judging is not None and rollout.judging.judges)
    bench = Bench(judge, spec.application.type, asked, file)
    running = asyncio.create_task(bench.run())
    try:
        await bench.copies.start(settings.listen, settings.security)
        told = asyncio.create_task(_answer(lines))
        await asyncio.wait((told, running), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            # It never ends by itself; what ended it is told, and another life begins.
            running.result()
    finally:
        await bench.copies.stop()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        file.close()


async def _answer(lines: asyncio.StreamReader) -> None:
    """A line for each line, until there are no more."""
    say(LISTENS)
    while await lines.readline():
        say(LISTENS)


def main() -> None:
    """Entry point of `python -m extproc.controller.judge_process`."""
    end_with_parent()
    os.nice(NICENESS)
    logs.start("judge")
    run(_serve, log)


if __name__ == "__main__":
    main()
