"""Bodies of the four vendors' APIs, for one answer that is the same in all: each document is one that the vendor's own SDK accepts.

`whole` and `stream` write an answer, `events` the documents of a stream; `accumulated` is what the vendor's SDK makes of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.domain import Dialect
from extproc.judge.assembly import Exchange

Document = dict[str, Any]
PATHS = {
    Dialect.OPENAI_CHAT: "/v1/chat/completions",
    Dialect.OPENAI_RESPONSES: "/v1/responses",
    Dialect.ANTHROPIC: "/v1/messages",
    Dialect.GEMINI: "/v1beta/models/gemini-3-pro:generateContent",
}
REQUESTS: dict[Dialect, Document] = {
    Dialect.OPENAI_CHAT: {"model": "gpt-5", "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello?"}]},
    Dialect.OPENAI_RESPONSES: {"model": "gpt-5", "instructions": "Be kind.", "input": "Hello?"},
    Dialect.ANTHROPIC: {"model": "claude", "max_tokens": 9, "system": "Be kind.", "messages": [{"role": "user", "content": "Hello?"}]},
    Dialect.GEMINI: {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello?"}]}],
    },
}
_RAW_ANTHROPIC: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_RAW_RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@dataclass(frozen=True)
class Called:
    """A tool call, and how its arguments are cut in a stream."""

    name: str
    arguments: Document
    cut: int = 3

    def written(self) -> str:
        return orjson.dumps(self.arguments).decode()

    def pieces(self) -> list[str]:
        text = self.written()
        return [text[start : start + self.cut] for start in range(0, len(text), self.cut)]


@dataclass(frozen=True)
class Said:
    """An answer."""

    pieces: tuple[str, ...] = ("Hel", "lo.")
    calls: tuple[Called, ...] = ()
    thought: str = ""
    read: int = 7
    generated: int = 11

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def exchange(dialect: Dialect, response: bytes, request: Document | None = None, **changes: Any) -> Exchange:
    """An exchange with the usual request."""
    return Exchange(PATHS[dialect], orjson.dumps(request or REQUESTS[dialect]), response, **changes)


def sse(documents: Sequence[Document], named: bool = False, done: bool = False) -> bytes:
    """A stream of events; `named`: with the type as the event's name; `done`: with OpenAI's mark of the end."""
    out = [(f"event: {one['type']}\n" if named else "").encode() + b"data: " + orjson.dumps(one) + b"\n\n" for one in documents]
    return b"".join(out) + (b"data: [DONE]\n\n" if done else b"")


def whole(dialect: Dialect, said: Said) -> bytes:
    """The answer in one piece."""
    return orjson.dumps(_WHOLE[dialect](said))


def stream(dialect: Dialect, said: Said) -> bytes:
    """The answer as a stream."""
    return sse(events(dialect, said), dialect in (Dialect.ANTHROPIC, Dialect.OPENAI_RESPONSES), dialect is Dialect.OPENAI_CHAT)


def events(dialect: Dialect, said: Said) -> list[Document]:
    """The documents of the answer's stream."""
    return _EVENTS[dialect](said)


def _chat(said: Said) -> Document:
    calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": call.name, "arguments": call.written()}}
        for index, call in enumerate(said.calls)
    ]
    message = {"role": "assistant", "content": said.text or None, **({"tool_calls": calls} if calls else {})}
    usage = {"prompt_tokens": said.read, "completion_tokens": said.generated, "total_tokens": said.read + said.generated}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    other = {"index": 1, "message": {"role": "assistant", "content": "another choice"}, "finish_reason": "length"}
    document = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5-x", "choices": [choice, other], "usage": usage}
    ChatCompletion.model_validate(document)
    return document


def _chat_events(said: Said) -> list[Document]:
    deltas: list[Document] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in said.pieces)]
    for index, call in enumerate(said.calls):
        deltas.append(
            {"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": {"name": call.name, "arguments": ""}}]}
        )
    longest = max((len(call.pieces()) for call in said.calls), default=0)
    for turn in range(longest):  # parallel calls are interleaved
        for index, call in enumerate(said.calls):
            if turn < len(call.pieces()):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": call.pieces()[turn]}}]})
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-x"}
    finish = "tool_calls" if said.calls else "stop"
    usage = {"prompt_tokens": said.read, "completion_tokens": said.generated, "total_tokens": said.read + said.generated}
    documents: list[Document] = [{**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    documents.append({**frame, "choices": [{"index": 1, "delta": {"content": "another choice"}, "finish_reason": "length"}]})
    documents.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    documents.append({**frame, "choices": [], "usage": usage})
    for document in documents:
        ChatCompletionChunk.model_validate(document)
    return documents


def _responses(said: Said) -> Document:
    output: list[Document] = []
    if said.thought:
        output.append({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": said.thought}]})
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": []}
        output.append({"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]})
    for index, call in enumerate(said.calls):
        item = {"type": "function_call", "id": f"f{index}", "call_id": f"call_{index}", "name": call.name, "status": "completed"}
        output.append({**item, "arguments": call.written()})
    usage = {
        "input_tokens": said.read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said.generated,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said.read + said.generated,
    }
    document = {**_response("completed"), "output": output, "usage": usage}
    Response.model_validate(document)
    return document


def _response(status: str) -> Document:
    return {
        "id": "resp",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5-x",
        "status": status,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _responses_events(said: Said) -> list[Document]:
    final = _responses(said)
    documents: list[Document] = [{"type": "response.created", "response": _response("in_progress")}]
    for index, item in enumerate(final["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            empty = {**item, "content": [], "status": "in_progress"}
            documents.append({"type": "response.output_item.added", "output_index": index, "item": empty})
            part = {"type": "output_text", "text": "", "annotations": []}
            documents.append({"type": "response.content_part.added", **at, "content_index": 0, "part": part})
            for piece in said.pieces:
                documents.append({"type": "response.output_text.delta", **at, "content_index": 0, "delta": piece, "logprobs": []})
            done = {"type": "response.output_text.done", **at, "content_index": 0, "text": said.text, "logprobs": []}
            documents.append(done)
        elif item["type"] == "function_call":
            documents.append({"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": ""}})
            call = said.calls[int(item["id"][1:])]
            for piece in call.pieces():
                documents.append({"type": "response.function_call_arguments.delta", **at, "delta": piece})
            done = {"type": "response.function_call_arguments.done", **at, "name": call.name, "arguments": call.written()}
            documents.append(done)
        else:
            documents.append({"type": "response.output_item.added", "output_index": index, "item": item})
        documents.append({"type": "response.output_item.done", "output_index": index, "item": item})
    documents.append({"type": "response.completed", "response": final})
    numbered = [{**document, "sequence_number": number} for number, document in enumerate(documents)]
    for document in numbered:
        _RAW_RESPONSES.validate_python(document)
    return numbered


def _blocks(said: Said) -> list[Document]:
    blocks: list[Document] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": "s"})
    if said.text:
        blocks.append({"type": "text", "text": said.text, "citations": None})
    blocks.extend(
        {"type": "tool_use", "id": f"call_{index}", "name": call.name, "input": call.arguments} for index, call in enumerate(said.calls)
    )
    return blocks


def _anthropic(said: Said) -> Document:
    document = {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": _blocks(said),
        "stop_reason": "tool_use" if said.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": said.read - 5, "cache_read_input_tokens": 5, "output_tokens": said.generated},
    }
    Message.model_validate(document)
    return document


def _anthropic_events(said: Said) -> list[Document]:
    final = _anthropic(said)
    start = {**final, "content": [], "stop_reason": None, "usage": {**final["usage"], "output_tokens": 1}}
    documents: list[Document] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(final["content"]):
        kind = block["type"]
        if kind == "text":
            empty, deltas = {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in said.pieces]
        elif kind == "tool_use":
            pieces = said.calls[int(block["id"][5:])].pieces()
            empty, deltas = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces]]
        else:
            empty, deltas = {**block, "thinking": ""}, [{"type": "thinking_delta", "thinking": said.thought}]
        documents.append({"type": "content_block_start", "index": index, "content_block": empty})
        documents.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        documents.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": final["stop_reason"], "stop_sequence": None}
    documents.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": said.generated}})
    documents.append({"type": "message_stop"})
    for document in documents:
        _RAW_ANTHROPIC.validate_python(document)
    return documents


def _gemini_parts(said: Said, texts: Sequence[str]) -> list[Document]:
    thought = [{"text": said.thought, "thought": True}] if said.thought else []
    calls = [{"functionCall": {"name": call.name, "args": call.arguments, "id": f"call_{n}"}} for n, call in enumerate(said.calls)]
    return [*thought, *({"text": text} for text in texts if text), *calls]


def _gemini(said: Said) -> Document:
    candidate = {"index": 0, "content": {"role": "model", "parts": _gemini_parts(said, [said.text])}, "finishReason": "STOP"}
    usage = {"promptTokenCount": said.read, "candidatesTokenCount": said.generated - 4, "thoughtsTokenCount": 4}
    document = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-x"}
    GenerateContentResponse.model_validate(document)
    return document


def _gemini_events(said: Said) -> list[Document]:
    parts = _gemini_parts(said, said.pieces)
    usage = {"promptTokenCount": said.read}
    documents: list[Document] = [
        {
            "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}],
            "usageMetadata": usage,
            "modelVersion": "gemini-x",
        }
        for part in parts
    ]
    final = {"promptTokenCount": said.read, "candidatesTokenCount": said.generated - 4, "thoughtsTokenCount": 4}
    end = {"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}
    documents.append({"candidates": [end], "usageMetadata": final, "modelVersion": "gemini-x"})
    for document in documents:
        GenerateContentResponse.model_validate(document)
    return documents


_WHOLE: dict[Dialect, Callable[[Said], Document]] = {
    Dialect.OPENAI_CHAT: _chat,
    Dialect.OPENAI_RESPONSES: _responses,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GEMINI: _gemini,
}
_EVENTS: dict[Dialect, Callable[[Said], list[Document]]] = {
    Dialect.OPENAI_CHAT: _chat_events,
    Dialect.OPENAI_RESPONSES: _responses_events,
    Dialect.ANTHROPIC: _anthropic_events,
    Dialect.GEMINI: _gemini_events,
}

Heard = tuple[str, list[tuple[str, str, Any]], str]
"""Text, calls as (name, id, parsed arguments), the vendor's own word for the end."""


def accumulated(dialect: Dialect, documents: Sequence[Document]) -> Heard:
    """What the vendor's own SDK makes of a stream; Gemini's has no accumulator."""
    return _ACCUMULATED[dialect](documents)


def _heard_chat(documents: Sequence[Document]) -> Heard:
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for document in documents:
        state.handle_chunk(ChatCompletionChunk.model_validate(document))
    choice = state.current_completion_snapshot.choices[0]
    calls: list[Any] = choice.message.tool_calls or []
    heard = [(call.function.name, call.id, orjson.loads(call.function.arguments)) for call in calls]
    return choice.message.content or "", heard, choice.finish_reason


def _heard_anthropic(documents: Sequence[Document]) -> Heard:
    message: Any = None
    buffers: dict[int, bytes] = {}
    for document in documents:
        event = _RAW_ANTHROPIC.validate_python(document)
        message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    text = "".join(block.text for block in message.content if block.type == "text")
    return text, [(block.name, block.id, block.input) for block in message.content if block.type == "tool_use"], message.stop_reason


def _heard_responses(documents: Sequence[Document]) -> Heard:
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for document in documents:
        state.handle_event(_RAW_RESPONSES.validate_python(document))
    response: Any = state._completed_response
    calls = [(item.name, item.call_id, orjson.loads(item.arguments)) for item in response.output if item.type == "function_call"]
    return response.output_text, calls, response.status


_ACCUMULATED: dict[Dialect, Callable[[Sequence[Document]], Heard]] = {
    Dialect.OPENAI_CHAT: _heard_chat,
    Dialect.OPENAI_RESPONSES: _heard_responses,
    Dialect.ANTHROPIC: _heard_anthropic,
}
