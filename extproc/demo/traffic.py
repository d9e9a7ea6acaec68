"""Open-loop traffic from a finite set of people: a process of its own, told what to do by lines of JSON.

In (standard input): first a line with TrafficSettings, then a line `{"rate": R}` for each change of the rate. Out (standard output):
a line per second (Tally.second) and a last one (Tally.total) after everything that was open has ended. It stops by itself at its
bounds of time and count, and when its input is closed, which is also what happens when its parent dies.

Open-loop: arrivals do not wait for answers, so a slow model does not hide its own slowness. At most `most_open` are open at once;
arrivals beyond that are not sent but counted (`held`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import orjson

from extproc import contract
from extproc.demo.population import COUNTRY_NETWORKS, Person, answering_model, population, request_body
from extproc.demo.quality import quality_of
from extproc.demo.readers import Reacts, asks_again, stays, thinks, thumb
from extproc.demo.tally import Tally

TICK: Final = 0.005
"""Seconds between looks at the clock: arrivals that fall due in between are sent together."""
JSON: Final = "application/json"
LENGTHS: Final = (8, 20, 60)
"""Words of a question."""


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """What traffic to make."""

    url: str
    rate: float
    """Requests per second."""
    canary_model: str
    """The name in the canary's answers, to see whether people stay where they were."""
    model: str
    """The model that requests ask for."""
    seed: int = 1
    people: int = 20_000
    anonymous: float = 0.02
    streaming: float = 0.10
    """Shares of the people, and of the requests."""
    user_header: str = "x-user-id"
    tier_header: str = "x-user-tier"
    country_header: str = "x-geo-country"
    seconds: float = 900.0
    most_requests: int = 2_000_000
    most_open: int = 1_500
    timeout: float = 30.0
    record: str = ""
    """File that gets a line for each good answer: demo.crowd.Met as a JSON list; empty for none."""
    reacts: Reacts = Reacts.NOT
    """What people do with answers. Those who stay make several requests of each arrival."""
    session_header: str = "x-session-id"
    feedback_url: str = ""
    """Where people say what they think."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question."""

    body: bytes
    session: str = ""
    """Empty: it is part of none."""


class Client:
    """A person at the keyboard: keeps the cookies that were set, and remembers whether it has met the canary."""

    __slots__ = ("cookie", "headers", "met_canary", "person", "waiting_for_cookie")

    def __init__(self, person: Person, settings: TrafficSettings) -> None:
        self.person = person
        self.headers = {settings.tier_header: person.tier, settings.country_header: person.country, "x-forwarded-for": person.address}
        self.headers["content-type"] = JSON
        if person.id:
            self.headers[settings.user_header] = person.id
        self.cookie = ""
        self.met_canary = False
        self.waiting_for_cookie = False

    @property
    def ready(self) -> bool:
        """False while the very first anonymous request is under way: a browser has no second one before the page is there."""
        return not self.waiting_for_cookie

    def request_headers(self) -> dict[str, str]:
        """Headers of the next request; a dictionary of their own."""
        return {**self.headers, "cookie": self.cookie} if self.cookie else dict(self.headers)


class Traffic:
    """Sends the requests of one run."""

    def __init__(self, settings: TrafficSettings) -> None:
        self.tally = Tally()
        self.rate = settings.rate
        self.limit = settings.most_requests
        """Stop when so many have been sent."""
        self._settings = settings
        self._random = Random(settings.seed)
        self._clients = [Client(person, settings) for person in population(settings.people, settings.seed, settings.anonymous)]
        self._bodies = {
            (stream, country): [request_body(settings.model, stream, words, country) for words in LENGTHS]
            for stream in (False, True)
            for country in COUNTRY_NETWORKS
        }
        self._open: set[asyncio.Task[None]] = set()
        self._over = False
        """Nobody asks any more."""
        self._asked = 0
        self._record = Path(settings.record).open("wb") if settings.record else None  # noqa: SIM115 - closed by `run`

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop or a bound is reached, then wait for what is open."""
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout)
        connector = aiohttp.TCPConnector(limit=self._settings.most_open, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            await self._arrivals(session, stop)
            self._over = True
            while self._open:
                await asyncio.wait(self._open)
        if self._record is not None:
            self._record.close()

    async def _arrivals(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.seconds
        due = loop.time()
        while not stop.is_set() and loop.time() < end and self.tally.sent < self.limit:
            now = loop.time()
            if self.rate <= 0:
                due = now
            while due <= now and self.rate > 0 and self.tally.sent < self.limit:
                due += self._random.expovariate(self.rate)
                self._send(session)
            await asyncio.sleep(TICK)

    def _send(self, session: aiohttp.ClientSession) -> None:
        client = self._random.choice(self._clients)
        stream = self._random.random() < self._settings.streaming
        if len(self._open) >= self._settings.most_open:
            self.tally.held += 1
            return
        if not client.ready:
            return
        client.waiting_for_cookie = not client.cookie and self._settings.user_header not in client.headers
        self.tally.sent += 1
        self._begin(self._request(session, client, self._question(client.person.country, stream, "")))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    def _question(self, country: str, stream: bool, session: str) -> Asked:
        """The next question. Where people ask again on purpose, no two of them are the same by chance."""
        if self._settings.reacts is Reacts.NOT:
            return Asked(self._random.choice(self._bodies[stream, country]))
        self._asked += 1
        words = self._random.choice(LENGTHS)
        body = request_body(self._settings.model, stream, words, country, f" {self._asked}")
        return Asked(body, session or (f"session-{self._asked}" if self._settings.reacts is Reacts.STAYS else ""))

    def _react(self, session: aiohttp.ClientSession, client: Client, asked: Asked, answer: bytes, name: dict[str, str]) -> None:
        """What the person does who has read an answer."""
        reacts, quality = self._settings.reacts, quality_of(answer.decode("utf-8", "replace"))
        if reacts is Reacts.AGAIN and asks_again(quality, self._random):
            self._begin(self._later(session, client, asked))
        elif reacts is Reacts.SAYS and (kind := thumb(quality, self._random)):
            self._begin(self._say(session, client, {"kind": kind, **name}))
        elif reacts is Reacts.STAYS and stays(quality, self._random):
            stream = self._random.random() < self._settings.streaming
            self._begin(self._later(session, client, self._question(client.person.country, stream, asked.session)))

    async def _later(self, session: aiohttp.ClientSession, client: Client, asked: Asked) -> None:
        await asyncio.sleep(thinks(self._random))
        if not self._over and self.tally.sent < self.limit:
            self.tally.sent += 1
            await self._request(session, client, asked)

    def _name(self, headers: Mapping[str, str]) -> dict[str, str]:
        """How an answer is spoken of: pages know its token, some servers its request id."""
        token = headers.get(contract.FEEDBACK_HEADER, "")
        return {"token": token} if token and self._random.random() < 0.5 else {"request_id": headers.get(contract.REQUEST_ID_HEADER, "")}

    async def _say(self, session: aiohttp.ClientSession, client: Client, item: dict[str, str]) -> None:
        await asyncio.sleep(thinks(self._random))
        try:
            async with session.post(self._settings.feedback_url, data=orjson.dumps(item), headers=client.request_headers()) as response:
                self.tally.said["accepted" if response.status == 202 else str(response.status)] += 1
        except (TimeoutError, aiohttp.ClientError) as error:
            self.tally.said[type(error).__name__] += 1

    async def _request(self, session: aiohttp.ClientSession, client: Client, asked: Asked) -> None:
        begin = asyncio.get_running_loop().time()
        sent, cookie = time.time(), client.cookie
        had_met = client.met_canary
        try:
            headers = client.request_headers()
            if asked.session:
                headers[self._settings.session_header] = asked.session
            async with session.post(self._settings.url, data=asked.body, headers=headers) as response:
                answer = await response.read()
                name = self._name(response.headers)
                for value in response.headers.getall("set-cookie", ()):
                    client.cookie = value.partition(";")[0]
                problem = _problem(response, answer)
        except TimeoutError:
            problem, answer = "timeout", b""
        except aiohttp.ClientError as error:
            problem, answer = f"connection: {type(error).__name__}", b""
        finally:
            client.waiting_for_cookie = False
        if problem:
            self.tally.errors[problem] += 1
            return
        model = answering_model(answer)
        self.tally.good(asyncio.get_running_loop().time() - begin, model)
        if self._record is not None:
            person = client.person
            self._record.write(orjson.dumps([sent, time.time(), person.tier, person.country, person.id, cookie, model]) + b"\n")
        client.met_canary = client.met_canary or model == self._settings.canary_model
        self.tally.flips += had_met and model != self._settings.canary_model
        if self._settings.reacts is not Reacts.NOT:
            self._react(session, client, asked, answer, name)


def _problem(response: aiohttp.ClientResponse, answer: bytes) -> str:
    if response.status != 200:
        return str(response.status)
    if response.content_type == "text/event-stream" and not answer.endswith(b"data: [DONE]\n\n"):
        return "broken stream"
    return ""


# ---------------------------------------------------------------------------------------------------------------------- process
def _say(line: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()


async def _orders(lines: asyncio.StreamReader, traffic: Traffic, stop: asyncio.Event) -> None:
    while line := await lines.readline():
        traffic.rate = float(orjson.loads(line)["rate"])
    stop.set()


async def _reports(tally: Tally) -> None:
    while True:
        await asyncio.sleep(1.0)
        _say(tally.second())


async def _main() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    told = orjson.loads(await lines.readline())
    traffic = Traffic(TrafficSettings(**{**told, "reacts": Reacts(told.get("reacts", ""))}))
    stop = asyncio.Event()
    helpers = [asyncio.create_task(_orders(lines, traffic, stop)), asyncio.create_task(_reports(traffic.tally))]
    try:
        await traffic.run(stop)
        _say(traffic.tally.total())
    except BrokenPipeError:
        return
    finally:
        for helper in helpers:
            helper.cancel()


def main() -> None:
    """Entry point of `python -m extproc.demo.traffic`."""
    import uvloop

    uvloop.run(_main())


if __name__ == "__main__":
    main()
