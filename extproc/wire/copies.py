"""Copies of requests and answers, as Envoy's observability mode tells of them: headers, then bodies piece by piece.

Of whom it is a copy stands once, in the metadata of the copy's gRPC stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.struct_pb2 import Struct

from extproc import contract
from extproc.domain import Arm, Reason
from extproc.pb.ext_proc_pb2 import HttpHeaders, ProcessingRequest
from extproc.wire.assigned import Assigned, read_assigned


@dataclass(frozen=True, slots=True)
class Headers:
    """How a request or its answer begins."""

    answer: bool
    """False: the request."""
    headers: dict[str, str]
    """Names are lower case; what is not ASCII is replaced."""
    ended: bool
    """True where there is no body."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a body."""

    answer: bool
    """False: of the request's."""
    data: bytes
    ended: bool
    """True for the last one."""


Told = Headers | Piece


def read_copied(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, Assigned] | None:
    """Whose copy it is, from the metadata of its stream: the unit (a keyed hash, 16 hex digits), and its assignment.

    None where nobody decided, or where the word is one of a router of another version. Of a mirrored request on its way to the canary
    no more than its rollout, arm and reason are known.
    """
    told = dict(metadata)
    if contract.COPY_SHADOW in told:
        return "", Assigned(str(told[contract.COPY_SHADOW]), 0, "", "", Arm.CANARY, Reason.SHADOW, False, "")
    try:
        return read_assigned(Parse(told.get(contract.COPY_ASSIGNMENT, "{}"), Struct()))
    except (ParseError, ValueError, OverflowError):
        return None


def read_copy(message: bytes) -> Told | None:
    """What a ProcessingRequest tells; None for what concerns nobody (trailers).

    Raises google.protobuf.message.DecodeError on bytes that are no ProcessingRequest.
    """
    request = ProcessingRequest.FromString(message)
    match request.WhichOneof("request"):
        case "request_headers":
            return Headers(False, _headers(request.request_headers), request.request_headers.end_of_stream)
        case "response_headers":
            return Headers(True, _headers(request.response_headers), request.response_headers.end_of_stream)
        case "request_body":
            return Piece(False, request.request_body.body, request.request_body.end_of_stream)
        case "response_body":
            return Piece(True, request.response_body.body, request.response_body.end_of_stream)
        case _:
            return None


def _headers(given: HttpHeaders) -> dict[str, str]:
    return {one.key: one.raw_value.decode("ascii", "replace") for one in given.headers.headers}
