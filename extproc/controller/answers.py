"""How the API answers: JSON, refusals as Problems, and streams that do not wait for a client for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from extproc.controller.ask import SilentError
from extproc.errors import ExtprocError, Problem, RefusedError, SettingsError, StoreError

LONGEST_BODY: Final = 16_384
"""Bytes of a request's body."""
TAKES: Final = 30.0
"""Seconds that a client has for taking a piece of an answer."""

Endpoint = Callable[[Request], Awaitable[Response]]


def json_answer(status: int, document: object) -> Response:
    """A document as JSON."""
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")


def refused(status: int, *problems: Problem) -> Response:
    """A refusal."""
    return json_answer(status, {"problems": [asdict(problem) for problem in problems]})


async def answered(endpoint: Endpoint, request: Request) -> Response:
    """What the endpoint answers; what it raises as the status that says whose turn it is."""
    try:
        return await endpoint(request)
    except RefusedError as error:
        return refused(409, *error.problems)
    except StoreError as error:
        return refused(503, *error.problems)
    except SilentError as error:
        return refused(504 if error.asked else 503, *error.problems)
    except ExtprocError as error:
        return refused(400, *error.problems)


async def body_of(request: Request) -> bytes:
    """All of it; raises SettingsError where it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise SettingsError(Problem("api.body", request.url.path, "the body is too long", f"at most {LONGEST_BODY} bytes"))
    return body


class TimedStream(StreamingResponse):
    """A client that does not take a piece in time loses its connection: the server closes what was left unfinished."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            async with asyncio.timeout(TAKES):
                await send(message)

        try:
            await super().__call__(scope, receive, sent)
        except TimeoutError:
            pass
        finally:
            await self.ended()

    async def ended(self) -> None:
        """The answer has ended, however."""
