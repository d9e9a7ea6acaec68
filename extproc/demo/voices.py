"""How a simulated model says an answer: as OpenAI's chat completions do, or as Anthropic's messages do; in one piece, or as events."""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from extproc.demo.answer import Answer


class Voice(Protocol):
    """One way of saying it, for one answer."""

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The JSON body."""

    def begin(self, answer: Answer) -> bytes:
        """Events before the first word."""

    def piece(self, text: str, first: bool) -> bytes:
        """A piece of the text."""

    def end(self, answer: Answer) -> bytes:
        """The reason to stop, the usage (always: a gateway counts it), the end mark."""


class OpenAi:
    """Chat completions."""

    def __init__(self, model: str, number: int, created: int) -> None:
        self._head = {"id": f"chatcmpl-{model}-{number}", "created": created, "model": model}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """A completion."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage(answer)}

    def begin(self, _: Answer) -> bytes:
        """None."""
        return b""

    def piece(self, text: str, first: bool) -> bytes:
        """A chunk."""
        delta = {"content": text, **({"role": "assistant"} if first else {})}
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def end(self, answer: Answer) -> bytes:
        """Three events."""
        stop = self._chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
        return stop + self._chunk([], usage=self._usage(answer)) + b"data: [DONE]\n\n"

    def _chunk(self, choices: list[Any], **more: Any) -> bytes:
        return _event({**self._head, "object": "chat.completion.chunk", "choices": choices, **more})

    @staticmethod
    def _usage(answer: Answer) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
        if answer.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": answer.cached_tokens}
        if answer.reasoning_tokens is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": answer.reasoning_tokens}
        return usage


class Anthropic:
    """Messages. Cached tokens are told apart there, and are no part of the input; reasoning is not told."""

    def __init__(self, model: str, number: int) -> None:
        self._head = {"id": f"msg_{model}_{number}", "type": "message", "role": "assistant", "model": model}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """A message."""
        content = [{"type": "text", "text": answer.text}]
        usage = {**self._input(answer), "output_tokens": answer.output_tokens}
        return {**self._head, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}

    def begin(self, answer: Answer) -> bytes:
        """Two events."""
        usage = {**self._input(answer), "output_tokens": 1}
        message: dict[str, Any] = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return _named({"type": "message_start", "message": message}) + _named(start)

    def piece(self, text: str, _: bool) -> bytes:
        """A delta."""
        return _named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def end(self, answer: Answer) -> bytes:
        """Three events."""
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        usage = {"output_tokens": answer.output_tokens}
        told = _named({"type": "message_delta", "delta": delta, "usage": usage})
        return _named({"type": "content_block_stop", "index": 0}) + told + _named({"type": "message_stop"})

    @staticmethod
    def _input(answer: Answer) -> dict[str, int]:
        cached = answer.cached_tokens or 0
        return {"input_tokens": answer.input_tokens - cached, "cache_read_input_tokens": cached}


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _named(content: dict[str, Any]) -> bytes:
    return f"event: {content['type']}\n".encode() + _event(content)
