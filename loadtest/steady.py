"""The load generator of loadtest/overload.py: open-loop for minutes, its rate changed while it runs. A process of its own.

In (standard input): a line with a Course, then a line `{"rate": R}` for each change; at the end of input it sends no more, waits for what
is open and ends. Out (standard output): a line with a Second each second.

Requests follow a Poisson process at the present rate, from up to `connections` clients with one request open each. So the rate holds
however slow answers are, as long as a client is free; where none is for GIVE_UP seconds, a request is not sent and counted (`held`):
the stand is then past what its clients offer. Two times are told of each answer: from its scheduled instant, and from its sending. They
differ by what the client itself is late, and the share of late sends says whether it was the bottleneck.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import httptools
import orjson

from loadtest.open_loop import USERS, Line, Order, request

LATE: Final = 0.005
"""Seconds after its instant from which a request was sent late."""
GIVE_UP: Final = 1.0
PATIENCE: Final = 10.0
"""Seconds after which an answer is not waited for any more: an error."""
GRAIN: Final = 0.001
"""Seconds: epoll's timeouts are whole milliseconds."""


@dataclass(frozen=True, slots=True)
class Course:
    """Whom to ask what."""

    port: int
    path: str
    model: str
    rate: float
    connections: int
    seed: int


@dataclass(slots=True)
class Second:
    """What happened in one second."""

    at: float
    """Its end, monotonic seconds of the machine."""
    sent: int = 0
    late: int = 0
    """Of `sent`: more than LATE after their instant."""
    held: int = 0
    """Not sent: no client was free."""
    errors: int = 0
    """Answers other than 200, lost connections, none within PATIENCE."""
    open: int = 0
    """Requests without an answer at its end."""
    cpu: float = 0.0
    """Seconds of CPU that this process used."""
    scheduled: list[int] = field(default_factory=list)
    """Microseconds from the scheduled instant to the end of each good answer of this second."""
    taken: list[int] = field(default_factory=list)
    """The same from the sending."""


class Generator:
    """One course, from its first line to the last answer."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._order = Order("", course.port, course.path, course.model, course.rate, 0.0, 0.0, course.connections, course.seed, 0)
        self._random = Random(course.seed)
        self._rate = course.rate
        self._poll = select.epoll()
        self._idle: deque[Line] = deque()
        self._busy: dict[int, tuple[Line, float, float]] = {}
        for _ in range(course.connections):
            self._connect()
        self._number = 0
        self._ends = False
        self._second = Second(0.0)

    def run(self) -> None:
        """Until the end of input and of what is open."""
        clock = time.perf_counter
        self._poll.register(0, select.EPOLLIN)
        now = clock()
        due, tell = now + self._gap(), now + 1.0
        while not self._ends or self._busy:
            now = clock()
            while not self._ends and due <= now:
                if self._idle:
                    self._send(due, now)
                    now = clock()
                elif now - due > GIVE_UP:
                    self._second.held += 1
                else:
                    break
                due += self._gap()
            if now >= tell:
                self._tell(now)
                tell += 1.0
            wait = min(tell, due if self._idle and not self._ends else tell) - now
            for number, _ in self._poll.poll(max(0.0, wait) if wait > GRAIN else 0.0 if wait <= 0 else GRAIN):
                if number:
                    self._receive(number)
                else:
                    self._listen()
        self._tell(clock())

    def _gap(self) -> float:
        return self._random.expovariate(self._rate)

    def _listen(self) -> None:
        told = os.read(0, 65_536).splitlines()
        if told:
            self._rate = float(orjson.loads(told[-1])["rate"])
        else:
            self._ends = True
            self._poll.unregister(0)

    def _connect(self) -> None:
        line = Line(self._course.port)
        self._poll.register(line.fileno(), select.EPOLLIN)
        self._idle.append(line)

    def _send(self, due: float, now: float) -> None:
        self._number += 1
        self._second.sent += 1
        self._second.late += now - due > LATE
        # The one that has rested longest: all of them are used, and so all of Envoy's threads.
        line = self._idle.popleft()
        self._busy[line.fileno()] = line, due, now
        try:
            line.send(self._number, request(self._order, self._number, self._random.randrange(USERS)))
        except OSError:
            self._fail(line.fileno())

    def _receive(self, number: int) -> None:
        if number not in self._busy:
            # An idle one that was closed: not an error of a request, but of no use any more.
            line = next(one for one in self._idle if one.fileno() == number)
            self._idle.remove(line)
            self._replace(line)
            return
        line, due, sent = self._busy[number]
        try:
            status = line.receive()
        except (OSError, httptools.HttpParserError):
            self._fail(number)
            return
        if not status:
            return
        del self._busy[number]
        self._idle.append(line)
        if status != 200:
            self._second.errors += 1
            return
        now = time.perf_counter()
        self._second.scheduled.append(round((now - due) * 1e6))
        self._second.taken.append(round((now - sent) * 1e6))

    def _fail(self, number: int) -> None:
        self._second.errors += 1
        line, _, _ = self._busy.pop(number)
        self._replace(line)

    def _replace(self, line: Line) -> None:
        with suppress(OSError):
            self._poll.unregister(line.fileno())
        line.close()
        self._connect()

    def _tell(self, now: float) -> None:
        for number in [number for number, (_, _, sent) in self._busy.items() if now - sent > PATIENCE]:
            self._fail(number)
        told = self._second
        told.at, told.open, told.cpu = time.monotonic(), len(self._busy), time.process_time()
        sys.stdout.buffer.write(orjson.dumps(asdict(told)) + b"\n")
        sys.stdout.buffer.flush()
        self._second = Second(0.0)


def main() -> None:
    """Entry point."""
    with suppress(OSError):
        # A client that waits for the CPU measures itself; where this is not allowed, the share of late sends says what it cost.
        os.nice(-10)
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    Generator(Course(**orjson.loads(sys.stdin.buffer.raw.readline()))).run()


if __name__ == "__main__":
    main()
