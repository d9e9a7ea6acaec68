"""Asks a model as the Spec names it, without Envoy: addresses, TLS, host, path, key, the name in the body. There is always a Reply.

What answers is a stranger: no redirect is followed, an answer is bounded in time and size, and the key goes into no word that is kept, not
even where the model repeats it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

import httpx

from extproc.credentials import CredentialError, read_credential
from extproc.domain import Backend, Credential, Endpoint, Model
from extproc.errors import Problem, SettingsError
from extproc.judge.assembly import Exchange
from extproc.judge.exchange import retry_after

PATH: Final = "/v1/chat/completions"
TRIES: Final = 4
"""Of one question: with the pauses below some seconds, long enough for a restart. What fails each time has failed."""
FIRST_PAUSE: Final = 0.5
"""Seconds before the second try at most; doubled for each further one."""
LONGEST_WAIT: Final = 60.0
"""Seconds that a model may ask to wait (Retry-After); beyond, the question has failed."""
TOO_MANY: Final = 429
BROKEN: Final = 500
MARK: Final = b"[credential]"
SHORTEST_KEY: Final = 8
"""Bytes of a key that is taken out of answers: a shorter one could be any word."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one question."""

    exchange: Exchange | None
    """None: there was no answer, not even an error's."""
    why: str
    """For people, where there is none."""
    seconds: float
    """Of the last try."""
    tries: int


class ModelClient:
    """One model of a Spec. `async with` it."""

    def __init__(
        self,
        model: Model,
        timeout: float,
        longest: int,
        draw: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds of one try. `longest`: bytes of an answer that are read. `draw`: uniform in [0, 1). Raises SettingsError
        where the Spec has no address for it, or its key or authorities cannot be read."""
        self.model = model
        self._timeout, self._longest, self._draw, self._clock = timeout, longest, draw, clock
        self._path = _path(model)
        self._key = read_key(model.credential, f"models.{model.name}.credential") if model.credential is not None else ""
        self._not_before = 0.0
        backends = [backend for backend in model.backends if backend.endpoints]
        if not backends:
            hint = "write its endpoint: a cluster that is defined in your own Envoy is known to that alone"
            raise SettingsError(Problem("judge.no-endpoint", f"models.{model.name}", "has no endpoint that could be asked", hint))
        self._backends = backends
        self._clients = {backend.cluster: _client(model, backend) for backend in backends}

    async def __aenter__(self) -> ModelClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def ask(self, body: bytes) -> Reply:
        """One question, until it is answered or no further try makes sense. Never raises."""
        backend, first = self._chosen()
        reply = Reply(None, "", 0.0, 0)
        for number in range(TRIES):
            await asyncio.sleep(max(0.0, self._not_before - self._clock()))
            endpoint = backend.endpoints[(first + number) % len(backend.endpoints)]
            began = self._clock()
            reply, again, wait = await self._try(backend, endpoint, body)
            reply = replace(reply, seconds=self._clock() - began, tries=number + 1)
            if not again or number + 1 == TRIES or (wait or 0.0) > LONGEST_WAIT:
                break
            if wait is not None:  # asked of everybody
                self._not_before = max(self._not_before, self._clock() + wait)
            await asyncio.sleep(FIRST_PAUSE * 2**number * (0.5 + self._draw() / 2))
        return reply

    def _chosen(self) -> tuple[Backend, int]:
        """A backend by weight, and one of its endpoints."""
        place = self._draw() * sum(backend.weight for backend in self._backends)
        for backend in self._backends:
            place -= backend.weight
            if place < 0:
                break
        return backend, int(self._draw() * len(backend.endpoints))

    async def _try(self, backend: Backend, endpoint: Endpoint, body: bytes) -> tuple[Reply, bool, float | None]:
        """(what came, whether a later try may do better, seconds that the model asks to wait)."""
        try:
            async with asyncio.timeout(self._timeout):
                exchange, wait = await self._exchange(backend, endpoint, body)
        except (TimeoutError, httpx.TimeoutException) as error:
            connecting = isinstance(error, httpx.ConnectTimeout)
            return Reply(None, f"no answer within {self._timeout:g} s", 0.0, 0), connecting, None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            return Reply(None, f"no answer ({type(error).__name__})", 0.0, 0), isinstance(error, httpx.TransportError), None
        return Reply(exchange, "", 0.0, 0), exchange.status == TOO_MANY or exchange.status >= BROKEN, wait

    async def _exchange(self, backend: Backend, endpoint: Endpoint, body: bytes) -> tuple[Exchange, float | None]:
        headers = {"accept": "application/json", "accept-encoding": "identity", "content-type": "application/json"}
        if backend.host_rewrite is not None:
            headers["host"] = backend.host_rewrite
        if self.model.credential is not None:
            headers[self.model.credential.header] = self.model.credential.prefix + self._key
        url = httpx.URL(scheme="https" if endpoint.tls else "http", host=endpoint.host, port=endpoint.port, raw_path=self._path.encode())
        more = {"sni_hostname": endpoint.tls.sni} if endpoint.tls is not None else {}
        client, found, cut = self._clients[backend.cluster], bytearray(), False
        async with client.stream("POST", url, content=body, headers=headers, timeout=self._timeout, extensions=more) as answer:
            async for chunk in answer.aiter_raw():
                found += chunk[: self._longest - len(found)]
                if cut := len(found) >= self._longest:
                    break
        exchange = Exchange(
            path=PATH,
            request=body,
            response=self._without_key(bytes(found)),
            status=answer.status_code,
            request_content_type="application/json",
            response_content_type=answer.headers.get("content-type", ""),
            response_encoding=answer.headers.get("content-encoding", ""),
            response_truncated=cut,
        )
        return exchange, retry_after(answer.headers.get("retry-after", ""), time.time())

    def _without_key(self, answer: bytes) -> bytes:
        return answer.replace(self._key.encode(), MARK) if len(self._key) >= SHORTEST_KEY else answer


def read_key(reference: Credential, path: str) -> str:
    """The secret behind a reference; raises SettingsError, without a word of it, where there is none."""
    try:
        return read_credential(reference)
    except CredentialError as error:
        hint = "put the key there, alone in one line" if error.found else "set it where this command runs: it asks as Envoy would"
        raise SettingsError(Problem("judge.credential", path, str(error), hint)) from error


def _path(model: Model) -> str:
    rewrite = model.path_rewrite
    if rewrite is None or not PATH.startswith(rewrite.prefix):
        return PATH
    return rewrite.to + PATH.removeprefix(rewrite.prefix)


def _client(model: Model, backend: Backend) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_authorities(model, backend), trust_env=False, follow_redirects=False)


def _authorities(model: Model, backend: Backend) -> ssl.SSLContext | bool:
    """Whose certificates are believed; those that the Spec names, else the system's."""
    files = {endpoint.tls.ca_file for endpoint in backend.endpoints if endpoint.tls is not None and endpoint.tls.ca_file is not None}
    if not any(endpoint.tls is not None for endpoint in backend.endpoints):
        return True
    context = ssl.create_default_context()
    try:
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for file in sorted(files):
            context.load_verify_locations(file)
    except (OSError, ssl.SSLError) as error:
        hint = "put the bundle of authorities where the Spec says, on this machine too"
        raise SettingsError(Problem("judge.ca-file", f"models.{model.name}", f"{', '.join(sorted(files))} cannot be read", hint)) from error
    return context
