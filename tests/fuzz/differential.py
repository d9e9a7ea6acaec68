"""The same bytes to our connection and to `h2`'s server side: after each frame both must have understood the same.

Compared: each request (h2 decodes every block statefully, ours may know it by its bytes or its outline), the messages of each stream,
states of all streams, windows that the peer gave, settings, and whether the frame was fine, a stream error or a connection error. What
our side answers is told to h2 through its sending API, which refuses what HTTP/2 does not allow, so our sending is judged as well.
Differences are allowed by name only: the table `differences.ALLOWED`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from h2.stream import StreamState
from hpack import Decoder, HeaderTuple

from extproc.transport.native import frames, states
from extproc.transport.native.connection import Connection
from extproc.transport.native.grpc import PREFIX, Method
from extproc.transport.native.headers import MALFORMED, HeaderReader, Request, read_fields
from extproc.transport.native.limits import DEFAULT
from extproc.transport.native.streams import Shared, Stream
from tests.fuzz import conversation
from tests.fuzz.books import Violation, must, split
from tests.fuzz.conversation import Source
from tests.fuzz.differences import ALLOWED, CONNECTION_ERROR, FINE, STREAM_ERROR, Fields, Met, Seen

NEVER: Final = 1 << 30
LIMITS: Final = replace(
    replace(DEFAULT, streams=NEVER, half_closed=NEVER, unanswered_resets=NEVER, provoked_resets=NEVER, pings=NEVER, settings=NEVER),
    empty_data=NEVER,
    window_updates=NEVER,
    others=NEVER,
    continuations=63,
    header_block=1 << 20,
    memo=8,
)
"""Limits against floods are ours alone; what h2 bounds as well is bounded alike (64 fragments, 32 KiB of fields)."""


# ------------------------------------------------------------------------------------------------------------------------- ours
class _Reader(HeaderReader):
    """Remembers what the last block was taken for, however it was read."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.request: Request | None = None

    def read(self, block: bytes) -> Request:
        self.request = super().read(block)
        return self.request


class Ours(Connection):
    """Our connection, and what it understood."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.reader = self._headers = _Reader()
        self.messages: dict[int, list[bytes]] = {}
        self.requests: dict[int, Request] = {}

    def _message(self, stream: Stream, message: bytes) -> None:
        self.messages.setdefault(stream.sid, []).append(message)
        super()._message(stream, message)

    def step(self, sent: bytes) -> tuple[Seen, bytes]:
        """Receive one frame."""
        highest = self._highest
        out = self.receive(sent)
        seen = Seen()
        for kind, flags, _, payload in split(out):
            if kind == frames.RST_STREAM:
                seen.kind, seen.why = STREAM_ERROR, str(int.from_bytes(payload, "big"))
            elif kind == frames.SETTINGS:
                seen.acknowledged += flags & frames.ACK
        if self.closed:
            seen.kind, seen.why = CONNECTION_ERROR, repr(out[-60:])
        elif self._highest > highest and seen.kind == FINE:
            must(self.reader.request is not None, "a stream is opened by a block that was read")
            self.requests[self._highest] = self.reader.request or MALFORMED
            seen.opened = self._highest, self.requests[self._highest]
        return seen, out

    def state(self, sid: int) -> int:
        """Of a stream, as in `states`."""
        stream = self._streams.get(sid)
        if stream is not None:
            return stream.state
        if sid > self._highest or not sid & 1:
            return states.IDLE
        return states.RESET if sid in self._reset_by_us else states.CLOSED


# ----------------------------------------------------------------------------------------------------------------------- theirs
class _Decoder(Decoder):
    """h2's decoder, whole and stateful for every block; remembers what the last one said, requests that h2 refuses included."""

    fields: Fields = []

    def decode(self, data: bytes, raw: bool = False) -> list[HeaderTuple]:
        found = list(super().decode(data, raw=raw))
        self.fields = [(bytes(name), bytes(value)) for name, value in found]
        return found


class Theirs:
    """h2's server side, with our limits, and what it understood."""

    def __init__(self) -> None:
        self.h2 = H2Connection(
            H2Configuration(
                client_side=False, header_encoding=None, normalize_inbound_headers=False, validate_outbound_headers=False, logger=None
            )
        )
        local = self.h2.local_settings
        local[SettingCodes.HEADER_TABLE_SIZE] = 0  # counts from the acknowledgement on, as ours does
        self.h2.initiate_connection()
        for code, value in ((SettingCodes.INITIAL_WINDOW_SIZE, NEVER), (SettingCodes.MAX_CONCURRENT_STREAMS, NEVER)):
            local._settings[code][0] = value
        self.decoder = self.h2.decoder = _Decoder(max_header_list_size=LIMITS.header_list)
        self.h2.increment_flow_control_window(NEVER)
        self.h2.receive_data(frames.PREFACE)
        self.h2.clear_outbound_data_buffer()
        self.bodies: dict[int, bytes] = {}
        self._answered: set[int] = set()
        self._greeted = False

    def step(self, sent: bytes) -> Seen:
        """Receive one frame."""
        seen, self.decoder.fields = Seen(), []
        if not self._greeted and (sent[3], sent[4] & frames.ACK) != (frames.SETTINGS, 0):
            # RFC 9113, 3.4. The one rule that we know for h2, which does not look; an acknowledgement is no beginning either.
            return Seen(CONNECTION_ERROR, "the peer did not begin with SETTINGS")
        self._greeted = True
        try:
            for event in self.h2.receive_data(sent):
                self._note(event, seen)
        except ProtocolError as error:
            return Seen(CONNECTION_ERROR, f"{type(error).__name__}: {error}")
        for kind, flags, _, payload in split(self.h2.data_to_send()):
            if kind == frames.RST_STREAM:
                seen.kind, seen.why = STREAM_ERROR, str(int.from_bytes(payload, "big"))
            elif kind == frames.SETTINGS:
                seen.acknowledged += flags & frames.ACK
        return seen

    def _note(self, event: Event, seen: Seen) -> None:
        if isinstance(event, RequestReceived):
            seen.opened = event.stream_id, read_fields([HeaderTuple(*pair) for pair in event.headers or ()])
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + (event.data or b"")

    def say(self, out: bytes) -> None:
        """Send what our side has sent; h2 raises what a server must not send."""
        for kind, flags, sid, payload in split(out):
            end = bool(flags & frames.END_STREAM)
            try:
                if kind == frames.HEADERS:
                    first = sid not in self._answered
                    self._answered.add(sid)
                    self.h2.send_headers(sid, [(b":status", b"200")] if first else [(b"grpc-status", b"0")], end_stream=end)
                elif kind == frames.DATA:
                    self.h2.send_data(sid, payload, end_stream=end)
                elif kind == frames.RST_STREAM and self.state(sid) != StreamState.CLOSED:
                    self.h2.reset_stream(sid, int.from_bytes(payload, "big"))
            except (ProtocolError, AssertionError) as error:
                raise Violation(f"we sent what h2 would not: frame {kind} on stream {sid}: {type(error).__name__} {error}") from error
        self.h2.clear_outbound_data_buffer()

    def state(self, sid: int) -> StreamState:
        """Of a stream."""
        stream = self.h2.streams.get(sid)
        return stream.state_machine.state if stream is not None else StreamState.CLOSED


# ------------------------------------------------------------------------------------------------------------------- comparison
def differential(data: bytes, made: Callable[[Shared], Ours] = Ours) -> set[str]:
    """A conversation, frame by frame, to both; the names of the allowed differences that it met.

    The first byte: does the server echo, or only listen? Does the peer begin with SETTINGS, as it must?
    """
    source = Source(data)
    how = source.byte()
    echo = bool(how & 1)
    shared = Shared(lambda message: message if echo else None, LIMITS)
    shared.serving = True
    ours, theirs = made(shared), Theirs()
    ours.begin()
    ours.receive(frames.PREFACE)
    met: set[str] = set()
    if how & 2 == 0:
        _compare_frame(ours, theirs, (frames.SETTINGS, 0, 0, b""), met)
    for act in conversation.acts(source):
        for one in split(act) if isinstance(act, bytes) else ():
            if not _compare_frame(ours, theirs, one, met):
                return met
    return met


def _compare_frame(ours: Ours, theirs: Theirs, sent: tuple[int, int, int, bytes], differences: set[str]) -> bool:
    """Give a frame to both; True while the comparison can go on."""
    kind, flags, sid, payload = sent
    state, known, request = ours.state(sid), sid in ours.requests, ours.requests.get(sid, MALFORMED)
    whole = frames.frame(kind, flags, sid, payload)
    seen, out = ours.step(whole)
    heard = theirs.step(whole)
    fields = theirs.decoder.fields
    promised = request.content_length is not None or b"content-length" in dict(fields)
    met = Met(kind, flags, sid, payload, state, known, promised, fields, seen, heard)
    same = (met.ours.kind, met.ours.opened, met.ours.acknowledged) == (met.theirs.kind, met.theirs.opened, met.theirs.acknowledged)
    if not same:
        name = next((allowed.name for allowed in ALLOWED if allowed.applies(met)), "")
        must(bool(name), f"ours and h2 agree on {met}")
        differences.add(name)
        if met.ours.kind != FINE or met.theirs.kind == CONNECTION_ERROR:
            return False
    # h2 reads nothing more of a peer that has said GOAWAY; we finish its streams (RFC 9113, 6.8).
    if CONNECTION_ERROR in (met.ours.kind, met.theirs.kind) or kind == frames.GOAWAY:
        return False
    theirs.say(out)
    _compare_state(ours, theirs, met)
    return True


_STATES: Final = {
    states.OPEN: StreamState.OPEN,
    states.HALF_CLOSED_REMOTE: StreamState.HALF_CLOSED_REMOTE,
    states.HALF_CLOSED_LOCAL: StreamState.HALF_CLOSED_LOCAL,
}


def _compare_state(ours: Ours, theirs: Theirs, met: Met) -> None:
    remote = theirs.h2.remote_settings
    must(
        ours._peer_window == remote.initial_window_size and ours._peer_frame == remote.max_frame_size, f"settings are the same after {met}"
    )
    must(ours._send_window == theirs.h2.outbound_flow_control_window, f"the connection's window is the same after {met}")
    for sid in ours._streams.keys() | theirs.h2.streams.keys():
        stream = ours._streams.get(sid)
        expected = _STATES[stream.state] if stream is not None else StreamState.CLOSED
        must(theirs.state(sid) == expected, f"stream {sid} is {expected.name} for us, {theirs.state(sid).name} for h2 after {met}")
        if stream is not None:
            window = theirs.h2.streams[sid].outbound_flow_control_window
            must(stream.send_window == window, f"the window of stream {sid} is the same after {met}: {stream.send_window}, {window}")
    if met.kind == frames.DATA and met.sid in ours.requests:
        _compare_body(ours, theirs.bodies.get(met.sid, b""), met.sid)


def _compare_body(ours: Ours, body: bytes, sid: int) -> None:
    """The messages of a stream are those in h2's bytes of it; what is not complete is held, until we have answered."""
    messages, rest, readable = _messages(body)
    method, stream = ours.requests[sid].method, ours._streams.get(sid)
    got = ours.messages.get(sid, [])
    if method >= Method.UNKNOWN:
        must(not got, "no message of a foreign request is read")
        return
    must(got == messages[: len(got)], f"the messages of stream {sid} are the same")
    if stream is not None and stream.state != states.HALF_CLOSED_LOCAL and not stream.pending:
        must(len(got) == len(messages), f"all messages of stream {sid} are read")
        must(not readable or stream.buffer == rest, f"what is not complete on stream {sid} is held")


def _messages(body: bytes) -> tuple[list[bytes], bytes, bool]:
    """(messages, what follows them, whether that can be the beginning of another)."""
    found: list[bytes] = []
    at = 0
    while len(body) - at >= PREFIX:
        size = int.from_bytes(body[at + 1 : at + PREFIX], "big")
        if body[at] or size > LIMITS.message:
            return found, body[at:], False
        if len(body) - at - PREFIX < size:
            break
        found.append(body[at + PREFIX : at + PREFIX + size])
        at += PREFIX + size
    return found, body[at:], True
