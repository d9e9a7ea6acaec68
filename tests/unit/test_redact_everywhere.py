"""Every planted secret goes the whole way of a sample, as question, as answer and as a tool's arguments: it is nowhere afterwards."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import orjson
import pytest

from extproc.judge.redact import Redactor
from extproc.judge.sampling import Copy, Sampler
from extproc.wire import read_copy
from tests.support.redaction import left_of, planted
from tests.support.samples import chat, copied
from tests.unit.test_judge_pipeline import Bench


def _answer(text: str) -> bytes:
    """An answer that says it, and calls a tool with it."""
    call = {"id": "c", "type": "function", "function": {"name": "note", "arguments": orjson.dumps({"text": text}).decode()}}
    message = {"role": "assistant", "content": text, "tool_calls": [call]}
    return orjson.dumps(
        {"object": "chat.completion", "model": "old", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    )


def _plain(text: str) -> str:
    """Letters and digits alone, in one case."""
    return "".join(one for one in text.lower() if one.isalnum())


@pytest.mark.timeout(300)
def test_no_planted_secret_is_in_the_store_the_log_or_what_the_judge_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whole bodies as Envoy copies them, through assembly, redaction, the file and the judge; with all that anybody logs at any level."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("extproc.test").debug("whatever is logged is seen")
    bench, sampler, lines = Bench(tmp_path), Sampler(Redactor(), None), planted()
    for number, line in enumerate(lines):
        copy = Copy(1 << 20, bench.now)
        for message in copied(chat(line["text"]), _answer(line["text"]), 3, request_id=f"request-{number}"):
            copy.take(read_copy(message))
        gathered = copy.end()
        assert gathered is not None
        sample = sampler.sample(gathered, chosen=True)
        assert sample is not None
        assert sample.ending == "whole"
        kept = "\n".join([sample.turns[0][1], sample.answer, sample.calls[0][1]])
        assert left_of(line["secret"], line["text"], kept) == [], (line, kept)
        bench.pipeline.put(sample)
    asyncio.run(bench.run())
    assert len(bench.judge.shown) == len(lines) >= 300
    bench.file.close()
    assert "whatever is logged is seen" in caplog.text
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("utf-8", "replace")
    told = _plain(stored + repr(bench.judge.shown) + caplog.text)
    assert [line["secret"] for line in lines if len(_plain(line["secret"])) >= 9 and _plain(line["secret"]) in told] == []
