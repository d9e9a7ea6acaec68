"""Samples -> scores: a bounded queue, as many questions at once as the judges allow, and what became of each.

Nobody waits for it. What it cannot take (the queue is full, the money is spent, the judge is away) is counted by reason and has no score;
whether it can take an answer never depends on the arm. Without a score there is NO_DATA, which is not a bad one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol

from extproc.domain import ANSWERED, Ending, Exhibit, Preference, Preferred, Purpose, Rubric, Sample, Score, Scored, Unscored
from extproc.errors import StoreError
from extproc.judge.panel import Judge
from extproc.judge.provoked import Provoked
from extproc.judge.redact import Redactor
from extproc.judge.sampling.choice import Chances, Chooser
from extproc.judge.sampling.pairing import Pair, Pairing

MOST_WAITING: Final = 1_000
"""Samples that wait for a judge; more are a judge that cannot keep up, and the newest would come too late to count."""
MANY_REASONS: Final = 50
"""Of the last so many questions `status` says how they ended."""

log = logging.getLogger(__name__)


class Shelf(Protocol):
    """Where samples and scores are written down; raises StoreError where they cannot be."""

    def add(self, sample: Sample, now: float) -> None:
        """A sample."""

    def score(self, scored: Scored) -> None:
        """A score."""

    def prefer(self, preferred: Preferred, reason: str, judge: str, usd: float, at: float) -> None:
        """Which answer of a pair is better."""

    def spend(self, rollout: str, usd: float) -> None:
        """What a question without an answer has cost."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which a rollout's answers are judged."""

    rubric: Rubric
    within: float
    """Seconds after its request's start at which a score is looked at; later ones are not asked for."""
    again: float
    """Share of the answers that are judged twice."""
    per_release: float | None
    """USD; None: no bound."""
    asked: frozenset[str]
    """Rollouts whose answers a judge reads; those of all others are kept, and rules alone look at them."""


class Pipeline:
    """Of one judge, or panel."""

    def __init__(
        self,
        judge: Judge,
        terms: Terms,
        shelf: Shelf,
        redactor: Redactor,
        chances: Chances,
        clock: Callable[[], float],
        spent: Mapping[str, float],
        on_pair: Callable[[float, float], None],
    ) -> None:
        """`clock`: Unix seconds. `spent`: USD by rollout so far. `on_pair` is told both scores of an answer that was judged twice."""
        self._judge, self._terms, self._shelf, self._redactor = judge, terms, shelf, redactor
        self._chances, self._clock, self._on_pair = chances, clock, on_pair
        self._queue: asyncio.Queue[Sample | Pair] = asyncio.Queue(MOST_WAITING)
        self._pairing = Pairing()
        self._spent: dict[str, float] = dict(spent)
        self._choosers: dict[str, Chooser] = {}
        self.kept: Counter[str] = Counter()
        """Samples by purpose."""
        self.ends: Counter[str] = Counter()
        """Questions by what became of them: `scored`, `compared`, or why there is neither."""
        self._provoked: dict[str, Provoked] = {}
        self._lately: deque[str] = deque(maxlen=MANY_REASONS)
        self._why = ""
        self._last = 0.0
        self._problem = ""

    def chooser(self, rollout: str) -> Chooser:
        """Where requests of a rollout fall."""
        return self._choosers.setdefault(rollout, Chooser(rollout))

    def resume(self, document: Mapping[str, Any]) -> None:
        """Go on counting by arm from an earlier life's `document`; what cannot be read of it is forgotten."""
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            self._provoked = {name: Provoked(said) for name, said in document["by_arm"].items()}

    def put(self, sample: Sample) -> None:
        """Write a sample down, and judge it if it feeds a gate that asks for it and is whole."""
        if sample.purpose is Purpose.SHADOW:
            self._put_half(sample)
            return
        self.kept[sample.purpose.value] += 1
        if not self._write(lambda: self._shelf.add(sample, self._clock())):
            return
        if sample.purpose is not Purpose.GATE or sample.rollout not in self._terms.asked:
            return
        if sample.ending != Ending.WHOLE.value:
            self.ends[sample.ending] += 1
        elif not sample.durable:
            self.ends["anonymous"] += 1
        else:
            self.wait(sample)

    def _put_half(self, sample: Sample) -> None:
        """Of a shadow: once both halves are there they are written down, and compared if both are whole."""
        pair = self._pairing.put(sample, self._clock())
        if pair is None:
            return
        for half in (pair.stable, pair.canary):
            self.kept[half.purpose.value] += 1
            if not self._write(partial(self._shelf.add, half, self._clock())):
                return
        if pair.stable.rollout not in self._terms.asked:
            return
        broken = next((half.ending for half in (pair.stable, pair.canary) if half.ending != Ending.WHOLE.value), None)
        if broken is not None:
            self.ends[broken] += 1
        else:
            self.wait(pair)

    def wait(self, what: Sample | Pair) -> None:
        """Have what is written down already judged."""
        if self._queue.full():
            self._ended("queue_full")
        else:
            self._queue.put_nowait(what)

    async def work(self) -> None:
        """Judge what waits, one after the other, forever; run as many of these as questions may be open."""
        while True:
            waited = await self._queue.get()
            try:
                if isinstance(waited, Pair):
                    await self._compared(waited)
                else:
                    await self._judged(waited)
            except Exception:
                self._ended("defect")
                log.exception("a sample could not be judged; please report it")

    def _may_ask(self, sample: Sample) -> bool:
        limit = self._terms.per_release
        if self._clock() - sample.start > self._terms.within:
            self._ended("late", "samples wait for the judge for longer than their scores are waited for")
        elif limit is not None and self._spent.get(sample.rollout, 0.0) >= limit:
            self._ended("over_budget", f"the ${limit:,.2f} that judging a release may cost are spent")
        else:
            return True
        return False

    async def _compared(self, pair: Pair) -> None:
        if not self._may_ask(pair.stable):
            return
        a, b = (Exhibit(half.turns, half.answer, half.calls) for half in (pair.stable, pair.canary))
        said = await self._judge.prefer(self._terms.rubric, a, replace(b, conversation=a.conversation))
        usd = self._pay(pair.stable.rollout, said.cost_usd)
        if isinstance(said, Unscored):
            self._ended(said.kind.value, said.why)
            self._write(lambda: self._shelf.spend(pair.stable.rollout, usd))
            return
        value = {Preference.A: 0.0, Preference.B: 1.0}.get(said.preference, 0.5)
        one = pair.stable
        preferred = Preferred(one.request, one.rollout, one.generation, one.unit, one.start, value)
        reason = self._redactor.redact(said.reason).text
        if self._write(lambda: self._shelf.prefer(preferred, reason, said.judge, usd, self._clock())):
            self._ended("compared")
            self._last = self._clock()

    async def _judged(self, sample: Sample) -> None:
        if self._may_ask(sample):
            exhibit = Exhibit(sample.turns, sample.answer, sample.calls)
            first = await self._asked(sample, exhibit, again=False)
            if first is not None and self.chooser(sample.rollout).again(sample.request, self._terms.again):
                second = await self._asked(sample, exhibit, again=True)
                if second is not None:
                    self._on_pair(first, second)

    async def _asked(self, sample: Sample, exhibit: Exhibit, again: bool) -> float | None:
        said = await self._judge.score(self._terms.rubric, exhibit)
        usd = self._pay(sample.rollout, said.cost_usd)
        if not again:
            how = said.kind.value if isinstance(said, Unscored) else "scored"
            self._provoked.setdefault(sample.rollout, Provoked()).ended(sample.generation, sample.arm, how)
        if isinstance(said, Unscored):
            self._ended(said.kind.value, said.why)
            self._write(lambda: self._shelf.spend(sample.rollout, usd))
            return None
        written = self._write(lambda: self._shelf.score(self._scored(sample, said, usd, again)))
        if written and self._clock() - sample.start > self._terms.within:
            # It is kept for eyes; Evidence has looked already.
            self._ended("late", f"a score took {said.seconds:.0f} s, and is waited for until its request is {self._terms.within:.0f} s old")
        elif written:
            self._ended("scored")
            self._last = self._clock()
        return said.value if written else None

    def _pay(self, rollout: str, cost: Decimal | None) -> float:
        usd = float(cost or 0)
        self._spent[rollout] = self._spent.get(rollout, 0.0) + usd
        self._chances.cost(usd)
        return usd

    def _scored(self, sample: Sample, said: Score, usd: float, again: bool) -> Scored:
        return Scored(
            request=sample.request,
            rollout=sample.rollout,
            generation=sample.generation,
            cohort=sample.cohort,
            arm=sample.arm,
            unit=sample.unit,
            durable=sample.durable,
            start=sample.start,
            purpose=sample.purpose,
            value=said.value,
            again=again,
            by_criterion=said.by_criterion,
            reason=self._redactor.redact(said.reason).text,
            judge=said.judge,
            cost_usd=usd,
            at=self._clock(),
        )

    def _write(self, act: Callable[[], None]) -> bool:
        """False where it could not be written; said once in the log."""
        try:
            act()
        except StoreError as error:
            problem = error.problems[0]
            self._ended("unwritten", str(problem))
            if self._problem != problem.id:
                log.error("samples cannot be written, the judge has no data meanwhile: %s", problem, extra={"problem": problem.id})
            self._problem = problem.id
            return False
        if self._problem:
            log.info("samples can be written again")
            self._problem = ""
        return True

    def _ended(self, how: str, why: str = "") -> None:
        self.ends[how] += 1
        self._lately.append(how)
        if why:
            self._why = why

    # ------------------------------------------------------------------------------------------------------------------ for people
    def document(self) -> dict[str, Any]:
        """How the judge is doing, for `status` and metrics."""
        lately = Counter(self._lately)
        return {
            "kept": dict(self.kept),
            "ends": dict(self.ends),
            "lately": dict(lately),
            "why": self._why if sum(lately[end] for end in ANSWERED) < len(self._lately) else "",
            "waiting": self._queue.qsize(),
            "share": self._chances.share,
            "spent": dict(self._spent),
            "last": self._last,
            "by_arm": {name: one.as_json() for name, one in self._provoked.items()},
        }
