"""The OpenAI-compatible chat protocol as bytes and words: what is sent, what an answer holds, what a status means. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from extproc.domain import Failing, JudgeEndpoint, Prices
from extproc.judge.prompt import Prompt
from extproc.judge.verdicts import Nonsense

LETTERS_PER_TOKEN: Final = 3
"""For what a question may cost before it is asked; English has about four, so this errs on the dear side."""
LIKELY_OUTPUT: Final = 400
"""Tokens of a verdict that are set aside; four reasons of 30 words take about 250."""
RETRIED: Final = frozenset({408, 409, 429})
"""Of 4xx, those that a later try may mend."""
_CODE: Final = re.compile(r"[a-z_]{3,64}")


class Form(StrEnum):
    """How the endpoint is asked for JSON."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    """Where it does not know schemas: the prompt says the form in words."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one question, or of several."""

    input: int = 0
    cached: int = 0
    """Part of the input."""
    output: int = 0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(self.input + other.input, self.cached + other.cached, self.output + other.output)


def request_body(endpoint: JudgeEndpoint, prompt: Prompt, form: Form) -> bytes:
    """The body of POST /chat/completions."""
    schema = {"name": prompt.schema_name, "strict": True, "schema": prompt.schema}
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(prompt.messages),
        "response_format": {"type": str(form), "json_schema": schema} if form is Form.SCHEMA else {"type": str(form)},
    }
    if endpoint.temperature is not None:
        body["temperature"] = endpoint.temperature
    return orjson.dumps(body)


def estimate(prices: Prices | None, body: bytes) -> Decimal:
    """USD that a question may cost; 0 without prices."""
    return cost(prices, Usage(len(body) // LETTERS_PER_TOKEN, 0, LIKELY_OUTPUT)) or Decimal(0)


def cost(prices: Prices | None, usage: Usage) -> Decimal | None:
    """USD; None without prices."""
    if prices is None:
        return None
    fresh = usage.input - usage.cached
    return (fresh * prices.input + usage.cached * prices.cached_input + usage.output * prices.output) / 1_000_000


def read_completion(body: bytes) -> tuple[str | Nonsense, Usage]:
    """(the judge's words, its tokens) of a whole answer with status 200. Nonsense has its tokens too, where they are told."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return Nonsense("the answer is no JSON: is this an OpenAI-compatible endpoint?"), Usage()
    usage = _usage(document.get("usage")) if isinstance(document, dict) else Usage()
    try:
        choice = document["choices"][0]
        message = choice["message"]
        text, refusal, end = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Nonsense("the answer has no choice with a message: is this an OpenAI-compatible endpoint?"), usage
    if refusal:
        return Nonsense("the judge refuses to judge this"), usage
    if end in ("length", "content_filter"):
        return Nonsense(f"the answer was cut off ({end})"), usage
    return (text if isinstance(text, str) else Nonsense("the answer holds no text")), usage


def _usage(value: Any) -> Usage:
    told = value if isinstance(value, dict) else {}
    details = told.get("prompt_tokens_details")
    tokens = _count(told.get("prompt_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Usage(tokens, min(cached, tokens), _count(told.get("completion_tokens")))


def _count(value: Any) -> int:
    # A count beyond any context is a stranger's joke: it must not spend the budget of years.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**8 else 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one try brought nothing."""

    kind: Failing
    why: str
    again: bool
    """A later try may do better."""
    broken: bool
    """It speaks against the endpoint, not against this question: the breaker counts it."""
    wait: float | None = None
    """Seconds that the endpoint asks to wait."""
    asked: bool = True
    """False: the endpoint was not asked at all, so nothing is known of it."""


def fault_of(status: int, headers: Mapping[str, str], body: bytes, now: float, secret: str) -> Fault:
    """What a status other than 200 says; `now` is Unix seconds. The body's words are left out: they may repeat the key or the question."""
    if 300 <= status < 400:
        return Fault(Failing.REFUSED, f"it answers with status {status}, a redirect, which is not followed", again=False, broken=True)
    wait = retry_after(headers.get("retry-after", ""), now)
    code = _code(body)
    said = f"it answers with status {status}" + (f" ({code})" if code and (not secret or code not in secret) else "")
    if status >= 500:
        return Fault(Failing.UNREACHABLE, said, again=True, broken=True, wait=wait)
    if status in RETRIED:
        return Fault(Failing.REFUSED, said, again=True, broken=True, wait=wait)
    hint = ": look at its credential" if status in (401, 403) else ": look at its URL and model" if status == 404 else ""
    return Fault(Failing.REFUSED, said + hint, again=False, broken=status in (401, 402, 403, 404))


def _code(body: bytes) -> str:
    """The error's code or type where it is one plain word, such as `model_not_found`."""
    try:
        error = orjson.loads(body)["error"]
        words = [error.get("code"), error.get("type")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return next((word for word in words if isinstance(word, str) and _CODE.fullmatch(word)), "")


def retry_after(value: str, now: float) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None where it says nothing that can be read."""
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
