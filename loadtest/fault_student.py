"""The student of the fault table: a process of its own that asks the real Envoy, open loop, and tells of every single answer.

In (standard input): one line with StudentSettings; it stops when its input is closed. Out (standard output): every EVERY seconds one line
of JSON with the answers that ended since, each as [sent, ended, person, streaming, model, problem].
People ask in turn, so that each is heard of every few seconds: who met the canary before a fault is known by name during it.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import aiohttp
import orjson
import uvloop

from extproc.demo.population import answering_model, request_body

EVERY: Final = 0.1
TICK: Final = 0.002
"""Seconds between looks at the clock."""
PATIENCE: Final = 30.0
"""Seconds after which a request without an end is an error, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class StudentSettings:
    """Whom to ask, and how often."""

    url: str
    model: str
    """That requests ask for."""
    rate: float
    """Requests per second, on average; the gaps are exponential."""
    people: int
    streaming: float
    """Share of requests that want a stream."""
    seed: int
    patience: float = PATIENCE
    """Seconds after which it gives a request up."""


class Student:
    """Sends, whether or not answers come."""

    def __init__(self, settings: StudentSettings) -> None:
        self._settings = settings
        self._random = Random(settings.seed)
        self._bodies = {stream: request_body(settings.model, stream, 20) for stream in (False, True)}
        self._ended: list[Any] = []
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; then everything open comes to its end and is told."""
        timeout = aiohttp.ClientTimeout(total=self._settings.patience)
        telling = asyncio.create_task(self._tell())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            clock = asyncio.get_running_loop().time
            due, person = clock(), 0
            while not stop.is_set():
                while due <= clock():
                    due += self._random.expovariate(self._settings.rate)
                    person = (person + 1) % self._settings.people
                    task = asyncio.create_task(self._ask(session, person, self._random.random() < self._settings.streaming))
                    self._open.add(task)
                    task.add_done_callback(self._open.discard)
                await asyncio.sleep(TICK)
            while self._open:
                await asyncio.wait(self._open)
        telling.cancel()
        self._say()

    async def _ask(self, session: aiohttp.ClientSession, person: int, stream: bool) -> None:
        clock = asyncio.get_running_loop().time
        headers = {"x-user-id": f"student-{person}", "x-user-tier": "paid", "x-geo-country": "US", "content-type": "application/json"}
        model, problem, sent = "", "", clock()
        try:
            async with session.post(self._settings.url, data=self._bodies[stream], headers=headers) as response:
                answer = await response.read()
            model = answering_model(answer)
            if response.status != 200:
                problem = str(response.status)
            elif stream and not answer.endswith(b"data: [DONE]\n\n"):
                problem = "broken stream"
        except TimeoutError:
            problem = "timeout"
        except aiohttp.ClientError as error:
            problem = f"connection: {type(error).__name__}"
        self._ended.append((sent, clock(), person, stream, model, problem))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self._say()

    def _say(self) -> None:
        sys.stdout.buffer.write(orjson.dumps(self._ended) + b"\n")
        sys.stdout.buffer.flush()
        self._ended = []


async def _main() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    student = Student(StudentSettings(**orjson.loads(await lines.readline())))
    stop = asyncio.Event()

    async def until_closed() -> None:
        await lines.read()
        stop.set()

    waiting = asyncio.create_task(until_closed())
    try:
        await student.run(stop)
    except BrokenPipeError:
        return
    finally:
        waiting.cancel()


if __name__ == "__main__":
    uvloop.run(_main())
