"""What each vendor's format can say, read into a Transcript: requests first, then answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.domain import Dialect, Ending, Finish, Role, ToolCall, Transcript, Turn
from extproc.judge.assembly import Exchange, assemble
from tests.support.llm_bodies import PATHS, Said, events, exchange, sse, whole

CHAT, RESPONSES, ANTHROPIC, GEMINI = Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC, Dialect.GEMINI
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def asked(dialect: Dialect, request: dict[str, Any], path: str = "") -> Transcript:
    """A request, answered in the usual way."""
    return assemble(Exchange(path or PATHS[dialect], orjson.dumps(request), whole(dialect, Said())))


def answered(dialect: Dialect, document: Any) -> Transcript:
    """An answer to the usual request; a list is a stream of events."""
    return assemble(exchange(dialect, sse(document) if isinstance(document, list) else orjson.dumps(document)))


def chat(message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


# ------------------------------------------------------------------------------------------------------------ conversations
def test_a_conversation_of_chat() -> None:
    """Roles, parts, calls and their results; what is no text is a marker, and a role nobody knows is left out."""
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": '{"a":1}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "A cat."},
        {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
        {"role": "function", "name": "old", "content": "A dog."},
        {"role": "critic", "content": "Bad."},
        "no message",
        {"role": "user", "content": 7},
    ]
    assert asked(CHAT, {"messages": messages}).turns == (
        Turn(Role.SYSTEM, "Be kind."),
        Turn(Role.USER, "What is [image]"),
        Turn(Role.USER, "[audio][file]"),
        Turn(Role.ASSISTANT, "", (ToolCall("look", '{"a":1}', "c"),)),
        Turn(Role.TOOL, "A cat."),
        Turn(Role.ASSISTANT, "", (ToolCall("old", "{}"),)),
        Turn(Role.TOOL, "A dog."),
        Turn(Role.USER, ""),
    )


def test_a_conversation_of_responses() -> None:
    """Instructions, messages, calls and their outputs; reasoning is no turn."""
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "See "}, {"type": "input_image", "image_url": "x"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "A cat."},
        {"type": "custom_tool_call", "name": "run", "input": "ls -l", "call_id": "d"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "a.txt"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A cat."}]},
    ]
    found = asked(RESPONSES, {"instructions": "Be kind.", "input": items})
    assert found.turns == (
        Turn(Role.SYSTEM, "Be kind."),
        Turn(Role.USER, "Hi"),
        Turn(Role.USER, "See [image]"),
        Turn(Role.ASSISTANT, "", (ToolCall("look", "{}", "c"),)),
        Turn(Role.TOOL, "A cat."),
        Turn(Role.ASSISTANT, "", (ToolCall("run", '"ls -l"', "d"),)),
        Turn(Role.TOOL, "a.txt"),
        Turn(Role.ASSISTANT, "A cat."),
    )
    assert not found.remembered


def test_a_conversation_of_anthropic() -> None:
    """A result of a tool comes before what the user says with it; thinking is left out."""
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "See "}, {"type": "image", "source": {"media_type": "image/png"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm."},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t", "name": "look", "input": {"a": [1]}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "A cat."}]},
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "user", "content": [{"type": "document", "source": {"media_type": "application/pdf"}}]},
    ]
    assert asked(ANTHROPIC, {"system": [{"type": "text", "text": "Be kind."}], "messages": messages}).turns == (
        Turn(Role.SYSTEM, "Be kind."),
        Turn(Role.USER, "See [image]"),
        Turn(Role.ASSISTANT, "I look.", (ToolCall("look", '{"a":[1]}', "t"),)),
        Turn(Role.TOOL, "A cat."),
        Turn(Role.USER, "And?"),
        Turn(Role.USER, "[file]"),
    )


def test_a_conversation_of_gemini() -> None:
    """Either spelling of a name; a content without a role is the user's."""
    contents = [
        {"parts": [{"text": "See "}, {"inline_data": {"mime_type": "video/mp4", "data": ""}}]},
        {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"functionCall": {"name": "look", "args": {"a": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"result": "A cat."}}}, {"text": "And?"}]},
    ]
    assert asked(GEMINI, {"system_instruction": {"parts": [{"text": "Be kind."}]}, "contents": contents}).turns == (
        Turn(Role.SYSTEM, "Be kind."),
        Turn(Role.USER, "See [video]"),
        Turn(Role.ASSISTANT, "", (ToolCall("look", '{"a":1}'),)),
        Turn(Role.TOOL, '{"result":"A cat."}'),
        Turn(Role.USER, "And?"),
    )


@pytest.mark.parametrize(
    ("dialect", "request_", "model"),
    [
        (CHAT, {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}, "gpt-5"),
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}]}, "gemini-3-pro"),
        (RESPONSES, {"model": "o9", "input": "x"}, "o9"),
    ],
)
def test_the_model_that_was_asked(dialect: Dialect, request_: dict[str, Any], model: str) -> None:
    """In the body, or in the path."""
    found = asked(dialect, request_)
    assert (found.asked_model, found.ending) == (model, Ending.WHOLE)
    assert found.answered_model.endswith("-x")


def test_azure_names_a_deployment() -> None:
    """Its path stands in for the model."""
    path = "/openai/deployments/prod-4/chat/completions?api-version=2026"
    assert asked(CHAT, {"messages": [{"role": "user", "content": "x"}]}, path).asked_model == "prod-4"


@pytest.mark.parametrize(
    ("dialect", "request_"),
    [
        (RESPONSES, {"input": "x", "previous_response_id": "r"}),
        (RESPONSES, {"input": "x", "conversation": {"id": "c"}}),
        (RESPONSES, {"prompt": {"id": "p"}}),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "i"}, {"role": "user", "content": "x"}]}),
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}], "cachedContent": "c"}),
    ],
)
def test_what_the_vendor_remembers(dialect: Dialect, request_: dict[str, Any]) -> None:
    """A judge is told that it sees less than the model did."""
    found = asked(dialect, request_)
    assert found.remembered
    assert found.ending is Ending.WHOLE, found.why


# ----------------------------------------------------------------------------------------------------------- JSON and tools
@pytest.mark.parametrize(
    ("dialect", "setting", "wants", "schema"),
    [
        (CHAT, {"response_format": {"type": "json_object"}}, True, None),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}, True, SCHEMA),
        (CHAT, {"response_format": {"type": "text"}}, False, None),
        (CHAT, {"response_format": {"type": ["json_object"]}}, False, None),
        (RESPONSES, {"text": {"format": {"type": "json_object"}}}, True, None),
        (RESPONSES, {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, True, SCHEMA),
        (RESPONSES, {"text": {"format": {"type": "text"}}}, False, None),
        (ANTHROPIC, {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, True, SCHEMA),
        (ANTHROPIC, {"output_format": {"type": "json_schema", "schema": SCHEMA}}, True, SCHEMA),
        (ANTHROPIC, {"output_config": {"effort": "low"}}, False, None),
        (GEMINI, {"generationConfig": {"responseMimeType": "application/json"}}, True, None),
        (GEMINI, {"generation_config": {"response_mime_type": "application/json", "responseJsonSchema": SCHEMA}}, True, SCHEMA),
        (GEMINI, {"generationConfig": {"responseMimeType": "text/plain"}}, False, None),
    ],
)
def test_json_that_is_demanded(dialect: Dialect, setting: dict[str, Any], wants: bool, schema: dict[str, Any] | None) -> None:
    """Each vendor's way to demand JSON, with a schema and without."""
    body: dict[Dialect, dict[str, Any]] = {RESPONSES: {"input": "x"}, GEMINI: {"contents": [{"parts": [{"text": "x"}]}]}}
    found = asked(dialect, {**body.get(dialect, {"messages": [{"role": "user", "content": "x"}]}), **setting})
    assert (found.wants_json, found.json_schema) == (wants, schema)


def test_geminis_schemas_become_json_schemas() -> None:
    """Types in capitals, nullable, numbers as strings; what is deep or unknown allows everything."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING", "nullable": True, "maxLength": "9", "enum": ["a"]},
            "all": {"type": "ARRAY", "items": {"anyOf": [{"type": "INTEGER"}, {"type": "WHATEVER"}]}, "min_items": 1},
        },
        "required": ["name", 7],
        "propertyOrdering": ["name"],
    }
    setting = {"responseMimeType": "application/json", "responseSchema": schema}
    assert asked(GEMINI, {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": setting}).json_schema == {
        "type": "object",
        "properties": {
            "name": {"type": ["string", "null"], "maxLength": 9},
            "all": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {}]}, "minItems": 1},
        },
        "required": ["name"],
    }


@pytest.mark.parametrize(
    ("dialect", "tools", "found", "is_open"),
    [
        (CHAT, {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]}, {"f": SCHEMA}, False),
        (CHAT, {"functions": [{"name": "f"}]}, {"f": {}}, False),
        (CHAT, {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, {"c": {"type": "string"}}, False),
        (CHAT, {"tools": [{"type": "novel"}]}, {}, True),
        (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]}, {"f": SCHEMA}, False),
        (RESPONSES, {"tools": [{"type": "custom", "name": "c"}, {"type": "web_search"}]}, {"c": {"type": "string"}}, False),
        (RESPONSES, {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]}, {"f": {}}, False),
        (RESPONSES, {"tools": [{"type": "mcp", "server_label": "s"}]}, {}, True),
        (ANTHROPIC, {"tools": [{"name": "f", "input_schema": SCHEMA}]}, {"f": SCHEMA}, False),
        (ANTHROPIC, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, {"bash": {}}, False),
        (ANTHROPIC, {"tools": [{"type": "computer_toolset_20260801"}]}, {}, True),
        (GEMINI, {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}]}, {"f": SCHEMA}, False),
        (
            GEMINI,
            {"tools": [{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}]},
            {"f": {"type": "object"}},
            False,
        ),
        (GEMINI, {"tools": [{"googleSearch": {}}]}, {}, False),
        (GEMINI, {"tools": [{"mcpServers": [{}]}]}, {}, True),
    ],
)
def test_tools_that_are_offered(dialect: Dialect, tools: dict[str, Any], found: dict[str, Any], is_open: bool) -> None:
    """By name, with their schemas; toolsets and connectors bring names that are not told."""
    body: dict[Dialect, dict[str, Any]] = {RESPONSES: {"input": "x"}, GEMINI: {"contents": [{"parts": [{"text": "x"}]}]}}
    transcript = asked(dialect, {**body.get(dialect, {"messages": [{"role": "user", "content": "x"}]}), **tools})
    assert (dict(transcript.tools), transcript.open_tools) == (found, is_open)


# ------------------------------------------------------------------------------------------------------------------ answers
@pytest.mark.parametrize(
    ("dialect", "document", "finish"),
    [
        *[
            (CHAT, chat({"content": "x"}, word), finish)
            for word, finish in [
                ("stop", Finish.STOP),
                ("length", Finish.LENGTH),
                ("content_filter", Finish.CONTENT_FILTER),
                ("tool_calls", Finish.TOOL_CALLS),
                ("function_call", Finish.TOOL_CALLS),
                ("novel", Finish.OTHER),
                (None, Finish.UNKNOWN),
            ]
        ],
        *[
            (ANTHROPIC, {"type": "message", "content": [], "stop_reason": word}, finish)
            for word, finish in [
                ("end_turn", Finish.STOP),
                ("stop_sequence", Finish.STOP),
                ("max_tokens", Finish.LENGTH),
                ("model_context_window_exceeded", Finish.LENGTH),
                ("tool_use", Finish.TOOL_CALLS),
                ("refusal", Finish.CONTENT_FILTER),
                ("pause_turn", Finish.OTHER),
            ]
        ],
        *[
            (GEMINI, {"candidates": [{"finishReason": word}]}, finish)
            for word, finish in [
                ("STOP", Finish.STOP),
                ("MAX_TOKENS", Finish.LENGTH),
                ("SAFETY", Finish.CONTENT_FILTER),
                ("PROHIBITED_CONTENT", Finish.CONTENT_FILTER),
                ("MALFORMED_FUNCTION_CALL", Finish.OTHER),
                ("FINISH_REASON_UNSPECIFIED", Finish.UNKNOWN),
            ]
        ],
        (GEMINI, {"promptFeedback": {"blockReason": "SAFETY"}}, Finish.CONTENT_FILTER),
        (RESPONSES, {"object": "response", "status": "completed", "output": []}, Finish.STOP),
        *[
            (RESPONSES, {"object": "response", "status": "incomplete", "incomplete_details": {"reason": word}}, finish)
            for word, finish in [
                ("max_output_tokens", Finish.LENGTH),
                ("content_filter", Finish.CONTENT_FILTER),
                ("steered", Finish.OTHER),
            ]
        ],
    ],
)
def test_why_a_model_stopped(dialect: Dialect, document: dict[str, Any], finish: Finish) -> None:
    """The vendors' words in ours."""
    found = answered(dialect, document)
    assert (found.finish, found.ending) == (finish, Ending.WHOLE)


@pytest.mark.parametrize(
    ("dialect", "document", "refusal"),
    [
        (CHAT, chat({"content": None, "refusal": "No."}), "No."),
        (
            CHAT,
            [{"choices": [{"index": 0, "delta": {"refusal": word}, "finish_reason": end}]} for word, end in [("N", None), ("o.", "stop")]],
            "No.",
        ),
        (
            RESPONSES,
            {
                "object": "response",
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}],
            },
            "No.",
        ),
        (
            RESPONSES,
            [{"type": "response.refusal.delta", "delta": "No."}, {"type": "response.completed", "response": {"status": "completed"}}],
            "No.",
        ),
        (ANTHROPIC, {"type": "message", "content": [], "stop_reason": "refusal"}, "[refusal]"),
        (
            ANTHROPIC,
            [
                {"type": "message_start", "message": {}},
                {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"explanation": "No."}}},
                {"type": "message_stop"},
            ],
            "No.",
        ),
    ],
)
def test_what_a_vendor_marks_as_refusal(dialect: Dialect, document: Any, refusal: str) -> None:
    """It is kept apart from the answer."""
    found = answered(dialect, document)
    assert (found.refusal, found.answer, found.ending) == (refusal, "", Ending.WHOLE)


@pytest.mark.parametrize("dialect", [RESPONSES, ANTHROPIC, GEMINI])
def test_reasoning_is_no_answer(dialect: Dialect) -> None:
    """In one piece and as a stream."""
    said = Said(thought="I think.")
    for body in (whole(dialect, said), sse(events(dialect, said))):
        assert assemble(exchange(dialect, body)).answer == said.text


def test_reasoning_in_the_parts_of_a_chat_answer() -> None:
    """As Mistral sends it; a list of parts is text, too."""
    assert answered(CHAT, chat({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hi"}]})).answer == "Hi"


@pytest.mark.parametrize(
    "pieces",
    [
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}, {"index": 0, "function": {"arguments": ":1}"}}],
        [{"id": "a", "function": {"name": "f", "arguments": '{"x"'}}, {"function": {"arguments": ":1}"}}],
        [{"id": "a", "function": {"name": "f", "arguments": '{"x"'}}, {"id": "a", "function": {"name": "f", "arguments": ":1}"}}],
        [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}],
    ],
)
def test_pieces_of_a_call_find_each_other(pieces: list[dict[str, Any]]) -> None:
    """By index, as OpenAI has it; without one by id, or else to the last call; an object in the place of text."""
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    second = {"choices": [{"index": 0, "delta": {"tool_calls": [{"id": "b", "index": 1, "function": {"name": "g", "arguments": "{}"}}]}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    assert answered(CHAT, [*chunks, second, end]).calls == (ToolCall("f", '{"x":1}', "a"), ToolCall("g", "{}", "b"))


def test_a_custom_tools_text_is_a_json_string() -> None:
    """So that its arguments are JSON as all others; streamed or not."""
    whole_ = answered(CHAT, chat({"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "run", "input": 'say "hi"'}}]}))
    deltas = [{"index": 0, "id": "a", "custom": {"name": "run", "input": "say "}}, {"index": 0, "custom": {"input": '"hi"'}}]
    streamed = answered(CHAT, [{"choices": [{"index": 0, "delta": {"tool_calls": [delta]}, "finish_reason": "stop"}]} for delta in deltas])
    item = {"type": "custom_tool_call", "call_id": "a", "name": "run", "input": 'say "hi"'}
    responses = answered(RESPONSES, {"object": "response", "status": "completed", "output": [item]})
    assert whole_.calls == streamed.calls == responses.calls == (ToolCall("run", '"say \\"hi\\""', "a"),)
    assert responses.finish is Finish.TOOL_CALLS


def test_what_a_vendors_own_tools_do_is_no_call() -> None:
    """Searches and code that run there ask nothing of the application; a picture that is made is shown."""
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    assert answered(ANTHROPIC, {"type": "message", "content": [search], "stop_reason": "end_turn"}).calls == ()
    output = [{"type": "web_search_call", "id": "w", "status": "completed"}, {"type": "image_generation_call", "id": "i", "result": ""}]
    found = answered(RESPONSES, {"object": "response", "status": "completed", "output": output})
    assert (found.calls, found.answer) == ((), "[image]")


def test_pieces_count_where_the_last_event_has_no_output() -> None:
    """A gateway may leave it out."""
    documents = [one for one in events(RESPONSES, Said()) if one["type"] != "response.completed"]
    last = {"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 1, "output_tokens": 2}}}
    found = answered(RESPONSES, [*documents, last])
    assert (found.answer, found.finish, found.output_tokens, found.ending) == ("Hello.", Finish.STOP, 2, Ending.WHOLE)


@pytest.mark.parametrize("count", [-1, True, 1.5, "7", None, 1 << 60])
def test_a_count_that_is_none(count: Any) -> None:
    """Costs itself alone."""
    found = answered(CHAT, {**chat({"content": "x"}), "usage": {"prompt_tokens": count, "completion_tokens": 3}})
    assert (found.input_tokens, found.output_tokens) == (None, 3)
