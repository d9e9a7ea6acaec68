"""What users say without a word: that they ask the same again, and how many requests their sessions have.

Both are seen in outcomes alone. Memory is bounded; what finds no room is counted, and is lost in all arms alike. Pure: time is an argument,
Unix seconds by the clock of Envoy's access log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Final

from extproc.domain import COMPARED_ARMS, Outcome, Rating, Reason, Sessions
from extproc.measures import SESSION_CAP, SESSION_LENGTH

PROMPTS_KEPT: Final = 200_000
"""Prompts of units that are remembered, twice: the newer ones, and those before."""
SESSIONS_KEPT: Final = 100_000
"""Sessions that are counted at once; those that begin beyond that are not looked at. As many ratings wait for their age."""
_NEVER: Final = math.inf


@dataclass(slots=True)
class _Ask:
    """A unit asks a prompt."""

    start: float
    before: _Ask | None
    """The one before this one, which knows of none before itself."""
    answered: float = _NEVER
    """When it had been answered well; NEVER where it was not, or is open."""


_Asked = dict[tuple[str, str], _Ask]
"""(unit, prompt) -> when that was asked last."""


class Repeats:
    """Which requests ask again what their unit has asked shortly before, and which of those after a good answer."""

    def __init__(self, within: float, most: int = PROMPTS_KEPT) -> None:
        """`within`: seconds from the start of a request to that of its repetition."""
        self.within = within
        self._most = most
        self._asked: _Asked = {}
        self._before: _Asked = {}
        self._begun = 0.0
        self.forgotten = 0
        """Prompts that were forgotten before their time."""

    def mark(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The same outcomes, those marked that ask again. Several entries of one request say the same."""
        if not any(outcome.prompt for outcome in outcomes):
            return outcomes
        return [self._marked(one) if one.prompt else one for one in outcomes]

    def _marked(self, outcome: Outcome) -> Outcome:
        start, key = outcome.start, (outcome.unit, outcome.prompt)
        self._turn(start)
        last = self._asked.get(key) or self._before.get(key)
        if last is None or start > last.start:
            if last is not None:
                last.before = None
            last = self._asked[key] = _Ask(start, last)
        # An entry may be of the request before, which is heard of later.
        ask = last if last.before is None or start == last.start else last.before
        if start != ask.start:
            return outcome
        ask.answered = _answered(outcome)
        # A library that says it tries again has had no answer that it could use.
        if outcome.retry or ask.before is None or start - ask.before.start > self.within:
            return outcome
        return replace(outcome, retry=True, regenerate=ask.before.answered <= start)

    def _turn(self, start: float) -> None:
        """What is older than `within` goes, and the older half where there is no room."""
        full = len(self._asked) >= self._most
        if start - self._begun > self.within or full:
            self.forgotten += len(self._before) if full and start - self._begun <= self.within else 0
            self._before, self._asked, self._begun = self._asked, {}, max(start, self._begun)


def _answered(outcome: Outcome) -> float:
    """When it had been answered well; NEVER."""
    well = outcome.final and not (outcome.failed or outcome.throttled or outcome.client_aborted)
    return outcome.start + outcome.duration if well else _NEVER


@dataclass(slots=True)
class _Session:
    first: Outcome
    requests: int = 0


class SessionCounts:
    """Requests of sessions, told a fixed time after their first one. Those of canary and control, which are compared."""

    def __init__(self, sessions: Sessions, most: int = SESSIONS_KEPT) -> None:
        self.sessions = sessions
        self._most = most
        self._open: dict[tuple[str, str, str], _Session] = {}
        self._due: list[tuple[float, tuple[str, str, str]]] = []
        self.dropped = 0
        """Requests whose sessions found no room."""

    @property
    def open(self) -> int:
        """Sessions that are being counted."""
        return len(self._open)

    def hear(self, outcomes: Iterable[Outcome]) -> None:
        """Count what has ended. A session begins with the first request that is heard of, when its id is not known; one that goes on
        longer than it is counted begins again."""
        for one in outcomes:
            if one.session and one.arm in COMPARED_ARMS and one.reason is Reason.RING and one.cohort:
                self._hear(one)

    def _hear(self, outcome: Outcome) -> None:
        # Ids are clients' words: nobody speaks for another unit.
        key = outcome.rollout, outcome.unit, outcome.session
        session = self._open.get(key)
        if session is None:
            if len(self._open) >= self._most:
                self.dropped += outcome.final
                return
            session = self._open[key] = _Session(outcome)
            heappush(self._due, (outcome.start + self.sessions.counted_at, key))
        session.requests += outcome.final and outcome.start <= session.first.start + self.sessions.lasts

    def ripe(self, now: float) -> list[Rating]:
        """Sessions that are old enough by `now`, each once; one of which no request has ended says nothing."""
        found = []
        while self._due and self._due[0][0] <= now:
            session = self._open.pop(heappop(self._due)[1])
            if session.requests:
                found.append(_rating(session))
        return found


def _rating(session: _Session) -> Rating:
    first, value = session.first, min(session.requests, SESSION_CAP) / SESSION_CAP
    return Rating(
        SESSION_LENGTH.name, first.stream_id, first.rollout, first.generation, first.cohort, first.arm, first.unit, first.start, value
    )


class Signals:
    """Both, as a Spec asks for them."""

    def __init__(self) -> None:
        self.repeats = Repeats(0.0)
        self.counts: SessionCounts | None = None

    def follow(self, within: float, sessions: Sessions | None) -> None:
        """Put a Spec's words in force; what is unchanged goes on."""
        if within != self.repeats.within:
            self.repeats = Repeats(within)
        if sessions != (self.counts.sessions if self.counts is not None else None):
            self.counts = SessionCounts(sessions) if sessions is not None else None

    def hear(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The outcomes with what is known of them now."""
        marked = self.repeats.mark(outcomes)
        if self.counts is not None:
            self.counts.hear(marked)
        return marked

    def ripe(self, now: float) -> list[Rating]:
        """Sessions that are old enough."""
        return self.counts.ripe(now) if self.counts is not None else []
