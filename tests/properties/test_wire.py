"""Reading a request fast is reading it right: the walk and the full parse agree on every message, hostile ones included."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc import contract, wire
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.wire import requests

NAMES = st.sampled_from(["x-user-id", "x-user-tier", ":path", "cookie", "x-request-id", contract.REQUEST_MODEL, "", "x" * 130])
IMITATION = b"\n\x0e\n\tx-user-id\x1a\x01z"
"""What a header looks like on the wire, for values that pretend to be one."""
VALUES = st.one_of(st.binary(max_size=20), st.just(IMITATION), st.integers(0, 400).map(lambda n: b"v" * n), st.just(b"\x1a\x03abc"))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Requests as Envoy sends them, and as it never would: duplicates, `value`, end_of_stream, metadata, other kinds, garbage behind."""
    message = ProcessingRequest()
    for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=8)):
        header = message.request_headers.headers.headers.add(key=name, raw_value=value)
        if draw(st.integers(0, 15)) == 0:
            header.value = "instead"
    if draw(st.integers(0, 9)) == 0:
        message.request_headers.end_of_stream = True
    if draw(st.booleans()):
        model = draw(st.sampled_from(["gpt-4o", "o3", ""]))
        message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: model})
    if draw(st.integers(0, 9)) == 0:
        message.metadata_context.filter_metadata["other"].update({"a": "b"})
    message.observability_mode = draw(st.integers(0, 9)) == 0
    encoded = message.SerializeToString()
    tail = draw(st.sampled_from([b"", b"", b"", b"Z\x00", encoded, b"\x1a\x00", b"\x12\x00", b"\xff", b"\x12\x04\n\x02\n\x00"]))
    return encoded + tail


def same(message: bytes) -> None:
    try:
        expected = requests._parse(message)
    except DecodeError:
        with pytest.raises(DecodeError):
            wire.read_subject(message)
        return
    # Four times: the first may only have taught it names and lengths, the second what stands behind the headers, the third a layout.
    for _ in range(4):
        assert wire.read_subject(message) == expected


@settings(max_examples=400)
@given(messages())
@example(b"")
@example(b"\x12\x00")
@example(b"\x12\x02\n\x00")
def test_the_walk_agrees_with_the_parser(message: bytes) -> None:
    """On what a protobuf library may write."""
    same(message)


@settings(max_examples=400)
@given(messages(), st.data())
def test_the_walk_agrees_on_damaged_messages(message: bytes, data: st.DataObject) -> None:
    """A byte changed, cut out or put in: the same answer, or the same refusal."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(message) - 1)))
        new = data.draw(st.binary(max_size=2))
        message = message[:at] + new + message[at + 1 :]
    same(message)


@given(st.binary(max_size=60))
def test_the_walk_agrees_on_noise(message: bytes) -> None:
    """Arbitrary bytes, as they are and behind the first bytes of a request."""
    same(message)
    same(b"\x12" + message)


def test_what_envoy_sends_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual message is walked from the third time on, and cut by its layout from the fourth; another user's too."""

    def request(user: bytes) -> bytes:
        message = ProcessingRequest()
        given = {":path": b"/v1/chat", "authorization": b"Bearer " + b"k" * 900, "x-user-id": user, "x-request-id": b"1" * 36}
        for name, value in given.items():
            message.request_headers.headers.headers.add(key=name, raw_value=value)
        message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-4o"})
        return message.SerializeToString() + b"Z\x00"

    for _ in range(3):
        wire.read_subject(request(b"u1"))
    assert requests._walk(request(b"u1")) == requests._parse(request(b"u1"))
    expected = requests._parse(request(b"u2"))
    monkeypatch.setattr(requests, "_walk", None)
    assert wire.read_subject(request(b"u2")) == expected


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks for a million models, or sends values of every length, costs a dictionary of a fixed size."""
    monkeypatch.setattr(requests, "_MOST_HEADS", 50)
    monkeypatch.setattr(requests, "_MOST_KEYS", 20)
    requests._HEADS.clear()
    for number in range(2000):
        message = ProcessingRequest()
        message.request_headers.headers.headers.add(key=f"x-{number}", raw_value=b"1")
        message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: f"m{number}"})
        same(message.SerializeToString())
        requests._learn_head(f"x-{number}", number % 900)
    assert len(requests._HEADS) <= requests._MOST_HEADS == 50
    assert len(requests._RESTS) <= requests._MOST_RESTS
    assert len(requests._LAYOUTS) <= requests._MOST_KEYS == 20
    assert max(map(len, requests._LAYOUTS.values())) <= requests._PER_KEY
