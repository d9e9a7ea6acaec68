"""Feature flags that the Spec wants polled: asked of the service's own HTTP API, published in State, the last good ones kept.

A document comes into force only if every flag that a cohort names can be evaluated in it as the vendor would. What cannot be read, or not
be evaluated, is told once, counted, and changes nothing: whoever was in a cohort stays there. Each source is asked by itself: one that is
slow keeps no other waiting. Keys go into requests and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import httpx
import orjson
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from extproc import contract, flags
from extproc.controller.fetching import fetched, new_client, refused
from extproc.controller.loop import Loop
from extproc.domain import FlagSource, Spec, flag_keys
from extproc.errors import ExtprocError, Problem

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at which source is due: a change is in force `every` and a second after it was made, at the latest."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Polled:
    """One source as the poller sees it."""

    source: FlagSource
    spec: Spec
    """The Spec under which the last answer was looked at: another one may name other flags."""
    due: float = 0.0
    """Monotonic seconds."""
    etag: str = ""
    """Of the answer that is in force; empty where the service is to send everything again."""
    good_at: float | None = None
    """Unix seconds of the last answer that could be used."""
    problems: tuple[Problem, ...] = ()
    """Why the last answer could not be used."""
    failures: int = 0
    asking: asyncio.Task[None] | None = field(default=None, repr=False)


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

    def document(self) -> dict[str, Any]:
        """For `status`: each source, what is in force, and why the last answer is not."""
        return {
            name: {
                "vendor": polled.source.vendor.value,
                "good_at": polled.good_at,
                "failures": polled.failures,
                "digest": self._loop.state.flags.get(name),
                "problems": [asdict(problem) for problem in polled.problems],
            }
            for name, polled in self.sources.items()
        }

    async def keep(self) -> None:
        """Forever."""
        async with new_client() as client:
            try:
                while True:
                    self.look(client, time.monotonic())
                    await asyncio.sleep(LOOK_EVERY)
            finally:
                for polled in self.sources.values():
                    _stop(polled)

    def look(self, client: httpx.AsyncClient, now: float) -> None:
        """Ask those that are due; a Spec that has changed brings others."""
        self._follow_spec()
        for polled in self.sources.values():
            if now >= polled.due and polled.asking is None and polled.source.poll is not None:
                polled.due = now + polled.source.poll.every
                polled.asking = asyncio.create_task(self._ask(client, polled))

    def _follow_spec(self) -> None:
        spec, before = self._loop.spec, self.sources
        wanted = {name: source for name, source in spec.flags.items() if source.poll is not None}
        kept = {name: one for name, one in before.items() if one.source == wanted.get(name)}
        for name in before.keys() - kept.keys():
            _stop(before[name])
        self.sources = {name: kept.get(name) or Polled(source, spec) for name, source in wanted.items()}
        for polled in self.sources.values():
            if polled.spec is not spec:
                polled.spec, polled.etag, polled.due = spec, "", 0.0

    async def _ask(self, client: httpx.AsyncClient, polled: Polled) -> None:
        """Once; whatever happens is told and changes nothing."""
        try:
            await self._adopt(client, polled)
        except ExtprocError as error:
            self._failed(polled, error.problems)
        except Exception as error:
            log.exception("flags of %s: an error of our own", polled.source.name)
            self._failed(polled, refused(polled.source, f"answers with what cannot be looked at ({type(error).__name__})").problems)
        else:
            if polled.problems:
                log.info("flags of %s can be used again", polled.source.name, extra={"source": polled.source.name})
            polled.problems, polled.good_at = (), time.time()
        finally:
            polled.asking = None

    async def _adopt(self, client: httpx.AsyncClient, polled: Polled) -> None:
        spec, source = polled.spec, polled.source
        text, etag = await fetched(client, source, polled.etag)
        if text is None:
            return
        await asyncio.to_thread(check, spec, source, text)
        # Under a Spec that came meanwhile the answer is asked for again, and looked at anew.
        if spec is self._loop.spec:
            self._loop.adopt_flags(source.name, text, time.time())
            polled.etag = etag

    def _failed(self, polled: Polled, problems: tuple[Problem, ...]) -> None:
        polled.failures += 1
        if polled.problems != problems:
            said = "flags of %s could not be used, the last good ones stay: %s"
            log.error(
                said, polled.source.name, "\n".join(map(str, problems)), extra={"problem": problems[0].id, "source": polled.source.name}
            )
        polled.problems = problems


def _stop(polled: Polled) -> None:
    if polled.asking is not None:
        polled.asking.cancel()


def check(spec: Spec, source: FlagSource, text: str) -> None:
    """Raises PollError or FlagError where a flag that a cohort names cannot be evaluated in this document."""
    try:
        document = orjson.loads(text)
    except ValueError as error:
        raise refused(source, f"answers with what is no JSON ({error})") from error
    if not isinstance(document, Mapping):
        raise refused(source, "answers with JSON that is no object")
    problems: list[Problem] = []
    for key in sorted(flag_keys(spec, source.name)):
        try:
            flags.compile_flag(source.vendor, document, key)
        except flags.FlagError as error:
            problems += [Problem(one.id, f"flags.{source.name}", f"{one.path}: {one.message}", one.hint) for one in error.problems]
    if problems:
        raise flags.FlagError(problems)
