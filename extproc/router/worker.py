"""One worker: one endpoint, one event loop, one Processor. Started by the supervisor, which speaks to it over its standard streams.

In: a line of JSON with WorkerSettings, then a line per question. Out: a line of JSON with WorkerReport when ready and for each
question. End of input means that the supervisor is gone: the worker drains and ends, so that nothing is left running.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson
import uvloop

from extproc import spec as spec_room
from extproc.assign import Snapshot
from extproc.errors import ExtprocError
from extproc.router.processor import Processor
from extproc.router.settings import WorkerSettings
from extproc.router.source import StoreSource, fixed_snapshot
from extproc.transport import Server, TransportName, make_server, parse_address

COLLECT_AFTER = 100_000
"""Objects that may be made before Python looks for cycles: a decision makes none, so looking often only costs latency."""
DRAIN = 1.2
"""Seconds between NOT_SERVING and closing: two of the rendered health-check intervals and a little."""
GRACE = 1.0
"""Seconds that open streams get after that."""

log = logging.getLogger(__name__)


def _settle_garbage_collection() -> None:
    """What was made at the start stays: it is never walked again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 50, 50)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says of itself."""

    generation: int
    age: float
    decisions: list[tuple[str, str, str, str, int]]
    """rollout, cohort, arm, reason, count."""
    unmatched: int
    errors: int
    faults: dict[str, int]
    """Connections that were ended for the peer's fault, by error code."""
    reload_failures: int
    time_buckets: list[int]
    time_total: float


class Worker:
    """The parts of one worker, wired."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._source = StoreSource(settings.store) if settings.store is not None else None

    async def run(self, questions: asyncio.StreamReader) -> None:
        """Serve until asked to stop or the supervisor is gone."""
        snapshot, key = await self._first_snapshot()
        processor = Processor(snapshot, key)
        given = self._settings
        server = make_server(TransportName(given.transport), parse_address(given.listen), processor.process, given.security)
        await server.start()
        follower = asyncio.create_task(self._source.follow(processor.swap)) if self._source is not None else None
        _settle_garbage_collection()
        self._answer(processor, server)
        while await questions.readline():
            self._answer(processor, server)
        if follower is not None:
            follower.cancel()
        if not server.succeeded:
            server.set_serving(False)
            await asyncio.sleep(DRAIN)
        await server.stop(GRACE)

    async def _first_snapshot(self) -> tuple[Snapshot, bytes]:
        if self._source is not None:
            return await self._source.open()
        spec = spec_room.read(self._settings.spec_path)
        return fixed_snapshot(spec, self._settings.phase), bytes.fromhex(self._settings.unit_key)

    def _answer(self, processor: Processor, server: Server) -> None:
        report = WorkerReport(
            generation=processor.snapshot.generation,
            age=self._source.age if self._source is not None else 0.0,
            decisions=[(*key, count) for key, count in processor.decisions().items()],
            unmatched=processor.unmatched,
            errors=server.errors,
            faults=server.faults,
            reload_failures=self._source.failures if self._source is not None else 0,
            time_buckets=processor.times.buckets,
            time_total=processor.times.total,
        )
        sys.stdout.buffer.write(orjson.dumps(asdict(report)) + b"\n")
        sys.stdout.buffer.flush()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    # SIGTERM and SIGINT reach the supervisor too; it closes our input, which is the one way to end a worker in order.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: None)
    worker = Worker(WorkerSettings.read(await questions.readline()))
    with suppress(BrokenPipeError):
        await worker.run(questions)


def main() -> None:
    """Entry point of `python -m extproc.router.worker`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s worker %(process)d: %(message)s")
    try:
        uvloop.run(_main())
    except ExtprocError as error:
        log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
