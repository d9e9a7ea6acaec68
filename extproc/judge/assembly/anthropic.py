"""Anthropic's Messages, from Anthropic or from a cloud that serves its models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from extproc.domain import Finish, Role, ToolCall, Turn
from extproc.judge.assembly.draft import Asked, Draft
from extproc.judge.assembly.shapes import Table, content, number, rewritten, table, tables, text, total, word, written

REFUSAL: Final = "[refusal]"
"""A refusal that comes without words."""

_ROLES: Final = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_FINISHES: Final = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}


def read_request(body: Table) -> Asked:
    """The body of a request."""
    turns = [Turn(Role.SYSTEM, system)] if (system := content(body.get("system"))) else []
    for message in tables(body.get("messages")):
        turns.extend(_turns(message))
    form = table(table(body.get("output_config")).get("format") or body.get("output_format"))
    schema = form.get("schema")
    tools, open_tools = _tools(body)
    return Asked(
        model=text(body.get("model")),
        turns=tuple(turns),
        wants_json=form.get("type") == "json_schema",
        json_schema=schema if isinstance(schema, dict) else None,
        tools=tools,
        open_tools=open_tools,
    )


def _turns(message: Table) -> Iterator[Turn]:
    """A message, and before it the results of tools that it brings."""
    who = _ROLES.get(text(message.get("role")))
    if who is None:
        return
    blocks = message.get("content")
    if not isinstance(blocks, list):
        yield Turn(who, text(blocks))
        return
    results = [block for block in tables(blocks) if block.get("type") == "tool_result"]
    calls = tuple(_call(block) for block in tables(blocks) if block.get("type") == "tool_use")
    rest = [block for block in blocks if not (isinstance(block, dict) and block.get("type") in ("tool_result", "tool_use"))]
    yield from (Turn(Role.TOOL, content(block.get("content"))) for block in results)
    if rest or calls or not results:
        yield Turn(who, content(rest), calls)


def _call(block: Table) -> ToolCall:
    return ToolCall(text(block.get("name")), written(table(block.get("input"))), text(block.get("id")))


def _tools(body: Table) -> tuple[Mapping[str, Mapping[str, Any]], bool]:
    """Schemas by name, and whether there are toolsets, whose tools have names of their own. A tool that the vendor defines has a name and
    no schema here."""
    found: dict[str, Mapping[str, Any]] = {}
    is_open = bool(body.get("mcp_servers"))
    for tool in tables(body.get("tools")):
        if name := text(tool.get("name")):
            found[name] = table(tool.get("input_schema"))
        is_open = is_open or not name or "toolset" in text(tool.get("type"))
    return found, is_open


def read_answer(body: Table) -> Draft:
    """An answer in one piece."""
    draft = Draft()
    _message(draft, body)
    for index, block in enumerate(tables(body.get("content"))):
        _block(draft, index, block)
    _stopped(draft, body)
    _failed(draft, body)
    draft.ended = draft.known
    return draft


def read_stream(documents: Iterable[tuple[str, Table]]) -> Draft:
    """An answer as a stream: (name of the event, its data)."""
    draft = Draft()
    for name, event in documents:
        kind = text(event.get("type")) or name
        index = number(event.get("index")) or 0
        if kind == "message_start":
            draft.known = True
            _message(draft, table(event.get("message")))
            _stopped(draft, table(event.get("message")))
        elif kind == "content_block_start":
            _block(draft, index, table(event.get("content_block")))
        elif kind == "content_block_delta":
            _delta(draft, index, table(event.get("delta")))
        elif kind == "message_delta":
            _stopped(draft, table(event.get("delta")))
            _used(draft, event)
        elif kind == "message_stop":
            draft.ended = True
        _failed(draft, event)
    for call in draft.calls.values():
        call.pieces = [rewritten("".join(call.pieces[1:]))] if len(call.pieces) > 1 else call.pieces
    return draft


def _message(draft: Draft, message: Table) -> None:
    draft.known = draft.known or message.get("type") == "message" or isinstance(message.get("content"), list)
    draft.model = draft.model or text(message.get("model"))
    _used(draft, message)


def _used(draft: Draft, source: Table) -> None:
    """Counts are totals so far. What was read from a cache or written to one was read, too."""
    usage = table(source.get("usage"))
    read = number(usage.get("input_tokens"))
    cached = total(usage.get("cache_creation_input_tokens"), usage.get("cache_read_input_tokens"))
    draft.counted(read + (cached or 0) if read is not None else None, number(usage.get("output_tokens")))


def _block(draft: Draft, index: int, block: Table) -> None:
    """A block of the answer. In a stream its tool's input is empty, and the real one follows in pieces."""
    kind = text(block.get("type"))
    if kind == "tool_use":
        call = draft.call((index, 0))
        call.named(text(block.get("name")), text(block.get("id")))
        call.pieces.append(written(table(block.get("input"))))
    elif kind == "text":
        draft.write((index, 0), text(block.get("text")))


def _delta(draft: Draft, index: int, delta: Table) -> None:
    kind = text(delta.get("type"))
    if kind == "text_delta":
        draft.write((index, 0), text(delta.get("text")))
    elif kind == "input_json_delta" and (index, 0) in draft.calls and (piece := text(delta.get("partial_json"))):
        draft.call((index, 0)).pieces.append(piece)


def _stopped(draft: Draft, source: Table) -> None:
    reason = text(source.get("stop_reason"))
    if not reason:
        return
    draft.finish = _FINISHES.get(reason, Finish.OTHER)
    if reason == "refusal":
        draft.refusals.clear()
        draft.refuse((0, 0), text(table(source.get("stop_details")).get("explanation")) or REFUSAL)


def _failed(draft: Draft, document: Table) -> None:
    if document.get("type") == "error" or document.get("error"):
        error = table(document.get("error"))
        draft.error = word(error.get("type"), error.get("code"))
