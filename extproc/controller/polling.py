"""Feature flags that the Spec wants polled: asked of the service's own HTTP API, published in State, the last good ones kept.

A document comes into force only if every flag that a cohort names can be evaluated in it as the vendor would. What cannot be read, or not
be evaluated, is told once, counted, and changes nothing: whoever was in a cohort stays there. Keys go into requests and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from extproc import contract, flags
from extproc.controller.loop import Loop
from extproc.domain import Credential, FlagIs, FlagSource, Spec, leaves
from extproc.errors import ExtprocError, Problem

TIMEOUT: Final = 10.0
"""Seconds that a service has for an answer."""
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of an answer; more is a mistake in the URL."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at which source is due."""

log = logging.getLogger(__name__)


class PollError(ExtprocError):
    """A service did not answer with flags that can be used."""


@dataclass(slots=True)
class Polled:
    """One source as the poller sees it."""

    due: float = 0.0
    """Monotonic seconds."""
    etag: str = ""
    good_at: float | None = None
    """Unix seconds of the last answer that could be used."""
    problem: Problem | None = None
    """Why the last answer could not be used."""
    failures: int = 0


class Poller:
    """Asks every source when it is due."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.sources: dict[str, Polled] = {}
        self._registry = CollectorRegistry()
        self._failures = Gauge(contract.METRIC_FLAG_FAILURES, "Answers that could not be used.", ["source"], registry=self._registry)
        self._age = Gauge(contract.METRIC_FLAG_AGE, "Seconds since the last answer of use.", ["source"], registry=self._registry)

    def exposition(self) -> bytes:
        """Prometheus text."""
        for gauge in (self._failures, self._age):
            gauge.clear()
        for name, polled in self.sources.items():
            self._failures.labels(name).set(polled.failures)
            if polled.good_at is not None:
                self._age.labels(name).set(time.time() - polled.good_at)
        return generate_latest(self._registry)

    async def keep(self) -> None:
        """Forever."""
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
            while True:
                await self.look(client, time.monotonic())
                await asyncio.sleep(LOOK_EVERY)

    async def look(self, client: httpx.AsyncClient, now: float) -> None:
        """Ask those that are due; a Spec that has changed brings others."""
        spec = self._loop.spec
        wanted = {name: source for name, source in spec.flags.items() if source.poll is not None}
        self.sources = {name: self.sources.get(name, Polled()) for name in wanted}
        due = [(source, self.sources[name]) for name, source in wanted.items() if now >= self.sources[name].due]
        await asyncio.gather(*(self._ask(client, spec, source, polled) for source, polled in due))

    async def _ask(self, client: httpx.AsyncClient, spec: Spec, source: FlagSource, polled: Polled) -> None:
        assert source.poll is not None
        polled.due = time.monotonic() + source.poll.every
        try:
            text, etag = await _fetched(client, source, polled.etag)
            if text is not None:
                await asyncio.to_thread(usable, spec, source, text)
                if spec is self._loop.spec:
                    self._loop.adopt_flags(source.name, text, time.time())
                polled.etag = etag
        except ExtprocError as error:
            problem = error.problems[0]
            polled.failures += 1
            if polled.problem != problem:
                said = "flags of %s could not be used, the last good ones stay: %s"
                log.error(said, source.name, problem, extra={"problem": problem.id})
            polled.problem = problem
        else:
            if polled.problem is not None:
                log.info("flags of %s can be used again", source.name)
            polled.problem, polled.good_at = None, time.time()

    def document(self) -> dict[str, Any]:
        """For `status`: each source, and whether it answers."""
        return {
            name: {
                "good_at": polled.good_at,
                "failures": polled.failures,
                "digest": self._loop.state.flags.get(name),
                "problem": str(polled.problem) if polled.problem is not None else None,
            }
            for name, polled in self.sources.items()
        }


async def _fetched(client: httpx.AsyncClient, source: FlagSource, etag: str) -> tuple[str | None, str]:
    """The text of an answer (None: not changed) and its ETag; raises PollError."""
    assert source.poll is not None
    headers = {"accept": "application/json", **_key(source.name, source.poll.credential), **({"if-none-match": etag} if etag else {})}
    try:
        async with client.stream("GET", source.poll.url, headers=headers) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return None, etag
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST:
                    raise _refused(source, f"answers with more than {LARGEST} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _refused(source, f"does not answer ({type(error).__name__})") from error
    if answer.status_code != httpx.codes.OK:
        raise _refused(source, f"answers with status {answer.status_code}")
    try:
        return body.decode(), answer.headers.get("etag", "")
    except UnicodeDecodeError as error:
        raise _refused(source, "answers with bytes that are no text") from error


def _key(name: str, reference: Credential | None) -> dict[str, str]:
    if reference is None:
        return {}
    try:
        secret = os.environ[reference.env] if reference.env is not None else Path(reference.file or "").read_text(encoding="utf-8").strip()
    except (OSError, KeyError, UnicodeDecodeError) as error:
        where = f"environment variable {reference.env}" if reference.env is not None else f"file {reference.file}"
        hint = "set it for the controller, which asks the service"
        raise PollError(Problem("flags.credential", f"flags.{name}.poll.credential", f"{where} cannot be read", hint)) from error
    return {reference.header: reference.prefix + secret}


def _refused(source: FlagSource, what: str) -> PollError:
    assert source.poll is not None
    hint = "look at the URL, the key and the service; nothing has changed meanwhile"
    return PollError(Problem("flags.poll", f"flags.{source.name}.poll", f"{source.poll.url} {what}", hint))


def usable(spec: Spec, source: FlagSource, text: str) -> None:
    """Raises PollError or FlagError where a flag that a cohort names cannot be evaluated in this document."""
    try:
        document = orjson.loads(text)
    except ValueError as error:
        raise _refused(source, f"answers with what is no JSON ({error})") from error
    if not isinstance(document, Mapping):
        raise _refused(source, "answers with JSON that is no object")
    problems: list[Problem] = []
    for key in sorted(set(_wanted(spec, source.name))):
        try:
            flags.compile_flag(source.vendor, document, key)
        except flags.FlagError as error:
            problems += error.problems
    if problems:
        raise flags.FlagError(problems)


def _wanted(spec: Spec, source: str) -> Iterator[str]:
    for rollout in spec.rollouts.values():
        for cohort in rollout.cohorts:
            for leaf in (*leaves(cohort.selector), *leaves(cohort.exclude)):
                if isinstance(leaf, FlagIs) and leaf.source == source:
                    yield leaf.key
