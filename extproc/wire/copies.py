"""Copies of requests and answers, as Envoy's observability mode tells of them: headers, then bodies piece by piece.

Each message carries the assignment as well (seen on 1.40); that of the first one is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc import contract
from extproc.domain import Arm, Reason
from extproc.pb.ext_proc_pb2 import HttpHeaders, ProcessingRequest
from extproc.wire.assigned import Assigned, read_assigned

_NAMESPACE: Final = contract.assignment_namespace(contract.MODEL_LAYER)


@dataclass(frozen=True, slots=True)
class RequestBegins:
    """The first message of a copy."""

    headers: dict[str, str]
    """Names are lower case; what is not ASCII is replaced."""
    unit: str
    """Keyed hash, 16 hex digits."""
    assigned: Assigned | None
    """None: nobody decided. Of a mirrored request on its way to the canary, no more than its rollout, arm and reason are known."""
    ended: bool
    """True where there is no body."""


@dataclass(frozen=True, slots=True)
class AnswerBegins:
    """The answer's headers."""

    headers: dict[str, str]
    ended: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a body."""

    answer: bool
    """False: of the request's."""
    data: bytes
    ended: bool
    """True for the last one."""


Told = RequestBegins | AnswerBegins | Piece


def read_copy(message: bytes) -> Told | None:
    """What a ProcessingRequest tells; None for what concerns nobody (trailers).

    Raises google.protobuf.message.DecodeError on bytes that are no ProcessingRequest.
    """
    request = ProcessingRequest.FromString(message)
    match request.WhichOneof("request"):
        case "request_headers":
            return _begins(request)
        case "response_headers":
            return AnswerBegins(_headers(request.response_headers), request.response_headers.end_of_stream)
        case "request_body":
            return Piece(False, request.request_body.body, request.request_body.end_of_stream)
        case "response_body":
            return Piece(True, request.response_body.body, request.response_body.end_of_stream)
        case _:
            return None


def _begins(request: ProcessingRequest) -> RequestBegins:
    headers, ended = _headers(request.request_headers), request.request_headers.end_of_stream
    metadata = request.metadata_context.filter_metadata
    if contract.SHADOW_NAMESPACE in metadata:
        rollout = metadata[contract.SHADOW_NAMESPACE].fields[contract.SHADOW_ROLLOUT].string_value
        return RequestBegins(headers, "", Assigned(rollout, 0, "", "", Arm.CANARY, Reason.SHADOW, False, ""), ended)
    if _NAMESPACE in metadata:
        try:
            unit, assigned = read_assigned(metadata[_NAMESPACE])
        except (ValueError, OverflowError):
            # A word of a router of another version.
            return RequestBegins(headers, "", None, ended)
        return RequestBegins(headers, unit, assigned, ended)
    return RequestBegins(headers, "", None, ended)


def _headers(given: HttpHeaders) -> dict[str, str]:
    return {one.key: one.raw_value.decode("ascii", "replace") for one in given.headers.headers}
