"""Google's generateContent, from the Gemini API or Vertex AI. Protobuf's JSON: names in camelCase or snake_case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from extproc.domain import Finish, Role, ToolCall, Turn
from extproc.judge.assembly.draft import Asked, Draft
from extproc.judge.assembly.openapi import json_schema
from extproc.judge.assembly.shapes import Table, marker, number, pick, table, tables, text, total, word, written

_MODEL: Final = re.compile(r"/models/([^/:?]{1,200}):(?:stream)?generateContent", re.IGNORECASE)
_ROLES: Final = {"user": Role.USER, "model": Role.ASSISTANT, "function": Role.TOOL, "tool": Role.TOOL, "system": Role.SYSTEM, "": Role.USER}
_FILTERS: Final = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "JAILBREAK",
    )
)


def path_model(path: str) -> str:
    """The model that a path names; empty where it names none."""
    found = _MODEL.search(path)
    return found.group(1) if found else ""


def read_request(body: Table) -> Asked:
    """The body of a request."""
    turns = [Turn(Role.SYSTEM, said)] if (said := _said(_parts(pick(body, "systemInstruction", "system_instruction")))) else []
    contents = body.get("contents")
    for item in [contents] if isinstance(contents, dict) else tables(contents):
        turns.extend(_turns(item))
    settings = table(pick(body, "generationConfig", "generation_config"))
    open_schema = table(pick(settings, "responseSchema", "response_schema"))
    schema = pick(settings, "responseJsonSchema", "response_json_schema") or (json_schema(open_schema) if open_schema else None)
    tools, open_tools = _tools(body)
    return Asked(
        model=text(body.get("model")).removeprefix("models/"),
        turns=tuple(turns),
        remembered=bool(pick(body, "cachedContent", "cached_content")),
        wants_json=text(pick(settings, "responseMimeType", "response_mime_type")).startswith("application/json"),
        json_schema=schema if isinstance(schema, dict) else None,
        tools=tools,
        open_tools=open_tools,
    )


def _turns(item: Table) -> Iterator[Turn]:
    """A content, and before it the results of tools that it brings."""
    who = _ROLES.get(text(item.get("role")))
    if who is None:
        return
    parts = list(_parts(item))
    results = [result for part in parts if (result := table(pick(part, "functionResponse", "function_response")))]
    calls = tuple(_call(call) for part in parts if (call := table(pick(part, "functionCall", "function_call"))))
    said = _said(parts)
    yield from (Turn(Role.TOOL, written(table(result.get("response")))) for result in results)
    if said or calls or not results:
        yield Turn(who, said, calls)


def _parts(value: Any) -> Iterable[Table]:
    """The parts of a content; a string is a content of one part."""
    return [{"text": value}] if isinstance(value, str) else tables(table(value).get("parts"))


def _said(parts: Iterable[Table]) -> str:
    return "".join(map(_spoken, parts))


def _spoken(part: Table) -> str:
    """What a part says; thoughts, calls and code that the vendor runs say nothing."""
    if part.get("thought") is True:
        return ""
    if isinstance(part.get("text"), str):
        return text(part.get("text"))
    blob = table(pick(part, "inlineData", "inline_data", "fileData", "file_data"))
    return marker(text(pick(blob, "mimeType", "mime_type"))) if blob else ""


def _call(call: Table) -> ToolCall:
    return ToolCall(text(call.get("name")), written(table(call.get("args"))), text(call.get("id")))


def _tools(body: Table) -> tuple[Mapping[str, Mapping[str, Any]], bool]:
    """Schemas by name, and whether tools may come from elsewhere."""
    found: dict[str, Mapping[str, Any]] = {}
    is_open = bool(pick(body, "cachedContent", "cached_content"))
    for tool in tables(body.get("tools")):
        is_open = is_open or bool(pick(tool, "mcpServers", "mcp_servers", "computerUse", "computer_use"))
        for function in tables(pick(tool, "functionDeclarations", "function_declarations")):
            if name := text(function.get("name")):
                schema = pick(function, "parametersJsonSchema", "parameters_json_schema")
                found[name] = table(schema) if schema is not None else json_schema(table(function.get("parameters")))
    return found, is_open


def read_answer(body: Table) -> Draft:
    """An answer in one piece."""
    draft = read_stream([("", body)])
    draft.ended = draft.known
    return draft


def read_stream(documents: Iterable[tuple[str, Table]]) -> Draft:
    """An answer as a stream: (name of the event, its data), of events or of the elements of an array. It has no mark of its end."""
    draft = Draft()
    for _, chunk in documents:
        if error := chunk.get("error"):
            draft.error = word(table(error).get("status"), table(error).get("code"))
        draft.model = draft.model or text(pick(chunk, "modelVersion", "model_version"))
        _used(draft, table(pick(chunk, "usageMetadata", "usage_metadata")))
        blocked = text(pick(table(pick(chunk, "promptFeedback", "prompt_feedback")), "blockReason", "block_reason"))
        if blocked:
            draft.known, draft.finish = True, Finish.CONTENT_FILTER
        candidates = list(tables(chunk.get("candidates")))
        draft.known = draft.known or bool(candidates) or bool(pick(chunk, "usageMetadata", "usage_metadata"))
        for candidate in candidates:
            if number(candidate.get("index")) in (None, 0):
                _candidate(draft, candidate)
                break
    if draft.finish is Finish.STOP and draft.calls:
        draft.finish = Finish.TOOL_CALLS
    return draft


def _used(draft: Draft, usage: Table) -> None:
    draft.counted(
        number(pick(usage, "promptTokenCount", "prompt_token_count")),
        total(pick(usage, "candidatesTokenCount", "candidates_token_count"), pick(usage, "thoughtsTokenCount", "thoughts_token_count")),
    )


def _candidate(draft: Draft, candidate: Table) -> None:
    for part in _parts(candidate.get("content")):
        draft.write((0, 0), _spoken(part))
        if call := table(pick(part, "functionCall", "function_call")):
            made = _call(call)
            made_draft = draft.call((draft.last + 1, 0))
            made_draft.named(made.name, made.id)
            made_draft.pieces.append(made.arguments)
    reason = text(pick(candidate, "finishReason", "finish_reason"))
    if reason in _FILTERS:
        draft.finish = Finish.CONTENT_FILTER
    elif reason == "MAX_TOKENS":
        draft.finish = Finish.LENGTH
    elif reason and reason != "FINISH_REASON_UNSPECIFIED":
        draft.finish = Finish.STOP if reason == "STOP" else Finish.OTHER
