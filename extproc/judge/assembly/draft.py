"""What a format's module hands over: Asked, of a request; Draft, an answer that is put together piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extproc.domain import Finish, ToolCall, Turn
from extproc.judge.assembly.shapes import number, written


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; fields as in a Transcript."""

    model: str = ""
    turns: tuple[Turn, ...] = ()
    remembered: bool = False
    wants_json: bool = False
    json_schema: Mapping[str, Any] | None = None
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    open_tools: bool = False


@dataclass(slots=True)
class CallDraft:
    """A tool call in the making."""

    name: str = ""
    id: str = ""
    pieces: list[str] = field(default_factory=list)
    is_text: bool = False
    """The arguments are free text, not JSON."""

    def named(self, name: str, id_: str) -> None:
        """The first name and id count: some servers repeat them in each piece."""
        self.name = self.name or name
        self.id = self.id or id_

    @property
    def arguments(self) -> str:
        whole = "".join(self.pieces)
        return written(whole) if self.is_text else whole


Place = tuple[int, int]
"""Where a piece of an answer belongs: item and part, as far as the format numbers them."""


@dataclass(slots=True)
class Draft:
    """An answer in the making: pieces are added in any order, each to its place."""

    model: str = ""
    texts: dict[Place, list[str]] = field(default_factory=dict)
    refusals: dict[Place, list[str]] = field(default_factory=dict)
    calls: dict[Place, CallDraft] = field(default_factory=dict)
    finish: Finish = Finish.UNKNOWN
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    """A vendor's code for what went wrong, may be empty; None: nothing did."""
    ended: bool = False
    """The format's own mark of the end was there."""
    pending: bool = False
    """The vendor says that the answer is still to come, elsewhere."""
    known: bool = False
    """At least one document was of the format."""
    last: int = -1
    """The highest item that has a call."""
    ids: dict[str, int] = field(default_factory=dict)
    """Items of calls that are known by their id alone."""

    def write(self, place: Place, piece: str) -> None:
        """Add to the answer's text."""
        if piece:
            self.texts.setdefault(place, []).append(piece)

    def refuse(self, place: Place, piece: str) -> None:
        """Add to the refusal."""
        if piece:
            self.refusals.setdefault(place, []).append(piece)

    def call(self, place: Place) -> CallDraft:
        """The tool call there."""
        self.last = max(self.last, place[0])
        return self.calls.setdefault(place, CallDraft())

    def place_of(self, id_: str) -> int:
        """The item of the call with that id, a new one where there is none yet."""
        return self.ids.setdefault(id_, self.last + 1)

    def counted(self, read: int | None, generated: int | None) -> None:
        """Token counts; those of a later event replace those of an earlier one."""
        self.input_tokens = read if read is not None else self.input_tokens
        self.output_tokens = generated if number(generated) is not None else self.output_tokens

    @property
    def answer(self) -> str:
        return _joined(self.texts)

    @property
    def refusal(self) -> str:
        return _joined(self.refusals)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        calls = (self.calls[place] for place in sorted(self.calls))
        return tuple(ToolCall(call.name, call.arguments, call.id) for call in calls)


def _joined(pieces: dict[Place, list[str]]) -> str:
    return "".join("".join(pieces[place]) for place in sorted(pieces))
