"""An offline run: questions to models, answers to the judge, everything that ends into the file of results. It can stop at any moment.

Both sides get the same questions at the same time; the order of questions, and whose answer the judge sees first, are drawn by the seed.
What has a line in the file is not asked again. Told to stop, it begins nothing new and waits for what is open: that is paid for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Final, Protocol, TypeVar

from extproc.domain import Comparison, Ending, Exhibit, Failing, Model, Preference, Rubric, Score, Unscored
from extproc.errors import ExtprocError
from extproc.judge.asking import Reply
from extproc.judge.budget import Budget
from extproc.judge.offline import exhibits
from extproc.judge.offline.exhibits import Clean, Turns
from extproc.judge.offline.questions import Question
from extproc.judge.offline.records import Answered, Preferred, Scored, Side, Unjudged
from extproc.judge.panel import Judge
from extproc.judge.results import Results
from extproc.judge.sampling import Chooser

PATIENCE: Final = 20.0
"""Seconds without a word of the judge after which the run stops: answers that nobody can score are not worth their price."""
PAUSE: Final = 1.0
"""Seconds before a judge that is away is asked again; its client has tried for some seconds by then."""
TALKS: Final = 3
"""Tries of a question at which the judge talks nonsense; then it has no score."""
_AWAY: Final = frozenset({Failing.UNREACHABLE, Failing.SLOW, Failing.BREAKER_OPEN})

Said = TypeVar("Said", Score, Comparison)


class Ended(StrEnum):
    """Why a run has ended."""

    DONE = "done"
    BUDGET = "budget"
    """What was left of the money would not have paid for the next question."""
    STOPPED = "stopped"
    """Somebody said so."""
    NO_JUDGE = "no_judge"
    """The judge does not answer."""


class Asks(Protocol):
    """A model that can be asked: `asking.ModelClient`."""

    model: Model

    async def ask(self, body: bytes) -> Reply:
        """One question; never raises."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run goes."""

    rubric: Rubric
    again: float
    """Share of the answers that are judged twice."""
    language: str | None
    seed: int
    concurrency: int
    """Questions that are under way at the same time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is, results of earlier runs included."""

    questions: int
    answers: int
    """That are wanted: one of each side to each question."""
    asked: int
    failed: int
    judged: int
    """Answers with a score."""
    usd: float


class Trial:
    """One run."""

    def __init__(
        self,
        questions: Sequence[Question],
        models: Mapping[Side, Asks],
        judge: Judge,
        results: Results,
        budget: Budget,
        clean: Clean,
        terms: Terms,
    ) -> None:
        """`budget`: the judge's clients spend from it, too. `clean`: takes out what may not be kept."""
        self._questions = list(questions)
        self._models, self._judge, self._results, self._budget = dict(models), judge, results, budget
        self._clean, self._terms = clean, terms
        self._chooser = Chooser(f"offline {terms.seed}")
        self._ended: Ended | None = None
        self._heard = time.monotonic()
        self.why = ""
        """What the judge said last instead of a score."""

    @property
    def progress(self) -> Progress:
        """At this moment."""
        record, names = self._results.record, [question.id for question in self._questions]
        wanted = [(side, name) for side in self._models for name in names]
        answers = [record.answers[one] for one in wanted if one in record.answers]
        judged = sum(one in record.scores for one in wanted)
        return Progress(len(names), len(wanted), len(answers), sum(one.failed for one in answers), judged, record.usd)

    def stop(self, why: Ended = Ended.STOPPED) -> None:
        """Begin nothing new. The first reason counts."""
        self._ended = self._ended or why

    async def run(self) -> Ended:
        """Until everything has ended, or it is stopped. Raises ExtprocError where results cannot be written."""
        exhibits.warm(self._terms.language, self._clean)
        self._heard = time.monotonic()
        waiting = deque(self._questions)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._terms.concurrency):
                    group.create_task(self._work(waiting))
        except* ExtprocError as errors:
            raise _first(errors) from None
        finally:
            self._results.flush()
        return self._ended or Ended.DONE

    async def _work(self, waiting: deque[Question]) -> None:
        while waiting and self._ended is None:
            await self._question(waiting.popleft())

    async def _question(self, question: Question) -> None:
        record, random = self._results.record, Random(f"{self._terms.seed}/{question.id}")
        sides = list(self._models)
        random.shuffle(sides)
        await asyncio.gather(*(self._answer(side, question) for side in sides if (side, question.id) not in record.answers))
        answers = [record.answers[side, question.id] for side in sides if (side, question.id) in record.answers]
        turns = exhibits.turns_of(question, self._clean)
        for one in answers:
            if not one.failed:
                await self._score(one, turns)
        if len(answers) == len(Side) and not any(one.failed for one in answers):
            await self._prefer(answers[0], answers[1], turns)

    # ------------------------------------------------------------------------------------------------------------------- the models
    async def _answer(self, side: Side, question: Question) -> None:
        client = self._models[side]
        model = client.model
        body = question.body(model.send_model or model.name)
        reserved = exhibits.estimate(model.prices, body)
        if self._ended is not None:
            return
        if not self._budget.reserve(time.time(), reserved):
            self.stop(Ended.BUDGET)
            return
        spent = Decimal(0)
        try:
            reply = await client.ask(body)
            answered = self._read(side, question.id, reply, model)
            spent = Decimal(str(answered.usd or 0.0))
        finally:
            self._budget.settle(time.time(), reserved, spent)
        self._results.add(answered)

    def _read(self, side: Side, name: str, reply: Reply, model: Model) -> Answered:
        if reply.exchange is None:
            return Answered(side, name, Ending.FAILED.value, reply.why, seconds=reply.seconds, tries=reply.tries)
        terms = self._terms
        return exhibits.read(side, name, reply.exchange, model.prices, terms.language, self._clean, reply.seconds, reply.tries)

    # -------------------------------------------------------------------------------------------------------------------- the judge
    async def _score(self, answered: Answered, turns: Turns) -> None:
        record, place = self._results.record, (answered.side, answered.id)
        if place not in record.scores:
            await self._scored(answered, exhibits.exhibit(turns, answered), again=False)
        twice = self._chooser.again(f"{answered.side} {answered.id}", self._terms.again)
        if twice and place in record.scores and place not in record.again:
            await self._scored(answered, exhibits.exhibit(turns, answered), again=True)

    async def _scored(self, answered: Answered, exhibit: Exhibit, again: bool) -> None:
        said = await self._said(answered.id, lambda: self._judge.score(self._terms.rubric, exhibit))
        if said is not None:
            reason, by_criterion = self._clean(said.reason), dict(said.by_criterion)
            usd = _usd(said.cost_usd)
            line = Scored(answered.side, answered.id, again, said.value, by_criterion, reason, usd, said.input_tokens, said.output_tokens)
            self._results.add(line)

    async def _prefer(self, a: Answered, b: Answered, turns: Turns) -> None:
        if a.id in self._results.record.preferences:
            return
        first, second = exhibits.exhibit(turns, a), exhibits.exhibit(turns, b)
        said = await self._said(a.id, lambda: self._judge.prefer(self._terms.rubric, first, second))
        if said is None:
            return
        sides = {Preference.A: a.side, Preference.B: b.side, Preference.TIE: None}
        self._results.add(
            Preferred(
                id=a.id,
                winner=sides[said.preference],
                by_criterion={name: sides[word] for name, word in said.by_criterion.items()},
                in_order=said.in_order,
                in_reverse=said.in_reverse,
                a=a.side,
                reason=self._clean(said.reason),
                usd=_usd(said.cost_usd),
                input_tokens=said.input_tokens,
                output_tokens=said.output_tokens,
            )
        )

    async def _said(self, name: str, ask: Callable[[], Awaitable[Said | Unscored]]) -> Said | None:
        """The judge's word; None where it has none, or the run is over."""
        talks = 0
        while self._ended is None:
            said = await ask()
            if not isinstance(said, Unscored):
                self._heard = time.monotonic()
                return said
            self.why = said.why
            if said.kind is Failing.OVER_BUDGET:
                self.stop(Ended.BUDGET)
            if said.kind not in (Failing.BREAKER_OPEN, Failing.OVER_BUDGET) or said.cost_usd:
                usd = _usd(said.cost_usd)
                self._results.add(Unjudged(name, said.kind.value, self._clean(said.why), usd, said.input_tokens, said.output_tokens))
            if said.kind in _AWAY:
                if time.monotonic() - self._heard > PATIENCE:
                    self.stop(Ended.NO_JUDGE)
                    break
                await asyncio.sleep(PAUSE)
                continue
            talks += 1
            if said.kind is not Failing.NONSENSE or talks == TALKS:
                break
        return None


def ordered(questions: Sequence[Question], seed: int, limit: int | None) -> tuple[Question, ...]:
    """In an order drawn by the seed; the first `limit` of them, so that a larger limit adds to what a smaller one has asked."""
    drawn = list(questions)
    Random(seed).shuffle(drawn)
    return tuple(drawn[:limit])


def _usd(money: Decimal | None) -> float | None:
    return None if money is None else float(money)


def _first(errors: BaseExceptionGroup[ExtprocError]) -> ExtprocError:
    for error in errors.exceptions:
        if isinstance(error, ExtprocError):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
    raise errors
