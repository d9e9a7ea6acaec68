"""Golden sets: what a line may say, every problem at once, and the sets that come with extproc."""

from __future__ import annotations

import orjson
import pytest

from extproc.domain import ApplicationType
from extproc.judge.offline.exhibits import turns_of
from extproc.judge.offline.golden import golden_for
from extproc.judge.offline.questions import QuestionsError, digest, load
from extproc.judge.redact import Redactor

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def lines(*documents: object) -> str:
    return "\n".join(one if isinstance(one, str) else orjson.dumps(one).decode() for one in documents)


def test_a_prompt_and_a_conversation_become_requests() -> None:
    """A prompt is one user's turn; messages go as they are, keys of the vendor's included; nothing is sent that was not written."""
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    }
    talk = [{"role": "user", "content": "Hi"}, call, {"role": "tool", "tool_call_id": "c", "content": "5"}]
    short, long = load(
        lines(
            {"prompt": "Hi\u2028there"},
            "",
            {"id": "t", "messages": talk, "tools": [TOOL], "response_format": {"type": "json_object"}, "tags": ["x"]},
        )
    )
    assert orjson.loads(short.body("m")) == {"model": "m", "messages": [{"role": "user", "content": "Hi\u2028there"}]}
    assert (short.id, long.id, long.tags) == ("line-1", "t", ("x",))
    assert orjson.loads(long.body("m")) == {"model": "m", "messages": talk, "tools": [TOOL], "response_format": {"type": "json_object"}}
    assert turns_of(long, str) == (("user", "Hi"), ("assistant", "[calls look {}]"), ("tool", "5"))


def test_all_problems_are_told_at_once_with_line_and_hint() -> None:
    """One line each, none of them stops the reading of the next."""
    bad = lines(
        "{",
        {"prompt": "a", "messages": [{"role": "user", "content": "b"}]},
        {},
        {"prompts": "a"},
        {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]},
        {"messages": [{"role": "king", "content": "b"}]},
        {"id": "same", "prompt": "a"},
        {"id": "same", "prompt": "b"},
        {"id": "a b", "prompt": "a"},
        {"prompt": ""},
    )
    with pytest.raises(QuestionsError) as caught:
        load(bad, "set.jsonl")
    found = [(problem.line, problem.id) for problem in caught.value.problems]
    assert {line for line, _ in found} == {1, 2, 3, 4, 5, 6, 8, 9, 10}
    assert dict(found)[1] == "prompts.json"
    assert dict(found)[8] == "prompts.twice"
    assert (4, "prompts.unknown-key") in found
    assert all(problem.path == "set.jsonl" and problem.hint for problem in caught.value.problems)
    assert "in line 7" in str(caught.value)


def test_an_empty_set_is_a_problem() -> None:
    """Nothing asked would be nothing failed."""
    with pytest.raises(QuestionsError, match=r"prompts\.empty"):
        load("\n \n")


def test_the_digest_is_of_what_is_asked() -> None:
    """Tags and the order of keys change nothing; a word does."""
    one, same, other = (
        load(text) for text in ('{"id":"a","prompt":"x","tags":["t"]}', '{"prompt":"x","id":"a"}', '{"id":"a","prompt":"y"}')
    )
    assert digest(one) == digest(same) != digest(other)


@pytest.mark.parametrize("kind", list(ApplicationType))
def test_every_application_has_a_golden_set(kind: ApplicationType) -> None:
    """About two dozen: several languages, conversations, JSON, tools, something to decline; and nothing that redaction takes out."""
    found = golden_for(kind)
    tags = {tag for question in found for tag in question.tags}
    assert 24 <= len(found) <= 30
    assert {"decline", "de", "fr", "json"} <= tags
    assert sum(question.response_format is not None for question in found) >= 2
    assert any(len([one for one in question.messages if one["role"] == "user"]) > 1 for question in found)
    assert kind is ApplicationType.CONTENT_GENERATION or any(question.tools for question in found)
    redactor = Redactor()
    for question in found:
        assert all(not redactor.redact(text).found for _, text in turns_of(question, str)), question.id
