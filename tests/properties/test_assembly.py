"""Laws of the assembly: how an answer travels does not change what it says, and no body, whatever it holds, makes it raise."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.domain import Dialect, Ending, Transcript
from extproc.judge.assembly import Exchange, assemble
from tests.support.llm_bodies import PATHS, Called, Said, accumulated, events, exchange, sse, stream, whole

law = settings(max_examples=100, deadline=None, derandomize=True)
DIALECTS = st.sampled_from(list(Dialect))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12
)
PIECES = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6).map(tuple)
CALLS = st.lists(
    st.builds(
        Called,
        st.sampled_from(["look", "send"]),
        st.dictionaries(st.text(max_size=5), JSON.filter(lambda value: not isinstance(value, float)), max_size=3),
        st.integers(1, 9),
    ),
    max_size=3,
).map(tuple)
SAID = st.builds(Said, PIECES, CALLS, st.text(max_size=9), st.integers(6, 999), st.integers(5, 999))


@law
@given(DIALECTS, SAID)
def test_a_stream_says_what_one_piece_says(dialect: Dialect, said: Said) -> None:
    """JSON and stream of the same answer give the same Transcript, which has the text, the calls and the counts."""
    at_once = assemble(exchange(dialect, whole(dialect, said)))
    assert assemble(exchange(dialect, stream(dialect, said))) == at_once
    assert at_once.ending is Ending.WHOLE, at_once.why
    assert at_once.answer == said.text
    assert [(call.name, orjson.loads(call.arguments)) for call in at_once.calls] == [(call.name, call.arguments) for call in said.calls]
    assert (at_once.input_tokens, at_once.output_tokens) == (said.read, said.generated)
    assert at_once.dialect is dialect


@law
@given(st.sampled_from([Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC]), SAID)
def test_the_vendors_sdk_hears_the_same(dialect: Dialect, said: Said) -> None:
    """The accumulator of the vendor's own SDK makes the same text and calls of the same events."""
    text, calls, _ = accumulated(dialect, events(dialect, said))
    ours = assemble(exchange(dialect, stream(dialect, said)))
    assert ours.answer == text
    assert [(call.name, call.id, orjson.loads(call.arguments)) for call in ours.calls] == calls


@law
@given(SAID)
def test_gemini_as_an_array_says_what_events_say(said: Said) -> None:
    """streamGenerateContent without alt=sse."""
    documents = events(Dialect.GEMINI, said)
    array = assemble(exchange(Dialect.GEMINI, orjson.dumps(documents)))
    assert array == assemble(exchange(Dialect.GEMINI, sse(documents)))
    assert array.ending is Ending.WHOLE


@law
@given(DIALECTS, SAID, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans(), st.booleans())
def test_framing_says_nothing(dialect: Dialect, said: Said, line_end: bytes, comments: bool, mark: bool) -> None:
    """Line ends, comments, other fields, a byte order mark, and JSON over several data lines change nothing."""
    plain = stream(dialect, said)
    framed = b""
    for line in plain.removesuffix(b"\n").split(b"\n"):
        if comments and not line:
            framed += b": keep alive" + line_end + b"id: 7" + line_end + b"unknown" + line_end
        if line.startswith(b"data: {"):
            head, tail = line[6:7], line[7:]
            framed += b"data:" + head + line_end + b"data: " + tail + line_end
        else:
            framed += line + line_end
    assert assemble(exchange(dialect, (b"\xef\xbb\xbf" if mark else b"") + framed)) == assemble(exchange(dialect, plain))


@law
@given(DIALECTS, SAID, st.floats(0, 1), st.booleans())
def test_a_stream_that_is_cut_is_never_whole_by_mistake(dialect: Dialect, said: Said, where: float, ended: bool) -> None:
    """What is left says a beginning of the answer; where it counts as whole, nothing of the answer is missing."""
    plain = stream(dialect, said)
    full = assemble(exchange(dialect, plain))
    cut = assemble(exchange(dialect, plain[: int(len(plain) * where)], response_ended=ended))
    assert full.answer.startswith(cut.answer)
    if cut.ending is Ending.WHOLE:
        assert (cut.answer, cut.calls, cut.finish) == (full.answer, full.calls, full.finish)
    else:
        assert cut.ending in (Ending.ABORTED, Ending.UNREADABLE)
    again = assemble(exchange(dialect, plain[: int(len(plain) * where)], response_truncated=True))
    assert again.ending is Ending.TRUNCATED


@law
@given(DIALECTS, SAID, st.booleans(), st.sampled_from(["gzip", "x-gzip", "GZIP, identity", "deflate", "raw", "members"]))
def test_compressed_says_what_plain_says(dialect: Dialect, said: Said, streamed: bool, coding: str) -> None:
    """gzip, also of several members, and both things that are called deflate."""
    plain = stream(dialect, said) if streamed else whole(dialect, said)
    if coding == "deflate":
        packed = zlib.compress(plain)
    elif coding == "raw":
        packed = zlib.compress(plain, wbits=-15)
    elif coding == "members":
        packed = gzip.compress(plain[:50]) + gzip.compress(plain[50:]) + b"\0\0"
    else:
        packed = gzip.compress(plain)
    name = {"raw": "deflate", "members": "gzip"}.get(coding, coding)
    assert assemble(exchange(dialect, packed, response_encoding=name)) == assemble(exchange(dialect, plain))


KEYS_TEXT = (
    "id object type model choices index delta message content role text tool_calls function name arguments custom input "
    "function_call finish_reason usage prompt_tokens error code output item item_id output_index content_index response status "
    "incomplete_details reason content_block stop_reason stop_details message partial_json candidates parts functionCall args "
    "finishReason promptFeedback blockReason usageMetadata contents messages tools functions parameters input_schema "
    "functionDeclarations generationConfig responseSchema response_format json_schema schema format system instructions properties "
    "items anyOf audio refusal source media_type"
)
KEYS = st.sampled_from(KEYS_TEXT.split())
WORDS_TEXT = (
    "message message_start content_block_start content_block_delta message_delta message_stop error text tool_use tool_result "
    "thinking input_json_delta text_delta response.created response.completed response.failed response.output_text.delta "
    "response.output_item.added response.function_call_arguments.delta function_call custom_tool_call message chat.completion "
    "chat.completion.chunk response user assistant system tool model STOP SAFETY stop length refusal failed queued object array "
    "[DONE] json_schema custom function namespace"
)
WORDS = st.sampled_from(WORDS_TEXT.split())
LIKELY = st.recursive(LEAVES | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30)
PATH = st.sampled_from([*PATHS.values(), "/", "", "/rewritten?x=/v1/messages"]) | st.text(max_size=20)


def _is_sound(transcript: Transcript) -> None:
    """Has only what its types say, and a reason where it is not whole."""
    assert isinstance(transcript.answer, str)
    assert all(isinstance(text, str) for call in transcript.calls for text in (call.name, call.arguments, call.id))
    assert all(isinstance(turn.text, str) for turn in transcript.turns)
    assert (transcript.ending is Ending.WHOLE) == (transcript.why == "")
    assert len(transcript.why) < 200


@settings(law, max_examples=400)
@given(PATH, LIKELY, LIKELY, st.integers(0, 600))
def test_json_of_the_right_words_and_the_wrong_types_never_raises(path: str, request: Any, answer: Any, status: int) -> None:
    """In one piece, as an array, and as a stream."""
    asked = orjson.dumps(request)
    _is_sound(assemble(Exchange(path, asked, orjson.dumps(answer), status)))
    documents = answer if isinstance(answer, list) else [answer]
    _is_sound(assemble(Exchange(path, asked, b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in documents), status)))


@law
@given(DIALECTS, st.lists(st.tuples(WORDS, LIKELY), max_size=6), st.booleans())
def test_events_of_the_right_names_and_the_wrong_data_never_raise(dialect: Dialect, named: list[tuple[str, Any]], ended: bool) -> None:
    """The type in the event's name, and in its data."""
    body = b"".join(
        b"event: " + name.encode() + b"\ndata: " + orjson.dumps({"type": name, **data} if isinstance(data, dict) else data) + b"\n\n"
        for name, data in named
    )
    _is_sound(assemble(exchange(dialect, body, response_ended=ended)))


@law
@given(PATH, st.binary(max_size=300), st.binary(max_size=300), st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip", "x,y,z", "\n"]))
def test_bytes_never_raise(path: str, request: bytes, answer: bytes, coding: str) -> None:
    """Whatever they are, and whatever coding they are said to have."""
    given_ = Exchange(path, request, answer, request_encoding=coding, response_encoding=coding)
    for one in (given_, replace(given_, response=b"data: " + answer), replace(given_, response=gzip.compress(answer))):
        _is_sound(assemble(one))


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"content":[', b'{"parameters":{"items":', b'{"output":[{"content":['])
def test_depth_costs_nothing(dialect: Dialect, opening: bytes) -> None:
    """JSON nested a hundred thousand deep is unreadable, not an error; nested as deep as the parser goes it is read."""
    deep = opening * 100_000
    assert assemble(exchange(dialect, deep)).ending is Ending.UNREADABLE
    for body in (b'{"contents":[' + b'{"parts":[' * 400 + b"]}" * 400 + b"]}", b'{"tools":' + b"[" * 900 + b"]" * 900 + b"}"):
        _is_sound(assemble(Exchange(PATHS[dialect], body, body)))
