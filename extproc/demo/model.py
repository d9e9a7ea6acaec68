"""A simulated model: POST /v1/chat/completions as OpenAI has it, POST /v1/messages as Anthropic has it (JSON and SSE), GET /v1/models, and
its own ledger.

`python -m extproc.demo.model --name NAME` serves on a loopback port and prints one JSON line `{"address", "control"}`. On the control
port: GET /ledger, GET /last (headers and body of the last request), POST /knobs (a JSON object of Knobs fields, taken at once),
GET /knobs. The control port is another one than the model's, so that no gateway can reach it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import socket
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from random import Random
from typing import Any, Final

import orjson
import uvicorn

from extproc.demo.answer import Answer
from extproc.demo.ledger import Ledger
from extproc.demo.quality import text_of_quality
from extproc.demo.voices import Anthropic, OpenAi, Voice

KEEP_ALIVE: Final = 7200
"""Seconds an idle connection stays: longer than any gateway's own idle timeout, or the gateway meets connections just closed (503)."""
CHUNKS: Final = 6
"""A stream is sent in at most so many content chunks, however many tokens it has: enough to see it flow, cheap to produce."""
BYTES_PER_TOKEN: Final = 4
REFUSAL: Final = "I'm sorry, but I can't help with that request."
QUALITY_SPREAD: Final = 0.1
"""Standard deviation of the quality of a model's answers."""
_WORDS: Final = ("the", "answer", "to", "your", "question", "is", "simulated", "and", "every", "token", "of", "it", "was", "counted")
_TEXT: Final = " ".join(_WORDS[i % len(_WORDS)] for i in range(4096))
_JSON_HEADERS: Final = [(b"content-type", b"application/json")]
_SSE_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


@dataclass(frozen=True, slots=True)
class Knobs:
    """How the model behaves; every field can be changed while it runs."""

    ttft: float = 0.06
    """Mean seconds to the first token (lognormal)."""
    spread: float = 0.4
    """Sigma of the lognormal time to the first token."""
    tokens_per_second: float = 800.0
    output_tokens: float = 60.0
    """Mean tokens of an answer (lognormal, sigma .5)."""
    input_factor: float = 1.0
    """Input tokens for each that is usual for a request of this length: another tokenizer reads more of the same text."""
    cached_share: float = 0.0
    """Share of the input tokens that came from a cache; 0: the usage does not speak of one."""
    reasoning_share: float = 0.0
    """Share of the output tokens that were reasoning; 0: the usage does not speak of any."""
    error_rate: float = 0.0
    """Share of requests answered with `error_status`, after the time to the first token."""
    error_status: int = 500
    hang_rate: float = 0.0
    """Share of requests that never get an answer."""
    quality: float = 0.0
    """Mean quality of what the answers say (demo.quality), from 0 to 1; 0: they say the same words again and again."""
    refusal_rate: float = 0.0
    """Share of requests that are refused, politely and with 200."""
    country: str = ""
    """`error_rate` and `hang_rate` concern only requests whose body says in `metadata.country` that they come from here; empty: all."""

    def concern(self, country: str) -> bool:
        """True where what fails may fail for a request from there."""
        return self.country in ("", country)

    def changed(self, change: dict[str, Any]) -> Knobs:
        """These knobs with some of them turned; raises ValueError for an unknown name or a value that is none."""
        known = {field.name for field in fields(self)}
        for name, value in change.items():
            if name not in known:
                raise ValueError(f"no knob {name!r}; there are {', '.join(sorted(known))}")
            if name == "country":
                if not isinstance(value, str):
                    raise ValueError(f"knob 'country' needs a text, not {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"knob {name!r} needs a number from 0, not {value!r}")
        return replace(self, **change)


class SimulatedModel:
    """The ASGI application: the model on every port but `control_port`, the controls there."""

    def __init__(self, name: str, knobs: Knobs, seed: int, control_port: int, foreign_prefix: bytes) -> None:
        self.ledger = Ledger(name)
        self.knobs = knobs
        self._name = name
        self._random = Random(seed)
        self._control_port = control_port
        self._foreign = foreign_prefix
        self._last: dict[str, Any] = {}
        self._created = int(time.time())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        where = (scope["method"], scope["path"])
        if scope["server"][1] == self._control_port:
            await self._control(where, body, send)
        elif where == ("POST", "/v1/chat/completions"):
            await self._answer(OpenAi(self._name, self.ledger.requests + 1, self._created), scope["headers"], body, receive, send)
        elif where == ("POST", "/v1/messages"):
            await self._answer(Anthropic(self._name, self.ledger.requests + 1), scope["headers"], body, receive, send)
        elif where == ("GET", "/v1/models"):
            entry = {"id": self._name, "object": "model", "created": self._created, "owned_by": "extproc-demo"}
            await _reply(send, 200, {"object": "list", "data": [entry]})
        else:
            await _reply(send, 404, _error(f"no {where[0]} {where[1]} here", "invalid_request_error"))

    # ---------------------------------------------------------------------------------------------------------------- the model
    async def _answer(self, voice: Voice, headers: list[tuple[bytes, bytes]], body: bytes, receive: Any, send: Any) -> None:
        try:
            asked = orjson.loads(body)
            stream = bool(asked.get("stream", False))
            model = str(asked.get("model", ""))
            country = str((asked.get("metadata") or {}).get("country", ""))
        except (orjson.JSONDecodeError, AttributeError):
            await _reply(send, 400, _error("the body is not a JSON object", "invalid_request_error"))
            return
        self._last = {"headers": headers, "body": body}
        foreign = bool(self._foreign) and any(name.startswith(self._foreign) for name, _ in headers)
        concerned = self.knobs.concern(country)
        self.ledger.arrived(time.time(), model, stream, foreign, concerned)
        answer = self._draw(len(body), concerned)
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            if answer.status == 0:
                await gone
                self.ledger.gone()
            elif stream and answer.status == 200:
                await self._stream(voice, answer, gone, send)
            else:
                await asyncio.sleep(answer.wait + (answer.writing if answer.status == 200 else 0.0))
                await self._whole(voice, answer, gone, send)
        finally:
            gone.cancel()

    async def _whole(self, voice: Voice, answer: Answer, gone: asyncio.Future[None], send: Any) -> None:
        if gone.done():
            self.ledger.gone()
        elif answer.status == 200:
            self.ledger.served(answer.input_tokens, answer.output_tokens)
            await _reply(send, 200, voice.whole(answer))
        else:
            self.ledger.failed(time.time())
            await _reply(send, answer.status, _error("the simulated model failed, as it was told to", "server_error"))

    def _draw(self, body_length: int, concerned: bool) -> Answer:
        """Chance decides in a fixed order, so that a seed and an order of arrival give the same answers."""
        knobs, random = self.knobs, self._random
        fate = random.random()
        wait = _lognormal(random, knobs.ttft, knobs.spread)
        tokens = max(1, round(_lognormal(random, knobs.output_tokens, 0.5)))
        hangs, fails = (knobs.hang_rate, knobs.hang_rate + knobs.error_rate) if concerned else (0.0, 0.0)
        status = 0 if fate < hangs else knobs.error_status if fate < fails else 200
        writing = tokens / knobs.tokens_per_second if knobs.tokens_per_second else 0.0
        asked = max(1, round((body_length // BYTES_PER_TOKEN + 1) * knobs.input_factor))
        return Answer(
            wait,
            writing,
            asked,
            _part(asked, knobs.cached_share),
            tokens,
            _part(tokens, knobs.reasoning_share),
            status,
            self._words(tokens),
        )

    def _words(self, tokens: int) -> str:
        """What an answer of so many tokens says."""
        knobs, random = self.knobs, self._random
        if knobs.refusal_rate and random.random() < knobs.refusal_rate:
            return REFUSAL
        return text_of_quality(random.gauss(knobs.quality, QUALITY_SPREAD), tokens, random) if knobs.quality else _text(tokens)

    async def _stream(self, voice: Voice, answer: Answer, gone: asyncio.Future[None], send: Any) -> None:
        """In pieces, as they are written."""
        await send({"type": "http.response.start", "status": 200, "headers": _SSE_HEADERS})
        pieces = min(CHUNKS, answer.output_tokens)
        edges = [len(answer.text) * i // pieces for i in range(pieces + 1)]
        pause = answer.writing / pieces
        await asyncio.sleep(answer.wait)
        for first, last in pairwise(edges):
            if gone.done():
                self.ledger.gone()
                return
            begin = voice.begin(answer) if first == 0 else b""
            await _events(send, begin + voice.piece(answer.text[first:last], first == 0))
            await asyncio.sleep(pause)
        self.ledger.served(answer.input_tokens, answer.output_tokens)
        await send({"type": "http.response.body", "body": voice.end(answer)})

    # ------------------------------------------------------------------------------------------------------------- the controls
    async def _control(self, where: tuple[str, str], body: bytes, send: Any) -> None:
        if where == ("POST", "/knobs"):
            try:
                change = orjson.loads(body)
                if not isinstance(change, dict):
                    raise ValueError("the body must be a JSON object of knobs")
                self.knobs = self.knobs.changed(change)
            except ValueError as error:
                await _reply(send, 400, _error(str(error), "invalid_request_error"))
                return
            self.ledger.mark(time.time())
            await _reply(send, 200, {"at": self.ledger.since.at, "knobs": asdict(self.knobs)})
        elif where == ("GET", "/knobs"):
            await _reply(send, 200, asdict(self.knobs))
        elif where == ("GET", "/ledger"):
            await _reply(send, 200, self.ledger.as_json())
        elif where == ("GET", "/last"):
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._last.get("headers", [])]
            await _reply(send, 200, {"headers": headers, "body": self._last.get("body", b"").decode("utf-8", "replace")})
        else:
            await _reply(send, 404, _error("controls are GET /ledger, GET /last, GET /knobs and POST /knobs", "invalid_request_error"))


def _lognormal(random: Random, mean: float, sigma: float) -> float:
    """A lognormal draw with this mean."""
    return mean * math.exp(random.gauss(0.0, sigma) - sigma * sigma / 2)


def _text(tokens: int) -> str:
    """So many tokens of simulated words (one token is taken for `BYTES_PER_TOKEN` letters)."""
    return _TEXT[: tokens * BYTES_PER_TOKEN]


def _part(tokens: int, share: float) -> int | None:
    """So many of these tokens, never more than all; None where there is no share."""
    return min(tokens, round(tokens * share)) if share else None


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


async def _body(receive: Any) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reply(send: Any, status: int, content: dict[str, Any]) -> None:
    body = orjson.dumps(content)
    headers = [*_JSON_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _events(send: Any, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


# ---------------------------------------------------------------------------------------------------------------------- process
def listening(port: int) -> socket.socket:
    """A socket on a loopback port; 0 takes any free one."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(2048)
    return made


async def serve(model: Any, sockets: list[socket.socket], with_parent: bool) -> None:
    """Serve an ASGI application on [its port, its control port], both told in one JSON line, until it is ended."""
    config = uvicorn.Config(
        model,
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    watching = asyncio.create_task(_parent_gone(server)) if with_parent else None
    address, control = (f"127.0.0.1:{made.getsockname()[1]}" for made in sockets)
    print(orjson.dumps({"address": address, "control": control}).decode(), flush=True)
    await server.serve(sockets=sockets)
    if watching is not None:
        watching.cancel()


async def _parent_gone(server: uvicorn.Server) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    await lines.read()
    server.should_exit = True


def main() -> None:
    """Entry point of `python -m extproc.demo.model`."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m extproc.demo.model", description="A simulated OpenAI-compatible model on loopback.")
    parser.add_argument("--name", required=True, help="the model name it answers with")
    parser.add_argument("--port", type=int, default=0, help="port of the model; 0 takes any free one")
    parser.add_argument("--control-port", type=int, default=0, help="port of the controls; 0 takes any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--knobs", type=orjson.loads, default={}, help="a JSON object of knobs")
    parser.add_argument("--foreign-prefix", default="", help="count requests that carry a header with this prefix")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    given = parser.parse_args()
    sockets = [listening(given.port), listening(given.control_port)]
    control_port = sockets[1].getsockname()[1]
    model = SimulatedModel(given.name, Knobs().changed(given.knobs), given.seed, control_port, given.foreign_prefix.encode())
    uvloop.run(serve(model, sockets, given.with_parent))


if __name__ == "__main__":
    main()
