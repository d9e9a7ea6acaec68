"""A worker that is behind leaves out what was given up, and nothing else: all other streams meet the same bytes as before."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.transport.native import frames
from extproc.transport.native.frames import END_HEADERS, END_STREAM, frame, rst_stream, window_update
from tests.properties.test_native import FRAME
from tests.support.h2peer import Raw, block, data, grpc_message, read_frames
from tests.support.h2peer import headers as first_headers

PAYLOAD = st.one_of(st.builds(grpc_message, st.binary(max_size=40)), st.binary(max_size=12))


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Streams as Envoy opens and resets them, woven into each other, and now and then something else in between."""
    waiting: list[list[bytes]] = []
    woven: list[bytes] = []
    for sid in range(5, 5 + 2 * draw(st.integers(1, 8)), 2):
        end = draw(st.sampled_from([0, 0, 0, END_STREAM]))
        pieces = [headers(sid), data(sid, draw(PAYLOAD), end)]
        pieces += [data(sid, b"", END_STREAM)] if not end and draw(st.booleans()) else []
        pieces += [window_update(sid, 5)] if draw(st.integers(0, 5)) == 0 else []
        pieces += [rst_stream(sid, 0)] if draw(st.booleans()) else []
        together = draw(st.integers(1, len(pieces)))
        woven += pieces[:together]
        waiting.append(pieces[together:])
        if draw(st.integers(0, 9)) == 0:
            woven.append(draw(FRAME))
        for _ in range(draw(st.integers(0, 3))):
            one = draw(st.sampled_from(waiting))
            if one:
                woven.append(one.pop(0))
    return woven + [piece for one in waiting for piece in one]


def headers(sid: int) -> bytes:
    """A HEADERS frame with the block that a connection knows by heart."""
    return frame(frames.HEADERS, END_HEADERS, sid, block()[1:])


def served(process: Callable[[bytes], bytes | None] = lambda message: b"re:" + message) -> Raw:
    """A connection that has met that block before."""
    raw = Raw(process)
    raw.send(first_headers(1) + data(1, grpc_message(b"first")) + rst_stream(1, 0))
    raw.send(headers(3) + data(3, grpc_message(b"second")) + rst_stream(3, 0))
    return raw


@settings(max_examples=400)
@given(streams(), st.integers(0, 30))
def test_other_streams_do_not_notice(conversation: list[bytes], cut: int) -> None:
    """Frames in both directions, windows and the connection's end are the same but for the streams that were given up."""
    sent = b"".join(conversation)
    sent = sent[: len(sent) - cut]
    plain, late = served(), served()
    everything = plain.send(sent)
    late.said += (there := _late(late, sent))
    gone = {sid for _, _, sid, _ in everything} - {sid for _, _, sid, _ in there} - {0}
    assert late.shared.shed >= len(gone)
    assert gone <= {sid for piece in conversation for kind, _, sid, _ in read_frames(piece) if kind == frames.RST_STREAM}
    assert _comparable(there) == [one for one in _comparable(everything) if one[2] not in gone]
    assert (plain.goaway, plain.server.closed) == (late.goaway, late.server.closed)
    if not late.server.closed:
        server = late.server
        held = sum(len(stream.buffer) for stream in server._streams.values())
        assert server._receive_window + server._consumed + held == server._limits.connection_window
        assert server._highest == plain.server._highest
        assert server._streams.keys() == plain.server._streams.keys()
        assert server._rest == plain.server._rest


def _late(raw: Raw, sent: bytes) -> list[tuple[int, int, int, bytes]]:
    return list(read_frames(raw.server.receive_late(sent)))


def _comparable(found: list[tuple[int, int, int, bytes]]) -> list[tuple[int, int, int, bytes]]:
    """Without the stream that a GOAWAY names (it may have been left out where the connection ends), and without the update of the header
    table's size that the first answer after SETTINGS carries, whichever that is."""
    return [
        (kind, flags, sid, payload[4:] if kind == frames.GOAWAY else payload.removeprefix(b"\x20") if kind == frames.HEADERS else payload)
        for kind, flags, sid, payload in found
    ]


def test_what_was_given_up_costs_no_decision() -> None:
    """Of a thousand requests that came at once nine hundred are over: one hundred are decided; then everything is as always."""
    decided: list[bytes] = []
    raw = served(lambda message: (decided.append(message), b"ok")[1])
    sids = range(5, 2005, 2)
    sent = b"".join(headers(sid) + data(sid, grpc_message(b"%d" % sid)) for sid in sids)
    sent += b"".join((data(sid, b"", END_STREAM) if sid % 3 else b"") + rst_stream(sid, 8) for sid in sids[:900])
    answered = {sid for kind, _, sid, _ in _late(raw, sent) if kind == frames.DATA}
    assert answered == set(sids[900:])
    assert decided == [b"first", b"second", *(b"%d" % sid for sid in sids[900:])]
    assert raw.shared.shed == 900
    assert not raw.server.closed
    assert _late(raw, headers(2005) + data(2005, grpc_message(b"next")))[1][3] == grpc_message(b"ok")


def test_before_the_greeting_nothing_is_left_out() -> None:
    """A connection that begins with much, or is in the middle of a header block, is read as usual."""
    raw = Raw()
    raw.send(frame(frames.HEADERS, 0, 1, first_headers(1)[9:40]))
    out = _late(raw, frame(frames.CONTINUATION, END_HEADERS, 1, first_headers(1)[40:]) + data(1, grpc_message(b"x")) + rst_stream(1, 0))
    assert [kind for kind, _, sid, _ in out if sid == 1] == [frames.HEADERS, frames.DATA, frames.HEADERS]
    assert raw.shared.shed == 0
