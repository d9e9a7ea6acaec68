"""What end users say of an answer, and the answer that they speak of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extproc.domain.words import Arm

SETTLE: Final = 5.0
"""Seconds for what was said, or what began, in the last moment to be heard of."""


class FeedbackKind(StrEnum):
    """What was said or done. Only RATING (1 to 5) and EDIT (share of the answer that was changed, 0 to 1) have a value."""

    THUMBS_UP = "thumbs_up"
    THUMBS_DOWN = "thumbs_down"
    RATING = "rating"
    REGENERATE = "regenerate"
    COPY = "copy"
    EDIT = "edit"
    SESSION_END = "session_end"

    @property
    def slot(self) -> str:
        """Kinds of one slot replace each other: a thumb is up or down."""
        return "thumb" if self in (FeedbackKind.THUMBS_UP, FeedbackKind.THUMBS_DOWN) else self.value


@dataclass(frozen=True, slots=True)
class FeedbackTerms:
    """Who may say something of answers, and for how long it counts."""

    window: float
    """Seconds after an answer; then what stands is looked at."""
    origins: tuple[str, ...]
    """Pages of other hosts that may post."""
    keys_file: str
    """Keys of servers that name answers by request id; empty: there are none."""
    request_ids_from_browsers: bool
    tokens: bool = False
    """Answers carry a signed token: whoever was answered may say something, without a key."""

    @property
    def told_at(self) -> float:
        """Age of a request at which what stands is told: the last word has been written and read by then."""
        return self.window + SETTLE

    @property
    def looked_at(self) -> float:
        """Age of a request at which it is looked at."""
        return self.window + 2 * SETTLE


@dataclass(frozen=True, slots=True)
class Answered:
    """What a signed token says of an answer."""

    rollout: str
    generation: int
    cohort: str
    arm: Arm
    unit: str
    """Keyed hash, 16 hex digits."""
    durable: bool
    """As in Outcome."""
    start: float
    """When the request was decided (Unix seconds, whole microseconds)."""

    @property
    def answer(self) -> str:
        """The answer's identity: the same however often it is signed."""
        return f"{self.rollout}/{self.generation}/{self.unit}/{round(self.start * 1e6)}"


@dataclass(frozen=True, slots=True)
class Feedback:
    """One thing that was said of one answer."""

    id: str
    """32 hex digits, made of the client's own id and the answer; empty where the client gave none."""
    kind: FeedbackKind
    value: float | None
    request_id: str
    """Envoy's x-request-id of the answer; empty where a token speaks."""
    token: Answered | None
    at: float
    """When it happened, as the client says (Unix seconds), never after `received`."""
    received: float

    @property
    def answer(self) -> str:
        """Which answer: by its token, or by its request id."""
        return self.token.answer if self.token is not None else self.request_id


def standing(said: Iterable[Feedback]) -> list[Feedback]:
    """What counts in the end: of each answer and slot the last, in the order of the log."""
    last: dict[tuple[str, str], Feedback] = {}
    for one in said:
        key = one.answer, one.kind.slot
        last.pop(key, None)
        last[key] = one
    return list(last.values())
