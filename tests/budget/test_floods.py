"""What a hostile peer can make us spend before it is cut off, under the limits of production: instructions per frame, and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from extproc.transport.native import frames, outbound
from extproc.transport.native.errors import Code
from extproc.transport.native.frames import END_HEADERS, frame, rst_stream, window_update
from extproc.transport.native.limits import DEFAULT
from tests.support.cost import opcodes, peak_memory
from tests.support.h2peer import Raw, block, data, grpc_message, headers

KIB = 1024
CHUNK = 64 * KIB
"""Bytes that a socket gives at once."""


@dataclass(frozen=True)
class Flood:
    """`frame(n)`: the n-th frame or frames. `ends`: after at most so many of them. `work`: instructions for each, at most."""

    frame: Callable[[int], bytes]
    ends: int
    work: int
    memory: int
    """Bytes beyond the chunk that is read, at most."""
    first: bytes = b""
    code: Code = Code.ENHANCE_YOUR_CALM


def sid(number: int) -> int:
    return 2 * number + 1


BLOCK = block()[1:]
"""Without the size update: the block that is remembered."""
OPENED = headers(1) + data(1, grpc_message(b"q")) + headers(3)


def begin(number: int) -> bytes:
    """Opens a stream, as cheaply as a peer can."""
    return frame(frames.HEADERS, END_HEADERS, sid(number + 2), BLOCK)


def unlike(number: int) -> bytes:
    """A block that was never seen, with a name that was never seen."""
    name = b"x-%06d" % number
    return frame(frames.HEADERS, END_HEADERS, sid(number + 2), BLOCK + b"\0" + bytes((len(name),)) + name + b"\x01v")


FLOODS = {
    "rapid reset": Flood(lambda n: begin(n) + rst_stream(sid(n + 2), Code.CANCEL), DEFAULT.unanswered_resets + 1, 800, 300 * KIB, OPENED),
    "MadeYouReset": Flood(lambda n: begin(n) + window_update(sid(n + 2), 0), DEFAULT.provoked_resets + 1, 900, 400 * KIB, OPENED),
    "too many streams": Flood(begin, DEFAULT.streams + DEFAULT.provoked_resets - 1, 700, 2_500 * KIB, OPENED),
    "CONTINUATION": Flood(
        lambda n: headers(5, 0) if n == 0 else frame(frames.CONTINUATION, 0, 5, b""), DEFAULT.continuations + 2, 500, 100 * KIB, OPENED
    ),
    "a header block without end": Flood(
        lambda n: headers(5, 0) if n == 0 else frame(frames.CONTINUATION, 0, 5, b"x" * 16_000), 4, 500, 400 * KIB, OPENED
    ),
    "a header list that unfolds": Flood(
        # 4 KiB of indices of the static table, two bytes of code for each 60 of list.
        lambda n: frame(frames.HEADERS, END_HEADERS, sid(n + 2), BLOCK + b"\x90" * 4_000),
        1,
        900_000,
        1_500 * KIB,
        OPENED,
    ),
    "SETTINGS": Flood(lambda n: frames.settings({frames.INITIAL_WINDOW_SIZE: n}), DEFAULT.settings, 700, 100 * KIB, OPENED),
    "PING": Flood(lambda n: frame(frames.PING, 0, 0, n.to_bytes(8, "big")), DEFAULT.pings + 1, 400, 100 * KIB, OPENED),
    "empty DATA": Flood(lambda n: data(3, b""), DEFAULT.empty_data + 1, 500, 100 * KIB, OPENED),
    "padding alone": Flood(lambda n: data(3, b"\x04" + bytes(4), frames.PADDED), DEFAULT.empty_data + 1, 600, 100 * KIB, OPENED),
    "PRIORITY": Flood(lambda n: frame(frames.PRIORITY, 0, 1, bytes(5)), DEFAULT.others + 1, 400, 100 * KIB, OPENED),
    "unknown frames": Flood(lambda n: frame(0xBA, 0, 0), DEFAULT.others + 1, 300, 100 * KIB, OPENED),
    "WINDOW_UPDATE": Flood(lambda n: window_update(0, 1), DEFAULT.window_updates + 1, 400, 100 * KIB, OPENED),
    "answers that nobody reads": Flood(
        lambda n: begin(n) + data(sid(n + 2), grpc_message(b"q")),
        DEFAULT.stalled // 2_005 - 1,
        3_000,
        8_000 * KIB,
        frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + OPENED,
    ),
    "blocks that are never the same": Flood(
        lambda n: unlike(n) + rst_stream(sid(n + 2), Code.CANCEL), DEFAULT.unanswered_resets + 1, 25_000, 1_000 * KIB, OPENED
    ),
    "messages without end": Flood(
        # Each stream announces a megabyte and sends 16 KB of it: the connection's window is what all of them may hold.
        lambda n: begin(n) + data(sid(n + 2), b"\0\0\x0f\xff\xff" + b"x" * 16_000),
        DEFAULT.connection_window // 16_005,
        1_200,
        20_000 * KIB,
        OPENED,
        Code.FLOW_CONTROL_ERROR,
    ),
}


def flooded(flood: Flood) -> Raw:
    """A connection, and what a flood does to it: fed as a socket would, until it is closed or resets the stream."""
    raw = Raw(lambda _: b"y" * 2_000)
    raw.send(flood.first)
    raw.said.clear()
    return raw


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_off_and_cheap(name: str) -> None:
    """After a known number of frames; each costs a bounded number of instructions, and what is held stays small."""
    flood = FLOODS[name]
    raw = flooded(flood)
    for number in range(flood.ends - 1):
        raw.send(flood.frame(number))
        raw.said = raw.said[-1:]
        assert raw.goaway is None, f"cut off already after {number + 1}"
        if name == "WINDOW_UPDATE" and number == 4_000:
            # The rest is more of the same; counting 50,000 frame by frame would take a while.
            raw.server._counts[outbound.WINDOW_UPDATES] = DEFAULT.window_updates
            break
    for number in range(flood.ends - 1, flood.ends + 5):
        raw.send(flood.frame(number))
    assert raw.goaway is flood.code


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_costs_little_work(name: str) -> None:
    """Instructions per frame, in the middle of the flood."""
    flood = FLOODS[name]
    raw = flooded(flood)
    count = min(flood.ends, 60)
    for number in range(count // 2):
        raw.server.receive(flood.frame(number))
    spent = [opcodes(partial(raw.server.receive, flood.frame(number))) for number in range(count // 2, count)]
    assert max(spent) <= flood.work, f"{max(spent)} instructions for one"


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_holds_little_memory(name: str) -> None:
    """All of it in chunks as large as a socket gives, until the end."""
    flood = FLOODS[name]
    raw = flooded(flood)
    everything = b"".join(flood.frame(number) for number in range(flood.ends + 40))
    chunks = [everything[start : start + CHUNK] for start in range(0, len(everything), CHUNK)]

    def feed() -> None:
        for chunk in chunks:
            raw.server.receive(chunk)

    assert peak_memory(feed) <= flood.memory + 2 * CHUNK


def test_an_answered_stream_is_no_flood() -> None:
    """What Envoy does all day costs none of these budgets: 20,000 streams, each reset once it is answered, between two ticks."""
    raw = Raw()
    raw.send(OPENED + window_update(0, 1 << 30))
    for number in range(20_000):
        raw.server.receive(begin(number) + data(sid(number + 2), grpc_message(b"q")) + rst_stream(sid(number + 2), Code.INTERNAL_ERROR))
    assert not raw.server.closed
    assert raw.server._counts[:2] == [0, 0]
