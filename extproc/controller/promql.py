"""Prometheus as a source of gates: instant queries over its HTTP API, beside the evaluate loop, the last value of each and its age.

Only a single finite number is a value. Whatever else comes (no series, several, NaN, a failure) is no value, with the reason in words: no
evidence is never a pass, and never a failure either. A value grows old: after STALE_AFTER intervals without a newer one there is none.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from extproc.domain import Credential

EVERY: Final = 15.0
"""Seconds between two answers; Prometheus itself scrapes every 15 to 60."""
STALE_AFTER: Final = 3
"""Intervals after which a value says nothing about now."""
TIMEOUT: Final = 5.0
"""Seconds that a query has; Prometheus is told to give up then, too."""
AT_A_TIME: Final = 4
"""Queries that are asked at the same time: a release must not be what overloads a Prometheus."""
LARGEST: Final = 1 << 20
"""Bytes of an answer; one number takes a hundred."""
LONGEST_REASON: Final = 300
"""Characters of what Prometheus says about an error."""

_USER: Final = re.compile(r"//[^/@]*@")
"""A name and a password in the URL: for Prometheus, and not for a reason that people see."""

log = logging.getLogger(__name__)


class NoValueError(Exception):
    """There is no value, and why."""

    def __init__(self, why: str, answered: bool = False) -> None:
        super().__init__(why)
        self.answered = answered
        """True where the query was answered, and not with a number: then there is no value now, whatever there was before."""


def _answered(with_what: str) -> NoValueError:
    return NoValueError(f"the query answers with {with_what}", answered=True)


@dataclass(slots=True)
class _Gate:
    """One gate as the source sees it."""

    query: str
    value: float | None = None
    asked_at: float = 0.0
    """Monotonic seconds when the value's query was sent."""
    reason: str = "has not been asked for yet"
    """Why there is no newer value; empty where the last answer had one."""
    told: bool = False
    """The log knows that there is none."""


class PrometheusSource:
    """Asks for every gate each `every` seconds, from `keep`."""

    def __init__(
        self,
        queries: Sequence[tuple[str, str]],
        url: str,
        credential: Credential | None = None,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queries`: (gate, PromQL). `url`: of Prometheus or what speaks like it, without `/api/v1`. `credential`: by reference, read anew
        for each round."""
        self._gates = {name: _Gate(query) for name, query in queries}
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._shown = _USER.sub("//", self._url, count=1)
        self._is_url = _is_url(url)
        self._credential = credential
        self._every = every
        self._clock = clock
        self._free = asyncio.Semaphore(AT_A_TIME)

    def values(self) -> Mapping[str, float | None]:
        """The present value of each gate; None where there is none."""
        now = self._clock()
        return {name: gate.value if self._is_fresh(gate, now) else None for name, gate in self._gates.items()}

    def reasons(self) -> Mapping[str, str]:
        """Why a gate has no value, or no newer one; only gates where that is so."""
        now = self._clock()
        return {name: self._said(gate, now) for name, gate in self._gates.items() if gate.reason or not self._is_fresh(gate, now)}

    def ages(self) -> Mapping[str, float | None]:
        """Seconds since the query of each value was sent; None where there was never one."""
        now = self._clock()
        return {name: now - gate.asked_at if gate.value is not None else None for name, gate in self._gates.items()}

    async def keep(self) -> None:
        """Forever. Never raises: what goes wrong is a reason."""
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
            while True:
                began = self._clock()
                await self.look(client)
                await asyncio.sleep(max(0.0, began + self._every - self._clock()))

    async def look(self, client: httpx.AsyncClient) -> None:
        """One round: every gate, within `every` seconds whatever happens."""
        try:
            if not self._is_url:
                raise NoValueError(f"{self._shown} is no URL of a Prometheus, such as http://prometheus:9090")
            headers = _headers(self._credential)
        except NoValueError as error:
            for name, gate in self._gates.items():
                self._missed(name, gate, error)
            return
        round_ends = self._clock() + self._every
        await asyncio.gather(*(self._ask(client, headers, name, gate, round_ends) for name, gate in self._gates.items()))

    async def _ask(self, client: httpx.AsyncClient, headers: Mapping[str, str], name: str, gate: _Gate, round_ends: float) -> None:
        try:
            value, asked_at = await self._within(round_ends, lambda: self._answer(client, headers, gate.query))
        except NoValueError as error:
            self._missed(name, gate, error)
        else:
            gate.value, gate.asked_at, gate.reason = value, asked_at, ""
            if gate.told:
                log.info("gate %s has a value again", name)
                gate.told = False

    async def _within(self, round_ends: float, answer: Callable[[], Awaitable[float]]) -> tuple[float, float]:
        """An answer, and when it was asked for; raises NoValueError where its turn does not come, or it takes too long."""
        try:
            async with asyncio.timeout(max(0.0, round_ends - self._clock())), self._free:
                asked_at = self._clock()
                async with asyncio.timeout(TIMEOUT):
                    return await answer(), asked_at
        except TimeoutError as error:
            raise NoValueError(f"Prometheus has not answered within {min(TIMEOUT, self._every):g} s") from error

    async def _answer(self, client: httpx.AsyncClient, headers: Mapping[str, str], query: str) -> float:
        body, form = b"", {"query": query, "timeout": f"{TIMEOUT * 1000:.0f}ms"}
        try:
            async with client.stream("POST", self._url, data=form, headers=headers) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        raise NoValueError(f"Prometheus answers with more than {LARGEST} bytes: is it one number that the query asks for?")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoValueError(f"Prometheus does not answer ({type(error).__name__}): is {self._shown} right?") from error
        return value_of(answer.status_code, body)

    def _missed(self, name: str, gate: _Gate, error: NoValueError) -> None:
        if error.answered:
            gate.value = None
        gate.reason = str(error)
        if not gate.told:
            log.warning("gate %s has no new value: %s", name, error)
            gate.told = True

    def _is_fresh(self, gate: _Gate, now: float) -> bool:
        return gate.value is not None and now - gate.asked_at <= STALE_AFTER * self._every

    def _said(self, gate: _Gate, now: float) -> str:
        if gate.value is None:
            return gate.reason
        age = f"the last value is {now - gate.asked_at:.0f} s old"
        return f"{gate.reason}; {age}" if gate.reason else age


def value_of(status: int, body: bytes) -> float:
    """The one finite number in an answer of `/api/v1/query`; raises NoValueError."""
    try:
        document = orjson.loads(body)
        if document["status"] != "success":
            said = f"{document['errorType']}: {document['error']}"
            raise NoValueError(f"Prometheus refuses the query: {said[:LONGEST_REASON]}")
        kind, result = document["data"]["resultType"], document["data"]["result"]
    except (ValueError, KeyError, TypeError) as error:
        hint = ": look at its credential" if status in (401, 403) else ": is this Prometheus?"
        raise NoValueError(f"what answers with status {status} is not the API of Prometheus{hint}") from error
    return _finite(_single(kind, result))


def _single(kind: object, result: Any) -> str:
    """The text of the only sample."""
    if kind == "scalar":
        sample = result
    elif kind != "vector":
        raise _answered(f"a {kind}; a gate needs a number: sum(...), scalar(...)")
    elif not result:
        raise _answered("nothing: no series has such a name and labels now")
    elif len(result) > 1:
        raise _answered(f"{len(result)} series; a gate needs one: aggregate them with sum(...), avg(...), max(...)")
    elif "value" not in result[0]:
        raise _answered("a histogram; a gate needs a number: histogram_quantile(...), histogram_fraction(...)")
    else:
        sample = result[0]["value"]
    try:
        return str(sample[1])
    except (IndexError, TypeError, KeyError) as error:
        raise _answered("a sample that has no value") from error


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise _answered(f"{text[:40]!r}, which is no number") from error
    if math.isnan(value):
        raise _answered("NaN: there was nothing to divide by, or nothing to average")
    if math.isinf(value):
        raise _answered(f"{text}: something was divided by zero")
    return value


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _headers(reference: Credential | None) -> dict[str, str]:
    """Of each request; the secret goes nowhere else. Raises NoValueError where it cannot be read."""
    headers = {"accept": "application/json"}
    if reference is None:
        return headers
    try:
        secret = os.environ[reference.env] if reference.env is not None else Path(reference.file or "").read_text(encoding="utf-8").strip()
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise NoValueError(f"the credential of Prometheus cannot be read: {reference.place}") from error
    if not (secret.isascii() and secret.isprintable()):
        raise NoValueError("the credential of Prometheus is no text that a header can have")
    return {**headers, reference.header: reference.prefix + secret}
