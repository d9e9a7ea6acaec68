"""OpenAI's Responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from extproc.domain import Finish, Role, ToolCall, Turn
from extproc.judge.assembly.draft import Asked, Draft, Place
from extproc.judge.assembly.openai_chat import FREE_TEXT, role
from extproc.judge.assembly.shapes import Table, content, number, table, tables, text, word, written

_REASONS: Final = {
    "max_output_tokens": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
}
_LAST: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
"""Events that bring the whole answer and end a stream."""
_HOSTED: Final = frozenset(
    ("web_search", "web_search_preview", "file_search", "code_interpreter", "image_generation", "computer_use_preview", "computer")
)
"""Tools that the vendor runs itself, or whose calls are no function calls: they bring no names."""


def read_request(body: Table) -> Asked:
    """The body of a request."""
    turns = [Turn(Role.SYSTEM, instructions)] if (instructions := text(body.get("instructions"))) else []
    prompt = body.get("input")
    if isinstance(prompt, str):
        turns.append(Turn(Role.USER, prompt))
    items = list(tables(prompt))
    turns.extend(turn for item in items if (turn := _turn(item)) is not None)
    form = table(table(body.get("text")).get("format"))
    kind, schema = text(form.get("type")), form.get("schema")
    stored = bool(body.get("prompt"))
    tools, open_tools = _tools(body.get("tools"))
    return Asked(
        model=text(body.get("model")),
        turns=tuple(turns),
        remembered=stored
        or bool(body.get("previous_response_id") or body.get("conversation"))
        or any(item.get("type") == "item_reference" for item in items),
        wants_json=kind in ("json_object", "json_schema"),
        json_schema=schema if kind == "json_schema" and isinstance(schema, dict) else None,
        tools=tools,
        open_tools=open_tools or stored,
    )


def _turn(item: Table) -> Turn | None:
    """An item of the input; None for what is no turn, such as reasoning."""
    kind = text(item.get("type"))
    if kind in ("function_call", "custom_tool_call"):
        return Turn(Role.ASSISTANT, "", (_call(item),))
    if kind in ("function_call_output", "custom_tool_call_output"):
        return Turn(Role.TOOL, content(item.get("output")))
    who = role(item.get("role"))
    return Turn(who, content(item.get("content"))) if who is not None and kind in ("", "message") else None


def _call(item: Table) -> ToolCall:
    is_text = item.get("type") == "custom_tool_call"
    arguments = written(text(item.get("input"))) if is_text else text(item.get("arguments"))
    return ToolCall(text(item.get("name")), arguments, text(item.get("call_id")))


def _tools(value: Any) -> tuple[Mapping[str, Mapping[str, Any]], bool]:
    """Schemas by name, and whether there are tools that are not named."""
    found: dict[str, Mapping[str, Any]] = {}
    is_open = False
    for tool in tables(value):
        kind, name = text(tool.get("type")), text(tool.get("name"))
        inner = tables(tool.get("tools")) if kind == "namespace" else [tool]
        for one in inner:
            if (label := text(one.get("name"))) and one.get("type") in ("function", "custom"):
                found[label] = FREE_TEXT if one.get("type") == "custom" else table(one.get("parameters"))
        is_open = is_open or not (kind in _HOSTED or (name and kind in ("function", "custom", "namespace")))
    return found, is_open


def read_answer(body: Table) -> Draft:
    """An answer in one piece."""
    draft = Draft()
    _response(draft, body)
    draft.ended = draft.known and not draft.pending
    return draft


def read_stream(documents: Iterable[tuple[str, Table]]) -> Draft:
    """An answer as a stream: (name of the event, its data). The last event has the whole answer; where it has none, or is missing, the
    pieces count."""
    draft = Draft()
    for name, event in documents:
        kind = text(event.get("type")) or name
        draft.known = draft.known or kind.startswith("response.")
        if kind in _LAST:
            _whole(draft, kind, table(event.get("response")))
        elif kind in ("response.created", "response.in_progress"):
            draft.model = draft.model or text(table(event.get("response")).get("model"))
        elif kind == "error" or event.get("error"):
            error = table(event.get("error")) or event
            draft.error = word(error.get("code"), error.get("type"))
        else:
            _piece(draft, kind, event)
    draft.finish = _with_calls(draft)
    return draft


def _whole(draft: Draft, kind: str, response: Table) -> None:
    if isinstance(response.get("output"), list) and response["output"]:
        draft.texts.clear()
        draft.refusals.clear()
        draft.calls.clear()
    _response(draft, response)
    if kind == "response.failed" and draft.error is None:
        draft.error = ""
    elif kind == "response.completed" and draft.finish is Finish.UNKNOWN:
        draft.finish = Finish.STOP
    draft.ended, draft.pending = True, False


def _piece(draft: Draft, kind: str, event: Table) -> None:
    """An event between the first and the last."""
    place: Place = (number(event.get("output_index")) or 0, number(event.get("content_index")) or 0)
    delta = text(event.get("delta"))
    if kind == "response.output_text.delta":
        draft.write(place, delta)
    elif kind == "response.refusal.delta":
        draft.refuse(place, delta)
    elif kind in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
        if (place[0], 0) in draft.calls:
            draft.call((place[0], 0)).pieces.append(delta)
    elif kind == "response.output_item.added":
        item = table(event.get("item"))
        if item.get("type") != "message":
            _item(draft, place[0], item)


def _response(draft: Draft, body: Table) -> None:
    """The answer as an object."""
    status = text(body.get("status"))
    draft.known = draft.known or body.get("object") == "response" or isinstance(body.get("output"), list)
    draft.pending = status in ("queued", "in_progress")
    draft.model = text(body.get("model")) or draft.model
    for index, item in enumerate(tables(body.get("output"))):
        _item(draft, index, item)
    usage = table(body.get("usage"))
    draft.counted(number(usage.get("input_tokens")), number(usage.get("output_tokens")))
    if status == "incomplete":
        draft.finish = _REASONS.get(text(table(body.get("incomplete_details")).get("reason")), Finish.OTHER)
    elif status == "completed":
        draft.finish = Finish.STOP
    draft.finish = _with_calls(draft)
    if status in ("failed", "cancelled") or body.get("error"):
        error = table(body.get("error"))
        draft.error = word(error.get("code"), error.get("type"), status)


def _with_calls(draft: Draft) -> Finish:
    """This vendor completes an answer that is calls of tools, too."""
    return Finish.TOOL_CALLS if draft.finish is Finish.STOP and draft.calls else draft.finish


def _item(draft: Draft, index: int, item: Table) -> None:
    """An item of the output: a message, a call; reasoning and what the vendor's own tools did are left out."""
    kind = text(item.get("type"))
    if kind == "message":
        for part, piece in enumerate(tables(item.get("content"))):
            if piece.get("type") == "refusal":
                draft.refuse((index, part), text(piece.get("refusal")))
            else:
                draft.write((index, part), content([piece]))
    elif kind in ("function_call", "custom_tool_call"):
        call = draft.call((index, 0))
        call.named(text(item.get("name")), text(item.get("call_id")))
        call.is_text = kind == "custom_tool_call"
        call.pieces.append(text(item.get("input" if call.is_text else "arguments")))
    elif kind == "image_generation_call":
        draft.write((index, 0), "[image]")
