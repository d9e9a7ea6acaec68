"""OpenAI's Chat Completions, as OpenAI and those who speak like it send them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from extproc.domain import Finish, Role, Turn
from extproc.judge.assembly.draft import Asked, CallDraft, Draft, Place
from extproc.judge.assembly.shapes import Table, content, number, table, tables, text, word, written

DONE: Final = "[DONE]"
"""The data of the event that ends a stream."""
FREE_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
"""What a custom tool takes: its text, which a ToolCall has as a JSON string."""

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
_FINISHES: Final = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
}
_LEGACY: Final = -1
"""Where `function_call`, which came before `tool_calls`, is put: before them."""
_TEXT: Final[Place] = (0, 0)
_AUDIO: Final[Place] = (0, 1)


def role(name: Any) -> Role | None:
    """Who speaks, in OpenAI's words; None for a role that is none."""
    return _ROLES.get(text(name))


def read_request(body: Table) -> Asked:
    """The body of a request."""
    form = table(body.get("response_format"))
    kind = text(form.get("type"))
    schema = table(form.get("json_schema")).get("schema") if kind == "json_schema" else None
    tools, open_tools = _tools(body)
    return Asked(
        model=text(body.get("model")),
        turns=tuple(turn for message in tables(body.get("messages")) if (turn := _turn(message)) is not None),
        wants_json=kind in ("json_object", "json_schema"),
        json_schema=schema if isinstance(schema, dict) else None,
        tools=tools,
        open_tools=open_tools,
    )


def _turn(message: Table) -> Turn | None:
    who = role(message.get("role"))
    if who is None:
        return None
    draft = Draft()
    _calls(draft, message)
    return Turn(who, content(message.get("content")) or content(message.get("refusal")), draft.tool_calls)


def _tools(body: Table) -> tuple[Mapping[str, Mapping[str, Any]], bool]:
    """Schemas by name, and whether there are tools of a kind that names none."""
    found: dict[str, Mapping[str, Any]] = {}
    is_open = False
    for tool in tables(body.get("tools")):
        function, custom = table(tool.get("function")), table(tool.get("custom"))
        if name := text(function.get("name")):
            found[name] = table(function.get("parameters"))
        elif name := text(custom.get("name")):
            found[name] = FREE_TEXT
        else:
            is_open = True
    for function in tables(body.get("functions")):
        if name := text(function.get("name")):
            found[name] = table(function.get("parameters"))
    return found, is_open


def read_answer(body: Table) -> Draft:
    """An answer in one piece. Of several choices the first is read."""
    draft = Draft()
    _frame(draft, body)
    choices = list(tables(body.get("choices")))
    choice = next((one for one in choices if number(one.get("index")) == 0), choices[0] if choices else {})
    _choice(draft, choice, table(choice.get("message")))
    draft.ended = bool(choice)
    return draft


def read_stream(documents: Iterable[tuple[str, Table]]) -> Draft:
    """An answer as a stream: (name of the event, its data). Of several choices that with index 0 is read."""
    draft = Draft()
    for _, chunk in documents:
        _frame(draft, chunk)
        for choice in tables(chunk.get("choices")):
            if number(choice.get("index")) in (None, 0):
                _choice(draft, choice, table(choice.get("delta")))
    return draft


def _frame(draft: Draft, body: Table) -> None:
    """What stands around the choices."""
    if error := body.get("error"):
        draft.error = word(table(error).get("code"), table(error).get("type"))
    draft.known = draft.known or isinstance(body.get("choices"), list)
    draft.model = draft.model or text(body.get("model"))
    usage = table(body.get("usage"))
    draft.counted(number(usage.get("prompt_tokens")), number(usage.get("completion_tokens")))


def _choice(draft: Draft, choice: Table, message: Table) -> None:
    """A whole message or a piece of one: their fields are the same."""
    draft.write(_TEXT, content(message.get("content")))
    draft.refuse(_TEXT, text(message.get("refusal")))
    if message.get("audio") and _AUDIO not in draft.texts:
        draft.write(_AUDIO, "[audio]")
    _calls(draft, message)
    if reason := text(choice.get("finish_reason")):
        draft.finish = _FINISHES.get(reason, Finish.OTHER)
    if choice.get("error"):
        draft.error = word(table(choice.get("error")).get("code"), table(choice.get("error")).get("type"))


def _calls(draft: Draft, message: Table) -> None:
    if isinstance(message.get("function_call"), dict):
        _function(draft.call((_LEGACY, 0)), message["function_call"], "")
    for position, call in enumerate(tables(message.get("tool_calls"))):
        index, id_ = number(call.get("index")), text(call.get("id"))
        call_draft = draft.call((index if index is not None else _place(draft, position, id_), 0))
        if isinstance(call.get("custom"), dict):
            _function(call_draft, {"name": call["custom"].get("name"), "arguments": call["custom"].get("input")}, id_)
            call_draft.is_text = True
        else:
            _function(call_draft, table(call.get("function")), id_)


def _place(draft: Draft, position: int, id_: str) -> int:
    """Of a call without an index: a new id is a new call, none goes on with the last."""
    return draft.place_of(id_) if id_ else max(draft.last, position)


def _function(call: CallDraft, function: Table, id_: str) -> None:
    call.named(text(function.get("name")), id_)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = written(arguments)
    call.pieces.append(text(arguments))
