"""The controller's HTTP API, on loopback and, where it was asked for, by mutual TLS on a network. Reading and acting want a bearer token,
or a certificate that the file of people names (controller.access says who may what); /healthz and /metrics do not.

    GET  /v1/status                            what every rollout does, and why
    GET  /v1/journal?rollout=&limit=&before=   decisions, newest first
    GET  /v1/exposures?rollout=...             who met a canary, as lines of JSON (controller.exposure_lists says what else)
    POST /v1/explain                           which model a request meets, and why (controller.explaining has its shape); a POST,
                                               because ids of users belong in no address: those are logged by whoever stands between
    POST /v1/rollouts/{name}/{action}          {"why": "...", "actor": "...", "request": "..."}, and the act's own options. Where there is a
                                               file of people the actor is whoever asks, whatever name is sent
                                               start     retry: yes (another attempt of one that was rolled back), no
                                               pause, resume, promote, revoke
                                               return    to: name of an earlier phase; the one before unless it is given
                                               override  for: 2h
                                               rollback  cohort: name (that one alone); conversations: drain, move
    POST /v1/processor/{off, on}               {"why": "...", "actor": "..."}: ask the router nothing any more, over xDS
    GET, POST /v1/rollouts/{name}/verdict      may somebody else's delivery go on? For Argo Rollouts and Flagger (controller.verdict)

An act is answered when it is committed; the same action with the same `request` (any name of the asker's own) is never done twice.
The console, which is a page, is below /console/ (controller.console.routes says what else is there).
Errors are {"problems": [{"id", "path", "message", "hint"}]}.

It runs beside the evaluate loop, in a process of its own, and asks that process (the brain) over a socket. Where the brain does not
answer, status is the last one known and says in `stale` for how many seconds there was no newer; /healthz is 503; /metrics has only
this process's own series; an act is refused, with what a person can do instead. Journal, exposures and explanations are read from files.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from extproc import contract
from extproc.controller import explaining
from extproc.controller.access import Gate, Role, needed_for
from extproc.controller.answers import Endpoint, answered, body_of, json_answer, refused
from extproc.controller.ask import BrainClient, SilentError, Watch
from extproc.controller.console import Console, History, Live
from extproc.controller.console.costs import Costs
from extproc.controller.console.routes import foreign
from extproc.controller.console.sampled import Sampled
from extproc.controller.console.sessions import Sessions
from extproc.controller.explainer import StoredExplainer
from extproc.controller.exposure_lists import ExposureLists
from extproc.controller.journal import JournalReader
from extproc.controller.talk import ACTIONS, SWITCHES, Act, Ask
from extproc.controller.verdict import asked_move, verdict_document
from extproc.errors import Problem, SettingsError

LONGEST_TEXT: Final = 1_000
LONGEST_REQUEST: Final = 100
ENVOY_ADMIN_PORT: Final = 9901
"""Where the rendered Envoy has its admin interface, unless the Spec says otherwise."""


class Api:
    """The endpoints of one controller."""

    def __init__(self, client: BrainClient, journal: JournalReader, token: str, access: str = "") -> None:
        """`access`: the file of people; without it the token is everybody's."""
        self._client = client
        self.gate = Gate(token, access, self._rollouts)
        self._status_watch, self._metrics_watch, self._health_watch = (Watch(client, ask) for ask in (Ask.STATUS, Ask.METRICS, Ask.HEALTH))
        self._entries = journal
        self._explainer = StoredExplainer(journal.url)
        self._exposures = ExposureLists(journal)
        self._sampled = Sampled(journal.url)
        self._costs = Costs(journal.url)
        history = History()
        self.live = Live(self._status_watch, history)
        own: dict[str, Endpoint] = {
            "journal": self._journal,
            "exposures": self._exposures.answer,
            "explain": self._explain,
            "act": self._act,
            "money": self._money,
        }
        self._console = Console(self.gate, Sessions(token.encode()), self.live, history, self._sampled, own)
        self._registry = CollectorRegistry()
        self._up = Gauge(contract.METRIC_CONTROLLER_UP, "1 while the controller answers; else only this is shown.", registry=self._registry)
        self._age = Gauge(contract.METRIC_ANSWER_AGE, "Seconds since the controller's last answer.", registry=self._registry)

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/healthz", self._health),
            Route("/metrics", self._exposition),
            Route("/v1/status", self._guarded(self._status, Role.VIEWER)),
            Route("/v1/journal", self._guarded(self._journal, Role.VIEWER)),
            Route("/v1/exposures", self._guarded(self._exposures.answer, Role.ADMIN)),
            Route("/v1/explain", self._guarded(self._explain, Role.OPERATOR), methods=["POST"]),
            Route(contract.VERDICT_PATH.format(rollout="{name}"), self._guarded(self._verdict, Role.VIEWER), methods=["GET", "POST"]),
            Route("/v1/rollouts/{name}/{action}", self._guarded(self._act), methods=["POST"]),
            Route("/v1/processor/{action}", self._guarded(self._switch), methods=["POST"]),
            *self._console.routes(),
        ]
        return Starlette(routes=routes)

    def close(self) -> None:
        """Give back what was opened to answer."""
        self._explainer.close()
        self._exposures.close()
        self._sampled.close()
        self._costs.close()

    def _guarded(self, endpoint: Endpoint, needed: Role | None = None) -> Endpoint:
        """`needed`: for all of it; None where it depends on the act."""

        async def guarded(request: Request) -> Response:
            who = self.gate.who(request)
            if who is None:
                self.gate.refused("credential", request)
                hint = "send the token that lies beside the store, or your own, as `Authorization: Bearer ...`"
                return refused(401, Problem("api.token", request.url.path, "no valid token", hint))
            if (problem := self._unasked(request)) is not None:
                self.gate.refused("site", request)
                return refused(403, problem)
            wants = needed or needed_for(request.path_params["action"])
            if (problem := self.gate.forbids(request, who, wants)) is not None:
                return refused(403, problem)
            request.state.who = who
            return await answered(endpoint, request)

        return guarded

    def _unasked(self, request: Request) -> Problem | None:
        """A browser shows its certificate for every page, so another site's page could ask in its user's name; a token it does not have."""
        by_page = "authorization" not in request.headers and ("origin" in request.headers or "sec-fetch-site" in request.headers)
        return foreign(request) if by_page else None

    def _rollouts(self) -> Container[str]:
        """Those that are known without asking."""
        known = self._status_watch.last
        return known.document["rollouts"] if known is not None else ()

    async def _health(self, _: Request) -> Response:
        try:
            known = await self._health_watch.look()
        except SilentError as error:
            return PlainTextResponse(f"{error.problems[0]}\n", status_code=503)
        if known.stale:
            return PlainTextResponse(f"controller: has not answered for {known.stale:.0f} s, nothing is decided\n", status_code=503)
        return PlainTextResponse(known.document["text"], status_code=200 if known.document["well"] else 503)

    async def _exposition(self, _: Request) -> Response:
        fresh = ""
        with suppress(SilentError):
            known = await self._metrics_watch.look()
            fresh = "" if known.stale else known.document
        self._up.set(bool(fresh))
        self._age.set(self._client.silent)
        return Response(
            fresh.encode() + generate_latest(self._registry) + generate_latest(self.gate.registry),
            media_type="text/plain; version=0.0.4; charset=utf-8",
        )

    async def _status(self, _: Request) -> Response:
        known = await self._status_watch.look()
        return json_answer(200, {**known.document, "stale": known.stale})

    async def _journal(self, request: Request) -> Response:
        limit = _number(request, "limit", 50)
        before = _number(request, "before", 0)
        entries = await self._entries.read(request.query_params.get("rollout"), max(1, min(limit, 1000)), before or None)
        return json_answer(200, {"entries": entries})

    async def _explain(self, request: Request) -> Response:
        try:
            question, now = explaining.read(await body_of(request))
        except ValueError as error:
            hint = 'send {"headers": {"x-user-id": "..."}, "path": "/v1/..."}'
            raise SettingsError(Problem("api.body", request.url.path, f"cannot be understood: {error}", hint)) from error
        routers: list[dict[str, Any]] = []
        try:
            known = await self._status_watch.look()
            stale, routers = known.stale, known.document["routers"]
        except SilentError:
            stale = self._client.silent
        document = await self._explainer.explain(question, now, stale)
        away = [f"{one['router']} sends canary traffic of {', '.join(one['withdrawn'])} to stable" for one in routers if one["withdrawn"]]
        return json_answer(200, {**document, "notes": [*document["notes"], *away], "stale": stale})

    async def _money(self, _: Request) -> Response:
        document = (await self._status_watch.look()).document
        return json_answer(200, {"rollouts": await self._costs.planned(document["spec_digest"], document["rollouts"])})

    async def _verdict(self, request: Request) -> Response:
        name, move = request.path_params["name"], asked_move(request.method, request.query_params.get("ask"))
        await body_of(request)
        known = await self._status_watch.look()
        if known.stale:
            raise SilentError(self._client.problem("nothing is decided meanwhile"), asked=False)
        if name not in known.document["rollouts"]:
            return refused(404, Problem("api.rollout", name[:80], "there is no such rollout", "see `extproc status`"))
        document = verdict_document(name, known.document["rollouts"][name])
        return json_answer(200 if move is None or document[move] else 409, document)

    async def _act(self, request: Request) -> Response:
        name, word = request.path_params["name"], request.path_params["action"]
        if word not in ACTIONS:
            return refused(404, Problem("api.action", word, "there is no such action", f"there are: {', '.join(ACTIONS)}"))
        if len(name) > LONGEST_TEXT:
            return refused(404, Problem("api.rollout", name[:80], "no rollout has so long a name", "see `extproc status`"))
        return await self._acted(request, name, word)

    async def _switch(self, request: Request) -> Response:
        word = request.path_params["action"]
        if word not in SWITCHES:
            return refused(404, Problem("api.action", word, "there is no such switch", f"there are: {', '.join(SWITCHES)}"))
        return await self._acted(request, "", word)

    async def _acted(self, request: Request, name: str, word: str) -> Response:
        given = await _given(request)
        # Who has a credential of his own acts under his name, whatever he says: a name that anybody may claim proves nothing.
        actor = given.pop("actor")
        act = Act(name, word, request.state.who.name or actor, given.pop("why"), given.pop("request"), given)
        try:
            return json_answer(200, await self._client.act(act))
        except SilentError as error:
            raise SilentError(self._undone(act, error), error.asked) from error
        finally:
            self._status_watch.forget()
            self.live.hurry()

    def _undone(self, act: Act, error: SilentError) -> Problem:
        """What became of an act that was not answered, and what to do now."""
        last = self._status_watch.last
        port = last.document["envoy_admin_port"] if last is not None else ENVOY_ADMIN_PORT
        problem = error.problems[0]
        if error.asked:
            became = f"{act.action} may have begun, and then it is carried out: look at `extproc journal` before you ask again"
        else:
            became = f"{act.action} was not carried out"
        key = contract.RUNTIME_CANARY.format(rollout=act.rollout or "ROLLOUT")
        hint = (
            f"{problem.hint}. A rollback without it, on Envoy's machine: curl -X POST 'http://127.0.0.1:{port}/runtime_modify?{key}=0' "
            f"(and {key}=100 to undo that)"
        )
        return Problem(problem.id, act.rollout, f"{problem.message}; {became}", hint)


async def _given(request: Request) -> dict[str, str]:
    """why, actor, request and options of an act; raises SettingsError where the body is not as it should be."""
    body = await body_of(request)
    try:
        document = orjson.loads(body)
        given = {"actor": "api", "request": "", "why": document["why"], **document}
        if not all(isinstance(text, str) and len(text) <= LONGEST_TEXT for text in given.values()) or not given["actor"].strip():
            raise ValueError("why, actor, request and options are texts")
        if len(given["request"]) > LONGEST_REQUEST:
            raise ValueError(f"request has at most {LONGEST_REQUEST} characters")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = f'send {{"why": "...", "actor": "..."}}, texts of at most {LONGEST_TEXT} characters'
        raise SettingsError(Problem("api.body", request.url.path, f"cannot be understood: {error}", hint)) from error
    if given["actor"] == "extproc":
        raise SettingsError(Problem("api.actor", request.url.path, "'extproc' is the name of the automation", "send your own"))
    return given


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise SettingsError(Problem("api.query", name, f"{text!r} is no number", "leave it out, or give a whole number"))
    return int(text) if text else default
