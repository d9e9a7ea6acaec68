"""What Envoy sends to a router, for as many users as wanted: made from a recording (loadtest/record.py). For benchmark and budget."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from extproc import contract, wire
from extproc import spec as spec_room
from extproc.assign import derive, prepare
from extproc.domain import RolloutState, Spec, State, Status
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.router.processor import Processor
from extproc.transport import TransportName

EXAMPLE: Final = Path(__file__).parents[1] / "envoy" / "release.yaml"
PHASE: Final = 2
"""25 %."""
MORE: Final = ("accept", "user-agent", "content-type", "traceparent", "x-forwarded-for", "x-forwarded-proto", "x-app", "x-trace", "origin")
"""What a message with 14 headers has beside the five that Envoy sends under the rendered configuration."""
RECORDED: Final = json.loads(Path(__file__).with_name("recorded.json").read_text())
END_STREAM, END_HEADERS = 0x1, 0x4


def example_state(spec: Spec) -> State:
    """Every rollout at its third phase."""
    return State(1, spec.digest, {name: RolloutState(Status.PROGRESSING, PHASE, 0.0, 1, 1, "", "") for name in spec.rollouts})


def example_processor() -> Processor:
    """What a worker runs under envoy/release.yaml at 25 %."""
    spec = spec_room.read(str(EXAMPLE))
    return Processor(derive(prepare(spec), example_state(spec), wire.encode_reply), bytes(32))


def message(user: int, more: int = 0) -> bytes:
    """The recorded request as another user's: another id, another request id, in turn another tier; and so many more headers."""
    made = ProcessingRequest.FromString(bytes.fromhex(RECORDED["message"]))
    headers = made.request_headers.headers.headers
    changed = {"x-user-id": f"user-{user}", contract.REQUEST_ID_HEADER: f"{user:08x}-35c9-4c7c-aa4e-1199abaafa0e"}
    if not user % 3:
        changed["x-user-tier"] = "internal"
    for header in headers:
        if header.key in changed:
            header.raw_value = changed[header.key].encode()
    for name in MORE[:more]:
        headers.add(key=name, raw_value=f"{name}-{user}".encode())
    made.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-4o"})
    return made.SerializeToString()


def greeting() -> bytes:
    """What a client says first: preface, SETTINGS, as much window as there is. It has not seen our SETTINGS yet."""
    window = ((1 << 31) - 1 - 65_535).to_bytes(4, "big")
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(8, 0, 0, window)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame, written apart from the code that is measured."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def opened(messages: Iterable[bytes], transport: TransportName = TransportName.NATIVE) -> Iterator[bytes]:
    """Each message as Envoy opens its stream on a new connection: HEADERS with the recorded block, DATA that does not end the stream.

    The server's SETTINGS are acknowledged before the second one, as in the recording: from there on its header table is agreed on.
    """
    blocks = [bytes.fromhex(block) for block in RECORDED[transport.value]["blocks"]]
    for number, one in enumerate(messages):
        stream = 2 * number + 1
        block = blocks[min(number, len(blocks) - 1)]
        acknowledged = frame(4, 1, 0) if number == 1 else b""
        yield acknowledged + frame(1, END_HEADERS, stream, block) + frame(0, 0, stream, b"\0" + len(one).to_bytes(4, "big") + one)


def finished(stream: int) -> bytes:
    """What Envoy says once it has its answer."""
    return frame(3, 0, stream, RECORDED["native"]["code"].to_bytes(4, "big"))
