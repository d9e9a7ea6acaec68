"""What one side made of a frame, and where our connection and `h2` may differ about it: the table ALLOWED.

Nothing else may differ. Each row has the section that leaves the freedom, or that h2 does not follow, and a seed that shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from extproc.transport.native import frames, states
from extproc.transport.native.grpc import timeout
from extproc.transport.native.headers import Request

FINE, STREAM_ERROR, CONNECTION_ERROR = "fine", "stream error", "connection error"
Fields = list[tuple[bytes, bytes]]


# ----------------------------------------------------------------------------------------------------------------------- one frame
@dataclass(slots=True)
class Seen:
    """What one side made of a frame."""

    kind: str = FINE
    why: str = ""
    opened: tuple[int, Request] | None = None
    """Stream and request that were begun."""
    acknowledged: int = 0
    """SETTINGS that were acknowledged."""


@dataclass(frozen=True, slots=True)
class Met:
    """A frame, where it came, and what both made of it."""

    kind: int
    flags: int
    sid: int
    payload: bytes
    state: int
    """Of its stream in our connection before it, as in `states`."""
    known: bool
    """True where the peer has begun that very stream before, not only a higher one."""
    promised: bool
    """True where its request has a content-length."""
    fields: Fields
    """Of the header block that it completed, as decoded; empty for any other frame."""
    ours: Seen
    theirs: Seen


# --------------------------------------------------------------------------------------------------------- allowed differences
@dataclass(frozen=True, slots=True)
class Allowed:
    """A difference with a reason."""

    name: str
    section: str
    reason: str
    applies: Callable[[Met], bool]


def _kinds(met: Met, ours: str, theirs: str) -> bool:
    return met.ours.kind == ours and met.theirs.kind == theirs


def _value(met: Met, name: bytes) -> bytes:
    return b"".join(value for named, value in met.fields if named == name)


_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")

ALLOWED: Final = (
    Allowed(
        "h2 escalates",
        "RFC 9113, 5.4.1",
        "an endpoint may treat a stream error as a connection error; h2 does for every malformed request, we never do",
        lambda met: _kinds(met, STREAM_ERROR, CONNECTION_ERROR),
    ),
    Allowed(
        "we escalate on closed streams",
        "RFC 9113, 5.1",
        "a frame on a closed stream may be a connection error of type STREAM_CLOSED; h2 resets the stream again",
        lambda met: _kinds(met, CONNECTION_ERROR, STREAM_ERROR) and met.state == states.CLOSED and met.kind != frames.CONTINUATION,
    ),
    Allowed(
        "frames after our reset are discarded",
        "RFC 9113, 5.1",
        "they may have been under way; h2 answers each with another reset, or ends the connection",
        lambda met: met.state == states.RESET and met.ours.kind == FINE and met.theirs.kind != FINE,
    ),
    Allowed(
        "a stray CONTINUATION",
        "RFC 9113, 6.10",
        "must be a connection error; on a stream that was reset h2 takes it for a stream error",
        lambda met: _kinds(met, CONNECTION_ERROR, STREAM_ERROR) and met.kind == frames.CONTINUATION,
    ),
    Allowed(
        "RST_STREAM on an idle stream",
        "RFC 9113, 6.4",
        "must be a connection error; h2 ignores it",
        lambda met: _kinds(met, CONNECTION_ERROR, FINE) and met.kind == frames.RST_STREAM and met.state == states.IDLE,
    ),
    Allowed(
        "a fault in a frame whose header block goes on",
        "RFC 9113, 5.1.1 and 8.4",
        "a client cannot push, nor open an even stream, nor let a stream depend on itself; h2 says so when the block is complete",
        lambda met: _kinds(met, CONNECTION_ERROR, FINE) and _begins_a_block(met) and not met.flags & frames.END_HEADERS,
    ),
    Allowed(
        "a setting twice in one frame",
        "RFC 9113, 6.5.3",
        "values are processed in order; h2 looks at the last one alone",
        lambda met: _kinds(met, CONNECTION_ERROR, FINE) and met.kind == frames.SETTINGS and _repeats(met.payload),
    ),
    Allowed(
        "padding that reaches into the priority fields",
        "RFC 9113, 6.2",
        "padding that exceeds the rest of the frame is a connection error; h2 counts the priority fields as room",
        lambda met: met.ours.kind == CONNECTION_ERROR and met.flags & 0x28 == 0x28 and met.kind == frames.HEADERS,
    ),
    Allowed(
        "padding that leaves an empty fragment",
        "RFC 9113, 6.2",
        "is no error; h2 refuses a HEADERS frame that is all padding",
        lambda met: met.theirs.kind == CONNECTION_ERROR and met.kind == frames.HEADERS and _all_padding(met),
    ),
    Allowed(
        "the reserved bit of WINDOW_UPDATE",
        "RFC 9113, 6.9",
        "must be ignored; h2 refuses it",
        lambda met: met.theirs.kind == CONNECTION_ERROR and met.kind == frames.WINDOW_UPDATE and met.payload[:1] >= b"\x80",
    ),
    Allowed(
        "WINDOW_UPDATE by 0, and malformed PRIORITY, on a stream that is over",
        "RFC 9113, 5.1",
        "both may still be under way; h2 checks them before it looks at the stream",
        lambda met: (
            _kinds(met, FINE, CONNECTION_ERROR) and met.kind in (frames.WINDOW_UPDATE, frames.PRIORITY) and met.state >= states.RESET
        ),
    ),
    Allowed(
        "ALTSVC",
        "RFC 9113, 5.5",
        "unknown to us and ignored; h2 reads it and refuses malformed ones",
        lambda met: _kinds(met, FINE, CONNECTION_ERROR) and met.kind == 0x0A,
    ),
    Allowed(
        "ENABLE_CONNECT_PROTOCOL",
        "RFC 9113, 6.5.2",
        "unknown to us and ignored; h2 checks its value",
        lambda met: _kinds(met, FINE, CONNECTION_ERROR) and met.kind == frames.SETTINGS and 8 in _keys(met.payload),
    ),
    Allowed(
        ":authority and host",
        "RFC 9113, 8.3.1",
        "we do not route by them: h2 wants one of them and both alike (a SHOULD)",
        lambda met: met.theirs.kind == CONNECTION_ERROR and not met.known and bool(met.fields) and not _authority_agrees(met.fields),
    ),
    Allowed(
        "names that are no tokens",
        "RFC 9113, 8.2.1; RFC 9110, 5.6.2",
        "we refuse every name that is none; h2 only the characters that RFC 9113 lists",
        lambda met: _kinds(met, STREAM_ERROR, FINE) and any(not _TOKEN.issuperset(name.removeprefix(b":")) for name, _ in met.fields),
    ),
    Allowed(
        "pseudo header fields without a value",
        "RFC 9113, 8.3.1",
        "there must be exactly one valid value; h2 looks at :path alone",
        lambda met: _kinds(met, STREAM_ERROR, FINE) and any(name in (b":method", b":scheme") and not value for name, value in met.fields),
    ),
    Allowed(
        "CONNECT",
        "RFC 9113, 8.5; RFC 8441, 3",
        "we proxy nothing and have not offered :protocol: such requests are reset; h2 leaves that to its user",
        lambda met: _kinds(met, STREAM_ERROR, FINE) and (_value(met, b":method") == b"CONNECT" or (b":protocol" in dict(met.fields))),
    ),
    Allowed(
        "grpc-timeout that is none",
        "gRPC over HTTP/2, Requests",
        "h2 does not know gRPC",
        lambda met: (
            _kinds(met, STREAM_ERROR, FINE) and any(name == b"grpc-timeout" and timeout(value) is None for name, value in met.fields)
        ),
    ),
    Allowed(
        "content-length of a request without DATA, with trailers, or of 19 digits and more",
        "RFC 9113, 8.1.1",
        "what does not match is malformed; h2 compares in DATA frames alone and forgets at trailers",
        lambda met: _kinds(met, STREAM_ERROR, FINE) and met.kind in (frames.HEADERS, frames.CONTINUATION) and met.promised,
    ),
    Allowed(
        "content-length in trailers",
        "RFC 9110, 6.5.1",
        "means nothing there; h2 reads it",
        lambda met: _kinds(met, FINE, CONNECTION_ERROR) and b"content-length" in dict(met.fields) and met.known,
    ),
    Allowed(
        "content-length of a stream that we have ended",
        "RFC 9113, 8.1",
        "a server may answer before the request is complete; what follows is discarded",
        lambda met: _kinds(met, FINE, CONNECTION_ERROR) and met.kind == frames.DATA and "InvalidBodyLength" in met.theirs.why,
    ),
)
"""Nothing else may differ. After a difference that leaves both in other states the comparison of that input ends."""


def _begins_a_block(met: Met) -> bool:
    unusual = not met.sid & 1 or bool(met.flags & frames.WITH_PRIORITY)
    return met.kind == frames.PUSH_PROMISE or (met.kind == frames.HEADERS and unusual)


def _keys(payload: bytes) -> list[int]:
    return [int.from_bytes(payload[start : start + 2], "big") for start in range(0, len(payload), 6)]


def _repeats(payload: bytes) -> bool:
    return len(_keys(payload)) != len(set(_keys(payload)))


def _all_padding(met: Met) -> bool:
    return bool(met.flags & frames.PADDED) and bool(met.payload) and met.payload[0] >= len(met.payload) - 1


def _authority_agrees(fields: Fields) -> bool:
    said = [value for name, value in fields if name in (b":authority", b"host")]
    return bool(said) and len(set(said)) == 1 and [name for name, _ in fields].count(b"host") < 2
