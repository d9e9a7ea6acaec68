"""One exchange -> its Transcript, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from extproc.domain import Dialect, Ending, Finish, Transcript
from extproc.judge.assembly import anthropic, dialects, gemini, openai_chat, openai_responses
from extproc.judge.assembly.bodies import Body, read_body
from extproc.judge.assembly.draft import Asked, Draft
from extproc.judge.assembly.shapes import Table

LEAST_ERROR: Final = 400
"""HTTP statuses from here on are errors."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Copies of a request and its answer as they were on the wire, and what is known of the copies."""

    path: str
    request: bytes
    response: bytes
    status: int = 200
    """Of the answer; 0 where none was seen."""
    request_content_type: str = ""
    request_encoding: str = ""
    """Value of content-encoding; empty: none."""
    response_content_type: str = ""
    response_encoding: str = ""
    request_truncated: bool = False
    """A limit of ours cut the copy."""
    response_truncated: bool = False
    response_ended: bool = True
    """The end of the answer's stream was seen."""


@dataclass(frozen=True, slots=True)
class _Format:
    request: Callable[[Table], Asked]
    answer: Callable[[Table], Draft]
    stream: Callable[[Iterable[tuple[str, Table]]], Draft]


_FORMATS: Final[Mapping[Dialect, _Format]] = {
    Dialect.OPENAI_CHAT: _Format(openai_chat.read_request, openai_chat.read_answer, openai_chat.read_stream),
    Dialect.OPENAI_RESPONSES: _Format(openai_responses.read_request, openai_responses.read_answer, openai_responses.read_stream),
    Dialect.ANTHROPIC: _Format(anthropic.read_request, anthropic.read_answer, anthropic.read_stream),
    Dialect.GEMINI: _Format(gemini.read_request, gemini.read_answer, gemini.read_stream),
}


def assemble(exchange: Exchange) -> Transcript:
    """The Transcript of an exchange. Never raises, whatever the bodies hold; costs at most linear time.

    Request and answer may be of different dialects, as where a gateway translates; each is read in its own. The first of these that is
    so is the ending: an error, a copy that was cut, an answer that cannot be read or has no end, a request that cannot be read.
    """
    request = read_body(exchange.request, exchange.request_content_type, exchange.request_encoding, exchange.request_truncated, ended=True)
    body = read_body(
        exchange.response,
        exchange.response_content_type,
        exchange.response_encoding,
        exchange.response_truncated,
        exchange.response_ended,
    )
    answered_in = dialects.of_answer(body.documents)
    document = request.documents[0][1] if request.documents and not request.is_stream else {}
    asked_in = dialects.of_request(document, exchange.path, answered_in)
    asked = _FORMATS[asked_in].request(document) if asked_in is not None else Asked()
    speaks = answered_in or asked_in or dialects.by_path(exchange.path)
    draft = _draft(body, speaks)
    draft.known = draft.known and answered_in is not None
    ending, why = _ending(exchange, request, body, draft, asked if asked_in is not None else None)
    return Transcript(
        dialect=speaks,
        ending=ending,
        why=why,
        asked_model=asked.model or gemini.path_model(exchange.path) or dialects.deployment(exchange.path),
        answered_model=draft.model,
        turns=asked.turns,
        remembered=asked.remembered,
        answer=draft.answer,
        calls=draft.tool_calls,
        refusal=draft.refusal,
        finish=draft.finish,
        wants_json=asked.wants_json,
        json_schema=asked.json_schema,
        tools=asked.tools,
        open_tools=asked.open_tools,
        input_tokens=draft.input_tokens,
        output_tokens=draft.output_tokens,
    )


def _draft(body: Body, dialect: Dialect | None) -> Draft:
    """The answer; an empty one where there is none, or nobody knows how to read it."""
    if dialect is None or not body.documents:
        return Draft()
    form = _FORMATS[dialect]
    draft = form.stream(body.documents) if body.is_stream else form.answer(body.documents[0][1])
    draft.ended = draft.ended or (body.is_stream and body.done)
    return draft


def _ending(exchange: Exchange, request: Body, body: Body, draft: Draft, asked: Asked | None) -> tuple[Ending, str]:
    """How it ended, and why if not well."""
    if exchange.status >= LEAST_ERROR or draft.error is not None:
        status = f"status {exchange.status}" if exchange.status >= LEAST_ERROR else "an error in the answer"
        return Ending.FAILED, f"{status}: {draft.error}" if draft.error else status
    if cut := next((f"the {name} is {one.truncated}" for name, one in (("answer", body), ("request", request)) if one.truncated), ""):
        return Ending.TRUNCATED, cut
    if body.aborted:
        return Ending.ABORTED, f"the answer: {body.aborted}"
    if body.unreadable:
        return Ending.UNREADABLE, f"the answer: {body.unreadable}"
    if not draft.known:
        return _unknown(exchange, body)
    if draft.pending:
        return Ending.ABORTED, "the vendor answers later, elsewhere"
    if not draft.ended and not (exchange.response_ended and draft.finish is not Finish.UNKNOWN):
        return Ending.ABORTED, "the answer has no end"
    if request.unreadable:
        return Ending.UNREADABLE, f"the request: {request.unreadable}"
    if asked is None:
        return Ending.UNREADABLE, "the request is of no known format"
    if not asked.turns and not asked.remembered:
        return Ending.UNREADABLE, "the request has no messages"
    return Ending.WHOLE, ""


def _unknown(exchange: Exchange, body: Body) -> tuple[Ending, str]:
    """A stream that stops before it has shown what it is was aborted; anything else is of no known format."""
    if body.is_stream and not body.done and not exchange.response_ended:
        return Ending.ABORTED, "the answer has no end"
    return Ending.UNREADABLE, "the answer is of no known format"
