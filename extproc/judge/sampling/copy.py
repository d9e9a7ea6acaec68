"""One exchange as its copy comes in, piece by piece, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from extproc import contract
from extproc.judge.assembly import Exchange
from extproc.wire import AnswerBegins, Assigned, Piece, RequestBegins, Told


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

    __slots__ = ("_answer", "_assigned", "_begun", "_bodies", "_cut", "_ended", "_headers", "_longest", "_unit")

    def __init__(self, longest: int, now: float) -> None:
        """`longest`: bytes that are kept of each of the two bodies; what is longer is marked as truncated, and not judged."""
        self._longest = longest
        self._begun = now
        self._headers: dict[str, str] = {}
        self._answer: dict[str, str] = {}
        self._unit = ""
        self._assigned: Assigned | None = None
        self._bodies = (bytearray(), bytearray())
        self._cut = [False, False]
        self._ended = False

    @property
    def assigned(self) -> Assigned | None:
        """Known from the first message on; None where nobody decided."""
        return self._assigned

    @property
    def request(self) -> str:
        """Envoy's x-request-id; empty before the first message."""
        return self._headers.get(contract.REQUEST_ID_HEADER, "")

    @property
    def ended(self) -> bool:
        """True where the answer is complete."""
        return self._ended

    def take(self, told: Told | None) -> None:
        """The next message."""
        match told:
            case RequestBegins():
                self._headers, self._unit, self._assigned = told.headers, told.unit, told.assigned
            case AnswerBegins():
                self._answer, self._ended = told.headers, told.ended
            case Piece():
                body, room = self._bodies[told.answer], self._longest - len(self._bodies[told.answer])
                body += told.data[:room]
                self._cut[told.answer] = self._cut[told.answer] or len(told.data) > room
                self._ended = self._ended or (told.answer and told.ended)

    def end(self) -> Gathered | None:
        """What was gathered, where it is of a decided request with an id."""
        if self._assigned is None or not self.request:
            return None
        status = self._answer.get(":status", "")
        exchange = Exchange(
            path=self._headers.get(":path", ""),
            request=bytes(self._bodies[False]),
            response=bytes(self._bodies[True]),
            status=int(status) if status.isascii() and status.isdecimal() else 0,
            request_content_type=self._headers.get("content-type", ""),
            request_encoding=self._headers.get("content-encoding", ""),
            response_content_type=self._answer.get("content-type", ""),
            response_encoding=self._answer.get("content-encoding", ""),
            request_truncated=self._cut[False],
            response_truncated=self._cut[True],
            response_ended=self._ended,
        )
        return Gathered(self.request, self._unit, self._assigned, self._begun, exchange)
