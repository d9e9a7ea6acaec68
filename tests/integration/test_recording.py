"""Benchmark and budget play back what the real Envoy sends; it still sends that."""

from __future__ import annotations

import asyncio

from extproc import contract
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from loadtest.messages import RECORDED, message
from loadtest.record import record


def shape(encoded: str) -> tuple[list[tuple[str, int]], ProcessingRequest]:
    """Names and lengths of the headers, and everything else of a message."""
    request = ProcessingRequest.FromString(bytes.fromhex(encoded))
    headers = [(header.key, len(header.raw_value)) for header in request.request_headers.headers.headers]
    request.ClearField("request_headers")
    return headers, request


def test_the_recording_is_what_envoy_sends() -> None:
    """Header blocks to the byte, flags and resets on both transports; the message but for its request id. `python -m loadtest.record`."""
    again = asyncio.run(record())
    assert shape(again.pop("message")) == shape(RECORDED["message"])
    assert again == {name: recording for name, recording in RECORDED.items() if name != "message"}


def test_played_messages_are_the_recorded_one_of_other_users() -> None:
    """The same headers in the same order, distinct values; the encoding is Envoy's."""
    recorded, _ = shape(RECORDED["message"])
    bodies = {message(user) for user in range(100)}
    assert len(bodies) == 100
    assert [name for name, _ in shape(message(7).hex())[0]] == [name for name, _ in recorded]
    assert len(shape(message(7, 9).hex())[0]) == 14
    raw = ProcessingRequest.FromString(bytes.fromhex(RECORDED["message"]))
    assert raw.SerializeToString() == bytes.fromhex(RECORDED["message"])
    assert contract.REQUEST_ID_HEADER in dict(recorded)
