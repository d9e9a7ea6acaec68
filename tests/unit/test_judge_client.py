"""The client against the simulated judge, over HTTP: every way in which a judge can fail is a reason, and none is a score."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc.domain import Comparison, Credential, Failing, JudgeEndpoint, Preference, Prices, Score, Unscored
from extproc.errors import SettingsError
from extproc.judge import client as client_module
from extproc.judge.breaker import Breaker, Circuit
from extproc.judge.budget import Budget
from extproc.judge.client import LARGEST, TRIES, JudgeClient
from extproc.judge.exchange import Fault, Form, Usage, cost, fault_of, read_completion, retry_after
from extproc.judge.verdicts import Nonsense
from tests.support.judging import QUIET, RUBRIC, RunningJudge, client, endpoint, exhibit, running

KEY = "sk-very-secret-4711"
PRICES = Prices(Decimal(3), Decimal(1), Decimal(15))


@pytest.fixture(scope="module")
def process() -> Iterator[RunningJudge]:
    with running() as judge:
        yield judge


@pytest.fixture
def judge(process: RunningJudge, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningJudge]:
    """With its knobs as they were, and a client that does not pause for long."""
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    yield process
    rates = ("down", "error", "throttle", "hang", "nonsense", "huge", "redirect")
    back = {**QUIET, **{f"{rate}_rate": 0 for rate in rates}, "refuse_schema": 0, "retry_after": 0, "key": "", "place_bias": 0}
    assert process.turn(**back).status_code == 200


def asked(of: JudgeEndpoint, use: Callable[[JudgeClient], Coroutine[Any, Any, Any]] | None = None, **more: Any) -> Any:
    """What a client of this endpoint says of an answer."""

    async def ask() -> Any:
        async with client(of, **more) as judge:
            return await (use or (lambda one: one.score(RUBRIC, exhibit(0.8))))(judge)

    return asyncio.run(ask())


def unscored(of: JudgeEndpoint, **more: Any) -> Unscored:
    answer = asked(of, **more)
    assert isinstance(answer, Unscored), answer
    assert answer.judge == "ours"
    return answer


# ------------------------------------------------------------------------------------------------------------------------- it works
def test_a_score_with_tokens_cost_and_time(judge: RunningJudge) -> None:
    """The simulated judge reads the answer's own worth; the request is what an OpenAI-compatible endpoint expects."""
    score = asked(endpoint(judge.url, prices=PRICES))
    assert isinstance(score, Score)
    assert score.value == pytest.approx(0.8, abs=0.07)
    assert set(score.by_criterion) == {one.name for one in RUBRIC.criteria}
    assert score.input_tokens > 500
    assert score.cost_usd == cost(PRICES, Usage(score.input_tokens, 0, score.output_tokens))
    assert 0 < score.seconds < 30
    body = httpx.Response(200, content=judge.last()["body"]).json()
    assert (body["model"], body["temperature"], body["response_format"]["json_schema"]["strict"]) == ("judge-model", 0.0, True)
    assert "temperature" not in client_body(judge, temperature=None)


def client_body(judge: RunningJudge, **more: Any) -> dict[str, Any]:
    asked(endpoint(judge.url, **more))
    body: dict[str, Any] = httpx.Response(200, content=judge.last()["body"]).json()
    return body


def test_two_answers_are_compared_in_both_orders(judge: RunningJudge) -> None:
    """The better one wins wherever it stands; a preference for a place alone is a tie, and both places are told."""

    def compare(a: float, b: float) -> Comparison:
        found = asked(endpoint(judge.url), lambda one: one.prefer(RUBRIC, exhibit(a), exhibit(b)))
        assert isinstance(found, Comparison)
        return found

    assert compare(0.9, 0.2).preference is Preference.A
    assert compare(0.2, 0.9).preference is Preference.B
    judge.turn(place_bias=0.3)
    found = compare(0.5, 0.5)
    assert (found.preference, found.in_order, found.in_reverse) == (Preference.TIE, Preference.A, Preference.A)


def test_no_more_questions_are_open_than_allowed(judge: RunningJudge) -> None:
    """Six questions of .2 s, two at a time, take three rounds."""
    judge.turn(latency=0.2)

    async def six(one: JudgeClient) -> float:
        began = time.monotonic()
        found = await asyncio.gather(*(one.score(RUBRIC, exhibit(0.5)) for _ in range(6)))
        assert all(isinstance(score, Score) for score in found)
        return time.monotonic() - began

    assert asked(endpoint(judge.url, concurrency=2), six) >= 0.6


# ------------------------------------------------------------------------------------------------------------------------- it fails
def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = unscored(endpoint(f"http://127.0.0.1:{port}/v1"), breaker=Breaker(failures=1))
    assert (answer.kind, answer.why) == (Failing.UNREACHABLE, "it does not answer (ConnectError)")


@pytest.mark.parametrize(
    ("knobs", "kind", "said", "requests"),
    [
        ({"down_rate": 1}, Failing.UNREACHABLE, "RemoteProtocolError", TRIES),
        ({"error_rate": 1}, Failing.UNREACHABLE, "status 500 (server_error)", TRIES),
        ({"throttle_rate": 1}, Failing.REFUSED, "status 429 (rate_limit_exceeded)", TRIES),
        ({"throttle_rate": 1, "retry_after": 3600}, Failing.REFUSED, "status 429", 1),
        ({"hang_rate": 1}, Failing.SLOW, "within 1 s", TRIES),
        ({"latency": 9}, Failing.SLOW, "within 1 s", TRIES),
        ({"redirect_rate": 1}, Failing.REFUSED, "redirect, which is not followed", 1),
        ({"key": "another"}, Failing.REFUSED, "status 401 (invalid_api_key): look at its credential", 1),
        ({"huge_rate": 1}, Failing.NONSENSE, "more than 256 KiB", 1),
        ({"nonsense_rate": 1}, Failing.NONSENSE, "", 1),
    ],
)
def test_each_failure_has_its_kind(judge: RunningJudge, knobs: dict[str, float], kind: Failing, said: str, requests: int) -> None:
    """Tried again where a later try may do better, and only there."""
    judge.turn(**knobs)
    before = judge.ledger().get("requests", 0)
    answer = unscored(endpoint(judge.url, timeout=1.0 if kind is Failing.SLOW else 30.0), breaker=Breaker(failures=100))
    assert answer.kind is kind
    assert said in answer.why
    assert judge.ledger()["requests"] - before == requests


@pytest.mark.parametrize(
    ("head", "body", "kind", "said"),
    [
        (b"200 OK\r\ncontent-encoding: gzip", gzip.compress(b" " * 10_000_000), Failing.NONSENSE, "compressed"),
        (b"502 Bad Gateway\r\ncontent-encoding: gzip", gzip.compress(b"<html>"), Failing.UNREACHABLE, "status 502"),
        (b"503 Busy", b"x" * 2_000_000, Failing.UNREACHABLE, "status 503"),
        (b"204 No Content", b"", Failing.REFUSED, "status 204"),
        (b"200 OK", b"\xff\xfe", Failing.NONSENSE, "no JSON"),
        (b"banana", b"", Failing.UNREACHABLE, "RemoteProtocolError"),
    ],
)
def test_what_only_looks_like_an_endpoint(head: bytes, body: bytes, kind: Failing, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb is not unpacked; a proxy's page of an error is that error, however large or packed it is."""
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + head + b"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    async def ask() -> Score | Unscored:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, client(endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")) as one:
            return await one.score(RUBRIC, exhibit(0.8))

    answer = asyncio.run(ask())
    assert isinstance(answer, Unscored)
    assert answer.kind is kind
    assert said in answer.why


def test_every_sort_of_nonsense_is_none_of_a_score_and_is_paid_for(judge: RunningJudge) -> None:
    """Prose, a missing criterion, 7 of 5, a fence, a wrong ticket, nothing: with the tokens it took."""
    judge.turn(nonsense_rate=1)

    async def seven(one: JudgeClient) -> list[Any]:
        return [await one.score(RUBRIC, exhibit(0.5)) for _ in range(7)]

    answers = asked(endpoint(judge.url, prices=PRICES), seven)
    assert {answer.kind for answer in answers} == {Failing.NONSENSE}
    assert len({answer.why for answer in answers}) >= 4
    assert all(answer.cost_usd > 0 and answer.input_tokens > 0 for answer in answers)


def test_a_failure_that_passes_is_no_failure(judge: RunningJudge) -> None:
    """A 429 that asks to wait is waited for, by everybody who asks this endpoint, and then there is a score."""
    judge.turn(throttle_rate=1, retry_after=3)
    refused = judge.ledger().get("errors", 0)

    async def wait(one: JudgeClient) -> tuple[list[Any], float]:
        began = time.monotonic()
        first = asyncio.create_task(one.score(RUBRIC, exhibit(0.8)))
        while (await asyncio.to_thread(judge.ledger)).get("errors", 0) == refused:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(judge.turn, throttle_rate=0)
        await asyncio.sleep(0.1)
        second = await one.score(RUBRIC, exhibit(0.8))
        seconds = time.monotonic() - began
        return [await first, second], seconds

    answers, seconds = asked(endpoint(judge.url), wait)
    assert [type(answer) for answer in answers] == [Score, Score]
    assert seconds >= 3, "the second one has waited too"
    assert answers[0].seconds >= 3
    assert judge.ledger()["errors"] - refused == 1


def test_an_endpoint_without_schemas_is_asked_in_words_from_then_on(judge: RunningJudge, caplog: pytest.LogCaptureFixture) -> None:
    """The first question costs one refusal, the second none."""
    judge.turn(refuse_schema=1)

    async def twice(one: JudgeClient) -> list[Any]:
        counts = [judge.ledger()]
        for _ in range(2):
            assert isinstance(await one.score(RUBRIC, exhibit(0.8)), Score)
            counts.append(judge.ledger())
        assert one.form is Form.OBJECT
        return [[after.get(form, 0) - before.get(form, 0) for form in Form] for before, after in pairwise(counts)]

    with caplog.at_level(logging.INFO, "extproc"):
        assert asked(endpoint(judge.url), twice) == [[1, 1], [0, 1]]
    assert [record.message for record in caplog.records if "no JSON Schema" in record.message] != []


# ------------------------------------------------------------------------------------------------------------------------- its key
def test_a_rotated_key_is_read_anew(judge: RunningJudge, tmp_path: Path) -> None:
    """The file changes under the running client; the next question has the new key."""
    file = tmp_path / "key"
    file.write_text("old\n")
    reference = Credential("authorization", "Bearer ", str(file), None)
    judge.turn(key="old")

    async def rotate(one: JudgeClient) -> list[Any]:
        found = [await one.score(RUBRIC, exhibit(0.8))]
        await asyncio.to_thread(judge.turn, key="new")
        found.append(await one.score(RUBRIC, exhibit(0.8)))
        file.write_text("new\n")
        found.append(await one.score(RUBRIC, exhibit(0.8)))
        return found

    assert [type(answer) for answer in asked(endpoint(judge.url, credential=reference), rotate)] == [Score, Unscored, Score]


def test_a_key_that_cannot_be_read_is_a_refusal(judge: RunningJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the place where it should be, and nothing of what is there instead. Nobody is asked."""
    broken = tmp_path / "broken"
    broken.write_bytes(f"{KEY}\r\nx: y".encode())
    before = judge.ledger()["requests"]  # the rest still moves: a question that an earlier test gave up is noticed late
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    for file, env in ((str(tmp_path / "none"), None), (str(broken), None), (None, "JUDGE_KEY")):
        answer = unscored(endpoint(judge.url, credential=Credential("authorization", "Bearer ", file, env)))
        assert answer.kind is Failing.REFUSED
        assert (file or env or "") in answer.why
        assert KEY not in answer.why
    assert judge.ledger()["requests"] == before


@pytest.mark.parametrize(
    "knobs", [{}, {"key": "x"}, {"down_rate": 1}, {"error_rate": 1}, {"throttle_rate": 1}, {"nonsense_rate": 1}, {"refuse_schema": 1}]
)
def test_no_key_and_no_judged_word_is_ever_said(
    judge: RunningJudge, knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a log line of any library at any level, not in the answer."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    judge.turn(**knobs)
    of = endpoint(judge.url, credential=Credential("authorization", "Bearer ", None, "JUDGE_KEY"))
    caplog.set_level(logging.DEBUG, "extproc")
    caplog.set_level(logging.INFO)
    answer = asked(of, lambda one: one.score(RUBRIC, exhibit(0.8, more=" my password is hunter2")), breaker=Breaker(failures=2))
    said = caplog.text + repr(answer) + "".join(repr(record.__dict__) for record in caplog.records)
    assert judge.last()["headers"]["authorization"] == f"Bearer {KEY}"
    for secret in (KEY, "hunter2"):
        assert secret not in said


@pytest.mark.parametrize(
    "url", ["", "judge.example/v1", "ftp://x/v1", "http://", "http://u:secret@x/v1", "http://x/v1?key=secret", "http://x:0", "http://[x"]
)
def test_a_url_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    """When the client is made, with a Problem that does not repeat it."""
    with pytest.raises(SettingsError) as caught:
        client(endpoint(url))
    assert [problem.id for problem in caught.value.problems] == ["judge.url"]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"timeout": 0.0}, {"timeout": float("inf")}, {"timeout": float("nan")}])
def test_limits_that_are_none_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        client(endpoint("http://x/v1", **limits))


# ------------------------------------------------------------------------------------------------------------- breaker and budget
def test_a_judge_that_fails_is_left_alone_and_comes_back(judge: RunningJudge, caplog: pytest.LogCaptureFixture) -> None:
    """Open: nobody is asked, at once. After the cool-down one question goes through and closes it. Each turn is one log line."""
    judge.turn(error_rate=1)

    async def story(one: JudgeClient) -> None:
        assert (await one.score(RUBRIC, exhibit(0.8))).kind is Failing.UNREACHABLE
        assert one.breaker.state is Circuit.OPEN
        before = judge.ledger()["requests"]
        shut = await one.score(RUBRIC, exhibit(0.8))
        assert (shut.kind, judge.ledger()["requests"]) == (Failing.BREAKER_OPEN, before)
        await asyncio.to_thread(judge.turn, error_rate=0, latency=4)
        await asyncio.sleep(4)
        probe = asyncio.create_task(one.score(RUBRIC, exhibit(0.8)))
        await asyncio.sleep(0.1)
        assert (await one.score(RUBRIC, exhibit(0.8))).kind is Failing.BREAKER_OPEN
        assert isinstance(await probe, Score)
        assert one.breaker.state is Circuit.CLOSED

    with caplog.at_level(logging.INFO, "extproc"):
        asked(endpoint(judge.url), story, breaker=Breaker(failures=2, cool_down=4.0))
    said = [record.message for record in caplog.records if record.name == client_module.__name__]
    assert said == ["judge ours is left alone for a while: it answers with status 500 (server_error)", "judge ours answers again"]


def test_a_question_that_is_never_sent_says_nothing_of_the_judge(judge: RunningJudge, tmp_path: Path) -> None:
    """No key can be read while one question may try: the circuit stays as it was, and the next one may try."""
    file = tmp_path / "key"
    breaker = Breaker(failures=1, cool_down=0.0)
    number = breaker.admit(0.0)
    assert number is not None
    breaker.failed(number, 0.0)

    async def unsent(one: JudgeClient) -> list[Any]:
        found = [await one.score(RUBRIC, exhibit(0.8)), breaker.state]
        file.write_text("key")
        return [*found, await one.score(RUBRIC, exhibit(0.8)), breaker.state]

    of = endpoint(judge.url, credential=Credential("authorization", "Bearer ", str(file), None))
    first, still, second, then = asked(of, unsent, breaker=breaker)
    assert (first.kind, still) == (Failing.REFUSED, Circuit.OPEN)
    assert (type(second), then) == (Score, Circuit.CLOSED)


def test_a_cancelled_question_leaves_nothing_behind(judge: RunningJudge) -> None:
    """Its place, its part of the budget (it may be billed) and a half-open breaker are free for the next one."""
    judge.turn(latency=20)
    budget = Budget(Decimal(1), per=1e12)

    async def cancelled(one: JudgeClient) -> Any:
        await asyncio.sleep(0.05)  # the breaker's cool-down
        task = asyncio.create_task(one.score(RUBRIC, exhibit(0.8)))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(judge.turn, latency=0)
        return await one.score(RUBRIC, exhibit(0.8))

    breaker = Breaker(failures=1, cool_down=0.01)
    number = breaker.admit(0.0)
    assert number is not None
    breaker.failed(number, 0.0)
    answer = asked(endpoint(judge.url, prices=PRICES, concurrency=1), cancelled, budget=budget, breaker=breaker)
    assert isinstance(answer, Score)
    assert answer.cost_usd is not None
    assert budget.spent > answer.cost_usd
    assert budget.reserve(time.time(), budget.limit - budget.spent)


def test_a_budget_ends_the_questions(judge: RunningJudge) -> None:
    """Nobody is asked beyond it; without prices there is none."""

    async def until(one: JudgeClient) -> list[Any]:
        return [await one.score(RUBRIC, exhibit(0.8)) for _ in range(8)]

    budget = Budget(Decimal("0.05"), per=1e12)
    before = judge.ledger().get("requests", 0)
    answers = asked(endpoint(judge.url, prices=PRICES), until, budget=budget)
    scores = [answer for answer in answers if isinstance(answer, Score)]
    assert 0 < len(scores) < 8
    assert {answer.kind for answer in answers[len(scores) :]} == {Failing.OVER_BUDGET}
    assert budget.spent == sum(score.cost_usd or 0 for score in scores) <= budget.limit
    assert judge.ledger()["requests"] - before == len(scores)
    assert isinstance(asked(endpoint(judge.url), budget=budget), Score)


# -------------------------------------------------------------------------------------------------------------------- the protocol
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "no JSON"),
        (b"{}", "no choice"),
        (b"[]", "no choice"),
        (b'{"choices": []}', "no choice"),
        (b'{"choices": [{"message": null}]}', "no choice"),
        (b'{"choices": [{"message": {"content": null}}]}', "no text"),
        (b'{"choices": [{"message": {"content": "x", "refusal": "no"}}]}', "refuses"),
        (b'{"choices": [{"message": {"content": "x"}, "finish_reason": "length"}]}', "cut off"),
    ],
)
def test_what_is_no_completion(body: bytes, said: str) -> None:
    text, _ = read_completion(body)
    assert isinstance(text, Nonsense)
    assert said in text.why


def test_usage_is_told_or_nothing() -> None:
    """Cached tokens are part of the input and have their own price; a count that is none costs nothing."""
    details = b'"prompt_tokens_details": {"cached_tokens": 400}'
    told = b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1000, "completion_tokens": 10, ' + details + b"}}"
    text, usage = read_completion(told)
    assert (text, usage) == ("x", Usage(1000, 400, 10))
    assert cost(PRICES, usage) == Decimal("0.00235")
    for wrong in (b'"many"', b"-1", b"1e9", b"true", b"null", b"1000000000000"):
        assert read_completion(told.replace(b"1000,", wrong + b","))[1].input == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 0.5 ", 0.5),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("nan", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, 10.0) == seconds


def test_an_errors_code_is_told_only_where_it_is_a_plain_word() -> None:
    """A body may repeat the key or what was judged."""

    def said(body: bytes, status: int = 400) -> Fault:
        return fault_of(status, {}, body, 0.0, "secret_key")

    assert "model_not_found" in said(b'{"error": {"code": "model_not_found", "message": "private"}}').why
    for body in (
        b'{"error": {"code": "Bad Word 5"}}',
        b'{"error": {"code": "secret_key"}}',
        b'{"error": "private"}',
        b"private",
        b'{"error": {"code": 5}}',
    ):
        assert said(body).why == "it answers with status 400"
    assert [said(b"", status).again for status in (400, 401, 404, 408, 409, 413, 429, 500, 503)] == [
        False,
        False,
        False,
        True,
        True,
        False,
        True,
        True,
        True,
    ]
    assert LARGEST < 1 << 20
