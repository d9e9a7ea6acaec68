"""What was asked of a model and what it answered, in one form for all vendors: the Transcript, and its words.

A Transcript is made from copies of two HTTP bodies (`judge.assembly`); rules and the LLM judge read it. Only one whose `ending` is
`whole` may be judged: of any other it is not known what the user got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Dialect(StrEnum):
    """The vendors' formats that are read."""

    OPENAI_CHAT = "openai_chat"
    """Chat Completions; spoken by many other vendors and servers, too."""
    OPENAI_RESPONSES = "openai_responses"
    ANTHROPIC = "anthropic"
    """Messages."""
    GEMINI = "gemini"
    """generateContent and streamGenerateContent."""


class Ending(StrEnum):
    """How the copy of an exchange ends."""

    WHOLE = "whole"
    """All of the request and all of the answer. Only this may be judged."""
    TRUNCATED = "truncated"
    """A size limit of ours cut the copy; the user got more."""
    ABORTED = "aborted"
    """The answer stopped before its end: the client left, or the connection broke."""
    FAILED = "failed"
    """An error instead of an answer, or in the middle of one."""
    UNREADABLE = "unreadable"
    """Not one of the known formats."""


class Finish(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    LENGTH = "length"
    """The limit of tokens, of the answer or of the context."""
    CONTENT_FILTER = "content_filter"
    """The vendor's filter stopped the answer, or refused the prompt."""
    TOOL_CALLS = "tool_calls"
    OTHER = "other"
    """The vendor says something that is none of the above."""
    UNKNOWN = "unknown"
    """The vendor says nothing."""


class Role(StrEnum):
    """Who speaks in a turn."""

    SYSTEM = "system"
    """The application: system prompts, developer messages, instructions."""
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """What a tool gave back."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called."""

    name: str
    arguments: str
    """JSON, as the model wrote it. Where a vendor sends an object it is written without spaces; the free text of a custom tool is a JSON
    string. Empty where there were none, or where they are nested too deeply to be written."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation."""

    role: Role
    text: str
    """What is no text is a marker: `[image]`, `[audio]`, `[video]`, `[file]`."""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """One exchange with a model. Where `ending` is not `whole`, the rest is as much as could be read."""

    dialect: Dialect | None
    """The answer's, else the request's; None where neither is known."""
    ending: Ending
    why: str = ""
    """A short reason for an ending that is not whole; never a text of the user's or the model's."""
    asked_model: str = ""
    answered_model: str = ""
    turns: tuple[Turn, ...] = ()
    """The conversation up to the answer, system prompt first."""
    remembered: bool = False
    """Turns before these, or a prompt, are kept by the vendor and are not in the request: a judge sees less than the model did."""
    answer: str = ""
    """Without reasoning."""
    calls: tuple[ToolCall, ...] = ()
    refusal: str = ""
    """What the vendor itself marks as a refusal, in words or as `[refusal]`."""
    finish: Finish = Finish.UNKNOWN
    wants_json: bool = False
    """The request demands that the answer be JSON."""
    json_schema: Mapping[str, Any] | None = None
    """What that JSON must look like."""
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> JSON Schema of the arguments; an empty schema allows everything."""
    open_tools: bool = False
    """There may be tools that the request does not name (toolsets, connectors, stored prompts): a name that is not in `tools` proves
    nothing."""
    input_tokens: int | None = None
    """All of the prompt, read from a cache or not."""
    output_tokens: int | None = None
    """All that was generated, reasoning included."""
