"""What users said of answers, until it is looked at: each answer's last word, joined with who gave the answer.

An answer is named by a signed token, which says itself whose it is, or by its request id, which is looked up among the requests of late.
Either way it counts for the phase that gave it. Pure: time is an argument, Unix seconds.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

from extproc.domain import COMPARED_ARMS, Answered, Arm, Feedback, FeedbackKind, FeedbackTerms, Outcome, Rating, Reason
from extproc.measures import THUMBS

REQUESTS_KEPT: Final = 200_000
"""Requests that can be named by their ids; the oldest is forgotten first. Tokens need no memory."""
HEARD_KEPT: Final = 100_000
"""Answers of which something was said and that are not old enough yet. As many ratings wait for their age."""
PATIENCE: Final = 10.0
"""Seconds that feedback waits for its request: a user may be faster than the access log."""
_HIGHEST: Final = 5


@dataclass(slots=True)
class _Answer:
    """One answer of which something may be said."""

    rollout: str
    generation: int
    cohort: str
    arm: Arm
    unit: str
    start: float
    value: float | None = None
    """The last word; None while nothing was said."""


@dataclass(slots=True)
class Response:
    """How many of a rollout's answers are spoken of, in the newest visit of a phase."""

    generation: int
    requests: Counter[str] = field(default_factory=Counter)
    """By arm."""
    heard: Counter[str] = field(default_factory=Counter)

    def document(self) -> dict[str, Any]:
        """By arm: requests, how many were spoken of, and the share of it."""
        rates = {arm: self.heard[arm] / count if count else None for arm, count in self.requests.items()}
        return {arm: {"requests": count, "heard": self.heard[arm], "rate": rates[arm]} for arm, count in self.requests.items()}


def approval(feedback: Feedback) -> float | None:
    """From 0 to 1; None for what is no opinion: asking again, copying and editing may mean either."""
    match feedback.kind:
        case FeedbackKind.THUMBS_UP:
            return 1.0
        case FeedbackKind.THUMBS_DOWN:
            return 0.0
        case FeedbackKind.RATING if feedback.value is not None:
            return (feedback.value - 1) / (_HIGHEST - 1)
    return None


class Approvals:
    """Of one controller, under one Spec's terms."""

    def __init__(self, terms: FeedbackTerms, requests_kept: int = REQUESTS_KEPT, heard_kept: int = HEARD_KEPT) -> None:
        self.terms = terms
        self._requests_kept, self._heard_kept = requests_kept, heard_kept
        self._requests: dict[str, _Answer] = {}
        self._heard: dict[str, _Answer] = {}
        self._due: list[tuple[float, str]] = []
        self._early: deque[Feedback] = deque()
        self.response: dict[str, Response] = {}
        """By rollout."""
        self.lost: Counter[str] = Counter()
        """What is not looked at: `unknown` (of no request that is known, or of one that is not compared), `late`, `forgotten` (requests
        that could not be remembered for as long as they might be named), `dropped` (no room)."""

    @property
    def waiting(self) -> int:
        """Answers of which something was said and that are not old enough."""
        return len(self._heard)

    # ---------------------------------------------------------------------------------------------------------------- requests
    def meet(self, outcomes: Iterable[Outcome]) -> None:
        """Requests that may be named from now on: those of canary and control whose units will be recognised."""
        for one in outcomes:
            if one.arm in COMPARED_ARMS and one.reason is Reason.RING and one.durable and one.stream_id not in self._requests:
                self._requests[one.stream_id] = _Answer(one.rollout, one.generation, one.cohort, one.arm, one.unit, one.start)
                response = self._response(one.rollout, one.generation)
                if response is not None:
                    response.requests[one.arm.value] += 1
                if len(self._requests) > self._requests_kept:
                    oldest = self._requests.pop(next(iter(self._requests)))
                    self.lost["forgotten"] += oldest.start > one.start - self.terms.window

    def _response(self, rollout: str, generation: int) -> Response | None:
        found = self.response.get(rollout)
        if found is None or generation > found.generation:
            found = self.response[rollout] = Response(generation)
        return found if generation == found.generation else None

    # ---------------------------------------------------------------------------------------------------------------- feedback
    def hear(self, said: Iterable[Feedback], now: float) -> None:
        """Lines of the log, in its order."""
        self._early.extend(one for one in said if approval(one) is not None)
        for _ in range(len(self._early)):
            one = self._early.popleft()
            if not self._join(one):
                if now - one.received <= PATIENCE:
                    self._early.append(one)
                else:
                    self.lost["unknown"] += 1

    def _join(self, one: Feedback) -> bool:
        """False where its request is not known yet."""
        answer = self._heard.get(one.answer)
        if answer is None:
            answer = _of(one.token) if one.token is not None else self._requests.get(one.request_id)
            if answer is None:
                return False
            if not self._enters(one, answer):
                return True
        if one.received > answer.start + self.terms.window:
            self.lost["late"] += 1
        else:
            answer.value = approval(one)
        return True

    def _enters(self, one: Feedback, answer: _Answer) -> bool:
        """The first word about an answer; False where it is not looked at."""
        if answer.arm not in COMPARED_ARMS or (one.token is not None and not one.token.durable):
            self.lost["unknown"] += 1
        elif one.received > answer.start + self.terms.window:
            self.lost["late"] += 1
        elif len(self._heard) >= self._heard_kept:
            self.lost["dropped"] += 1
        else:
            self._heard[one.answer] = answer
            heappush(self._due, (answer.start + self.terms.told_at, one.answer))
            response = self._response(answer.rollout, answer.generation)
            if response is not None:
                response.heard[answer.arm.value] += 1
            return True
        return False

    def ripe(self, now: float) -> list[Rating]:
        """What stands of answers that are old enough by `now`, each once."""
        found = []
        while self._due and self._due[0][0] <= now:
            name = heappop(self._due)[1]
            found.append(_rating(name, self._heard.pop(name)))
        while self._requests and next(iter(self._requests.values())).start < now - self.terms.looked_at:
            del self._requests[next(iter(self._requests))]
        return found


def _of(token: Answered) -> _Answer:
    return _Answer(token.rollout, token.generation, token.cohort, token.arm, token.unit, token.start)


def _rating(name: str, one: _Answer) -> Rating:
    assert one.value is not None
    return Rating(THUMBS.name, name, one.rollout, one.generation, one.cohort, one.arm, one.unit, one.start, one.value)
