"""The controller's HTTP API, on loopback. Reading and acting want the bearer token; /healthz and /metrics do not.

    GET  /v1/status                            what every rollout does, and why
    GET  /v1/journal?rollout=&limit=&before=   decisions, newest first
    POST /v1/rollouts/{name}/{action}          {"why": "...", "actor": "..."}; action: start, pause, resume, promote, rollback

An act is answered when it is committed. Errors are {"problems": [{"id", "path", "message", "hint"}]}.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from extproc.controller.collector import Collector
from extproc.controller.loop import TICK, Loop
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.routers import Routers
from extproc.controller.view import journal_document, status_document
from extproc.domain import Action
from extproc.errors import ExtprocError, Problem, RefusedError, SettingsError, StoreError
from extproc.store import Store

ACTIONS: Final = {
    "start": Action.START,
    "pause": Action.PAUSE,
    "resume": Action.RESUME,
    "promote": Action.ADVANCE,
    "rollback": Action.ROLL_BACK,
}
LONGEST_BODY: Final = 16_384
LONGEST_TEXT: Final = 1_000
FROZEN_AFTER: Final = 5 * TICK
"""Seconds without a tick after which /healthz says so."""

Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The endpoints of one controller."""

    def __init__(self, loop: Loop, store: Store, collector: Collector, routers: Routers, metrics: ControllerMetrics, token: str) -> None:
        self._loop = loop
        self._store = store
        self._collector = collector
        self._routers = routers
        self._metrics = metrics
        self._token = token.encode()

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/healthz", self._health),
            Route("/metrics", self._exposition),
            Route("/v1/status", self._guarded(self._status)),
            Route("/v1/journal", self._guarded(self._journal)),
            Route("/v1/rollouts/{name}/{action}", self._guarded(self._act), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(token.encode(), self._token):
                hint = "send the token that lies beside the store as `Authorization: Bearer ...`"
                return _refused(401, Problem("api.token", request.url.path, "no valid token", hint))
            try:
                return await endpoint(request)
            except RefusedError as error:
                return _refused(409, *error.problems)
            except StoreError as error:
                return _refused(503, *error.problems)
            except ExtprocError as error:
                return _refused(400, *error.problems)

        return guarded

    async def _health(self, _: Request) -> Response:
        age = time.time() - self._loop.last_tick
        well = age < FROZEN_AFTER
        text = f"controller: evaluated {age:.1f} s ago\n" if well else f"controller: has not evaluated for {age:.0f} s\n"
        return PlainTextResponse(text + self._loop.spec_file.told(), status_code=200 if well else 503)

    async def _exposition(self, _: Request) -> Response:
        return Response(
            self._metrics.exposition(self._loop, self._routers.counted(time.monotonic())),
            media_type="text/plain; version=0.0.4; charset=utf-8",
        )

    async def _status(self, _: Request) -> Response:
        return _json(200, status_document(self._loop, self._collector, self._routers.documents(time.monotonic()), time.time()))

    async def _journal(self, request: Request) -> Response:
        limit = _number(request, "limit", 50)
        before = _number(request, "before", 0)
        entries = self._store.journal(request.query_params.get("rollout"), max(1, min(limit, 1000)), before or None)
        return _json(200, {"entries": [journal_document(entry) for entry in entries]})

    async def _act(self, request: Request) -> Response:
        name, word = request.path_params["name"], request.path_params["action"]
        if word not in ACTIONS:
            return _refused(404, Problem("api.action", word, "there is no such action", f"there are: {', '.join(ACTIONS)}"))
        why, actor = await _reason(request)
        state = self._loop.act(name, ACTIONS[word], actor, why, time.time())
        return _json(200, {"generation": self._loop.state.generation, "status": state.status.value, "why": state.why})


async def _reason(request: Request) -> tuple[str, str]:
    """(why, actor) of an act; raises SettingsError where the body is not as it should be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise SettingsError(Problem("api.body", request.url.path, "the body is too long", f"at most {LONGEST_BODY} bytes"))
    try:
        document = orjson.loads(body)
        why, actor = document["why"], document.get("actor", "api")
        if not (isinstance(why, str) and isinstance(actor, str) and actor.strip() and max(len(why), len(actor)) <= LONGEST_TEXT):
            raise ValueError("why and actor are texts")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = f'send {{"why": "...", "actor": "..."}}, texts of at most {LONGEST_TEXT} characters'
        raise SettingsError(Problem("api.body", request.url.path, f"cannot be understood: {error}", hint)) from error
    if actor == "extproc":
        raise SettingsError(Problem("api.actor", request.url.path, "'extproc' is the name of the automation", "send your own"))
    return why, actor


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise SettingsError(Problem("api.query", name, f"{text!r} is no number", "leave it out, or give a whole number"))
    return int(text) if text else default


def _refused(status: int, *problems: Problem) -> Response:
    return _json(status, {"problems": [asdict(problem) for problem in problems]})


def _json(status: int, document: object) -> Response:
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")
