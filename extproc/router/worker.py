"""One worker: one endpoint, one event loop, one Processor. Started by the supervisor, which speaks to it over its standard streams.

In: a line of JSON with WorkerSettings, then a line each time: the question `report`, or `spec` and another Spec (JSON: text and
generation). Out: a line of JSON with WorkerReport when ready and for each of those lines. End of input means that the supervisor is
gone: the worker drains and ends, so that nothing is left running.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from dataclasses import asdict, dataclass
from time import time

import orjson

from extproc import logs
from extproc.router.processor import Processor
from extproc.router.settings import WorkerSettings
from extproc.router.source import Source, StoreSource, ToldSource
from extproc.runtime.told import run, say
from extproc.transport import Server, TransportName, make_server, parse_address

COLLECT_AFTER = 100_000
"""Objects that may be made before Python looks for cycles: a decision makes none, so looking often only costs latency."""
DRAIN = 1.2
"""Seconds between NOT_SERVING and closing: two of the rendered health-check intervals and a little."""
GRACE = 1.0
"""Seconds that open streams get after that."""

log = logging.getLogger("extproc.router.worker")  # and not __name__: this module is run


def _settle_garbage_collection() -> None:
    """What was made at the start stays: it is never walked again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 50, 50)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says of itself."""

    life: str
    """Another one after each start: counts begin at zero."""
    generation: int
    age: float
    heartbeat_age: float | None
    at: float
    """When this was so, Unix seconds: a supervisor that waits for another worker tells it later."""
    withdrawn: list[str]
    decisions: list[tuple[str, str, str, str, int]]
    """rollout, cohort, arm, reason, count."""
    unmatched: int
    fates: list[tuple[str, str, str, int]]
    """`token` or `qa`, rollout, fate, count."""
    errors: int
    shed: int
    """Requests not decided, because Envoy had given them up when this worker came to them."""
    faults: dict[str, int]
    """Connections that were ended for the peer's fault, by error code."""
    reload_failures: int
    time_buckets: list[int]
    time_total: float


class Worker:
    """The parts of one worker, wired."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._life = f"{os.getpid()}-{time():.3f}"
        self._told: ToldSource | None = None
        self._source: Source
        if settings.store is not None:
            self._source = StoreSource(settings.store, settings.name)
        else:
            self._told = ToldSource(settings.spec_text, settings.generation, settings.phase, bytes.fromhex(settings.unit_key))
            self._source = self._told

    async def run(self, lines: asyncio.StreamReader) -> None:
        """Serve until asked to stop or the supervisor is gone."""
        processor = Processor(*await self._source.open())
        given = self._settings
        server = make_server(TransportName(given.transport), parse_address(given.listen), processor.process, given.security)
        await server.start()
        follower = asyncio.create_task(self._source.follow(processor.swap))
        _settle_garbage_collection()
        self._answer(processor, server)
        while line := await lines.readline():
            self._obey(line)
            self._answer(processor, server)
        follower.cancel()
        if not server.succeeded:
            server.set_serving(False)
            await asyncio.sleep(DRAIN)
        await server.stop(GRACE)

    def _obey(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"spec" and self._told is not None:
            self._told.tell(**orjson.loads(rest))

    def _answer(self, processor: Processor, server: Server) -> None:
        report = WorkerReport(
            generation=processor.snapshot.generation,
            life=self._life,
            age=self._source.age,
            heartbeat_age=self._source.heartbeat_age,
            at=time(),
            withdrawn=sorted(self._source.withdrawn),
            decisions=[(*key, count) for key, count in processor.decisions().items()],
            unmatched=processor.unmatched,
            fates=[(*key, count) for key, count in processor.fates.items()],
            errors=server.errors,
            shed=server.shed,
            faults=server.faults,
            reload_failures=self._source.failures,
            time_buckets=processor.times.buckets,
            time_total=processor.times.total,
        )
        say(orjson.dumps(asdict(report)))


async def _serve(first: bytes, lines: asyncio.StreamReader) -> None:
    await Worker(WorkerSettings.read(first)).run(lines)


def main() -> None:
    """Entry point of `python -m extproc.router.worker NUMBER`."""
    logs.start(f"worker {sys.argv[1]}")
    run(_serve, log)


if __name__ == "__main__":
    main()
