"""Reading a request fast is reading it right: the walk and the full parse agree on every message, hostile ones included."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from extproc import contract, wire
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.wire import requests

OURS = [contract.REQUEST_MODEL, contract.REQUEST_STATE, contract.CLAIM_PREFIX + "sub", "extproc.", "extproc"]
"""Headers that pretend to be facts; the last one is none of them."""
NAMES = st.sampled_from(["x-user-id", "x-user-tier", ":path", "cookie", "x-request-id", *OURS, "", "x" * 130])
IMITATION = b"\n\x0e\n\tx-user-id\x1a\x01z"
"""What a header looks like on the wire, for values that pretend to be one."""
VALUES = st.one_of(st.binary(max_size=20), st.just(IMITATION), st.integers(0, 400).map(lambda n: b"v" * n), st.just(b"\x1a\x03abc"))


claim_names = st.sampled_from(["sub", "roles", "a.b", "", "https://id.example/roles", "ü", "extproc"])
claims = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.sampled_from(["a\0b", "\0"]) | st.integers(-5, 1 << 60) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(claim_names, inner, max_size=3),
    max_leaves=6,
)
deep = st.integers(1, 15).map(lambda depth: functools.reduce(lambda inner, _: {"in": inner}, range(depth), "bottom"))
namespaces = st.sampled_from(
    [contract.REQUEST_NAMESPACE, contract.JWT_NAMESPACE, contract.JWT_NAMESPACE + "x", contract.ASSIGNMENT_NAMESPACE, "envoy.lb", ""]
)
fields = st.sampled_from([contract.REQUEST_MODEL_FIELD, contract.REQUEST_STATE_FIELD, contract.JWT_FIELD, "other", ""])


@st.composite
def metadata(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """What Envoy forwards, and what it never would: claims of every shape, state, a model that is no text, unknown namespaces."""
    found: dict[str, dict[str, Any]] = {}
    if draw(st.booleans()):
        found[contract.REQUEST_NAMESPACE] = {contract.REQUEST_MODEL_FIELD: draw(st.sampled_from(["gpt-4o", "o3", "", "ü", 7.0, None]))}
    if draw(st.integers(0, 2)) == 0:
        found.setdefault(contract.REQUEST_NAMESPACE, {})[contract.REQUEST_STATE_FIELD] = draw(st.sampled_from(["resp_1", True, None, {}]))
    if draw(st.integers(0, 3)) == 0:
        found[contract.JWT_NAMESPACE] = {contract.JWT_FIELD: draw(st.dictionaries(claim_names, claims, max_size=4) | deep)}
    for name in draw(st.lists(namespaces, max_size=1)):
        found.setdefault(name, {})[draw(fields)] = draw(claims)
    return found


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
    for namespace, values in draw(metadata()).items():
        message.metadata_context.filter_metadata[namespace].update(values)
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


@settings(max_examples=150)
@given(st.dictionaries(claim_names, claims, max_size=4))
def test_claims_are_texts_by_dotted_path(given_claims: dict[str, Any]) -> None:
    """Each leaf of a token, and nothing else: numbers as people write them, lists joined, what holds a NUL of its own left out."""

    def text(value: Any) -> bytes:
        if isinstance(value, bool):
            return b"true" if value else b"false"
        if isinstance(value, int | float):
            number = float(value)
            return (f"{number:.0f}" if number.is_integer() else repr(number)).encode()
        return value.encode() if isinstance(value, str) and "\0" not in value else b""

    def leaves(block: dict[str, Any], path: str) -> Iterator[tuple[str, bytes]]:
        for name, value in block.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{path}{name}.")
            elif isinstance(value, list):
                yield path + name, b"\0".join(filter(None, map(text, value)))
            else:
                yield path + name, text(value)

    message = ProcessingRequest()
    message.request_headers.headers.headers.add(key="x-user-id", raw_value=b"u")
    message.metadata_context.filter_metadata[contract.JWT_NAMESPACE].update({contract.JWT_FIELD: given_claims})
    expected = list(leaves(given_claims, contract.CLAIM_PREFIX))
    assume(len({name for name, _ in expected}) == len(expected))
    assert wire.read_subject(message.SerializeToString()) == {"x-user-id": b"u", **dict(expected)}


def test_a_token_of_any_depth_is_read() -> None:
    """What lies deeper than eight blocks is not looked at. (Protobuf itself refuses a message of more than a hundred levels.)"""
    for depth in (1, 8, 9, 10, 25):
        message = ProcessingRequest()
        message.request_headers.headers.headers.add(key="x-user-id", raw_value=b"u")
        inner = functools.reduce(lambda inside, _: {"in": inside}, range(depth), "bottom")
        message.metadata_context.filter_metadata[contract.JWT_NAMESPACE].update({contract.JWT_FIELD: inner})
        subject = wire.read_subject(message.SerializeToString())
        assert subject is not None
        assert (contract.CLAIM_PREFIX + ".".join(["in"] * depth) in subject) is (depth <= 9)


def test_a_users_claims_are_never_remembered() -> None:
    """They are the user's own: nothing of a request with claims is kept for the next one."""
    before = dict(requests._RESTS)
    for number in range(10):
        message = ProcessingRequest()
        message.request_headers.headers.headers.add(key="x-user-id", raw_value=b"u%d" % number)
        message.metadata_context.filter_metadata[contract.JWT_NAMESPACE].update({contract.JWT_FIELD: {"sub": f"secret-{number}"}})
        same(message.SerializeToString())
    assert before == requests._RESTS


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
