"""A controller that does not lead: it hears outcomes and passes them on, says who leads, and asks for the lead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from extproc import contract
from extproc.controller import talk
from extproc.controller.candidate import Candidate
from extproc.controller.http import Http
from extproc.controller.listen import BrainSocket
from extproc.controller.relay.relay import Relay
from extproc.controller.settings import ControllerSettings
from extproc.controller.talk import Ask, Question
from extproc.errors import ExtprocError, Problem, RefusedError
from extproc.transport import parse_address

STANDS_BY: Final = f"# TYPE {contract.METRIC_LEADS} gauge\n{contract.METRIC_LEADS} 0\n"
"""Its metrics: all others are the leader's."""
HAND_OVER: Final = 2.0
"""Seconds that the last outcomes have to reach the one who leads, where we stop."""


class Standby:
    """One stretch of standing by."""

    def __init__(self, settings: ControllerSettings, candidate: Candidate, http: Http) -> None:
        self._settings, self._candidate, self._http = settings, candidate, http

    async def run(self, stop: asyncio.Event) -> list[bytes]:
        """Until we lead or `stop` is set; the messages that nobody is known to have kept, which are ours to hear if we lead."""
        settings, candidate = self._settings, self._candidate
        # Whoever is alone leads at once, and says nothing of standing by.
        if await candidate.campaign():
            return []
        relay = Relay(parse_address(settings.collector), settings.doors.security)
        asked = BrainSocket(Path(contract.brain_path(settings.store)), self.answer)
        await relay.start()
        await asked.start()
        await self._http.start()
        relay.send(candidate.others.leaders_collector)
        leads = False
        try:
            while not leads and not stop.is_set():
                leads = await candidate.campaign()
        finally:
            # What is left where we lead is ours to hear.
            await relay.stop(0.0 if leads else HAND_OVER)
            await asked.stop()
        return relay.left

    def answer(self, line: bytes) -> bytes:
        """One line for one line, as the brain of a leader does; raises ValueError for what is no question."""
        question = Question.read(line)
        try:
            return talk.said(self._said(question))
        except ExtprocError as error:
            return talk.refused(error)

    def _said(self, question: Question) -> Any:
        leader = self._candidate.others.leader()
        stands = f"stands by: {leader} leads" if leader else "stands by: nobody leads yet"
        match question.ask:
            case Ask.HEALTH:
                return {"well": True, "text": f"controller: {self._settings.name} {stands}\n"}
            case Ask.METRICS:
                return STANDS_BY
        hint = f"ask {leader}" if leader else "wait a few seconds; `extproc doctor` says whether the store can be reached"
        raise RefusedError(Problem("controller.standby", self._settings.name, stands, hint))
