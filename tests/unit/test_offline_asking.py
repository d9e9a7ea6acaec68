"""A model is asked as the Spec names it; every way in which it can fail is a Reply, and the key is in none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from extproc.demo.processes import free_port
from extproc.domain import Backend, Credential, Endpoint, Model, PathRewrite, Tls
from extproc.errors import SettingsError
from extproc.judge import asking
from extproc.judge.asking import ModelClient, Reply
from tests.support.specs import model

KEY = "sk-very-secret-4711-0815"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that follow each other at once."""
    monkeypatch.setattr(asking, "FIRST_PAUSE", 0.001)


def at(port: int, tls: Tls | None = None, host_rewrite: str | None = None, **changes: Any) -> Model:
    backend = Backend("one", 1.0, (Endpoint("127.0.0.1", port, tls),), host_rewrite)
    return model("m", backends=(backend,), **changes)


def asked(handler: Handler, context: ssl.SSLContext | None = None, timeout: float = 30.0, longest: int = 100_000, **changes: Any) -> Reply:
    """What the client says of a server that does this."""

    async def whole() -> Reply:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        try:
            async with ModelClient(at(runner.addresses[0][1], **changes), timeout, longest, lambda: 0.5) as client:
                return await client.ask(BODY)
        finally:
            await runner.cleanup()

    return asyncio.run(whole())


async def fine(_: web.Request) -> web.Response:
    return web.json_response({"choices": []})


def test_host_path_key_and_body_are_those_of_the_spec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And nothing of the environment's proxies; a key may be in a variable or in a file, and what repeats it is marked."""
    seen: list[tuple[str, str, str, bytes]] = []

    async def look(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers["host"], request.headers["x-api-key"], await request.read()))
        return web.Response(text=f"you sent {request.headers['x-api-key']}")

    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OUR_KEY", f" {KEY}\n")
    (tmp_path / "key").write_text(KEY)
    for credential in (Credential("x-api-key", "Key ", None, "OUR_KEY"), Credential("x-api-key", "Key ", str(tmp_path / "key"), None)):
        reply = asked(look, host_rewrite="models.example", path_rewrite=PathRewrite("/v1/", "/openai/v1/"), credential=credential)
        assert reply.exchange is not None
        assert reply.exchange.response == b"you sent Key [credential]"
    assert seen == [("/openai/v1/chat/completions", "models.example", f"Key {KEY}", BODY)] * 2


def test_tls_believes_the_specs_authorities_and_name_alone(tmp_path: Path) -> None:
    """SNI is the Spec's; another name, or another authority, is no answer."""
    ours, theirs = trustme.CA(), trustme.CA()
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("models.example").configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    for number, authority in enumerate((ours, theirs)):
        authority.cert_pem.write_to_path(str(tmp_path / f"{number}.pem"))
    good = asked(fine, context, tls=Tls("models.example", str(tmp_path / "0.pem")))
    assert good.exchange is not None
    assert names == ["models.example"]
    for tls in (Tls("other.example", str(tmp_path / "0.pem")), Tls("models.example", str(tmp_path / "1.pem"))):
        bad = asked(fine, context, tls=tls)
        assert (bad.exchange, bad.why) == (None, "no answer (ConnectError)")
    with pytest.raises(SettingsError, match=r"judge\.ca-file"):
        ModelClient(at(1, Tls("x", str(tmp_path / "none.pem"))), 1.0, 1000, lambda: 0.5)


@pytest.mark.parametrize(("status", "tries"), [(429, 4), (500, 4), (503, 4), (400, 1), (401, 1), (307, 1)])
def test_what_may_pass_is_tried_again_and_a_redirect_is_not_followed(status: int, tries: int) -> None:
    """The last answer is the reply."""
    met: list[str] = []

    async def failing(request: web.Request) -> web.Response:
        met.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    reply = asked(failing)
    assert reply.exchange is not None
    assert (reply.exchange.status, reply.tries, len(met)) == (status, tries, tries)
    assert "/elsewhere" not in met


def test_a_model_that_recovers_is_answered_for() -> None:
    """Retry-After is kept to; the tries are told."""
    met: list[float] = []

    async def once(_: web.Request) -> web.Response:
        met.append(asyncio.get_running_loop().time())
        return web.Response(status=429, headers={"retry-after": "2"}) if len(met) == 1 else web.json_response({})

    reply = asked(once)
    assert reply.exchange is not None
    assert (reply.exchange.status, reply.tries) == (200, 2)
    assert met[1] - met[0] >= 1.9
    assert reply.seconds < 1.9


def test_an_answer_is_bounded_in_time_and_size() -> None:
    """Slow: no answer, not asked again. Long: cut where the Spec cuts copies. Broken off: tried again."""

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    reply = asked(slow, timeout=0.2)
    assert (reply.exchange, reply.why, reply.tries) == (None, "no answer within 0.2 s", 1)

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 5_000_000)

    cut = asked(long, longest=1000).exchange
    assert cut is not None
    assert (len(cut.response), cut.response_truncated) == (1000, True)

    async def broken(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return answer

    half = asked(broken)
    assert (half.exchange, half.tries) == (None, 4)


def test_nobody_there() -> None:
    """A refused connection is tried again, and then it is a failure with its kind."""

    async def whole() -> Reply:
        async with ModelClient(at(free_port()), 1.0, 1000, lambda: 0.5) as client:
            return await client.ask(BODY)

    reply = asyncio.run(whole())
    assert (reply.exchange, reply.why, reply.tries) == (None, "no answer (ConnectError)", 4)


def test_without_address_or_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems that name the place, and never a key."""
    with pytest.raises(SettingsError, match=r"judge\.no-endpoint"):
        ModelClient(model("m"), 1.0, 1000, lambda: 0.5)
    monkeypatch.setenv("BAD_KEY", "two\nlines")
    for name in ("NO_SUCH_KEY", "BAD_KEY"):
        with pytest.raises(SettingsError, match=r"judge\.credential") as caught:
            ModelClient(at(1, credential=Credential("authorization", "Bearer ", None, name)), 1.0, 1000, lambda: 0.5)
        assert "lines" not in str(caught.value).replace("one line", "")
