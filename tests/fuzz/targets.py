"""What is fuzzed: functions that take bytes, and raise where a promise is broken. No atheris here: the tests call them too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Final

from google.protobuf.message import DecodeError

from extproc import contract, wire
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.transport.base import Process
from extproc.transport.native import frames
from extproc.transport.native.connection import Connection
from extproc.transport.native.limits import DEFAULT, Limits
from extproc.transport.native.streams import Shared
from extproc.wire import requests
from tests.fuzz import conversation
from tests.fuzz.books import Violation, Witness, check, must, split
from tests.fuzz.conversation import DRAIN, HEALTH, TICK, Source
from tests.fuzz.differential import differential

SMALL: Final = replace(
    replace(DEFAULT, streams=8, half_closed=4, unanswered_resets=20, provoked_resets=20, pings=20, settings=20, empty_data=20, others=20),
    window_updates=200,
    stalled=2_000,
    message=400,
    stream_window=1_000,
    connection_window=65_535,
    header_list=2_000,
    header_block=3_000,
    continuations=3,
    memo=4,
    memo_block=256,
)
"""Every bound within a fuzzer's reach. A message of the largest size fits into a stream's window, as in DEFAULT."""
SLOWEST: Final = 2.0
"""Seconds of CPU for one act of a peer, at most 16 KiB of frames: a thousand times what is usual, instrumented or not."""
SAID_PER_BYTE: Final = 64
SAID_PER_STREAM: Final = 256
"""Bytes that we may answer per byte heard, and per stream when time passes: an answer of 415 to a HEADERS of 10 bytes is the worst."""


def _fail(message: bytes) -> bytes:
    raise ValueError(message)


PROCESSES: Final[tuple[Process, ...]] = (lambda message: message, lambda _: None, _fail, lambda _: b"y" * 300)
"""Echo, silence, an exception, an answer that does not fit into small windows."""


# ------------------------------------------------------------------------------------------------------------------- connection
def connection(data: bytes, made: Callable[[Shared], Connection] = Connection) -> None:
    """Raw bytes behind the preface, cut as the first bytes say and frame by frame: the same answers, and the books hold.

    The first byte chooses process, limits and whether the preface is said; the second how the bytes are cut.
    """
    source = Source(data)
    how, cut = source.byte(), source.byte() + 1
    sent = (b"" if how & 8 else frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0)) + data[2:]
    pieces, whole = Room(how, made), Room(how, made)
    for start in range(0, len(sent), cut):
        pieces.receive(sent[start : start + cut])
    for part in _by_frames(sent):
        whole.receive(part)
    must(_without_credit(pieces.said) == _without_credit(whole.said), "how bytes are cut does not matter")


class Room:
    """A connection that is checked after each step."""

    def __init__(self, how: int, made: Callable[[Shared], Connection]) -> None:
        self.shared = Shared(PROCESSES[how & 3], SMALL if how & 4 else DEFAULT)
        self.shared.serving = True
        self.connection = made(self.shared)
        self.connection.begin()
        self.said = b""
        self._heard = 0
        self._allowed = 4096

    def receive(self, data: bytes) -> bytes:
        """The peer's bytes."""
        self._heard += len(data)
        self._allowed += SAID_PER_BYTE * len(data)
        return self.step(lambda: self.connection.receive(data))

    def step(self, act: Callable[[], bytes]) -> bytes:
        """Something happens: no exception, not for long, not too much said, and the books hold."""
        begun = process_time()
        out = act()
        must(process_time() - begun < SLOWEST, "a step takes milliseconds")
        self.said += out
        must(len(self.said) <= self._allowed + self.shared.limits.stalled, "what is said is bounded by what was heard")
        check(self.connection)
        return out

    def time_passes(self, act: Callable[[], bytes]) -> bytes:
        """Something that is not the peer's doing."""
        self._allowed += SAID_PER_STREAM * (1 + len(self.connection._streams))
        return self.step(act)


def _by_frames(sent: bytes) -> list[bytes]:
    """The preface, each whole frame, the rest."""
    parts = [sent[: len(frames.PREFACE)]]
    at = len(frames.PREFACE)
    for _, _, _, payload in split(sent[at:]):
        end = at + frames.HEAD + len(payload)
        parts.append(sent[at:end])
        at = end
    return [*parts, sent[at:]]


def _without_credit(said: bytes) -> list[tuple[int, int, int, bytes]]:
    """Credit may be given earlier or later."""
    return [one for one in split(said) if one[0] != frames.WINDOW_UPDATE]


# ----------------------------------------------------------------------------------------------------------------- conversation
def talk(data: bytes, made: Callable[[Shared], Connection] = Connection) -> None:
    """Frames that are nearly right, ticks, drains and changes of health: the books hold, and a witness of both sides agrees."""
    source = Source(data)
    room, witness = Room(source.byte(), made), Witness()
    room.receive(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0))
    server, now = room.connection, 0.0
    for act in conversation.acts(source):
        if isinstance(act, bytes):
            for part in _frames(act):
                witness.heard(part)
                witness.said(room.receive(part), server.closed)
            continue
        now += act == TICK
        room.shared.serving ^= act == HEALTH
        second = now
        acted = {TICK: lambda: server.tick(second), DRAIN: server.drain, HEALTH: server.health_changed}[act]  # noqa: B023 - called below
        witness.said(room.time_passes(acted), server.closed)
    must(room.shared.errors == 0 or room.shared.process is _fail, "an error is counted where a decision failed, and only there")


def _frames(sent: bytes) -> list[bytes]:
    return [frames.frame(kind, flags, sid, payload) for kind, flags, sid, payload in split(sent)]


# ---------------------------------------------------------------------------------------------------------------------- subject
def subject(data: bytes) -> None:
    """The walk and the full parse agree: on the bytes themselves (first byte even), or on a request built out of them (odd)."""
    message = data[1:] if not data[:1] or not data[0] & 1 else built(Source(data[1:]))
    try:
        expected = requests._parse(message)
    except DecodeError:
        expected = None
        try:
            wire.read_subject(message)
        except DecodeError:
            return
        raise Violation("what the parser refuses is refused") from None
    # The first times may only have taught it names and lengths, what stands behind the headers, and a layout.
    for _ in range(4):
        must(wire.read_subject(message) == expected, "every way to read a message reads what the parser reads")
    must(len(requests._HEADS) <= requests._MOST_HEADS and len(requests._RESTS) <= requests._MOST_RESTS, "what is remembered is bounded")
    must(len(requests._LAYOUTS) <= requests._MOST_KEYS, "layouts are bounded")
    must(all(len(one) <= requests._PER_KEY for one in requests._LAYOUTS.values()), "and those of a key")
    must(all(len(one) <= LONGEST_REMEMBERED for one in (*requests._HEADS, *requests._RESTS)), "what is remembered is short")


LONGEST_REMEMBERED: Final = 2_048
"""Bytes of one thing that the reading of requests remembers; with a bound on their number this bounds its memory."""
HEADER_NAMES: Final = ("x-user-id", ":path", "cookie", "x-request-id", contract.REQUEST_MODEL, "", "n" * 130)
IMITATION: Final = b"\n\x0e\n\tx-user-id\x1a\x01z"
"""What a header looks like on the wire, for values that pretend to be one."""


def built(source: Source) -> bytes:
    """A request field by field, with duplicates, odd orders, wrong lengths and foreign fields where the bytes say so."""
    message = b""
    while source.more:
        choice = source.byte()
        if choice < 0x80:
            message += _lengthed(0x12, _header_map(source), source)
        elif choice < 0xC0:
            metadata = ProcessingRequest()
            namespace = contract.REQUEST_NAMESPACE if choice & 1 else "other"
            name = source.take(source.byte() % 8).decode("latin-1")
            metadata.metadata_context.filter_metadata[namespace].update({contract.REQUEST_MODEL_FIELD: name})
            message += metadata.SerializeToString()
        elif choice < 0xE0:
            message += bytes([source.byte()]) + source.take(source.byte() % 16)
        else:
            message += source.pick((b"Z\x00", b"\x1a\x00", b"\x12\x00", b"\x12\x02\n\x00", b"*\x00", b"\x12\x02\x18\x01", IMITATION))
    return message


def _header_map(source: Source) -> bytes:
    entries = b""
    for _ in range(source.byte() % 6):
        how = source.byte()
        name = HEADER_NAMES[how % len(HEADER_NAMES)].encode()
        value = IMITATION if how & 0x10 else source.take(source.byte() % 24) * (20 if how & 0x20 else 1)
        key, raw = _lengthed(0x0A, name, source), _lengthed(0x12 if how & 0xC0 == 0xC0 else 0x1A, value, source)
        entries += _lengthed(0x0A, raw + key if how & 0xC0 == 0x80 else key + raw, source)
    return _lengthed(0x0A, entries, source) + (b"\x18\x01" if source.byte() == 1 else b"")


def _lengthed(tag: int, payload: bytes, source: Source) -> bytes:
    """A field with its length; sometimes one that is wrong, or written in more bytes than it needs."""
    how, size = source.byte(), len(payload)
    size += {0xFF: 1, 0xFE: -1}.get(how, 0) * (size > 0)
    varint = bytes([size | 0x80, 0]) if how == 0xFD and size < 128 else _varint(size)
    return bytes([tag]) + varint + payload


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


TARGETS: Final[dict[str, Callable[[bytes], object]]] = {
    "connection": connection,
    "conversation": talk,
    "subject": subject,
    "differential": differential,
}
"""By name, as `run` and the tests call them."""


def limits_are_consistent(limits: Limits) -> bool:
    """True where a message of the largest size can always be completed: a 64th of a stream's window may not have been credited yet."""
    return limits.stream_window - (limits.stream_window >> 6) >= limits.message + 5
