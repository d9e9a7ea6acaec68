"""The console's endpoints, all below `/console/`, so that its cookie goes nowhere else and any prefix may stand before them.

    GET  /console/                             the page, and its files
    GET  /console/v1/live                      server-sent events: `status` (as /v1/status says it), `silent` (problems)
    GET  /console/v1/history?rollout=          e-values since this process has started
    GET  /console/v1/journal?...               as /v1/journal
    GET  /console/v1/measures                  what can be measured, and in which unit
    GET  /console/v1/money                     what each release costs until it is completed
    GET  /console/v1/session                   who has logged in
    POST /console/v1/login                     {"name": "...", "token": "..."}; sets the cookie. The name counts only where the token is
                                               everybody's: else it is that of whose token it is
    POST /console/v1/logout
    GET  /console/v1/exposures?...             as /v1/exposures
    GET  /console/v1/samples?rollout=&which=   sampled answers of both arms, redacted: latest, worst (&before=, Unix seconds), shadow
    POST /console/v1/label                     {"request": "...", "level": 1..5}
    POST /console/v1/explain                   as /v1/explain
    POST /console/v1/rollouts/{name}/{action}  as /v1/rollouts/...; the actor is whoever has logged in

* Without a login one may look (live, history, journal), and only at an address of the machine itself: a name that somebody else's page
  could take on (DNS rebinding), or a proxy that says so, wants a login for everything.
* Roles are those of the API (controller.access): what a viewer sees is looked at, what is of people is an admin's, acts are as at /v1. A
  certificate of a person is as good as a login. At the port that a network reaches nobody looks without one of them.
* Every POST wants the header `x-extproc-console`, which no other site's page can send, and is refused where the browser says that another
  site asks. The cookie is HttpOnly and SameSite=Strict. The bearer token is good for all of it.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from extproc.controller.access import BEYOND, Gate, Role, needed_for
from extproc.controller.answers import Endpoint, TimedStream, answered, body_of, json_answer, refused
from extproc.controller.console.files import Files
from extproc.controller.console.history import History
from extproc.controller.console.live import MOST_PAGES, Live
from extproc.controller.console.sampled import Sampled
from extproc.controller.console.sessions import LASTS, Session, Sessions
from extproc.errors import Problem, SettingsError
from extproc.measures import MEASURES

CSRF_HEADER: Final = "x-extproc-console"
FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers by which a proxy says that it is one."""
SAME_SITE: Final = ("same-origin", "none")
"""What browsers say of a request (Sec-Fetch-Site) that no other site has made."""
SAFE: Final = ("GET", "HEAD")
HOSTS: Final = ("localhost",)


class Console:
    """Of one API: `endpoints` are the API's own, by name."""

    def __init__(
        self, gate: Gate, sessions: Sessions, live: Live, history: History, sampled: Sampled, endpoints: dict[str, Endpoint]
    ) -> None:
        self._gate = gate
        self._sessions = sessions
        self._live = live
        self._history = history
        self._sampled = sampled
        self._files = Files()
        self._endpoints = endpoints

    def routes(self) -> list[BaseRoute]:
        """For the API's application."""
        own = self._endpoints
        return [
            Route("/console", _to_the_page),
            self._route("live", self._stream, looks=True),
            self._route("history", self._past, looks=True),
            self._route("journal", own["journal"], looks=True),
            self._route("measures", _measures, looks=True),
            self._route("money", own["money"], looks=True),
            self._route("session", self._session, looks=True, public=True),
            self._route("login", self._login, "POST", public=True),
            self._route("logout", self._logout, "POST", public=True),
            self._route("exposures", own["exposures"], needed=Role.ADMIN),
            self._route("samples", self._sampled.read, needed=Role.ADMIN),
            self._route("label", self._label, "POST", Role.ADMIN),
            self._route("explain", own["explain"], "POST", Role.OPERATOR),
            self._route("rollouts/{name}/{action}", own["act"], "POST", None),
            Route("/console/{name:path}", self._files.answer),
        ]

    def _route(
        self,
        path: str,
        endpoint: Endpoint,
        method: str = "GET",
        needed: Role | None = Role.VIEWER,
        *,
        looks: bool = False,
        public: bool = False,
    ) -> Route:
        """`needed`: for all of it; None where it depends on the act. `looks`: open to whoever looks from this machine. `public`: answers
        everybody, and decides itself."""

        async def guarded(request: Request) -> Response:
            session = self._who(request)
            if request.method not in SAFE and (problem := foreign(request)) is not None:
                self._gate.refused("site", request)
                return refused(403, problem)
            if session is None and not public and not (looks and at_home(request)):
                self._gate.refused("credential", request)
                hint = "log in with your token, or the one that lies beside the store" + ("" if looks else "; looking wants none")
                return refused(401, Problem("console.login", request.url.path, "this wants a login", hint))
            wants = needed or needed_for(request.path_params["action"])
            if session is not None and (problem := self._gate.forbids(request, session.who, wants)) is not None:
                return refused(403, problem)
            request.state.session = session
            request.state.who = session.who if session is not None else None
            return await answered(endpoint, request)

        return Route(f"/console/v1/{path}", guarded, methods=[method])

    def _who(self, request: Request) -> Session | None:
        now = time.time()
        if (who := self._gate.who(request)) is not None:
            return Session(who.name or "api", now + LASTS, who.role)
        return self._sessions.read(request.cookies.get(self._sessions.cookie, ""), now, self._gate.access.named)

    # -------------------------------------------------------------------------------------------------------------------- looking
    async def _stream(self, request: Request) -> Response:
        if self._live.pages >= MOST_PAGES:
            message = f"{self._live.pages} pages are open"
            return refused(503, Problem("console.pages", request.url.path, message, "close some; `extproc status` needs none"))
        # No proxy may keep pieces back until there are more.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return TimedStream(self._live.frames(), media_type="text/event-stream", headers=headers)

    async def _past(self, request: Request) -> Response:
        return json_answer(200, self._history.document(request.query_params.get("rollout", "")))

    async def _session(self, request: Request) -> Response:
        return json_answer(200, self._document(request, request.state.session))

    def _document(self, request: Request, session: Session | None) -> dict[str, Any]:
        """What the page knows of who looks at it: name, until when, role, may one look, and has each person a token of his own."""
        named = (session.name, session.until, session.role.value) if session is not None else (None, None, None)
        known = dict(zip(("name", "until", "role"), named, strict=True))
        return {**known, "looks": session is not None or at_home(request), "people": self._gate.has_people}

    # ---------------------------------------------------------------------------------------------------------------------- login
    async def _login(self, request: Request) -> Response:
        document = _read(await body_of(request), request, {"name": str, "token": str})
        who = self._gate.access.by_token(document["token"].strip())
        if who is None:
            self._gate.refused("credential", request)
            hint = "your own token, or the one that lies beside the store, in `<store>.token`, for the controller's user to read"
            return refused(401, Problem("console.token", "token", "this is not the token", hint))
        now = time.time()
        who = replace(who, name=who.name or document["name"].strip())
        try:
            value = self._sessions.begin(who, now, secrets.token_urlsafe(9))
        except ValueError as error:
            return refused(400, Problem("console.name", "name", str(error), "the Journal names you so"))
        answer = json_answer(200, self._document(request, Session(who.name, now + LASTS, who.role)))
        self._set_cookie(request, answer, value, int(LASTS))
        return answer

    async def _logout(self, request: Request) -> Response:
        answer = json_answer(200, self._document(request, None))
        self._set_cookie(request, answer, "", 0)
        return answer

    def _set_cookie(self, request: Request, answer: Response, value: str, seconds: int) -> None:
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"
        # No path is named: the browser takes the directory of the address that it has asked, which only it knows behind a prefix.
        said = f"{self._sessions.cookie}={value}; HttpOnly; SameSite=Strict; Max-Age={seconds}"
        answer.headers.append("set-cookie", said + ("; Secure" if secure else ""))

    async def _label(self, request: Request) -> Response:
        document = _read(await body_of(request), request, {"request": str, "level": int})
        return await self._sampled.label(document["request"], document["level"], request.state.session.name)


async def _measures(_: Request) -> Response:
    rows = {
        one.name: {"unit": one.unit, "sentence": one.sentence, "more_is_worse": one.more_is_worse, "relative": one.relative}
        for one in MEASURES.values()
    }
    return json_answer(200, rows)


async def _to_the_page(_: Request) -> Response:
    return RedirectResponse("console/", 307)


def at_home(request: Request) -> bool:
    """True where the browser was given an address of this machine itself, and neither a proxy nor a network stands between."""
    if BEYOND in request.scope or any(name in request.headers for name in FORWARDED):
        return False
    host = (request.url.hostname or "").lower()
    if host in HOSTS:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def foreign(request: Request) -> Problem | None:
    """Why a request that acts may be another site's; None where it is not."""
    if CSRF_HEADER not in request.headers:
        return Problem(
            "console.csrf", request.url.path, f"has no header {CSRF_HEADER}", "the console sends it; a script uses /v1 and the token"
        )
    site = request.headers.get("sec-fetch-site", "none")
    if site not in SAME_SITE:
        return Problem(
            "console.csrf", request.url.path, f"the browser says that another site asks ({site[:40]})", "use the console's own page"
        )
    return None


def _read(body: bytes, request: Request, shape: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    """An object with these fields and no others; raises SettingsError."""
    try:
        document = orjson.loads(body)
        if (
            not isinstance(document, dict)
            or document.keys() != shape.keys()
            or any(type(document[key]) is not kind for key, kind in shape.items())
        ):
            raise ValueError("other fields are expected")
    except ValueError as error:
        hint = f"send an object with {', '.join(shape)}"
        # Never with what was given: a token may be in it.
        raise SettingsError(Problem("api.body", request.url.path, "cannot be understood", hint)) from error
    return document
