"""The native transport's core, spoken to by the `h2` library and by hand-made frames. No socket anywhere."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from extproc import contract
from extproc.transport.native import frames, states
from extproc.transport.native.connection import Connection
from extproc.transport.native.errors import Code
from extproc.transport.native.frames import END_HEADERS, END_STREAM, frame, rst_stream, window_update
from extproc.transport.native.grpc import NOT_SERVING, SERVING
from extproc.transport.native.limits import DEFAULT
from extproc.transport.native.streams import Shared
from tests.support.h2peer import Peer, Raw, block, data, grpc_message, headers, read_frames

FEW = replace(DEFAULT, streams=4, half_closed=3, unanswered_resets=5, provoked_resets=5, pings=5, settings=5, empty_data=5, others=5)
FEW = replace(FEW, window_updates=5, stalled=4096, message=1000, header_list=2000, header_block=3000, continuations=2)


# ------------------------------------------------------------------------------------------------------------------------ gRPC
def test_a_message_is_answered_and_the_stream_ended_in_one_piece() -> None:
    """Headers, message, trailers; the peer had not even ended its side."""
    answer = Peer().call(b"hello")
    assert answer.messages == [b"re:hello"]
    assert (answer.headers[":status"], answer.headers["content-type"], answer.status) == ("200", "application/grpc", "0")
    assert answer.ended


@pytest.mark.parametrize("chunk", [1, 2, 7, 9, 100])
def test_bytes_may_be_cut_anywhere(chunk: int) -> None:
    """The same answers, however TCP cuts."""
    peer = Peer()
    for number in range(5):
        sid = peer.open()
        peer.client.send_data(sid, grpc_message(b"x" * number), end_stream=bool(number % 2))
    peer.exchange(chunk)
    assert [answer.messages for answer in peer.answers.values()] == [[b"re:" + b"x" * number] for number in range(5)]


def test_a_message_may_come_in_many_frames() -> None:
    """And with padding; the answer comes when it is complete."""
    peer = Peer()
    sid = peer.open()
    for byte in grpc_message(b"hello"):
        peer.client.send_data(sid, bytes([byte]), pad_length=3)
    peer.exchange()
    assert peer.answers[sid].messages == [b"re:hello"]


def test_what_follows_the_answer_is_discarded_and_credited() -> None:
    """Several messages in one frame: the first decides, the stream is over, and the connection's window does not shrink for ever."""
    seen = []
    peer = Peer(lambda message: (seen.append(message), b"ok")[1])
    for _ in range(100):
        sid = peer.open()
        peer.client.send_data(sid, grpc_message(b"a") + grpc_message(b"b" * 10_000))
        peer.exchange()
        peer.client.reset_stream(sid)
        peer.exchange()
    assert seen == [b"a"] * 100
    assert peer.server._receive_window + peer.server._consumed == DEFAULT.connection_window


def test_observability_messages_get_no_reply_and_an_end_when_the_peer_ends() -> None:
    """None from the Processor is no reply; trailers come with the peer's end."""
    answer = Peer(lambda _: None).call(b"look", end=True)
    assert (answer.messages, answer.status, answer.ended) == ([], "0", True)


def test_an_exception_ends_that_stream_alone() -> None:
    """INTERNAL, counted; the next is decided."""

    def process(message: bytes) -> bytes:
        if message == b"bad":
            raise ValueError(message)
        return b"fine"

    peer = Peer(process)
    assert peer.call(b"bad").status == "13"
    assert peer.call(b"good").messages == [b"fine"]
    assert peer.shared.errors == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (grpc_message(b"x", flag=1), "12"),
        (b"\0" + (DEFAULT.message + 1).to_bytes(4, "big") + b"x", "8"),
        (grpc_message(b"whole")[:-1], "13"),
        (b"\0\0", "13"),
    ],
    ids=["compressed", "too long", "cut short", "prefix cut short"],
)
def test_messages_that_cannot_be_read_have_a_status(sent: bytes, status: str) -> None:
    """UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL; never a hang."""
    peer = Peer()
    sid = peer.open()
    peer.client.send_data(sid, sent, end_stream=True)
    peer.exchange()
    assert peer.answers[sid].status == status
    assert peer.answers[sid].ended


def test_unknown_methods_and_foreign_requests_are_told() -> None:
    """UNIMPLEMENTED for gRPC, 415 with a sentence for a browser."""
    peer = Peer()
    sid = peer.open(path="/some.Other/Method")
    peer.exchange()
    assert (peer.answers[sid].status, peer.answers[sid].headers[":status"]) == ("12", "200")
    for changes in ({"content_type": "text/html"}, {"method": "GET"}, {"content_type": "application/grpc-web"}):
        sid = peer.open(end=True, **changes)
        peer.exchange()
        assert peer.answers[sid].headers[":status"] == "415"
        assert b"Envoy" in peer.answers[sid].body
        assert peer.answers[sid].ended


def test_health_check_and_watch() -> None:
    """Check answers; Watch says every change and never ends by itself."""
    peer = Peer()
    assert peer.call(b"", path=contract.HEALTH_CHECK_METHOD).messages == [SERVING]
    watch = peer.call(b"", end=True, path=contract.HEALTH_WATCH_METHOD)
    assert (watch.messages, watch.ended) == ([SERVING], False)
    peer.shared.serving = False
    peer.take(peer.server.health_changed())
    assert (watch.messages, watch.ended) == ([SERVING, NOT_SERVING], False)
    assert peer.call(b"", path=contract.HEALTH_CHECK_METHOD).messages == [NOT_SERVING]


def test_a_deadline_ends_a_stream_that_waits() -> None:
    """grpc-timeout, at the next tick after it; never early."""
    peer = Peer()
    sid = peer.open(grpc_timeout="1500m")
    peer.exchange()
    peer.take(peer.server.tick(1.0))
    assert sid not in peer.answers
    peer.take(peer.server.tick(3.0))
    assert peer.answers[sid].status == "4"


def test_a_deadline_counts_from_the_stream_not_from_the_clocks_beginning() -> None:
    """A machine's clock stands at thousands of seconds when a connection begins: its first tick ends nothing that has time left."""
    peer = Peer(now=40_000.0)
    sid = peer.open(grpc_timeout="5S")
    peer.exchange()
    peer.take(peer.server.tick(40_000.9))
    assert sid not in peer.answers
    peer.take(peer.server.tick(40_007.0))
    assert peer.answers[sid].status == "4"


def test_a_drain_loses_no_stream() -> None:
    """GOAWAY(2^31-1), PING; what was under way is answered, then the final GOAWAY; later streams are not begun."""
    raw = Raw()
    raw.send(headers(1))
    out = raw.server.drain()
    first, ping = read_frames(out)
    assert (first[0], int.from_bytes(first[3][:4], "big")) == (frames.GOAWAY, frames.LARGEST_ID)
    raw.send(headers(3) + data(3, grpc_message(b"sent before the peer knew")))
    assert [sid for kind, _, sid, _ in raw.said if kind == frames.DATA] == [3]
    final = raw.send(frame(frames.PING, frames.ACK, 0, ping[3]))
    assert int.from_bytes(final[0][3][:4], "big") == 3
    assert raw.send(headers(5) + data(5, grpc_message(b"too late"))) == []
    assert not raw.server.idle
    raw.send(data(1, grpc_message(b"under way")))
    assert [sid for kind, _, sid, _ in raw.said if kind == frames.DATA] == [3, 1]
    assert raw.server.idle


# ----------------------------------------------------------------------------------------------------------------- flow control
def test_answers_wait_for_the_streams_window() -> None:
    """A window of 0, and credit in small pieces: the answer comes in pieces, its trailers last, and nothing is lost."""
    raw = Raw(lambda _: b"y" * 100)
    raw.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    said = raw.send(headers(1) + data(1, grpc_message(b"q")))
    assert [kind for kind, *_ in said] == [frames.HEADERS]
    got = b""
    for _ in range(3):
        for kind, _, _, payload in raw.send(window_update(1, 40)):
            got += payload if kind == frames.DATA else b""
    assert got == grpc_message(b"y" * 100)
    assert raw.said[-1][:2] == (frames.HEADERS, END_HEADERS | END_STREAM)
    assert raw.server._stalled == 0


def test_answers_wait_for_the_connections_window() -> None:
    """65,535 bytes for all streams together until the peer gives more."""
    raw = Raw(lambda _: b"y" * 30_000)
    for sid in (1, 3, 5):
        raw.send(headers(sid) + data(sid, grpc_message(b"q")))
    sent = sum(len(payload) for kind, _, _, payload in raw.said if kind == frames.DATA)
    assert sent == 65_535
    raw.send(window_update(0, 100_000))
    assert sum(len(payload) for kind, _, _, payload in raw.said if kind == frames.DATA) == 3 * 30_005
    assert sum(flags & END_STREAM for kind, flags, *_ in raw.said if kind == frames.HEADERS) == 3


def test_a_window_may_become_negative() -> None:
    """A smaller INITIAL_WINDOW_SIZE applies to open streams too (RFC 9113, 6.9.2)."""
    raw = Raw(lambda _: b"y" * 100)
    raw.send(headers(1))
    raw.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 10}))
    raw.send(data(1, grpc_message(b"q")))
    raw.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    assert sum(len(payload) for kind, _, _, payload in raw.said if kind == frames.DATA) == 10
    raw.send(window_update(1, 5))
    assert sum(len(payload) for kind, _, _, payload in raw.said if kind == frames.DATA) == 10, "the window was -10 and is -5"
    raw.send(window_update(1, 1000))
    assert sum(len(payload) for kind, _, _, payload in raw.said if kind == frames.DATA) == 105


def test_nothing_is_sent_between_two_values_of_one_settings_frame() -> None:
    """Windows grow to 10 and shrink to 0 again: what waits goes on waiting (RFC 9113, 6.5.3; found by fuzzing)."""
    raw = Raw(lambda _: b"y" * 100)
    raw.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + headers(1) + data(1, grpc_message(b"q")))
    values = b"".join(struct.pack(">HI", frames.INITIAL_WINDOW_SIZE, value) for value in (10, 0))
    raw.send(frame(frames.SETTINGS, 0, 0, values))
    assert [kind for kind, _, _, _ in raw.said if kind == frames.DATA] == []
    raw.send(window_update(1, 1000))
    assert sum(len(payload) for kind, _, _, payload in raw.said if kind == frames.DATA) == 105


def test_windows_are_kept_towards_us() -> None:
    """A stream that sends more than its window is reset, a connection that does is ended."""
    small = replace(DEFAULT, stream_window=100, connection_window=frames.DEFAULT_WINDOW)
    raw = Raw(limits=small)
    raw.send(headers(1) + data(1, b"\0\0\1\0\0" + b"x" * 100))
    assert raw.resets() == [(1, Code.FLOW_CONTROL_ERROR)]
    begun = b"\0\0\1\0\0" + b"x" * 95
    raw.send(b"".join(headers(sid) + data(sid, begun) for sid in range(3, 3 + 2 * 654, 2)))
    assert raw.goaway is None
    raw.send(headers(1999) + data(1999, begun) + headers(2001) + data(2001, begun))
    assert raw.goaway is Code.FLOW_CONTROL_ERROR


def test_a_large_message_gets_credit_only_when_it_is_consumed() -> None:
    """What we hold is bounded by the windows that we gave."""
    raw = Raw()
    raw.send(headers(1) + data(1, b"\0\0\4\0\0" + b"x" * 16_000))
    held = raw.server._streams[1].buffer
    assert len(held) == 16_005
    assert raw.server._consumed == 0
    raw.send(rst_stream(1, Code.CANCEL))
    assert raw.server._consumed == 16_005


# ------------------------------------------------------------------------------------------------------------------- violations
CONNECTION_FAULTS: dict[str, tuple[bytes, Code]] = {
    "frame too long": (frame(frames.DATA, 0, 1, b"x" * 16_385), Code.FRAME_SIZE_ERROR),
    "DATA on stream 0": (data(0, b"x"), Code.PROTOCOL_ERROR),
    "DATA on an idle stream": (data(1, b"x"), Code.PROTOCOL_ERROR),
    "DATA on a closed stream": (headers(1) + rst_stream(1, Code.CANCEL) + data(1, b"x"), Code.STREAM_CLOSED),
    "HEADERS on stream 0": (headers(0), Code.PROTOCOL_ERROR),
    "HEADERS on an even stream": (headers(2), Code.PROTOCOL_ERROR),
    "HEADERS on a closed stream": (headers(1) + rst_stream(1, Code.CANCEL) + headers(1), Code.STREAM_CLOSED),
    "HEADERS on a lower stream": (headers(5) + headers(3), Code.STREAM_CLOSED),
    "HEADERS with too much padding": (frame(frames.HEADERS, END_HEADERS | frames.PADDED, 1, b"\xff" + block()), Code.PROTOCOL_ERROR),
    "DATA with too much padding": (headers(1) + data(1, b"\x05abc", frames.PADDED), Code.PROTOCOL_ERROR),
    "a stream that depends on itself": (
        frame(frames.HEADERS, END_HEADERS | frames.WITH_PRIORITY, 1, b"\0\0\0\1\0" + block()),
        Code.PROTOCOL_ERROR,
    ),
    "HEADERS too short for priority": (frame(frames.HEADERS, END_HEADERS | frames.WITH_PRIORITY, 1, b"\0"), Code.FRAME_SIZE_ERROR),
    "an interrupted header block": (headers(1, 0) + frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (headers(1, 0) + frame(frames.CONTINUATION, END_HEADERS, 3), Code.PROTOCOL_ERROR),
    "CONTINUATION of nothing": (frame(frames.CONTINUATION, END_HEADERS, 1), Code.PROTOCOL_ERROR),
    "a block that is no HPACK": (frame(frames.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "an index beyond the table": (frame(frames.HEADERS, END_HEADERS, 1, b"\xc0"), Code.COMPRESSION_ERROR),
    "a table larger than allowed": (frame(frames.HEADERS, END_HEADERS, 1, b"\x3f\xe1\x1f" + block()), Code.COMPRESSION_ERROR),
    "SETTINGS on a stream": (frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "SETTINGS of 5 bytes": (frame(frames.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "an acknowledgement that says something": (frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "push of 2": (frames.settings({frames.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
    "a window of 2^31": (frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), Code.FLOW_CONTROL_ERROR),
    "frames below 16 KiB": (frames.settings({frames.MAX_FRAME_SIZE: 16_383}), Code.PROTOCOL_ERROR),
    "PING on a stream": (frame(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "PING of 7 bytes": (frame(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "RST_STREAM on an idle stream": (rst_stream(1, Code.CANCEL), Code.PROTOCOL_ERROR),
    "RST_STREAM of 3 bytes": (headers(1) + frame(frames.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3 bytes": (frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by 0": (window_update(0, 0), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond 2^31-1": (window_update(0, frames.LARGEST_WINDOW), Code.FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE on an idle stream": (window_update(1, 1), Code.PROTOCOL_ERROR),
    "PRIORITY without a stream": (frame(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "PUSH_PROMISE": (frame(frames.PUSH_PROMISE, END_HEADERS, 1, bytes(4) + block()), Code.PROTOCOL_ERROR),
    "GOAWAY on a stream": (frame(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "GOAWAY of 7 bytes": (frame(frames.GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_violation_of_the_connection_ends_it(name: str) -> None:
    """GOAWAY with the code that RFC 9113 names; nothing is read afterwards."""
    sent, code = CONNECTION_FAULTS[name]
    raw = Raw()
    raw.send(sent)
    assert raw.goaway is code
    assert raw.server.closed
    assert raw.send(headers(99)) == []


STREAM_FAULTS: dict[str, tuple[bytes, Code]] = {
    "upper case in a name": (headers(1, X="1"), Code.PROTOCOL_ERROR),
    "a connection header": (headers(1, connection="close"), Code.PROTOCOL_ERROR),
    "te other than trailers": (headers(1, te="gzip"), Code.PROTOCOL_ERROR),
    "a space around a value": (headers(1, x_a=" b"), Code.PROTOCOL_ERROR),
    "a line break in a value": (headers(1, x_a="b\r\nc: d"), Code.PROTOCOL_ERROR),
    "a missing path": (headers(1, path=""), Code.PROTOCOL_ERROR),
    "an unknown pseudo header": (headers(1, **{":extra": "1"}), Code.PROTOCOL_ERROR),
    "content-length too short": (headers(1, content_length="3") + data(1, grpc_message(b"x")), Code.PROTOCOL_ERROR),
    "content-length too long": (headers(1, content_length="9") + data(1, b"\0\0", END_STREAM), Code.PROTOCOL_ERROR),
    "grpc-timeout of nonsense": (headers(1, grpc_timeout="soon"), Code.PROTOCOL_ERROR),
    "trailers that do not end": (headers(1) + headers(1), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE by 0": (headers(1) + window_update(1, 0), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond 2^31-1": (headers(1) + window_update(1, frames.LARGEST_WINDOW), Code.FLOW_CONTROL_ERROR),
    "PRIORITY of 4 bytes": (headers(1) + frame(frames.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "PRIORITY on itself": (headers(1) + frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"), Code.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_violation_of_a_stream_ends_that_stream_alone(name: str) -> None:
    """RST_STREAM with the code that RFC 9113 names; the next stream is answered."""
    sent, code = STREAM_FAULTS[name]
    raw = Raw()
    raw.send(sent)
    assert raw.resets() == [(1, code)]
    assert not raw.server.closed
    assert [kind for kind, *_ in raw.send(headers(3) + data(3, grpc_message(b"q")))] == [frames.HEADERS, frames.DATA, frames.HEADERS]


def test_what_was_on_its_way_when_we_reset_is_ignored() -> None:
    """DATA, trailers, resets and credit of a stream that we have reset are no fault."""
    raw = Raw()
    raw.send(headers(1, te="gzip"))
    raw.send(data(1, b"x") + window_update(1, 5) + headers(1, END_HEADERS | END_STREAM) + rst_stream(1, Code.CANCEL))
    assert not raw.server.closed
    assert raw.resets() == [(1, Code.PROTOCOL_ERROR)]


def test_the_preface_and_the_first_settings_are_required() -> None:
    """A browser's HTTP/1.1 and a peer without SETTINGS get GOAWAY at once."""
    for sent in (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", frames.PREFACE + frame(frames.PING, 0, 0, bytes(8))):
        fresh = Connection(Shared(lambda message: message))
        fresh.begin()
        assert read_frames(fresh.receive(sent))[-1][0] == frames.GOAWAY
        assert fresh.closed


# ----------------------------------------------------------------------------------------------------------------------- floods
def many(make: Callable[[int], bytes], count: int) -> bytes:
    return b"".join(make(2 * number + 1) for number in range(count))


FLOODS: dict[str, bytes] = {
    "rapid reset": many(lambda sid: headers(sid) + rst_stream(sid, Code.CANCEL), 6),
    "MadeYouReset": many(lambda sid: headers(sid) + window_update(sid, 0), 6),
    "PING": frame(frames.PING, 0, 0, bytes(8)) * 6,
    "SETTINGS": frame(frames.SETTINGS, 0, 0) * 6,
    "empty DATA": headers(1) + data(1, b"") * 6,
    "PRIORITY": headers(1) + frame(frames.PRIORITY, 0, 1, bytes(5)) * 6,
    "unknown frames": frame(0x77, 0, 0) * 6,
    "WINDOW_UPDATE": window_update(0, 1) * 6,
    "CONTINUATION": headers(1, 0) + frame(frames.CONTINUATION, 0, 1, b"") * 3,
    "a long header block": headers(1, 0) + frame(frames.CONTINUATION, 0, 1, b"x" * 3000),
    "a long header list": headers(1, **{f"x-{number}": "y" * 100 for number in range(20)}),
    "stalled answers": frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + many(lambda sid: headers(sid) + data(sid, grpc_message(b"q")), 4),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection(name: str) -> None:
    """ENHANCE_YOUR_CALM one beyond the limit, and what was held is given free."""
    raw = Raw(lambda _: b"y" * 2000, FEW)
    raw.send(FLOODS[name])
    assert raw.goaway is Code.ENHANCE_YOUR_CALM
    assert raw.server._streams == {}
    assert raw.shared.faults == {"ENHANCE_YOUR_CALM": 1}


def test_limits_hold_per_second_and_begin_anew() -> None:
    """Up to the limit, every second, for ever."""
    raw = Raw(limits=FEW)
    for second in range(10):
        raw.send(frame(frames.PING, 0, 0, bytes(8)) * 5)
        raw.server.tick(float(second))
    assert raw.goaway is None


def test_resets_of_answered_streams_are_free() -> None:
    """Envoy resets every one: thousands cost nothing of the budget."""
    raw = Raw(limits=FEW)
    for number in range(2000):
        raw.send(headers(2 * number + 1) + data(2 * number + 1, grpc_message(b"q")) + rst_stream(2 * number + 1, Code.NO_ERROR))
    assert raw.goaway is None
    assert raw.server._streams == {}
    assert raw.server._half_closed == 0


def test_too_many_streams_are_refused_one_by_one() -> None:
    """REFUSED_STREAM says that it may be tried again; the others go on."""
    raw = Raw(limits=FEW)
    raw.send(many(headers, 6))
    assert raw.resets() == [(9, Code.REFUSED_STREAM), (11, Code.REFUSED_STREAM)]
    raw.send(data(1, grpc_message(b"q")))
    assert raw.said[-1][:3] == (frames.HEADERS, END_HEADERS | END_STREAM, 1)


def test_streams_that_the_peer_never_ends_are_reset_without_fault() -> None:
    """After our answer, beyond a bound: RST_STREAM(NO_ERROR), the oldest first."""
    raw = Raw(limits=replace(FEW, streams=100))
    raw.send(many(lambda sid: headers(sid) + data(sid, grpc_message(b"q")), 5))
    assert raw.resets() == [(1, Code.NO_ERROR), (3, Code.NO_ERROR)]
    assert len(raw.server._streams) == 3


# ------------------------------------------------------------------------------------------------------------- states and memo
def test_the_table_has_every_state_and_event() -> None:
    """Each cell is a state or a fault that is named; what we never do is never reached by a peer."""
    assert len(states.TABLE) == len(states.STATES)
    for row in states.TABLE:
        assert len(row) == len(states.EVENTS)
        for event, cell in enumerate(row):
            assert cell in range(len(states.STATES)) or cell in states.FAULTS or (cell == states.NEVER and event >= states.WE_END)


def test_header_blocks_are_remembered_only_when_they_mean_one_thing() -> None:
    """After the acknowledgement and the size update; whole blocks, never with a field that must not be indexed, at most so many."""
    raw = Raw(limits=replace(DEFAULT, memo=2))
    reader = raw.server._headers
    raw.send(headers(1))
    assert reader.context_free
    assert reader.memo == {}, "the block of the update itself is not"
    plain = block()[1:]

    def again(sid: int, payload: bytes) -> None:
        raw.send(frame(frames.HEADERS, END_HEADERS, sid, payload) + data(sid, grpc_message(b"q")) + rst_stream(sid, Code.CANCEL))

    again(3, plain)
    assert list(reader.memo) == [plain]
    again(5, plain + b"\x10\x03x-s\x01s")
    assert list(reader.memo) == [plain]
    for sid in (7, 9, 11):
        again(sid, plain + b"\x00\x03x-n" + bytes([1, 48 + sid % 10]))
    assert len(reader.memo) == 2
    again(13, plain + b"\x00\x03x-t" + bytes([200 & 0x7F]) + b"y" * 72)
    assert not raw.server.closed


def test_a_dynamic_table_works_until_the_peer_gives_it_up() -> None:
    """Before the acknowledgement the h2 client indexes; the answers are the same before and after."""
    peer = Peer()
    for number in range(20):
        assert peer.call(b"m%d" % number, x_trace=f"id-{number}").messages == [b"re:m%d" % number]
    assert peer.server._headers.context_free
