"""JSON lines -> Questions: what a golden set puts to a model, one a line. Pure; all problems at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from extproc.errors import ExtprocError, Problem

MOST: Final = 100_000
"""Questions of a set; a set that size costs more than the traffic it stands for."""
_HINT: Final = "docs/judge-offline.md shows a line"
_GUIDE: Final = {
    "missing": "every message has a role and a content",
    "extra_forbidden": "known: id, prompt, messages, tools, response_format, tags",
    "string_pattern_mismatch": "letters, digits and . _ - : alone, at most 80",
}


class QuestionsError(ExtprocError):
    """The set is not valid; `problems` lists everything that is wrong with it."""


class _Message(BaseModel):
    # Other keys (name, tool_calls, tool_call_id) are the vendor's: they are sent as they are.
    model_config = ConfigDict(extra="allow", frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$")] = None
    prompt: Annotated[str | None, Field(min_length=1)] = None
    messages: Annotated[tuple[_Message, ...] | None, Field(min_length=1)] = None
    tools: Annotated[tuple[dict[str, Any], ...], Field(max_length=128)] = ()
    response_format: dict[str, Any] | None = None
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=40)], ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> _Line:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("has both prompt and messages, or neither: write one of them")
        if self.messages is not None and self.messages[-1].role not in ("user", "tool"):
            raise ValueError(f"the last message is the {self.messages[-1].role}'s: there is nothing to answer")
        return self


@dataclass(frozen=True, slots=True)
class Question:
    """One conversation that wants an answer."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    """As Chat Completions has them."""
    tools: tuple[Mapping[str, Any], ...] = ()
    response_format: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()

    def body(self, model: str) -> bytes:
        """Of POST /v1/chat/completions."""
        asked: dict[str, Any] = {"model": model, "messages": list(self.messages)}
        if self.tools:
            asked["tools"] = list(self.tools)
        if self.response_format is not None:
            asked["response_format"] = self.response_format
        return orjson.dumps(asked)


def load(text: str, where: str = "prompts") -> tuple[Question, ...]:
    """Every question of a JSON-lines text; raises QuestionsError with every problem found. Without an id one is called `line-N`."""
    questions: list[Question] = []
    problems: list[Problem] = []
    known: dict[str, int] = {}
    # Not splitlines(): JSON may hold U+2028 unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            read = _Line.model_validate_json(line)
        except ValidationError as error:
            problems += [_problem(where, number, detail) for detail in error.errors(include_url=False, include_context=False)]
            continue
        name = read.id or f"line-{number}"
        if name in known:
            said = f"the id {name!r} is there already, in line {known[name]}"
            problems.append(Problem("prompts.twice", where, said, "give each prompt an id of its own", number))
        known.setdefault(name, number)
        questions.append(_question(name, read))
    if not questions and not problems:
        problems.append(Problem("prompts.empty", where, "there is no prompt", _HINT))
    if len(questions) > MOST:
        problems.append(Problem("prompts.many", where, f"{len(questions)} prompts", f"a set has at most {MOST:,}"))
    if problems:
        raise QuestionsError(problems)
    return tuple(questions)


def _question(name: str, read: _Line) -> Question:
    if read.messages is None:
        messages: Sequence[Mapping[str, Any]] = [{"role": "user", "content": read.prompt}]
    else:
        messages = [message.model_dump(exclude_unset=True) for message in read.messages]
    return Question(name, tuple(messages), read.tools, read.response_format, read.tags)


def _problem(where: str, number: int, detail: Any) -> Problem:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    said = str(detail["msg"]).removeprefix("Value error, ")
    kind = str(detail["type"])
    identity = "prompts.json" if kind == "json_invalid" else "prompts.unknown-key" if kind == "extra_forbidden" else "prompts.value"
    hint = "one JSON object a line, quotes doubled nowhere" if kind == "json_invalid" else _GUIDE.get(kind, _HINT)
    return Problem(identity, where, f"{place}: {said}" if place else said, hint, number)


def digest(questions: Iterable[Question]) -> str:
    """Of what is asked, whatever the order of keys: 16 hex digits. Tags ask nothing."""
    asked = [[one.id, one.messages, one.tools, one.response_format] for one in questions]
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
