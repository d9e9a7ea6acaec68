"""gRPC over HTTP/2: which method a request calls, statuses, and response headers as constant bytes.

All response headers are HPACK literals without indexing and without Huffman code, or static indices: they need no encoder state.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import Final
from urllib.parse import quote

from extproc import contract


class Method(IntEnum):
    """What a request is about."""

    PROCESS = 0
    HEALTH_CHECK = 1
    HEALTH_WATCH = 2
    UNKNOWN = 3
    """gRPC, and no method of ours."""
    FOREIGN = 4
    """HTTP, and no gRPC."""


class Status(IntEnum):
    """gRPC status codes that we answer with."""

    OK = 0
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


METHODS: Final = {
    contract.PROCESS_METHOD.encode(): Method.PROCESS,
    contract.HEALTH_CHECK_METHOD.encode(): Method.HEALTH_CHECK,
    contract.HEALTH_WATCH_METHOD.encode(): Method.HEALTH_WATCH,
}
CONTENT_TYPE: Final = b"application/grpc"
SERVING: Final = b"\x08\x01"
NOT_SERVING: Final = b"\x08\x02"
"""grpc.health.v1.HealthCheckResponse: field 1, the status as a varint."""
PREFIX: Final = 5
"""Bytes before each message: compressed flag and length."""
unpack_prefix: Final = struct.Struct(">BI").unpack_from
"""(compressed flag, length)."""

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field, literal without indexing, new name, no Huffman code (RFC 7541, 6.2.2); both shorter than 127 bytes."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


_STATUS_200: Final = b"\x88"
RESPONSE: Final = _STATUS_200 + _literal(b"content-type", CONTENT_TYPE)
"""Headers of every gRPC response."""
TRAILERS_OK: Final = _literal(b"grpc-status", b"0")
FOREIGN_RESPONSE: Final = _literal(b":status", b"415") + _literal(b"content-type", b"text/plain; charset=utf-8")
FOREIGN_BODY: Final = b"This is extproc's gRPC port: Envoy speaks ext_proc here. HTTP requests belong to Envoy's own listener.\n"


def trailers(status: Status, message: str) -> bytes:
    """Trailers of a stream that has begun to answer."""
    return _literal(b"grpc-status", b"%d" % status) + _literal(b"grpc-message", quote(message, safe=" ").encode()[:120])


def trailers_only(status: Status, message: str) -> bytes:
    """Headers and trailers in one block, for a stream that answers with an error alone."""
    return RESPONSE + trailers(status, message)


def timeout(value: bytes) -> float | None:
    """Seconds of a grpc-timeout header; None where it is none."""
    match = _TIMEOUT.fullmatch(value)
    return int(match[1]) * _UNITS[match[2]] if match is not None else None
