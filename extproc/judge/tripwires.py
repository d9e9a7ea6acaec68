"""Tripwires: faults of an answer that a rule finds, without a judge. Each is a yes or a no, on every whole Transcript.

They are made for comparing two models on the same kind of requests: what a rule is wrong about, it is wrong about on both sides. So
they are precise first: in doubt, no. Pure; linear in the answer's length, and schemas have a budget.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from extproc.domain import Ending, Finish, Role, ToolCall, Transcript
from extproc.judge import languages, refusals, repetition, schemas

LONG_QUESTION: Final = 600
"""Characters of the last turn of the user's that are a long request: a hundred words."""
SHORT_ANSWER: Final = 16
"""Characters, blanks not counted, below which an answer is very short: "Yes.", "OK", "I don't know"; the shortest sentence that answers a
hundred words has more. Where the task is to answer with a label, it is so with both models, and nothing differs."""
MOST_CALLS: Final = 32
"""Tool calls of an answer that are checked, so that schemas cost a bounded time."""

_NOTHING: Final = re.compile(r"\s+")
_FREE_TEXT: Final = "string"


class Tripwire(StrEnum):
    """What is wrong with an answer."""

    EMPTY_ANSWER = "empty_answer"
    """No text, no tool call and no refusal in words: the user sees nothing, whatever the reason."""
    SHORT_ANSWER = "short_answer"
    """Text of fewer than SHORT_ANSWER characters for a request of at least LONG_QUESTION, where neither JSON nor a tool call is the
    answer, and the model stopped by itself."""
    CUT_OFF = "cut_off"
    """The limit of tokens ended the answer."""
    CONTENT_FILTER = "content_filter"
    """The vendor's filter stopped the answer or the prompt."""
    REFUSAL = "refusal"
    """The vendor marks a refusal, or the answer begins with the words of one."""
    INVALID_JSON = "invalid_json"
    """JSON was demanded, and there is text that is no JSON, or JSON that breaks the schema. A refusal is none, nor is a tool call."""
    INVALID_TOOL_CALL = "invalid_tool_call"
    """Arguments that are no JSON object, a tool that nobody offered, or arguments that break the tool's schema."""
    WRONG_LANGUAGE = "wrong_language"
    """The answer is in another language than the user's last turn, or than the one that is expected. Silent for JSON, code, short texts,
    mixtures, related languages, and where somebody speaks of languages or translating."""
    REPETITION = "repetition"
    """The answer ends in a loop, has the same line many times in a row, or says mostly what it has said before."""


def tripwires(transcript: Transcript, expected_language: str | None = None) -> tuple[Tripwire, ...]:
    """What is wrong with an answer, in the order of Tripwire; nothing for a Transcript that is not whole. `expected_language`: ISO 639-1
    code of the language that every answer must have; None: that of the user's last turn."""
    if transcript.ending is not Ending.WHOLE:
        return ()
    found = {
        Tripwire.EMPTY_ANSWER: _is_empty(transcript),
        Tripwire.SHORT_ANSWER: _is_short(transcript),
        Tripwire.CUT_OFF: transcript.finish is Finish.LENGTH,
        Tripwire.CONTENT_FILTER: transcript.finish is Finish.CONTENT_FILTER,
        Tripwire.REFUSAL: _is_refusal(transcript),
        Tripwire.INVALID_JSON: _is_invalid_json(transcript),
        Tripwire.INVALID_TOOL_CALL: any(_is_invalid_call(call, transcript) for call in transcript.calls[:MOST_CALLS]),
        Tripwire.WRONG_LANGUAGE: not transcript.wants_json and languages.is_wrong(transcript, expected_language),
        Tripwire.REPETITION: repetition.runs_away(transcript.answer),
    }
    return tuple(wire for wire, tripped in found.items() if tripped)


def _is_empty(transcript: Transcript) -> bool:
    return not (transcript.answer.strip() or transcript.calls or transcript.refusal.strip())


def _is_short(transcript: Transcript) -> bool:
    said = len(_NOTHING.sub("", transcript.answer))
    asked = next((turn.text for turn in reversed(transcript.turns) if turn.role is Role.USER), "")
    return (
        0 < said < SHORT_ANSWER
        and len(asked) >= LONG_QUESTION
        and transcript.finish in (Finish.STOP, Finish.UNKNOWN)
        and not (transcript.wants_json or transcript.calls)
    )


def _is_refusal(transcript: Transcript) -> bool:
    return bool(transcript.refusal.strip()) or refusals.begins_as_refusal(transcript.answer)


def _is_invalid_json(transcript: Transcript) -> bool:
    if not transcript.wants_json or not transcript.answer.strip() or transcript.calls or transcript.refusal:
        return False
    try:
        document = orjson.loads(transcript.answer)
    except ValueError:
        return True
    return transcript.json_schema is not None and schemas.breaks(transcript.json_schema, document)


def _is_invalid_call(call: ToolCall, transcript: Transcript) -> bool:
    schema = transcript.tools.get(call.name)
    if schema is None:
        return not transcript.open_tools or not _is_object(call, {})
    return not _is_object(call, schema) or schemas.breaks(schema, _arguments(call))


def _is_object(call: ToolCall, schema: Mapping[str, Any]) -> bool:
    """Whether the arguments are an object, or text where the tool takes text."""
    try:
        return isinstance(_arguments(call), str if schema.get("type") == _FREE_TEXT else dict)
    except ValueError:
        return False


def _arguments(call: ToolCall) -> Any:
    """Raises ValueError where they are no JSON. None at all are an empty object: so models call what takes no arguments."""
    return orjson.loads(call.arguments) if call.arguments.strip() else {}
