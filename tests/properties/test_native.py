"""Laws of the native transport's core on hostile input: no exception but its own, the same answers however bytes are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.transport.native import frames
from extproc.transport.native.connection import Connection
from extproc.transport.native.frames import END_HEADERS, END_STREAM, frame, rst_stream, window_update
from extproc.transport.native.streams import Shared
from tests.support.h2peer import Raw, block, data, grpc_message, headers, read_frames

SID = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1])
PAYLOAD = st.one_of(st.binary(max_size=40), st.builds(grpc_message, st.binary(max_size=40)))
FRAME = st.one_of(
    st.builds(lambda sid, end: headers(sid, END_HEADERS | end), SID, st.sampled_from([0, END_STREAM])),
    st.builds(lambda sid, payload, end: data(sid, payload, end), SID, PAYLOAD, st.sampled_from([0, END_STREAM, frames.PADDED])),
    st.builds(lambda sid, code: rst_stream(sid, code), SID, st.sampled_from([0, 8])),
    st.builds(window_update, SID, st.integers(0, 2**31 - 1)),
    st.builds(
        lambda key, value: frames.settings({key: value}), st.integers(0, 9), st.one_of(st.integers(0, 70_000), st.integers(0, 2**32 - 1))
    ),
    st.builds(frame, st.integers(0, 12), st.integers(0, 255), SID, st.binary(max_size=60)),
    st.builds(lambda sid, cut: frame(frames.HEADERS, 0, sid, block()[:cut]), SID, st.integers(0, 120)),
    st.builds(lambda sid, start: frame(frames.CONTINUATION, END_HEADERS, sid, block()[start:]), SID, st.integers(0, 120)),
)
CONVERSATION = st.lists(FRAME, max_size=25)


@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_never_raise(noise: bytes, greeted: bool) -> None:
    """Either they mean something, or the connection ends with GOAWAY."""
    connection = Connection(Shared(lambda message: message))
    connection.begin()
    if greeted:
        connection.receive(frames.PREFACE + frame(frames.SETTINGS, 0, 0))
    out = connection.receive(noise)
    read_frames(out)
    assert not connection.closed or any(kind == frames.GOAWAY for kind, *_ in read_frames(out))


@settings(max_examples=300)
@given(CONVERSATION)
def test_arbitrary_frames_never_raise_and_keep_the_books(conversation: list[bytes]) -> None:
    """Windows, credit, stalled bytes and half-closed streams add up after every frame; at the end nothing is held for a closed one."""
    raw = Raw()
    server = raw.server
    for sent in conversation:
        raw.send(sent)
        held = sum(len(stream.buffer) for stream in server._streams.values())
        if not server.closed:
            assert server._receive_window + server._consumed + held == server._limits.connection_window
        waiting = sum(len(payload) for stream in server._streams.values() for payload, is_data in stream.pending or () if is_data)
        assert server._stalled == waiting or server.closed
        assert server._half_closed == sum(stream.state == 3 for stream in server._streams.values()) or server.closed
    assert not server.closed or not server._streams


@settings(max_examples=200)
@given(CONVERSATION, st.lists(st.integers(1, 60), min_size=1, max_size=10))
def test_how_bytes_are_cut_does_not_matter(conversation: list[bytes], cuts: list[int]) -> None:
    """The same frames come back for the same bytes in other pieces."""
    whole, pieces = Raw(), Raw()
    sent = b"".join(conversation)
    whole.send(sent)
    position = 0
    index = 0
    while position < len(sent):
        step = cuts[index % len(cuts)]
        pieces.send(sent[position : position + step])
        position += step
        index += 1
    assert _without_credit(whole) == _without_credit(pieces)


def _without_credit(raw: Raw) -> list[tuple[int, int, int, bytes]]:
    """Credit may be given earlier or later."""
    return [said for said in raw.said if said[0] != frames.WINDOW_UPDATE]
