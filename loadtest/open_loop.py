"""The two ends of a measurement through Envoy, each a process of its own: an open-loop client, and a model that always says the same.

    python loadtest/open_loop.py client      reads an Order a line, fires it, writes its Seen to the Order's file, says so
    python loadtest/open_loop.py upstream    listens on loopback and says where

Open loop: the instants of sending are drawn beforehand, and a latency counts from the instant that was *scheduled*. So a slow answer
delays nobody else, and whatever delays the client itself is in the figure (no coordinated omission).
The client waits in select(2), since the kernel keeps its timeout to microseconds, and timers of uvloop are whole milliseconds.
"""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, cast

import httptools
import orjson
import uvloop

from extproc.errors import ExtprocError, Problem

USERS: Final = 10_000
COUNTRIES: Final = ("US", "DE", "NZ", "FR")
LATE: Final = 0.001
"""Seconds after its scheduled instant from which a request was sent late: the figure is then partly the client's own."""
PATIENCE: Final = 10.0
"""Seconds after the last send; what has no answer by then is an error."""
LEAD: Final = 0.05
"""Seconds from the beginning of a block to its first instant."""
ANSWER: Final = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "constant",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
    }
)


@dataclass(frozen=True, slots=True)
class Order:
    """One block to fire."""

    file: str
    """Where its Seen goes."""
    port: int
    path: str
    model: str
    """What the body asks for."""
    rate: float
    """Requests per second, on average; the gaps are exponential."""
    seconds: float
    """Measured."""
    warm: float
    """Seconds before it, sent and not measured."""
    connections: int
    seed: int
    """The same seed gives the same instants and users."""
    first: int
    """Number of the first request; request ids are made of these numbers."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw in one block."""

    sent: int
    """Warming up included, as in `errors`."""
    errors: int
    """Status other than 200, a lost connection, or no answer."""
    measured: int
    """Sent after warming up; those without an error have a latency."""
    late: int
    """Of the measured ones, sent more than LATE after their instant."""
    latencies: tuple[float, ...]
    """Seconds from the scheduled instant to the end of the answer."""


class UnreadableError(ExtprocError):
    """A block's file is not what the client writes."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(Problem("open-loop.unreadable", path.name, what, "measure again; is the disk of the temporary directory full?"))


def write(path: Path, seen: Seen) -> None:
    """Write a block's file; latencies in nanoseconds."""
    whole = {name: getattr(seen, name) for name in ("sent", "errors", "measured", "late")}
    path.write_bytes(orjson.dumps({**whole, "nanoseconds": [round(latency * 1e9) for latency in seen.latencies]}))


def read(path: Path) -> Seen:
    """Read a block's file; raises UnreadableError where it is cut short or its numbers contradict each other."""
    try:
        found = orjson.loads(path.read_bytes())
        sent, errors, measured, late = (int(found[name]) for name in ("sent", "errors", "measured", "late"))
        seen = Seen(sent, errors, measured, late, tuple(int(one) / 1e9 for one in found["nanoseconds"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(path, repr(error)) from error
    lost = seen.measured - len(seen.latencies)
    if not 0 <= lost <= seen.errors or not 0 <= seen.late <= seen.measured <= seen.sent or min(seen.latencies, default=0) < 0:
        raise UnreadableError(path, f"{seen.sent} sent, {seen.errors} errors, {seen.measured} measured, {len(seen.latencies)} latencies")
    return seen


# --------------------------------------------------------------------------------------------------------------------- client
def schedule(rate: float, seconds: float, random: Random) -> list[float]:
    """Instants of a Poisson process, in seconds from its beginning."""
    instants, at = [], random.expovariate(rate)
    while at < seconds:
        instants.append(at)
        at += random.expovariate(rate)
    return instants


def request(order: Order, number: int, user: int) -> bytes:
    """One HTTP/1.1 request, whole."""
    asked = {"model": order.model, "messages": [{"role": "user", "content": f"Is {user} even?"}], "stream": False}
    body = orjson.dumps(asked)
    head = (
        f"POST {order.path} HTTP/1.1\r\nhost: 127.0.0.1:{order.port}\r\ncontent-type: application/json\r\nuser-agent: open-loop\r\n"
        f"x-user-id: user-{user}\r\nx-user-tier: {'paid' if user % 3 else 'free'}\r\nx-geo-country: {COUNTRIES[user % len(COUNTRIES)]}\r\n"
        f"x-request-id: {number:08x}-0000-4000-8000-{user:012x}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Line:
    """One keep-alive connection with at most one request on it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._parser = httptools.HttpResponseParser(self)
        self._complete = False
        self.number = 0
        """Index of the request that waits for its answer here."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = True

    def send(self, number: int, message: bytes) -> None:
        self.number, self._complete = number, False
        self._socket.sendall(message)

    def receive(self) -> int:
        """The status of the answer once it is whole, 0 before; raises OSError or HttpParserError where the connection is of no use."""
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionResetError
        self._parser.feed_data(data)
        return self._parser.get_status_code() if self._complete else 0

    def close(self) -> None:
        self._socket.close()


class _Block:
    """Fires one Order."""

    def __init__(self, order: Order) -> None:
        random = Random(order.seed)
        self._order = order
        self._due = schedule(order.rate, order.warm + order.seconds, random)
        self._requests = [request(order, order.first + index, random.randrange(USERS)) for index in range(len(self._due))]
        self._idle = deque(Line(order.port) for _ in range(order.connections))
        self._busy: dict[int, Line] = {}
        self._latencies: list[float] = []
        self._next = self._errors = self._late = 0

    def fire(self) -> Seen:
        """All of it; returns when every answer is there, or PATIENCE is over."""
        clock, due, count = time.perf_counter, self._due, len(self._due)
        begin = clock() + LEAD
        end = self._order.warm + self._order.seconds + PATIENCE
        while (self._next < count or self._busy) and (now := clock() - begin) < end:
            while self._next < count and due[self._next] <= now and self._idle:
                self._send(now)
                now = clock() - begin
            wait = due[self._next] - now if self._next < count and self._idle else end - now
            readable, _, _ = select.select(self._busy, (), (), max(0.0, wait))
            for number in readable:
                self._receive(number, begin)
        self._errors += count - self._next + len(self._busy)
        for line in (*self._idle, *self._busy.values()):
            line.close()
        measured = sum(at >= self._order.warm for at in due)
        return Seen(count, self._errors, measured, self._late, tuple(self._latencies))

    def _send(self, now: float) -> None:
        index = self._next
        self._next += 1
        if now - self._due[index] > LATE and self._due[index] >= self._order.warm:
            self._late += 1
        # The one that has rested longest: all of them are used, and so all of Envoy's threads.
        line = self._idle.popleft()
        try:
            line.send(index, self._requests[index])
        except OSError:
            self._fail(line)
        else:
            self._busy[line.fileno()] = line

    def _receive(self, number: int, begin: float) -> None:
        line = self._busy[number]
        try:
            status = line.receive()
        except (OSError, httptools.HttpParserError):
            del self._busy[number]
            self._fail(line)
            return
        if not status:
            return
        del self._busy[number]
        self._idle.append(line)
        due = self._due[line.number]
        if status != 200:
            self._errors += 1
        elif due >= self._order.warm:
            self._latencies.append(time.perf_counter() - begin - due)

    def _fail(self, line: Line) -> None:
        self._errors += 1
        line.close()
        self._idle.append(Line(self._order.port))


def client() -> None:
    """Fire what standard input orders, until it ends."""
    with suppress(OSError):
        # The kernel may round a wait up by this many nanoseconds, 50,000 by default.
        Path("/proc/self/timerslack_ns").write_text("1")
    for line in sys.stdin.buffer:
        order = Order(**orjson.loads(line))
        block = _Block(order)
        gc.collect()
        gc.freeze()
        gc.disable()
        seen = block.fire()
        gc.enable()
        gc.unfreeze()
        write(Path(order.file), seen)
        print(orjson.dumps({"written": order.file}).decode(), flush=True)


# ------------------------------------------------------------------------------------------------------------------- upstream
class _Constant(asyncio.Protocol):
    """Gives each request on a connection the same answer."""

    _REPLY: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._transport.write(self._REPLY)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Constant, "127.0.0.1", 0)
    print(orjson.dumps({"port": server.sockets[0].getsockname()[1]}).decode(), flush=True)
    gc.collect()
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["client"]:
        client()
    elif sys.argv[1:] == ["upstream"]:
        uvloop.run(_serve())
    else:
        sys.exit("client or upstream?")
