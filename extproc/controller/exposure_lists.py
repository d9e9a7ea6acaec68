"""GET /v1/exposures: who met a canary, as lines of JSON, from the exposures file, whatever the brain does.

    ?rollout=NAME[&attempt=N][&phase=25%25][&cohort=C][&since=UNIX][&until=UNIX][&failed=true][&after=LINE][&limit=N]

One object for each request, hashed ids only, and at the end {"summary": {...}} with all gaps; an answer without that line was cut. Where
`limit` cut it off, the summary's `next` is the `after` of the next question. It is the list of this machine, whether its controller leads
or not; the summary's `elsewhere` says which other controllers led in that time, and the commands that put their lists and this one
together. Pages are read in threads, at most MOST_AT_ONCE answers at a time; a client that does not take what it asked for loses its
connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from extproc import contract
from extproc.controller.answers import TimedStream
from extproc.controller.journal import JournalReader
from extproc.errors import ExtprocError, Problem, SettingsError, StoreError
from extproc.store.exposures import Listing, Summary, Wanted
from extproc.store.exposures.elsewhere import not_here, not_known, others
from extproc.store.exposures.lines import as_jsonl, as_last_line

MOST_AT_ONCE: Final = 2
"""Answers at a time: each may keep a thread busy."""
DEFAULT_LIMIT: Final = 100_000
MOST_LINES: Final = 1_000_000
"""Lines of one answer; there is a next one."""
_KNOWN: Final = frozenset(("rollout", "attempt", "phase", "cohort", "since", "until", "failed", "after", "limit"))
_LONGEST_NUMBER: Final = 20


class ExposureLists:
    """Of one store."""

    def __init__(self, journal: JournalReader) -> None:
        """`journal`: the reader of the store that the list lies beside."""
        self._journal = journal
        self._path = Path(contract.exposures_path(journal.url))
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "exposures")
        self._open = 0

    def close(self) -> None:
        """Wait for the pages that are being read."""
        self._threads.shutdown()

    async def answer(self, request: Request) -> Response:
        """Raises SettingsError for what is no question, StoreError where the file cannot be read or too many read it."""
        wanted = _wanted(request)
        if self._open >= MOST_AT_ONCE:
            message = f"{self._open} lists are being read"
            raise StoreError(
                Problem("exposures.busy", request.url.path, message, "ask again later; `extproc exposures` reads the file itself")
            )
        self._open += 1
        reading = _Reading(self._path, wanted, self._threads)
        try:
            reading.elsewhere = await self._elsewhere(wanted)
            # Before the status is sent: a file that cannot be read is a Problem and not half an answer.
            first = await reading.next()
        except BaseException:
            self._open -= 1
            await reading.close()
            raise
        return _Lines(self, reading, first)

    async def _elsewhere(self, wanted: Wanted) -> Callable[[Summary], list[str]]:
        """What says of a list what other machines have of it."""
        store = self._journal.url
        try:
            led = await self._journal.leaders(wanted)
        except StoreError as error:
            unknown = [not_known(error.problems[0].message)]
            return lambda _: unknown
        why = "the API has the list of its own machine"
        return lambda summary: [not_here(one, wanted, store, why) for one in others(led, summary.owners)]

    def done(self) -> None:
        """An answer has ended, however."""
        self._open -= 1


class _Reading:
    """One listing, a step at a time in a thread."""

    def __init__(self, path: Path, wanted: Wanted, threads: ThreadPoolExecutor) -> None:
        self._path, self._wanted, self._threads = path, wanted, threads
        self.elsewhere: Callable[[Summary], list[str]] = lambda _: []
        self._listing: Listing | None = None
        self._chunks: Iterator[str] | None = None

    async def next(self) -> str:
        """The next lines, empty at the end."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._next)

    async def close(self) -> None:
        """After the step that is being taken, if any: there is one thread for each reading at most."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._close)

    def _next(self) -> str:
        if self._chunks is None:
            self._listing = Listing(self._path, self._wanted, time.time())
            self._chunks = self._made(self._listing)
        return next(self._chunks, "")

    def _made(self, listing: Listing) -> Iterator[str]:
        for page in listing.pages():
            yield as_jsonl(page, ids=False)
        yield as_last_line(listing.summary, self.elsewhere(listing.summary))

    def _close(self) -> None:
        if self._listing is not None:
            self._listing.close()


class _Lines(TimedStream):
    """An answer that gives back what it holds, whatever becomes of the client."""

    def __init__(self, lists: ExposureLists, reading: _Reading, first: str) -> None:
        super().__init__(self._body(first), media_type="application/x-ndjson")
        self._lists, self._reading = lists, reading

    async def ended(self) -> None:
        """Give back."""
        self._lists.done()
        await asyncio.shield(self._reading.close())

    async def _body(self, chunk: str) -> AsyncIterator[str]:
        try:
            while chunk:
                yield chunk
                chunk = await self._reading.next()
        except ExtprocError as error:
            problems = [{"id": one.id, "path": one.path, "message": one.message, "hint": one.hint} for one in error.problems]
            yield orjson.dumps({"problems": problems}, option=orjson.OPT_APPEND_NEWLINE).decode()


def _wanted(request: Request) -> Wanted:
    query = request.query_params
    unknown = sorted(set(query) - _KNOWN)
    if unknown or not query.get("rollout"):
        message = f"knows no {', '.join(unknown)}" if unknown else "names no rollout"
        raise SettingsError(Problem("api.query", request.url.path, message, f"there are: {', '.join(sorted(_KNOWN))}"))
    failed = query.get("failed", "false")
    if failed not in ("true", "false"):
        raise SettingsError(Problem("api.query", "failed", f"{failed!r} is neither true nor false", "leave it out for all"))
    limit = _whole(query.get("limit"), "limit")
    return Wanted(
        rollout=query["rollout"],
        attempt=_whole(query.get("attempt"), "attempt"),
        phase=query.get("phase"),
        cohort=query.get("cohort"),
        since=_seconds(query.get("since"), "since"),
        until=_seconds(query.get("until"), "until"),
        failed=failed == "true",
        after=_whole(query.get("after"), "after") or 0,
        limit=DEFAULT_LIMIT if limit is None else max(1, min(limit, MOST_LINES)),
    )


def _whole(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER):
        raise SettingsError(Problem("api.query", name, f"{text[:80]!r} is no number", "leave it out, or give a whole number"))
    return int(text)


def _seconds(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    whole, _, part = text.partition(".")
    if not (whole + part).isascii() or not (whole + part).isdecimal() or len(text) > _LONGEST_NUMBER:
        raise SettingsError(Problem("api.query", name, f"{text[:80]!r} is no instant", "give Unix seconds"))
    return float(text)
