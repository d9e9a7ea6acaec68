"""Who asks, and may he? Refused attempts are counted and logged, with the name where there is one and never with what was shown.

The log and not the Journal: the Journal tells what became of rollouts and is written with State, in one transaction; a refused attempt
changed nothing, and whoever knocks must not be able to fill it. The log has a bound for the same line (extproc.logs).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.requests import Request

from extproc import contract
from extproc.controller.access.people import Access, OneToken, People, Who, names_in, read_people
from extproc.controller.access.roles import Role
from extproc.controller.talk import KNOWN
from extproc.errors import Problem, SettingsError
from extproc.runtime import FileState, Followed
from extproc.runtime.http import CERTIFICATE

BEYOND: Final = "extproc.beyond"
"""Key of a request's scope: it came by the port that a network reaches."""
REASONS: Final = ("credential", "role", "site")
"""Why an attempt was refused: nobody's credential or none, not allowed for this person, or another site's page asked."""

log = logging.getLogger(__name__)


class Gate:
    """Of one API."""

    def __init__(self, token: str, path: str = "", rollouts: Callable[[], Container[str]] = frozenset) -> None:
        """`path`: the file of people; without it the token is everybody's. While a file is bad that was never good, nobody comes in.
        `rollouts`: names that may be logged, because they are the Spec's."""
        self._rollouts = rollouts
        self.state = FileState.of(path)
        self.has_people = bool(path)
        """True where each person has a credential, so that nobody says his own name."""
        self.access: Access = self._first(path) if path else OneToken(token)
        self.registry = CollectorRegistry()
        self._refused = Counter(
            contract.METRIC_API_REFUSED.removesuffix("_total"), "Attempts that were refused.", ["reason"], registry=self.registry
        )
        for reason in REASONS:
            self._refused.labels(reason)
        failures = Gauge(contract.METRIC_ACCESS_PROBLEM, "1 while the file of people is not in force.", registry=self.registry)
        failures.set_function(lambda: float(bool(self.state.problems)))

    def _first(self, path: str) -> People:
        try:
            return read_access(path)
        except SettingsError as error:
            self.state.problems = error.problems
            log.error("nobody comes in: %s", self.state.told().rstrip(), extra={"problem": error.problems[0].id})
            return People(())

    def who(self, request: Request) -> Who | None:
        """By the bearer token, where one was sent; else by the certificate of the connection."""
        authorization = request.headers.get("authorization")
        if authorization is None:
            return self.access.by_certificate(names_in(request.scope.get(CERTIFICATE)))
        scheme, _, token = authorization.partition(" ")
        return self.access.by_token(token) if scheme.lower() == "bearer" else None

    def forbids(self, request: Request, who: Who, needed: Role) -> Problem | None:
        """Why this person may not; counted and logged. None where he may; what is an admin's is logged then too: who saw data of people."""
        if who.role.may(needed):
            if needed is Role.ADMIN:
                log.info("allowed: %s (%s), %s %s", who.name or "whoever has the token", who.role, request.method, self._shown(request))
            return None
        self.refused("role", request, who, needed)
        hint = f"ask somebody who is {needed}, or for that role: the file that --access names says who is what"
        return Problem("api.role", request.url.path, f"this is for {needed}, and {who.name} is {who.role}", hint)

    def refused(self, reason: str, request: Request, who: Who | None = None, needed: Role | None = None) -> None:
        """Count it, and log it: of somebody known what he asked for, of others where they came from and nothing that they chose."""
        self._refused.labels(reason).inc()
        place = request.client.host if request.client is not None else "a socket"
        if who is not None and needed is not None:
            name = who.name or "whoever has the token"
            log.warning("refused: %s (%s) may not %s %s, which is for %s", name, who.role, request.method, self._shown(request), needed)
        else:
            log.warning("refused: an attempt from %s (%s)", place, reason)

    def _shown(self, request: Request) -> str:
        """The path, without its query and without whatever in it is neither a word of ours nor a rollout: what somebody has typed there
        by mistake may be anything, a key as well."""
        path: str = request.scope["path"]
        for name, given in request.path_params.items():
            if given not in KNOWN and given not in self._rollouts():
                path = path.replace(f"/{given}", f"/{{{name}}}")
        return path

    async def follow(self) -> None:
        """Forever: the file is read again when it changes; one that cannot be used leaves the last good people."""
        if not self.has_people:
            return

        async def use() -> None:
            self.access = await asyncio.to_thread(read_access, self.state.path)
            log.info("people and roles were read again")

        await Followed(self.state, use).follow()


def read_access(path: str) -> People:
    """The file of people; raises SettingsError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, OSError) else "it is no text"
        hint = "`extproc token NAME --role operator` prints lines for it"
        raise SettingsError(Problem("access.file", path, f"cannot be read: {reason}", hint)) from error
    return read_people(path, text)
