"""The simulated model is an OpenAI-compatible server, and its ledger is exact."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from extproc.demo.ledger import Ledger
from extproc.demo.model import Knobs

PATIENCE = 60.0
SHORT = httpx.Timeout(PATIENCE, read=1.5)
"""So much that the request has arrived, on a busy machine too."""
QUICK = {"ttft": 0.002, "tokens_per_second": 20_000, "output_tokens": 20}


@dataclass
class Running:
    """One model process."""

    address: str
    control: str
    process: subprocess.Popen[str]

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"http://{self.address}/v1", api_key="none", max_retries=0, http_client=openai.DefaultHttpxClient(trust_env=False)
        )

    def ledger(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"http://{self.control}/ledger", trust_env=False, timeout=PATIENCE).json()
        return answer

    def turn(self, **knobs: Any) -> httpx.Response:
        return httpx.post(f"http://{self.control}/knobs", json=knobs, trust_env=False, timeout=PATIENCE)


@contextmanager
def _running(*arguments: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "extproc.demo.model", "--with-parent", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        yield Running(said["address"], said["control"], process)
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def one(*arguments: str, **knobs: Any) -> Running:
            return stack.enter_context(_running("--name", "gpt-sim", "--knobs", json.dumps({**QUICK, **knobs}), *arguments))

        yield one


def test_the_official_client_gets_json_and_the_ledger_knows_it(start: Start) -> None:
    """A completion through the official client has text and usage, and the ledger has the same tokens."""
    model = start()
    with model.client() as client:
        answer = client.chat.completions.create(model="asked", messages=[{"role": "user", "content": "hello"}])
        assert [entry.id for entry in client.models.list()] == ["gpt-sim"]
    assert answer.model == "gpt-sim"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    ledger = model.ledger()
    assert (ledger["requests"], ledger["ok"], ledger["errors"], ledger["open"]) == (1, 1, 0, 0)
    assert (ledger["input_tokens"], ledger["output_tokens"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert ledger["asked_for"] == {"asked": 1}


def test_the_official_client_gets_a_stream_with_usage_in_its_last_chunk(start: Start) -> None:
    """SSE through the official client: text in several chunks, then the usage, and the ledger has the same tokens."""
    model = start()
    with model.client() as client:
        stream = client.chat.completions.create(
            model="asked", messages=[{"role": "user", "content": "hello"}], stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text) > 0
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content) > 1
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []
    ledger = model.ledger()
    assert (ledger["ok"], ledger["streams"], ledger["output_tokens"]) == (1, 1, chunks[-1].usage.completion_tokens)


def test_errors_are_errors_for_the_client_and_in_the_ledger(start: Start) -> None:
    """A knob turned at run time makes the next request fail; the ledger says when the first one since then failed."""
    model = start()
    with model.client() as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
        at = model.turn(error_rate=1.0).json()["at"]
        with pytest.raises(openai.InternalServerError, match="simulated"):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    ledger = model.ledger()
    assert (ledger["requests"], ledger["ok"], ledger["errors"]) == (2, 1, 1)
    since = ledger["since"]
    assert (since["at"], since["requests"], since["errors"]) == (at, 1, 1)
    assert at <= since["first_error"] <= time.time()


def test_a_fault_of_one_country_is_a_fault_for_its_requests_alone(start: Start) -> None:
    """By the body's own metadata. Of those whom it does not concern, the time since the fault says nothing."""
    model = start(error_rate=1.0, country="DE")
    ends = {}
    for country in ("DE", "NZ", ""):
        body = {"model": "m", **({"metadata": {"country": country}} if country else {})}
        ends[country] = httpx.post(f"http://{model.address}/v1/chat/completions", json=body, trust_env=False, timeout=PATIENCE).status_code
    assert ends == {"DE": 500, "NZ": 200, "": 200}
    ledger = model.ledger()
    assert (ledger["requests"], ledger["since"]["requests"], ledger["since"]["errors"]) == (3, 1, 1)
    assert ledger["since"]["last_request"] < ledger["last_request"]


def test_a_hanging_request_is_open_until_its_client_gives_up(start: Start) -> None:
    """`hang_rate` 1: no answer; the ledger counts the request as aborted once the client has gone."""
    model = start(hang_rate=1.0)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"http://{model.address}/v1/chat/completions", json={"model": "m"}, timeout=SHORT, trust_env=False)
    deadline = time.monotonic() + PATIENCE
    while model.ledger()["aborted"] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    ledger = model.ledger()
    assert (ledger["requests"], ledger["ok"], ledger["aborted"], ledger["open"]) == (1, 0, 1, 0)


def test_the_controls_are_not_on_the_models_port(start: Start) -> None:
    """What a gateway can reach has no controls, and the control port refuses what is no knob."""
    model = start()
    assert httpx.post(f"http://{model.address}/knobs", json={"error_rate": 1}, trust_env=False, timeout=PATIENCE).status_code == 404
    refused = model.turn(errors=1)
    assert refused.status_code == 400
    assert "error_rate" in refused.json()["error"]["message"]
    assert model.turn(error_rate="all").status_code == 400


def test_headers_of_a_gateway_that_leak_are_counted(start: Start) -> None:
    """`--foreign-prefix x-llm-`: a request that carries such a header is counted, and the last one can be read."""
    model = start("--foreign-prefix", "x-llm-")
    url = f"http://{model.address}/v1/chat/completions"
    httpx.post(url, json={"model": "m"}, headers={"x-user-id": "u"}, trust_env=False, timeout=PATIENCE)
    assert model.ledger()["foreign_headers"] == 0
    httpx.post(url, json={"model": "m"}, headers={"x-llm-cluster": "c"}, trust_env=False, timeout=PATIENCE)
    assert model.ledger()["foreign_headers"] == 1
    last = httpx.get(f"http://{model.control}/last", trust_env=False, timeout=PATIENCE).json()
    assert ["x-llm-cluster", "c"] in last["headers"]
    assert json.loads(last["body"]) == {"model": "m"}


def test_the_same_seed_gives_the_same_answers(start: Start) -> None:
    """Two models with one seed answer the same sequence of requests with the same tokens; another seed does not."""

    def tokens(model: Running) -> list[int]:
        url = f"http://{model.address}/v1/chat/completions"
        answers = [httpx.post(url, json={"model": "m"}, trust_env=False, timeout=PATIENCE).json() for _ in range(6)]
        return [answer["usage"]["completion_tokens"] for answer in answers]

    first, again, other = (tokens(start("--seed", seed)) for seed in ("5", "5", "6"))
    assert first == again
    assert first != other


def test_tokens_of_a_cache_and_of_reasoning_are_told_where_there_are_any(start: Start) -> None:
    """They are parts of input and output; a hungrier tokenizer reads more of the same text; the usual model tells of neither."""

    def usage(*arguments: str, **knobs: float) -> dict[str, Any]:
        url = f"http://{start(*arguments, **knobs).address}/v1/chat/completions"
        found: dict[str, Any] = httpx.post(url, json={"model": "m", "user": "x" * 383}, trust_env=False, timeout=PATIENCE).json()["usage"]
        return found

    usual, told = usage(), usage(input_factor=2.0, cached_share=0.5, reasoning_share=2.0)
    assert set(usual) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert told["prompt_tokens"] == 2 * usual["prompt_tokens"]
    assert told["prompt_tokens_details"] == {"cached_tokens": usual["prompt_tokens"]}
    assert told["completion_tokens_details"] == {"reasoning_tokens": told["completion_tokens"]}
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]


def test_it_ends_with_its_parent() -> None:
    """With `--with-parent` a model ends when its standard input is closed."""
    with _running("--name", "m") as model:
        assert model.process.poll() is None
    assert model.process.returncode == 0


def test_unknown_knobs_are_refused() -> None:
    """A knob that does not exist, or that is no number, is refused with the known ones."""
    with pytest.raises(ValueError, match="output_tokens"):
        Knobs().changed({"speed": 1.0})
    with pytest.raises(ValueError, match="from 0"):
        Knobs().changed({"error_rate": -0.1})
    with pytest.raises(ValueError, match="needs a text"):
        Knobs().changed({"country": 49.0})
    assert Knobs().changed({"error_rate": 0.5, "country": "DE"}) == Knobs(error_rate=0.5, country="DE")


def test_every_request_is_in_exactly_one_place_of_the_ledger() -> None:
    """open + ok + errors + aborted = requests, at every moment."""
    ledger = Ledger("m")
    for _ in range(4):
        ledger.arrived(1.0, "m", False, False)
    assert ledger.open == 4
    ledger.served(3, 4)
    ledger.failed(2.0)
    ledger.gone()
    assert (ledger.open, ledger.ok, ledger.errors, ledger.aborted) == (1, 1, 1, 1)
    assert (ledger.first_error, ledger.since.first_error) == (2.0, 2.0)
    ledger.mark(3.0)
    assert (ledger.first_error, ledger.since.first_error, ledger.since.requests) == (2.0, None, 0)
