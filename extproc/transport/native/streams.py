"""A stream, and what the connections of one server have in common."""

from __future__ import annotations

from collections import deque

from extproc.transport.base import Process
from extproc.transport.native.grpc import Method
from extproc.transport.native.headers import Request
from extproc.transport.native.limits import DEFAULT, Limits
from extproc.transport.native.states import HALF_CLOSED_LOCAL


class Stream:
    """One request."""

    __slots__ = ("answered", "buffer", "deadline", "left", "method", "pending", "receive_window", "send_window", "sid", "state", "whole")

    def __init__(self, sid: int, state: int, request: Request, send_window: int, receive_window: int) -> None:
        self.sid = sid
        self.state = state
        self.method = request.method
        self.left = request.content_length
        """Bytes that content-length still promises; None where it promised nothing."""
        self.send_window = send_window
        self.receive_window = receive_window
        self.whole = request.content_length is None
        """Nothing has come yet, and the first DATA may be a whole message that needs no more checks."""
        self.buffer: bytes | bytearray = b""
        """The beginning of a message that is not complete."""
        self.pending: deque[tuple[bytes, bool]] | None = None
        """What waits for windows: (payload of DATA or a whole HEADERS frame, is DATA)."""
        self.answered = False
        """Response headers were sent."""
        self.deadline = 0.0
        """In ticks of the connection's `now`; 0 for none."""


class Answered(Stream):
    """One that got its answer in one piece while its peer has not ended it: half-closed (local), nothing is held or expected.

    There are as many of them as decisions, and most are reset at once: what they have in common belongs to the class.
    """

    state = HALF_CLOSED_LOCAL
    method = Method.PROCESS
    left = None
    whole = False
    buffer = b""
    pending = None
    answered = True
    deadline = 0.0

    def __init__(self, sid: int, send_window: int, receive_window: int) -> None:
        self.sid = sid
        self.send_window = send_window
        self.receive_window = receive_window


class Shared:
    """What the connections of one server have in common."""

    def __init__(self, process: Process, limits: Limits = DEFAULT) -> None:
        self.process = process
        self.limits = limits
        self.serving = False
        self.errors = 0
        """Decisions that ended in an exception."""
        self.shed = 0
        """Requests that were not decided, because their peer had given them up when we came to them."""
        self.faults: dict[str, int] = {}
        """Connections that were ended for the peer's fault, by error code."""
