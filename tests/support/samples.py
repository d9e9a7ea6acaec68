"""Samples made in code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from google.protobuf.struct_pb2 import Struct

from extproc import contract
from extproc.domain import Arm, Purpose, Sample, Scored
from extproc.pb.ext_proc_pb2 import ProcessingRequest

UNIT = "00000000000000aa"
ASSIGNED = {
    "rollout": "chat",
    "generation": 2,
    "phase": "25%",
    "cohort": "everyone",
    "arm": "canary",
    "reason": "ring",
    "durable": True,
    "unit": UNIT,
}


def sample(number: int = 1, **changes: Any) -> Sample:
    """The n-th answer of the canary, a second after the one before."""
    plain = Sample(
        request=f"request-{number}",
        rollout="chat",
        generation=2,
        phase="25%",
        cohort="everyone",
        arm=Arm.CANARY,
        unit=UNIT,
        durable=True,
        start=1_000_000.0 + number,
        purpose=Purpose.GATE,
        ending="whole",
        tripwires=(),
        turns=(("user", "How far is the moon?"),),
        answer="384,400 km on average.",
        calls=(),
        redacted={},
    )
    return replace(plain, **changes)


def scored(number: int = 1, value: float = 0.75, **changes: Any) -> Scored:
    """The judge's word on it."""
    one = sample(number)
    plain = Scored(
        request=one.request,
        rollout=one.rollout,
        generation=one.generation,
        cohort=one.cohort,
        arm=one.arm,
        unit=one.unit,
        durable=one.durable,
        start=one.start,
        purpose=one.purpose,
        value=value,
        again=False,
        by_criterion={"helpfulness": value},
        reason="plain and right",
        judge="judge-1",
        cost_usd=0.002,
        at=one.start + 3,
    )
    return replace(plain, **changes)


# --------------------------------------------------------------------------------------------------------- as Envoy tells a copy
def copied(request: bytes, answer: bytes, pieces: int = 1, kind: str = "application/json", **changes: Any) -> list[bytes]:
    """The messages of one copy. `changes` of the assignment; `request_id`, `path`, `status` as they are called."""
    headers = {":path": changes.pop("path", "/v1/chat/completions"), "content-type": "application/json"}
    headers[contract.REQUEST_ID_HEADER] = changes.pop("request_id", "request-1")
    status = str(changes.pop("status", 200))
    decided = changes.pop("decided", True)
    messages = [_headers(headers, "request_headers"), *_body(request, 1, "request_body")]
    messages += [_headers({":status": status, "content-type": kind}, "response_headers"), *_body(answer, pieces, "response_body")]
    if decided:
        for message in messages:
            metadata = Struct()
            metadata.update({**ASSIGNED, **changes})
            message.metadata_context.filter_metadata[contract.assignment_namespace("model")].CopyFrom(metadata)
    return [message.SerializeToString() for message in messages]


def _headers(headers: dict[str, str], field: str) -> ProcessingRequest:
    message = ProcessingRequest(observability_mode=True)
    for name, value in headers.items():
        getattr(message, field).headers.headers.add(key=name, raw_value=value.encode())
    return message


def _body(data: bytes, pieces: int, field: str) -> list[ProcessingRequest]:
    edges = [len(data) * place // pieces for place in range(pieces + 1)]
    found = []
    for place in range(pieces):
        message = ProcessingRequest(observability_mode=True)
        getattr(message, field).body = data[edges[place] : edges[place + 1]]
        found.append(message)
    # Envoy sends the end in a message of its own (seen on 1.40).
    last = ProcessingRequest(observability_mode=True)
    getattr(last, field).end_of_stream = True
    return [*found, last]


def chat(question: str, model: str = "old") -> bytes:
    """A request for a chat completion."""
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": question}]})


def completion(answer: str, model: str = "old") -> bytes:
    """Its answer."""
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return orjson.dumps({"id": "x", "object": "chat.completion", "model": model, "choices": [choice]})
