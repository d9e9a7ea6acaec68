"""Plays Envoy to one worker: recorded frames, distinct users, so many streams open at once; each is reset once it has its answer.

The client prepares every byte beforehand and reads answers by their frames, so that it costs less than what it measures. It does not
look into replies; it counts them, and fails where one does not come.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from extproc.transport import TransportName
from loadtest.messages import finished, greeting, opened

USERS = 10_000
OPEN = 64
"""Streams that wait for their answers on one connection."""
CONNECTIONS = 2
"""As an Envoy of two threads has."""
PATIENCE = 10.0
_HEAD = struct.Struct(">IBI").unpack_from
_DATA, _GOAWAY = 0, 7


@dataclass(frozen=True, slots=True)
class Spent:
    """What a worker spent on the streams of one replay."""

    streams: int
    seconds: float
    """Of its CPU, per decision."""
    rate: float
    """Decisions per second, as the client saw it; client and server share the machine."""


class _Connection:
    """One connection of a replay."""

    def __init__(self, path: str, streams: list[bytes]) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self._streams = streams
        self._resets = [finished(2 * number + 1) for number in range(len(streams))]
        self._next = 0
        self._rest = b""
        self.answered = 0
        self.socket.sendall(greeting())
        self._open(OPEN)

    @property
    def done(self) -> bool:
        return self.answered == len(self._streams)

    def _open(self, count: int, before: bytes = b"") -> None:
        self.socket.sendall(before + b"".join(self._streams[self._next : self._next + count]))
        self._next += count

    def read(self) -> None:
        """Take what there is; for each answer, reset its stream and open another."""
        received = self.socket.recv(1 << 18)
        if not received:
            raise RuntimeError(f"the router closed the connection after {self.answered} answers")
        data = self._rest + received
        at, size, answers = 0, len(data), []
        while size - at >= 9:
            first, _, stream = _HEAD(data, at)
            end = at + 9 + (first >> 8)
            if end > size:
                break
            if not first & 0xFF:
                answers.append(stream >> 1)
            elif first & 0xFF == _GOAWAY:
                raise RuntimeError(f"the router said GOAWAY: {data[at + 17 : end]!r}")
            at = end
        self._rest = data[at:]
        if answers:
            self.answered += len(answers)
            self._open(len(answers), b"".join([self._resets[one] for one in answers]))


def replay(path: str, worker: int, transport: TransportName, make: Callable[[int], bytes], streams: int, users: int = USERS) -> Spent:
    """At least so many decisions of the worker (its process id) that listens on a Unix socket, each user once per connection.

    `make`: what Envoy sends for a user.
    """
    prepared = list(opened((make(user) for user in range(users)), transport))
    rounds = max(1, streams // (users * CONNECTIONS))
    begin, before = time.perf_counter(), cpu(worker)
    for _ in range(rounds):
        _round(path, prepared)
    total = rounds * CONNECTIONS * users
    return Spent(total, (cpu(worker) - before) / total, total / (time.perf_counter() - begin))


def _round(path: str, prepared: list[bytes]) -> None:
    connections = {one.socket.fileno(): one for one in (_Connection(path, prepared) for _ in range(CONNECTIONS))}
    poll = select.poll()
    for number in connections:
        poll.register(number, select.POLLIN)
    while connections:
        ready = poll.poll(PATIENCE * 1000)
        if not ready:
            raise RuntimeError(f"no answer for {PATIENCE:g} s")
        for number, _ in ready:
            connections[number].read()
            if connections[number].done:
                poll.unregister(number)
                connections.pop(number).socket.close()


def cpu(pid: int) -> float:
    """Seconds of CPU of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
