"""A question and what came back -> what is written down, and what the judge is shown. Pure.

An answer is read as a sampled one is (`judge.sampling`): assembled, looked at by the same rules, redacted; the judge reads what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import orjson

from extproc.domain import Ending, Exhibit, Prices, ToolCall
from extproc.judge.assembly import Exchange, assemble
from extproc.judge.exchange import Usage, cost, read_completion
from extproc.judge.offline.questions import Question
from extproc.judge.offline.records import Answered, Side
from extproc.judge.tripwires import tripwires

Clean = Callable[[str], str]
"""Takes out what may not be kept."""
Turns = tuple[tuple[str, str], ...]
LIKELY_ANSWER: Final = 1_000
"""Tokens that are set aside for an answer before it is asked for; what it really cost is written down when it is known."""
LETTERS_PER_TOKEN: Final = 3


def turns_of(question: Question, clean: Clean) -> Turns:
    """The conversation up to the answer, as the judge and the report show it: (role, text); tools that were called are in the text."""
    turns = assemble(Exchange("/v1/chat/completions", question.body(""), b"", status=0)).turns
    return tuple((turn.role.value, clean(_with_calls(turn.text, turn.calls))) for turn in turns)


def _with_calls(text: str, calls: tuple[ToolCall, ...]) -> str:
    return "\n".join([*([text] if text else []), *(f"[calls {call.name} {call.arguments}]" for call in calls)])


def exhibit(turns: Turns, answered: Answered) -> Exhibit:
    """What the judge is shown."""
    return Exhibit(turns, answered.answer, answered.calls)


def read(
    side: Side, name: str, exchange: Exchange, prices: Prices | None, language: str | None, clean: Clean, seconds: float, tries: int
) -> Answered:
    """What a model's answer holds. `language`: ISO 639-1, that it must have; None: the user's."""
    transcript = assemble(exchange)
    _, usage = read_completion(exchange.response)
    told = transcript.input_tokens is not None or transcript.output_tokens is not None
    money = cost(prices, usage) if told else None
    # Where the copy is cut a secret may be cut in two, and is none of the known shapes then: such a text is not kept.
    kept = transcript.ending is not Ending.TRUNCATED
    return Answered(
        side=side,
        id=name,
        ending=transcript.ending.value,
        why=clean(transcript.why),
        answer=clean(transcript.answer or transcript.refusal) if kept else "",
        calls=tuple((clean(call.name), clean(call.arguments)) for call in transcript.calls) if kept else (),
        tripwires=tuple(wire.value for wire in tripwires(transcript, language)),
        finish=transcript.finish.value,
        input_tokens=transcript.input_tokens,
        output_tokens=transcript.output_tokens,
        usd=None if money is None else float(money),
        seconds=seconds,
        tries=tries,
    )


def warm(language: str | None, clean: Clean) -> None:
    """Read an answer once for nothing: what rules and redaction load at their first use would be seen as a slow model."""
    words = "What is read here is of no account; it only has to be long enough for every rule to look at it. " * 3
    asked = orjson.dumps({"model": "", "messages": [{"role": "user", "content": words}]})
    said = {"choices": [{"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}]}
    read(Side.CANARY, "", Exchange("/v1/chat/completions", asked, orjson.dumps(said)), None, language, clean, 0.0, 1)


def estimate(prices: Prices | None, body: bytes) -> Decimal:
    """USD that an answer may cost; 0 without prices."""
    return cost(prices, Usage(len(body) // LETTERS_PER_TOKEN, 0, LIKELY_ANSWER)) or Decimal(0)
