"""Answers of Prometheus and of what only looks like it; a source that is slow, silent, or asked too much. A small server speaks for it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import httpx
import orjson
import pytest

from extproc.controller import promql
from extproc.controller.promql import AT_A_TIME, LARGEST, STALE_AFTER, NoValueError, PrometheusSource, value_of
from extproc.domain import Credential

Answer = Callable[[str, dict[str, str]], Awaitable[bytes]]
"""(query, headers) -> a whole HTTP response."""


def result(kind: str, value: Any) -> bytes:
    return orjson.dumps({"status": "success", "data": {"resultType": kind, "result": value}})


def number(text: str) -> bytes:
    return result("vector", [{"metric": {}, "value": [1.0, text]}])


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(body)) + body


# ------------------------------------------------------------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("body", "value"),
    [
        (number("0.25"), 0.25),
        (number("-3e-05"), -3e-05),
        (result("scalar", [1.0, "7"]), 7.0),
    ],
)
def test_one_number_is_a_value(body: bytes, value: float) -> None:
    assert value_of(200, body) == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (number("NaN"), "with NaN"),
        (number("+Inf"), "divided by zero"),
        (number("-Inf"), "divided by zero"),
        (number("many"), "'many', which is no number"),
        (result("vector", []), "with nothing"),
        (result("vector", [{"metric": {}, "value": [1.0, "1"]}] * 3), "with 3 series"),
        (result("vector", [{"metric": {}, "histogram": [1.0, {}]}]), "with a histogram"),
        (result("vector", [{"metric": {}, "value": [1.0]}]), "no value"),
        (result("matrix", []), "with a matrix"),
        (result("string", [1.0, "x"]), "with a string"),
    ],
)
def test_an_answer_without_a_number(body: bytes, said: str) -> None:
    """It was answered: the last value is none any more."""
    with pytest.raises(NoValueError, match=said) as caught:
        value_of(200, body)
    assert caught.value.answered


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"", "status 200 is not the API of Prometheus: is this Prometheus"),
        (200, b"<html>", "is this Prometheus"),
        (200, b"[]", "is this Prometheus"),
        (200, b'{"status": "success"}', "is this Prometheus"),
        (200, b'{"status": "success", "data": 5}', "is this Prometheus"),
        (401, b"who are you", "look at its credential"),
        (302, b"", "status 302"),
        (400, b'{"status": "error", "errorType": "bad_data", "error": "parse error"}', "refuses the query: bad_data: parse error"),
    ],
)
def test_no_answer_of_prometheus(status: int, body: bytes, said: str) -> None:
    """Nothing is known of now; what was known before grows old."""
    with pytest.raises(NoValueError, match=said) as caught:
        value_of(status, body)
    assert not caught.value.answered


def test_a_long_error_is_cut() -> None:
    with pytest.raises(NoValueError) as caught:
        value_of(400, orjson.dumps({"status": "error", "errorType": "x", "error": "e" * 10_000}))
    assert len(str(caught.value)) < 400


# -------------------------------------------------------------------------------------------------------------------------- a source
class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def served(answer: Answer, use: Callable[[str, httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Run `use` beside a server that answers so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
            body = (await reader.readexactly(int(headers["content-length"]))).decode()
            assert first == "POST /api/v1/query HTTP/1.1"
            writer.write(await answer(parse_qs(body)["query"][0], headers))
            await writer.drain()
            writer.close()
        except ConnectionError:
            pass  # who was made to wait has gone
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            await use(f"http://127.0.0.1:{port}/", client)
        server.close()

    asyncio.run(run())


def always(body: bytes, status: int = 200) -> Answer:
    async def answer(_: str, __: dict[str, str]) -> bytes:
        return http(body, status)

    return answer


def test_before_the_first_answer_there_is_no_value() -> None:
    source = PrometheusSource([("revenue", "up")], "http://127.0.0.1:1")
    assert source.values() == {"revenue": None}
    assert source.reasons() == {"revenue": "has not been asked for yet"}
    assert source.ages() == {"revenue": None}


def test_a_value_grows_old_where_nothing_newer_comes() -> None:
    """For three intervals it counts, with the reason why there is no newer one; then there is none. It comes back by itself."""
    clock, bodies = Clock(), [http(number("5"))]

    async def answer(_: str, __: dict[str, str]) -> bytes:
        return bodies[-1]

    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url, every=10.0, clock=clock)
        await source.look(client)
        assert (source.values(), source.reasons()) == ({"revenue": 5.0}, {})
        bodies.append(http(b"", 503))
        clock.now += 10.0 * STALE_AFTER
        await source.look(client)
        assert (source.values(), source.ages()) == ({"revenue": 5.0}, {"revenue": 30.0})
        assert source.reasons()["revenue"].endswith("the last value is 30 s old")
        clock.now += 0.1
        assert source.values() == {"revenue": None}
        bodies.append(http(number("6")))
        await source.look(client)
        assert (source.values(), source.reasons()) == ({"revenue": 6.0}, {})

    served(answer, use)


def test_an_answer_without_a_number_is_newer_than_the_last_number() -> None:
    """A series that has vanished has no value now; that it had one a moment ago is no evidence."""
    bodies = [number("5")]

    async def answer(_: str, __: dict[str, str]) -> bytes:
        return http(bodies[-1])

    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url)
        await source.look(client)
        assert source.values() == {"revenue": 5.0}
        bodies.append(result("vector", []))
        await source.look(client)
        assert source.values() == {"revenue": None}
        assert "with nothing" in source.reasons()["revenue"]

    served(answer, use)


def test_gates_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs costs its own value, within its time; few are asked at once, and all within a round."""
    monkeypatch.setattr(promql, "TIMEOUT", 2.0)
    asked, most = [0], [0]

    async def answer(query: str, _: dict[str, str]) -> bytes:
        asked[0] += 1
        most[0] = max(most[0], asked[0])
        await asyncio.sleep(60 if query == "hangs" else 0.05)
        asked[0] -= 1
        return http(number(query))

    async def use(url: str, client: httpx.AsyncClient) -> None:
        gates = [("hangs", "hangs"), *((f"g{index}", str(index)) for index in range(12))]
        source = PrometheusSource(gates, url)
        await asyncio.wait_for(source.look(client), 30.0)
        assert source.values() == {"hangs": None, **{f"g{index}": float(index) for index in range(12)}}
        assert source.reasons() == {"hangs": "Prometheus has not answered within 2 s"}

    served(answer, use)
    assert most[0] == AT_A_TIME


def test_a_round_ends_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all hang, those whose turn does not come have no value either."""
    monkeypatch.setattr(promql, "TIMEOUT", 1.0)

    async def answer(_: str, __: dict[str, str]) -> bytes:
        await asyncio.sleep(60)
        return b""

    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([(f"g{index}", "up") for index in range(40)], url, every=2.0)
        # Each in its turn would take 40 s for as many as are asked at once.
        await asyncio.wait_for(source.look(client), 40 / AT_A_TIME - 1)
        assert set(source.values().values()) == {None}
        assert len(source.reasons()) == 40

    served(answer, use)


@pytest.mark.parametrize("body", [b"x" * (LARGEST + 1), number("1") + b" " * LARGEST])
def test_a_large_answer_is_not_taken(body: bytes) -> None:
    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url)
        await source.look(client)
        assert source.values() == {"revenue": None}
        assert "more than" in source.reasons()["revenue"]

    served(always(body), use)


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://127.0.0.1:1", "does not answer (ConnectError)"), ("http://nobody.invalid", "does not answer (ConnectError)")]
    + [(url, "is no URL") for url in ("nonsense", "http://[::1", "http://127.0.0.1:99999999", "http://", "ftp://x", "")],
)
def test_nobody_there(url: str, said: str) -> None:
    """A reason, never an exception."""

    async def use() -> None:
        source = PrometheusSource([("revenue", "up")], url)
        async with httpx.AsyncClient(trust_env=False) as client:
            await source.look(client)
        assert source.values() == {"revenue": None}
        assert said in source.reasons()["revenue"]

    asyncio.run(use())


# ------------------------------------------------------------------------------------------------------------------------ credentials
def test_a_credential_goes_into_the_request_alone(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """By reference, read anew for each round, and in no reason and no line of the log."""
    caplog.set_level(logging.DEBUG, "extproc")
    path, seen = tmp_path / "token", []

    async def answer(_: str, headers: dict[str, str]) -> bytes:
        seen.append(headers.get("authorization", ""))
        return http(b"no", 401)

    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url, Credential("authorization", "Bearer ", str(path), None))
        await source.look(client)
        assert "cannot be read: file" in source.reasons()["revenue"]
        for secret in ("first-secret", "second-secret"):
            path.write_text(f"{secret}\n")
            await source.look(client)
            assert "look at its credential" in source.reasons()["revenue"]
            assert secret not in str(source.reasons()) + caplog.text
        path.write_text("two\nlines")
        await source.look(client)
        assert "no text that a header can have" in source.reasons()["revenue"]

    served(answer, use)
    assert seen == ["Bearer first-secret", "Bearer second-secret"]


def test_a_password_in_the_url_is_in_no_reason() -> None:
    """Those that reasons name are the host and the path."""

    async def use() -> None:
        source = PrometheusSource([("revenue", "up")], "http://ann:pass%40word@127.0.0.1:1/prometheus")
        async with httpx.AsyncClient(trust_env=False) as client:
            await source.look(client)
        assert "is http://127.0.0.1:1/prometheus/api/v1/query right?" in source.reasons()["revenue"]

    asyncio.run(use())


def test_a_credential_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTPROC_TEST_PROMETHEUS", "secret")

    async def answer(_: str, headers: dict[str, str]) -> bytes:
        return http(number(str(len(headers["x-scope"]))))

    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url, Credential("x-scope", "", None, "EXTPROC_TEST_PROMETHEUS"))
        await source.look(client)
        assert source.values() == {"revenue": 6.0}

    served(answer, use)


def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """That there is no value, and that there is one again; not each round."""
    caplog.set_level(logging.INFO, "extproc.controller.promql")
    bodies = [http(b"", 503)]

    async def answer(_: str, __: dict[str, str]) -> bytes:
        return bodies[-1]

    async def use(url: str, client: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url)
        for _ in range(3):
            await source.look(client)
        bodies.append(http(number("1")))
        for _ in range(3):
            await source.look(client)

    served(answer, use)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_keep_asks_each_interval() -> None:
    """From now on, however long an answer takes."""
    times: list[float] = []

    async def answer(_: str, __: dict[str, str]) -> bytes:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        return http(number(str(math.pi)))

    async def use(url: str, _: httpx.AsyncClient) -> None:
        source = PrometheusSource([("revenue", "up")], url, every=0.25)
        keeping = asyncio.create_task(source.keep())
        async with asyncio.timeout(60):
            while len(times) < 6:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        keeping.cancel()
        assert source.values() == {"revenue": math.pi}

    served(answer, use)
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) < 0.34, "the time of an answer is not added"
    assert sum(gaps) > 0.24 * len(gaps), "and nobody is asked more often"
