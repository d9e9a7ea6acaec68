"""POST /v1/feedback: what end users say of answers. `reading` has the body's shape, docs/feedback.md the examples.

    202  {"accepted": n, "duplicates": m, "refused": [Problem]}   on disk now; those that are refused did not cost the others
    401  no valid token or key          403  too old, or a page of another origin     408  the body came too slowly
    413  too long                       415  no JSON                                  422  nothing in it can be used
    429  too much, see Retry-After      503  cannot be kept now: send it again after Retry-After

Without a 202 nothing was kept. Errors are {"problems": [{"id", "path", "message", "hint"}]}.

A signed token is an authorisation by itself. A request id needs a feedback key, or `allow_request_ids_from_browsers`. No id, token, key or
address gets into a log or an answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from extproc import contract
from extproc.controller.feedback.committer import Committer
from extproc.controller.feedback.keys import Keys, bearer
from extproc.controller.feedback.limits import Buckets, Open
from extproc.controller.feedback.metrics import FeedbackMetrics
from extproc.controller.feedback.origins import check_origins, client_address, cors, may_post, preflight
from extproc.controller.feedback.reading import LONGEST_BODY, Reading, Rules, read_body
from extproc.controller.feedback.settings import FeedbackSettings
from extproc.domain import Feedback
from extproc.errors import Problem, StoreError

BODY_TAKES: Final = 10.0
"""Seconds for a body."""
AGAIN: Final = 5
"""Seconds after which what could not be kept is worth another try."""
_PATH: Final = contract.FEEDBACK_PATH
_STATUS: Final = {
    "feedback.token": 401,
    "feedback.key": 401,
    "feedback.expired": 403,
    "feedback.size": 413,
    "feedback.rate": 429,
}
"""Status of a post of which nothing can be used, by its gravest Problem: they stand in this order."""
_UNUSABLE: Final = 422


class _RefusedError(Exception):
    """A post that is answered with Problems."""

    def __init__(self, status: int, problems: Sequence[Problem], again: float = 0.0) -> None:
        """`again`: seconds after which it is worth another try."""
        super().__init__(status)
        self.status, self.problems, self.again = status, problems, again


class FeedbackApp:
    """The endpoint of one feedback service."""

    def __init__(self, settings: FeedbackSettings, committer: Committer, metrics: FeedbackMetrics, keys: Keys) -> None:
        self.keys = keys
        """Feedback keys, replaced when their file changes."""
        self._rules = Rules(tuple(map(bytes.fromhex, settings.signing_keys)), settings.window)
        self._origins = check_origins(settings.origins)
        self._settings = settings
        self._committer = committer
        self._metrics = metrics
        self._clients, self._answers = Buckets(), Buckets()
        self._open = Open(settings.limits.open)

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [Route(_PATH, self._serve, methods=["POST", "OPTIONS"])]
        return Starlette(routes=routes, exception_handlers={404: _no_path, 405: _no_method})

    async def _serve(self, request: Request) -> Response:
        origin = request.headers.get("origin")
        if request.method == "OPTIONS":
            return Response(status_code=204 if origin in self._origins else 403, headers=preflight(origin, self._origins))
        headers = dict(cors(origin, self._origins))
        try:
            status, document = 202, await self._post(request, origin)
        except _RefusedError as refused:
            status = refused.status
            document = {"problems": [_shown(problem) for problem in refused.problems]}
            if refused.again:
                headers["retry-after"] = str(math.ceil(refused.again))
            if status == 401:
                headers["www-authenticate"] = "Bearer"
            if status in (408, 413):
                headers["connection"] = "close"  # the rest of the body is not waited for
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        self._metrics.answered(status)
        return Response(orjson.dumps(document), status, headers, "application/json")

    async def _post(self, request: Request, origin: str | None) -> dict[str, object]:
        """The answer to a post that is good, in part at least."""
        self._check_head(request, origin)
        client, has_key = self._client(request)
        now = time.monotonic()
        self._take(client, has_key, 1, now)
        if not self._open.enter(client):
            raise _RefusedError(429, [_too_much("too many posts at the same time")], 1.0)
        try:
            may_name = has_key or self._settings.allow_request_ids_from_browsers
            read = read_body(await _body(request), self._rules, may_name, time.time())
            self._metrics.refused(len(_places(read.problems)))
            self._take(client, has_key, read.count - 1, now)
            items, problems, wait = self._paced(read, now)
            if not items:
                raise _RefusedError(_status(problems), problems, wait)
            accepted = await self._keep(items)
        finally:
            self._open.leave(client)
        new = sum(accepted)
        return {"accepted": new, "duplicates": len(items) - new, "refused": [_shown(problem) for problem in problems]}

    def _check_head(self, request: Request, origin: str | None) -> None:
        if not may_post(origin, request.headers.get("host", ""), self._origins):
            hint = "its origin is named in the service's settings"
            raise _RefusedError(403, [Problem("feedback.origin", _PATH, "pages of this origin may not post", hint)])
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
            raise _RefusedError(415, [Problem("feedback.type", _PATH, "is no plain JSON", "send content-type: application/json")])

    def _client(self, request: Request) -> tuple[str, bool]:
        """(whose limits count, True for who has a feedback key)."""
        peer = request.client.host if request.client is not None else ""
        address = client_address(peer, request.headers.getlist("x-forwarded-for"), self._settings.trusted_hops)
        shown = bearer(request.headers.getlist("authorization"))
        if shown is None:
            return address, False
        place = self.keys.find(shown)
        if place is None:
            self._take(address, False, 1, time.monotonic())
            raise _RefusedError(
                401, [Problem("feedback.key", _PATH, "no valid feedback key", "send `Authorization: Bearer <feedback key>`")]
            )
        return f"key {place}", True

    def _take(self, client: str, has_key: bool, count: int, now: float) -> None:
        """Count against a client's limit; raises where it is reached."""
        limits = self._settings.limits
        if count > 0 and (wait := self._clients.take(client, count, limits.key if has_key else limits.address, now)):
            raise _RefusedError(429, [_too_much("too much feedback from this client")], wait)

    def _paced(self, read: Reading, now: float) -> tuple[list[Feedback], list[Problem], float]:
        """(what is within its answer's limit, all Problems, seconds until more is)."""
        items: list[Feedback] = []
        problems = list(read.problems)
        longest = 0.0
        for place, one in zip(read.places, read.items, strict=True):
            wait = self._answers.take(one.answer, 1, self._settings.limits.answer, now)
            if wait:
                longest = max(longest, wait)
                problems.append(_too_much("too much feedback about this answer", place or "body"))
            else:
                items.append(one)
        self._metrics.refused(len(read.items) - len(items))
        return items, problems, longest

    async def _keep(self, items: Sequence[Feedback]) -> list[bool]:
        try:
            accepted = await self._committer.keep(items)
        except StoreError as error:
            self._metrics.unwritten(items)
            # What is wrong with the disk is in the log, and nobody's business who posts.
            hint = "nothing of it was kept: send it again later"
            raise _RefusedError(503, [Problem("feedback.unwritten", _PATH, "cannot be kept now", hint)], AGAIN) from error
        self._metrics.kept(items, accepted)
        return accepted


async def _body(request: Request) -> bytes:
    """All of it."""
    too_long = _RefusedError(413, [Problem("feedback.size", "body", "is too long", f"at most {LONGEST_BODY} bytes: send less at once")])
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > LONGEST_BODY:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TAKES):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BODY:
                    raise too_long
    except TimeoutError:
        raise _RefusedError(408, [Problem("feedback.slow", "body", "came too slowly", f"within {BODY_TAKES:.0f} s")]) from None
    return bytes(body)


def _status(problems: Sequence[Problem]) -> int:
    identities = {problem.id for problem in problems}
    return next((status for identity, status in _STATUS.items() if identity in identities), _UNUSABLE)


def _too_much(message: str, where: str = _PATH) -> Problem:
    return Problem("feedback.rate", where, message, "send it again after the seconds that Retry-After says, in larger batches")


def _places(problems: Sequence[Problem]) -> set[str]:
    """Items that have Problems: an item's place stands before its first dot."""
    return {problem.path.partition("]")[0] if problem.path.startswith("[") else "" for problem in problems}


def _shown(problem: Problem) -> Mapping[str, str]:
    return {"id": problem.id, "path": problem.path, "message": problem.message, "hint": problem.hint}


async def _no_path(_: Request, __: Exception) -> Response:
    return _alone(404, Problem("feedback.path", "path", "there is nothing here", f"post to {_PATH}"))


async def _no_method(_: Request, __: Exception) -> Response:
    return _alone(405, Problem("feedback.method", _PATH, "takes POST alone", "send a POST"), {"allow": "POST, OPTIONS"})


def _alone(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps({"problems": [_shown(problem)]}), status, headers, "application/json")
