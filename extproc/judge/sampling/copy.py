"""One exchange as its copy comes in, piece by piece, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from extproc import contract
from extproc.judge.assembly import Exchange
from extproc.wire import Assigned, Headers, Piece, Told


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a copy has become at its end."""

    request: str
    """Envoy's x-request-id."""
    unit: str
    assigned: Assigned
    begun: float
    """Unix seconds when its first message came."""
    exchange: Exchange


class Copy:
    """Gathers one stream of messages."""

    __slots__ = ("_begun", "_bodies", "_cut", "_headers", "_longest", "_unit", "assigned", "ended")

    def __init__(self, longest: int, now: float, whose: tuple[str, Assigned] | None) -> None:
        """`longest`: bytes that are kept of each of the two bodies; what is longer is marked as truncated, and not judged. `whose`: unit
        and assignment, as `read_copied` finds them; None where nobody decided, or nobody can tell what."""
        self._longest = longest
        self._begun = now
        self._unit = whose[0] if whose is not None else ""
        self.assigned = whose[1] if whose is not None else None
        self.ended = False
        """True where the answer is complete."""
        # Of each of these, the request's and the answer's.
        self._headers: list[dict[str, str]] = [{}, {}]
        self._bodies = (bytearray(), bytearray())
        self._cut = [False, False]

    @property
    def request(self) -> str:
        """Envoy's x-request-id; empty before the first message."""
        return self._headers[False].get(contract.REQUEST_ID_HEADER, "")

    def take(self, told: Told | None) -> None:
        """The next message."""
        match told:
            case Headers():
                self._headers[told.answer] = told.headers
            case Piece():
                body, room = self._bodies[told.answer], self._longest - len(self._bodies[told.answer])
                body += told.data[:room]
                self._cut[told.answer] = self._cut[told.answer] or len(told.data) > room
        if told is not None and told.answer and told.ended:
            self.ended = True

    def end(self) -> Gathered | None:
        """What was gathered, where it is of a decided request with an id."""
        if self.assigned is None or not self.request:
            return None
        asked, answered = self._headers
        status = answered.get(":status", "")
        exchange = Exchange(
            path=asked.get(":path", ""),
            request=bytes(self._bodies[False]),
            response=bytes(self._bodies[True]),
            status=int(status) if status.isascii() and status.isdecimal() else 0,
            request_content_type=asked.get("content-type", ""),
            request_encoding=asked.get("content-encoding", ""),
            response_content_type=answered.get("content-type", ""),
            response_encoding=answered.get("content-encoding", ""),
            request_truncated=self._cut[False],
            response_truncated=self._cut[True],
            response_ended=self.ended,
        )
        return Gathered(self.request, self._unit, self.assigned, self._begun, exchange)
