"""How an exchange ends, which format it is of, and what decompression may cost."""

from __future__ import annotations

import gzip
import time
import zlib
from functools import partial
from typing import Any

import orjson
import pytest

from extproc.domain import Dialect, Ending
from extproc.judge.assembly import MOST_BYTES, Exchange, assemble
from extproc.judge.assembly.decoding import decode
from extproc.judge.assembly.sse import Event, events
from tests.support import llm_bodies as bodies
from tests.support.cost import opcodes, peak_memory
from tests.support.llm_bodies import PATHS, REQUESTS, Said, exchange, sse, stream, whole

CHAT, RESPONSES, ANTHROPIC, GEMINI = Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC, Dialect.GEMINI


def ended(dialect: Dialect, response: bytes, **changes: Any) -> tuple[Ending, str]:
    found = assemble(exchange(dialect, response, **changes))
    return found.ending, found.why


# --------------------------------------------------------------------------------------------------------------------- ends
@pytest.mark.parametrize("dialect", Dialect)
def test_whole_is_whole(dialect: Dialect) -> None:
    """JSON that is complete is whole although the end of the stream was not seen; so is a stream that has said its own end."""
    assert ended(dialect, whole(dialect, Said()), response_ended=False) == (Ending.WHOLE, "")
    assert ended(dialect, stream(dialect, Said())) == (Ending.WHOLE, "")
    unseen = Ending.ABORTED if dialect is GEMINI else Ending.WHOLE  # Gemini's streams have no mark of their end
    assert ended(dialect, stream(dialect, Said()), response_ended=False)[0] is unseen


@pytest.mark.parametrize("dialect", Dialect)
def test_without_its_end_an_answer_is_aborted(dialect: Dialect) -> None:
    """A stream that lacks its last events, JSON that stops, nothing at all."""
    documents = bodies.events(dialect, Said())
    short = sse(documents[: -3 if dialect is CHAT else -2 if dialect is ANTHROPIC else -1])
    for seen in (True, False):
        assert ended(dialect, short, response_ended=seen) == (Ending.ABORTED, "the answer has no end")
    assert ended(dialect, whole(dialect, Said())[:-9], response_ended=False) == (Ending.ABORTED, "the answer: it stops in the middle")
    assert ended(dialect, b"", response_ended=False, status=0) == (Ending.ABORTED, "the answer: nothing came")
    packed = gzip.compress(whole(dialect, Said()))[:-30]
    assert ended(dialect, packed, response_encoding="gzip") == (Ending.ABORTED, "the answer: it stops in the middle")
    if dialect is not ANTHROPIC:  # whose last event alone is an end
        unmarked = gzip.compress(sse(bodies.events(dialect, Said())[:-1] if dialect is CHAT else bodies.events(dialect, Said())))[:-8]
        assert ended(dialect, unmarked, response_encoding="gzip")[0] is Ending.ABORTED


def test_a_finish_and_the_end_of_the_body_are_an_end() -> None:
    """Some servers leave [DONE] out."""
    assert ended(CHAT, sse(bodies.events(CHAT, Said()))) == (Ending.WHOLE, "")
    assert ended(CHAT, sse(bodies.events(CHAT, Said())), response_ended=False)[0] is Ending.ABORTED


@pytest.mark.parametrize("dialect", Dialect)
def test_a_copy_that_was_cut_is_truncated(dialect: Dialect) -> None:
    """By the sampler's limit, of either body, even where what is left looks whole."""
    good = whole(dialect, Said())
    assert ended(dialect, good, response_truncated=True) == (Ending.TRUNCATED, "the answer is longer than the copy of it")
    assert ended(dialect, good[:20], response_truncated=True, response_ended=False)[0] is Ending.TRUNCATED
    assert ended(dialect, good, request_truncated=True) == (Ending.TRUNCATED, "the request is longer than the copy of it")


@pytest.mark.parametrize(
    ("dialect", "response", "status", "why"),
    [
        (CHAT, b'{"error":{"message":"Mr Smith","type":"rate_limit","code":null}}', 429, "status 429: rate_limit"),
        (CHAT, b'{"error":{"message":"no","type":"Mr Smith asks: why?"}}', 400, "status 400"),
        (CHAT, b"<html>bad gateway</html>", 502, "status 502"),
        (CHAT, b'data: {"error":{"code":"server_error"}}\n\n', 200, "an error in the answer: server_error"),
        (CHAT, whole(CHAT, Said()), 500, "status 500"),
        (ANTHROPIC, b'{"type":"error","error":{"type":"overloaded_error"}}', 529, "status 529: overloaded_error"),
        (ANTHROPIC, b'event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n', 200, "an error in the answer: overloaded_error"),
        (RESPONSES, b'data: {"type":"error","code":"server_error"}\n\n', 200, "an error in the answer: server_error"),
        (
            RESPONSES,
            b'data: {"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}\n\n',
            200,
            "an error in the answer: server_error",
        ),
        (RESPONSES, b'{"object":"response","status":"cancelled","output":[]}', 200, "an error in the answer: cancelled"),
        (GEMINI, b'{"error":{"code":503,"status":"UNAVAILABLE"}}', 503, "status 503: UNAVAILABLE"),
        (GEMINI, b'[{"error":{"code":503}}]', 200, "an error in the answer: 503"),
    ],
)
def test_an_error_is_no_answer(dialect: Dialect, response: bytes, status: int, why: str) -> None:
    """By status, as a document, as an event; the reason has the vendor's code, and never a sentence, which may name a user."""
    assert ended(dialect, response, status=status) == (Ending.FAILED, why)


@pytest.mark.parametrize("dialect", Dialect)
def test_an_error_in_the_middle_of_a_stream(dialect: Dialect) -> None:
    """What was said before is kept, but it is not whole."""
    documents = bodies.events(dialect, Said())
    found = assemble(exchange(dialect, sse([*documents[:-1], {"type": "error", "error": {"type": "overloaded", "code": "overloaded"}}])))
    assert (found.ending, found.why, found.answer) == (Ending.FAILED, "an error in the answer: overloaded", "Hello.")


@pytest.mark.parametrize(
    ("response", "changes", "why"),
    [
        (b"", {}, "the answer: empty"),
        (b"\x89PNG", {"response_content_type": "image/png"}, "the answer: image/png: no JSON and no stream of events"),
        (b"7", {}, "the answer: JSON that is no object"),
        (b'{"data":[]}', {}, "the answer is of no known format"),
        (b'{"object":"text_completion","choices":[{"text":"x"}]}', {}, "the answer is of no known format"),
        (b"data: {oops\n\n", {}, "the answer: an event whose data is no JSON"),
        (b"data: 7\n\n", {}, "the answer is of no known format"),
        (b"x", {"response_encoding": "br"}, "the answer: content coding br is not undone here"),
        (b"xyz", {"response_encoding": "gzip"}, "the answer: the compressed data is damaged"),
        (b"x", {"response_encoding": "gzip,gzip,gzip"}, "the answer: more than two content codings"),
        (whole(CHAT, Said()), {"request": {"n": 1}}, "the request is of no known format"),
        (whole(CHAT, Said()), {"request": {"messages": []}}, "the request has no messages"),
    ],
)
def test_what_is_unreadable(response: bytes, changes: dict[str, Any], why: str) -> None:
    """Each with a reason."""
    assert ended(CHAT, response, **changes) == (Ending.UNREADABLE, why)


def test_an_answer_that_comes_later() -> None:
    """In background mode the vendor answers with what is no answer yet."""
    assert ended(RESPONSES, b'{"object":"response","status":"queued","output":[]}') == (
        Ending.ABORTED,
        "the vendor answers later, elsewhere",
    )


def test_an_unreadable_request() -> None:
    """Without the question nothing can be judged."""
    found = assemble(Exchange("/v1/audio", b"--boundary", whole(CHAT, Said()), request_content_type="multipart/form-data"))
    assert (found.ending, found.why) == (Ending.UNREADABLE, "the request: multipart/form-data: no JSON and no stream of events")
    assert found.answer == "Hello."


# ------------------------------------------------------------------------------------------------------------------ formats
@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("path", ["/llm", "/v1/chat/completions", "/v1/messages", "/v1/responses", "/x:generateContent"])
def test_a_rewritten_path_misleads_nobody(dialect: Dialect, path: str) -> None:
    """The bodies say what they are, whatever the path says."""
    found = assemble(Exchange(path, orjson.dumps(REQUESTS[dialect]), stream(dialect, Said())))
    assert (found.dialect, found.ending, found.answer) == (dialect, Ending.WHOLE, "Hello.")
    assert [turn.text for turn in found.turns] == ["Be kind.", "Hello?"]


def test_messages_alone_are_told_apart() -> None:
    """By the path; without one that helps, by the answer."""
    request = orjson.dumps({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "A cat."}]}]})
    for path, answer, role in [
        ("/v1/messages", whole(ANTHROPIC, Said()), "tool"),
        ("/llm", whole(ANTHROPIC, Said()), "tool"),
        ("/llm", whole(CHAT, Said()), "user"),
        ("/anthropic/v1/messages?beta=true", whole(CHAT, Said()), "tool"),
    ]:
        assert assemble(Exchange(path, request, answer)).turns[0].role == role


def test_a_gateway_that_translates() -> None:
    """Request and answer are read each in its own dialect; the Transcript has the answer's."""
    found = assemble(Exchange("/v1/chat/completions", orjson.dumps(REQUESTS[CHAT]), stream(ANTHROPIC, Said())))
    assert (found.dialect, found.ending, found.answer, len(found.turns)) == (ANTHROPIC, Ending.WHOLE, "Hello.", 2)


@pytest.mark.parametrize("dialect", Dialect)
def test_an_error_is_of_the_requests_dialect(dialect: Dialect) -> None:
    """An error page says nothing of a format."""
    assert assemble(exchange(dialect, b"busy", status=503)).dialect is dialect
    assert assemble(Exchange(PATHS[dialect], b"", b"", 503)).dialect is dialect


# ------------------------------------------------------------------------------------------------------------------- framing
def test_events_as_the_standard_has_them() -> None:
    """The examples of the WHATWG HTML standard, section 9.2.6."""
    stocks = "data: YHOO\ndata: +2\ndata: 10\n\n"
    assert list(events(stocks)) == [Event("", "YHOO\n+2\n10", True)]
    assert [one.data for one in events("data\n\ndata\ndata\n\ndata:")] == ["", "\n", ""]
    assert [one.data for one in events("data:test\n\ndata: test\n\n")] == ["test", "test"]
    assert list(events(": test stream\n\ndata: first event\nid: 1\n\nevent: x\n\ndata:  third\n\n")) == [
        Event("", "first event", True),
        Event("", " third", True),
    ]


def test_a_line_end_is_one_of_three() -> None:
    """Other characters that Python takes for line ends are text."""
    assert [one.data for one in events("data: a\u2028b\x0bc\x85d\r\rdata: e\r\n\r\n")] == ["a\u2028b\x0bc\x85d", "e"]


# ---------------------------------------------------------------------------------------------------------------- decoding
def test_a_bomb_is_truncated_and_takes_no_memory() -> None:
    """Zeros, sixteen times the bound, compressed once and twice, cost the bound and no more."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MOST_BYTES)) for _ in range(16)) + packer.flush()
    for body, coding in [(bomb, "gzip"), (gzip.compress(bomb), "gzip, gzip")]:
        decoded = decode(body, coding)
        assert peak_memory(partial(decode, body, coding)) < 4 * MOST_BYTES
        assert decoded.cut
        assert len(decoded.data) == MOST_BYTES
        assert ended(CHAT, body, response_encoding=coding) == (Ending.TRUNCATED, "the answer is longer than the copy of it")


def test_a_plain_body_has_the_same_bound() -> None:
    """Whatever the sampler's limit is."""
    assert decode(bytes(MOST_BYTES + 1), "").cut
    assert not decode(bytes(MOST_BYTES), "identity").cut


@pytest.mark.parametrize(
    "piece",
    [
        b"data: {}\n\n",
        b"\n",
        b"data: x\n",
        b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"id":"%d","function":{"arguments":"x"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":%d,"function":{"arguments":"x"}}]}}]}\n\n',
        b'data: {"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","input":{}}}\n\n',
        b'data: {"type":"response.output_text.delta","output_index":%d,"delta":"x"}\n\n',
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}\n\n',
    ],
)
def test_cost_is_linear(piece: bytes) -> None:
    """Four times as much takes four times as many steps, not sixteen times: empty events, lines, texts, calls with an index and without."""

    def steps(count: int) -> int:
        body = b"".join(piece % number if b"%d" in piece else piece for number in range(count))
        given = exchange(CHAT, body)
        return opcodes(lambda: assemble(given))

    assert steps(400) < 4.2 * steps(100)


def test_many_members_cost_linear_time() -> None:
    """What is left after a member is copied, but never all of the body: four megabytes of empty members take a second, not minutes."""
    body = gzip.compress(b"") * 200_000
    began = time.process_time()
    assert decode(body, "gzip").data == b""
    assert time.process_time() - began < 10
