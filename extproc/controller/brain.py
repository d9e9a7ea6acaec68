"""What the brain answers. Each answer is made at once, in the evaluate loop's own thread: an act is committed before it is answered."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from extproc.controller import talk
from extproc.controller.candidate import Standing
from extproc.controller.collector import Collector
from extproc.controller.exposures import Exposures
from extproc.controller.loop import TICK, Loop
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.polling import Poller
from extproc.controller.readiness import Readiness
from extproc.controller.router_metrics import RouterMetrics
from extproc.controller.routers import Routers
from extproc.controller.scores import Scores
from extproc.controller.switch import document as switched
from extproc.controller.switch import switch
from extproc.controller.talk import Act, Ask, LateError, Question
from extproc.controller.users import Users
from extproc.controller.view import status_document
from extproc.controller.vitals import VitalMetrics, Vitals
from extproc.domain import JournalEntry
from extproc.errors import ExtprocError, Problem, RefusedError, StoreError
from extproc.store import Store

if TYPE_CHECKING:
    from extproc.controller.xds.keeping import XdsKeeper

FROZEN_AFTER = 5 * TICK
"""Seconds without an evaluation after which it is not well."""
LOOK_BACK = 100
"""Entries of a rollout's Journal in which an act that is asked again is looked for."""


class Brain:
    """The one who answers questions about a loop, and carries out the acts of people on it."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        collector: Collector,
        routers: Routers,
        metrics: ControllerMetrics,
        vitals: Vitals,
        vital_metrics: VitalMetrics,
        standing: Standing,
        poller: Poller,
        exposures: Exposures,
        scores: Scores,
        users: Users,
        readiness: Readiness,
        xds: XdsKeeper | None,
    ) -> None:
        self._loop = loop
        self._store = store
        self._collector = collector
        self._routers = routers
        self._router_metrics = RouterMetrics()
        self._metrics = metrics
        self._vitals = vitals
        self._vital_metrics = vital_metrics
        self._standing = standing
        self._poller = poller
        self._exposures = exposures
        self._scores = scores
        self._users = users
        self._readiness = readiness
        self._xds = xds
        self._entries: list[JournalEntry] = []
        self._entries_of = -1
        """The generation of State of which they are the newest."""

    def answer(self, line: bytes) -> bytes:
        """One line for one line; raises ValueError for what is no question."""
        question = Question.read(line)
        self._vitals.asked[question.ask] += 1
        try:
            _check_time(question)
            return talk.said(self._said(question))
        except ExtprocError as error:
            return talk.refused(error)

    def _said(self, question: Question) -> object:
        now = time.monotonic()
        match question.ask:
            case Ask.STATUS:
                document = status_document(self._loop, self._collector, self._routers.documents(now), time.time())
                admin = self._loop.spec.listener.admin_port
                document["controllers"] = self._standing.document()
                document["flags"] = self._poller.document()
                document["exposures"] = self._exposures.document()
                document["judge"] = self._scores.document(time.time())
                document["users"] = self._users.document()
                document["processor"] = switched(self._loop)
                document["readiness"] = self._readiness.document()
                document["xds"] = self._xds.document() if self._xds is not None else None
                return {**document, "loop": self._vitals.document(now), "envoy_admin_port": admin}
            case Ask.METRICS:
                own = self._metrics.exposition(self._loop, self._routers.counted(now), self._newest())
                beside = (
                    self._router_metrics.exposition(self._routers.documents(now)),
                    self._vital_metrics.exposition(now),
                    self._poller.exposition(),
                    self._exposures.exposition(),
                    self._users.exposition(),
                    self._readiness.exposition(),
                    self._xds.exposition() if self._xds is not None else b"",
                )
                return b"".join((own, *beside, self._scores.exposition(time.time()))).decode()
            case Ask.HEALTH:
                return self._health()
        assert question.act is not None
        return self._carry_out(question.act)

    def _newest(self) -> list[JournalEntry]:
        """The Journal's newest entries; the last known ones where it cannot be read: the other metrics are not to be missing too."""
        generation = self._loop.state.generation
        if generation != self._entries_of:
            with suppress(StoreError):
                self._entries = self._store.journal(limit=LOOK_BACK)
                self._entries_of = generation
        return self._entries

    def _health(self) -> dict[str, Any]:
        now = time.monotonic()
        age = now - self._vitals.last
        well = age < FROZEN_AFTER
        lag = f"lag {self._vitals.lag(now) * 1000:.0f} ms"
        text = f"controller: evaluated {age:.1f} s ago, {lag}\n" if well else f"controller: has not evaluated for {age:.0f} s\n"
        return {"well": well, "text": text + self._loop.spec_file.told()}

    def _carry_out(self, act: Act) -> dict[str, Any]:
        if act.action in talk.SWITCHES:
            if act.options:
                raise RefusedError(Problem("act.option", "processor", "the switch has no options", "leave them out"))
            return switch(self._loop, act.action, act.actor, act.why, time.time(), act.request)
        # One name for two actions (a script gives its own number to a start and, later, to a rollback) names two acts.
        request = f"{act.action} {act.request}" if act.request else ""
        if request and act.rollout in self._loop.state.rollouts:
            for entry in self._store.journal(act.rollout, LOOK_BACK):
                if entry.numbers.get("request") == request:
                    there = {**entry.numbers["to"], "attempt": entry.numbers["attempt"], "why": entry.why}
                    return {"generation": entry.generation, **there, "repeated": True}
        state = self._loop.act(act.rollout, talk.ACTIONS[act.action], act.actor, act.why, time.time(), request, act.options)
        phase = self._loop.desks[act.rollout].rollout.phases[state.phase].name
        stands = {"status": state.status.value, "phase": phase, "attempt": state.attempt, "why": state.why}
        return {"generation": self._loop.state.generation, **stands}


def _check_time(question: Question) -> None:
    """Raises LateError where nobody waits for the answer any more."""
    late = time.monotonic() - question.until
    if late > 0:
        message = f"it stood still, and met the question {late:.1f} s after its time"
        raise LateError(Problem("api.late", question.ask, message, "look at `extproc status`, then ask again"))
