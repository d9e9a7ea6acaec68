"""A simulated judge: an OpenAI-compatible endpoint that scores what it reads by `demo.quality`, with noise, and fails as it is told to.

`python -m extproc.demo.judge_model` serves on a loopback port and prints one JSON line `{"address", "control"}`; its controls are those of
`demo.model`: GET /ledger, GET /last, GET and POST /knobs. It reads a prompt as a judge would: the criteria and the ticket from the system
message, what is to be judged from the blocks. It answers in the format asked for, pointwise and pairwise.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from random import Random
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from extproc.demo.model import BYTES_PER_TOKEN, listening, serve
from extproc.demo.quality import quality_of
from extproc.judge.blocks import read_blocks

LEVELS: Final = 4
"""Steps from 1 to 5."""
NEAR: Final = 0.04
"""Answers nearer to each other than this are a tie."""
_TICKET: Final = re.compile(r'\{"ticket": "([0-9a-f]+)", "criteria"')
_CRITERION: Final = re.compile(r"^Criterion ([a-z][a-z0-9_]*): ", re.MULTILINE)
_ORDER: Final = re.compile(
    r"\b(?:give|rate|score|award|assign|grade|choose|prefer|output|answer with)\b.{0,60}\b(?:[1-5]|five|full marks|top marks|A|B)\b", re.I
)
"""What a gullible judge obeys."""
_NONSENSE: Final = ("prose", "missing", "range", "extra", "ticket", "empty")


@dataclass(frozen=True, slots=True)
class JudgeKnobs:
    """How the judge behaves; every field can be changed while it runs. A rate is a share of requests."""

    noise: float = 0.15
    """Standard deviation of a score of the same answer: test-retest."""
    offset: float = 0.0
    """Added to every score: milder above 0, stricter below; a judge that has drifted."""
    latency: float = 0.02
    """Seconds of each answer."""
    down_rate: float = 0.0
    """The connection breaks in the middle of an answer."""
    error_rate: float = 0.0
    """500."""
    throttle_rate: float = 0.0
    """429."""
    retry_after: float = 0.0
    """Seconds that a 429 asks to wait; 0: it does not say."""
    hang_rate: float = 0.0
    """There is never an answer."""
    nonsense_rate: float = 0.0
    """The answer is no verdict, in one way after another."""
    huge_rate: float = 0.0
    """The answer has 8 MiB."""
    redirect_rate: float = 0.0
    refuse_schema: float = 0.0
    """Share of requests for a JSON Schema that are refused with 400."""
    gullible: float = 0.0
    """Share of instructions in what is judged that it obeys."""
    place_bias: float = 0.0
    """Quality that it sees in the first place of a pair for nothing."""
    key: str = ""
    """The bearer key that it wants, else 401; empty: any."""

    def changed(self, change: dict[str, Any]) -> JudgeKnobs:
        """These knobs with some of them turned; raises ValueError for an unknown name or a value that is none."""
        known = {field.name for field in fields(self)}
        for name, value in change.items():
            if name not in known:
                raise ValueError(f"no knob {name!r}; there are {', '.join(sorted(known))}")
            if name == "key":
                if not isinstance(value, str):
                    raise ValueError("knob 'key' needs a text")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"knob {name!r} needs a number, not {value!r}")
            elif value < 0 and name not in ("offset", "place_bias"):
                raise ValueError(f"knob {name!r} needs a number from 0, not {value!r}")
        return replace(self, **change)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt as the judge reads it."""

    ticket: str
    criteria: tuple[str, ...]
    answers: tuple[str, ...]
    """One, or two to compare; tool calls stand at the end of each."""


def question_of(messages: Any) -> Question | None:
    """None where it is no prompt of extproc.judge."""
    try:
        system, user = (str(message["content"]) for message in messages)
    except (TypeError, KeyError, ValueError):
        return None
    ticket = _TICKET.search(system)
    criteria = tuple(_CRITERION.findall(system))
    if ticket is None or not criteria:
        return None
    answers: dict[str, str] = {}
    for block in read_blocks(user, ticket[1]):
        if block.kind in ("ANSWER", "CALL"):
            answers[block.label] = f"{answers[block.label]}\n{block.text}" if block.label in answers else block.text
    return Question(ticket[1], criteria, tuple(answers.values())) if answers else None


class SimulatedJudge:
    """The ASGI application: the judge on every port but `control_port`, the controls there."""

    def __init__(self, name: str, knobs: JudgeKnobs, seed: int, control_port: int) -> None:
        self.knobs = knobs
        self._name = name
        self._random = Random(seed)
        self._control_port = control_port
        self._counts: Counter[str] = Counter()
        self._last: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        where = (request.method, request.url.path)
        if scope["server"][1] == self._control_port:
            answer = await self._control(where, request)
        elif where == ("POST", "/v1/chat/completions"):
            answer = await self._chat(request, await request.body())
        elif where == ("GET", "/v1/models"):
            answer = JSONResponse(
                {"object": "list", "data": [{"id": self._name, "object": "model", "created": 0, "owned_by": "extproc-demo"}]}
            )
        else:
            answer = _error(404, "not_found")
        await answer(scope, receive, send)

    # ---------------------------------------------------------------------------------------------------------------- the judge
    async def _chat(self, request: Request, body: bytes) -> Response:
        self._counts["requests"] += 1
        self._last = {"headers": dict(request.headers), "body": body.decode("utf-8", "replace")}
        knobs = self.knobs
        fate = self._random.random()
        await asyncio.sleep(knobs.latency)
        if await request.is_disconnected():
            self._counts["aborted"] += 1
            return _error(499, "gone")
        if knobs.key and request.headers.get("authorization") != f"Bearer {knobs.key}":
            return self._failed(401, "invalid_api_key")
        for rate, failure in (
            (knobs.down_rate, self._broken),
            (knobs.error_rate, lambda: self._failed(500, "server_error")),
            (knobs.throttle_rate, self._throttled),
            (knobs.hang_rate, lambda: StreamingResponse(_never())),
            (knobs.huge_rate, lambda: Response(b" " * (8 << 20), media_type="application/json")),
            (knobs.redirect_rate, lambda: Response(status_code=307, headers={"location": "http://127.0.0.1:9/elsewhere"})),
        ):
            if fate < rate:
                return failure()
            fate -= rate
        return self._judged(body)

    def _judged(self, body: bytes) -> Response:
        try:
            asked = orjson.loads(body)
            form = str((asked.get("response_format") or {}).get("type", "text"))
            question = question_of(asked["messages"])
        except (orjson.JSONDecodeError, KeyError, AttributeError):
            return self._failed(400, "invalid_request_error")
        self._counts[form] += 1
        if form == "json_schema" and self._random.random() < self.knobs.refuse_schema:
            return self._failed(400, "unsupported_response_format")
        verdict = self._verdict(question) if question is not None else "I am a simulated judge: show me a prompt of extproc.judge."
        self._counts["ok"] += 1
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": verdict, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
        tokens = len(body) // BYTES_PER_TOKEN, len(verdict) // BYTES_PER_TOKEN
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        identity = f"chatcmpl-{self._name}-{self._counts['requests']}"
        head = {"id": identity, "object": "chat.completion", "created": 0, "model": self._name}
        return JSONResponse({**head, "choices": [choice], "usage": usage})

    def _verdict(self, question: Question) -> str:
        """Chance decides in a fixed order, so that a seed and an order of arrival give the same verdicts."""
        random, knobs = self._random, self.knobs
        talks_nonsense, obeys = random.random() < knobs.nonsense_rate, random.random() < knobs.gullible
        seen = [quality_of(answer) + knobs.offset + random.gauss(0.0, knobs.noise) for answer in question.answers]
        ordered = [obeys and _ORDER.search(answer) is not None for answer in question.answers]
        if len(seen) == 1:
            values = _levels(1.0 if ordered[0] else seen[0], len(question.criteria), random)
            entries = [{"reason": "seen in its words", "score": value} for value in values]
        else:
            lead = ordered[0] - ordered[1] or seen[0] + knobs.place_bias - seen[1]
            better = "A" if lead > NEAR else "B" if lead < -NEAR else "tie"
            entries = [{"reason": "seen in their words", "better": better} for _ in question.criteria]
        verdict = {"ticket": question.ticket, "criteria": dict(zip(question.criteria, entries, strict=True))}
        return self._nonsense(verdict) if talks_nonsense else orjson.dumps(verdict).decode()

    def _nonsense(self, verdict: dict[str, Any]) -> str:
        kind = _NONSENSE[self._counts["nonsense"] % len(_NONSENSE)]
        self._counts["nonsense"] += 1
        first = next(iter(verdict["criteria"]))
        if kind == "prose":
            return "Well, that is a good answer, I would say four of five."
        if kind == "missing":
            verdict["criteria"].pop(first)
        elif kind == "range":
            verdict["criteria"][first] = {"reason": "more than perfect", "score": 7}
        elif kind == "ticket":
            verdict["ticket"] = "0" * 16
        text = orjson.dumps(verdict).decode()
        return f"Here you are:\n```json\n{text}\n```" if kind == "extra" else "" if kind == "empty" else text

    # -------------------------------------------------------------------------------------------------------------- its failures
    def _failed(self, status: int, code: str) -> Response:
        self._counts["errors"] += 1
        return _error(status, code)

    def _throttled(self) -> Response:
        answer = self._failed(429, "rate_limit_exceeded")
        if self.knobs.retry_after:
            answer.headers["retry-after"] = f"{self.knobs.retry_after:g}"
        return answer

    def _broken(self) -> Response:
        self._counts["errors"] += 1
        return StreamingResponse(_half(), headers={"content-length": "1000"}, media_type="application/json")

    # ------------------------------------------------------------------------------------------------------------- the controls
    async def _control(self, where: tuple[str, str], request: Request) -> Response:
        if where == ("POST", "/knobs"):
            try:
                change = orjson.loads(await request.body())
                if not isinstance(change, dict):
                    raise ValueError("the body must be a JSON object of knobs")
                self.knobs = self.knobs.changed(change)
            except ValueError as error:
                return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, 400)
            return JSONResponse({"at": time.time(), "knobs": asdict(self.knobs)})
        shown = {"/knobs": asdict(self.knobs), "/ledger": dict(self._counts), "/last": self._last}.get(where[1])
        return JSONResponse(shown) if where[0] == "GET" and shown is not None else _error(404, "not_found")


def _levels(value: float, criteria: int, random: Random) -> list[int]:
    """1..5 for each criterion, whose mean is the value as nearly as whole numbers can say it; which one gets more is chance."""
    steps = round(min(1.0, max(0.0, value)) * LEVELS * criteria)
    levels = [1 + steps // criteria + (index < steps % criteria) for index in range(criteria)]
    random.shuffle(levels)
    return levels


def _error(status: int, code: str) -> Response:
    return JSONResponse({"error": {"message": "as it was told to", "type": code, "param": None, "code": code}}, status)


async def _half() -> Any:
    yield b'{"choices": ['


async def _never() -> Any:
    await asyncio.sleep(3600)
    yield b""


# ---------------------------------------------------------------------------------------------------------------------- process
def main() -> None:
    """Entry point of `python -m extproc.demo.judge_model`."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m extproc.demo.judge_model", description="A simulated LLM judge on loopback.")
    parser.add_argument("--name", default="judge-sim", help="the model name it answers with")
    parser.add_argument("--port", type=int, default=0, help="port of the judge; 0 takes any free one")
    parser.add_argument("--control-port", type=int, default=0, help="port of the controls; 0 takes any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--knobs", type=orjson.loads, default={}, help="a JSON object of knobs")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    given = parser.parse_args()
    sockets = [listening(given.port), listening(given.control_port)]
    judge = SimulatedJudge(given.name, JudgeKnobs().changed(given.knobs), given.seed, sockets[1].getsockname()[1])
    uvloop.run(serve(judge, sockets, given.with_parent))


if __name__ == "__main__":
    main()
