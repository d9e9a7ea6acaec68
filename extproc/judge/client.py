"""Asks one judge: an OpenAI-compatible endpoint, bounded in time, size, money and patience. There is always a Score or an Unscored.

The endpoint is a stranger, and so is what is judged: no redirect is followed, nothing compressed is read, and neither the key nor a word of
a prompt or answer goes into a reason or a log line.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from extproc.credentials import CredentialError, read_credential
from extproc.domain import Comparison, Credential, Exhibit, Failing, JudgeEndpoint, Rubric, Score, Unscored
from extproc.errors import Problem, SettingsError
from extproc.judge import verdicts
from extproc.judge.breaker import Breaker, Circuit
from extproc.judge.budget import Budget
from extproc.judge.exchange import Fault, Form, Usage, cost, estimate, fault_of, read_completion, request_body
from extproc.judge.prompt import Prompt, pairwise, pointwise
from extproc.judge.verdicts import Ballot, Marks, Nonsense

TRIES: Final = 4
"""Of one question: with the pauses below about ten seconds, long enough for a restart and short enough to keep up with samples."""
FIRST_PAUSE: Final = 0.5
"""Seconds before the second try at most; doubled for each further one. Chance takes a part of it, so that clients do not come together."""
LONGEST_PAUSE: Final = 8.0
LONGEST_WAIT: Final = 60.0
"""Seconds that an endpoint may ask to wait (Retry-After); what asks for more is left for now."""
LARGEST: Final = 256 * 1024
"""Bytes of an answer; a verdict has two thousand."""

Kind = TypeVar("Kind", Marks, Ballot)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question's end: the judge's words, or why there are none, and what it took."""

    said: str | Fault
    usage: Usage


class JudgeClient:
    """One endpoint. `async with` it, or `close` it."""

    def __init__(
        self,
        endpoint: JudgeEndpoint,
        draw: Callable[[], float],
        budget: Budget | None = None,
        breaker: Breaker | None = None,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """`draw`: uniform in [0, 1), for pauses. `budget`: may be shared; only an endpoint with prices spends. Raises SettingsError."""
        _check(endpoint)
        self.endpoint = endpoint
        self.breaker = breaker or Breaker()
        self.form = Form.SCHEMA
        """What the endpoint is known to understand."""
        self.used = Usage()
        """All tokens so far."""
        self._url = f"{endpoint.url.rstrip('/')}/chat/completions"
        self._draw, self._budget, self._clock, self._nonce = draw, budget, clock, nonce
        self._http = http if http is not None else new_http()
        self._free = asyncio.Semaphore(endpoint.concurrency)
        self._not_before = 0.0
        self._told = False

    async def __aenter__(self) -> JudgeClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()

    async def score(self, rubric: Rubric, exhibit: Exhibit) -> Score | Unscored:
        """Judge one answer. Never raises."""
        began = self._clock()
        nonce = self._nonce()
        marks, usage = await self._verdict(pointwise(rubric, exhibit, nonce), lambda text: verdicts.read_marks(rubric, text, nonce))
        seconds = self._clock() - began
        if isinstance(marks, Fault):
            return self._unscored(marks, usage, seconds)
        money = cost(self.endpoint.prices, usage)
        return Score(marks.value, marks.by_criterion, marks.reason, self.endpoint.name, usage.input, usage.output, money, seconds)

    async def prefer(self, rubric: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
        """Compare two answers, in both orders. Never raises, but ValueError where the conversations differ."""
        began = self._clock()
        (first, used), (second, also) = await asyncio.gather(self._ballot(rubric, a, b), self._ballot(rubric, b, a))
        usage, seconds = used.plus(also), self._clock() - began
        for ballot in (first, second):
            if isinstance(ballot, Fault):
                return self._unscored(ballot, usage, seconds)
        assert isinstance(first, Ballot)
        assert isinstance(second, Ballot)
        preference, by_criterion = verdicts.both_orders(first, second)
        money = cost(self.endpoint.prices, usage)
        orders = (first.preference, second.preference)
        return Comparison(preference, by_criterion, *orders, first.reason, self.endpoint.name, usage.input, usage.output, money, seconds)

    async def _ballot(self, rubric: Rubric, first: Exhibit, second: Exhibit) -> tuple[Ballot | Fault, Usage]:
        nonce = self._nonce()
        return await self._verdict(pairwise(rubric, first, second, nonce), lambda text: verdicts.read_ballot(rubric, text, nonce))

    def _unscored(self, fault: Fault, usage: Usage, seconds: float) -> Unscored:
        money = cost(self.endpoint.prices, usage)
        return Unscored(fault.kind, fault.why, self.endpoint.name, usage.input, usage.output, money, seconds)

    async def _verdict(self, prompt: Prompt, read: Callable[[str], Kind | Nonsense]) -> tuple[Kind | Fault, Usage]:
        asked = await self._ask(prompt)
        if isinstance(asked.said, Fault):
            return asked.said, asked.usage
        verdict = read(asked.said)
        if isinstance(verdict, Nonsense):
            return _nonsense(verdict.why), asked.usage
        return verdict, asked.usage

    # ---------------------------------------------------------------------------------------------------------------- many tries
    async def _ask(self, prompt: Prompt) -> _Asked:
        """Until it is answered, or no further try makes sense."""
        usage = Usage()
        said: str | Fault = ""
        for number in range(TRIES):
            async with self._free:
                await self._until_wanted()
                asked = await self._guarded(prompt)
            usage = usage.plus(asked.usage)
            fault = asked.said
            if number and isinstance(fault, Fault) and not fault.asked:
                break  # what went wrong before says more
            said = fault
            if not isinstance(fault, Fault) or not fault.again or number + 1 == TRIES:
                break
            if fault.wait is not None and fault.wait > LONGEST_WAIT:
                break
            if fault.wait is not None:  # asked of everybody who uses this endpoint
                self._not_before = max(self._not_before, self._clock() + fault.wait)
            await asyncio.sleep(max(fault.wait or 0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**number) * (0.5 + self._draw() / 2)))
        self.used = self.used.plus(usage)
        return _Asked(said, usage)

    async def _until_wanted(self) -> None:
        wait = self._not_before - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)

    async def _guarded(self, prompt: Prompt) -> _Asked:
        """One try, where breaker and budget allow it."""
        number = self.breaker.admit(self._clock())
        if number is None:
            wait = self.breaker.wait(self._clock())
            why = f"it failed so often that it is left alone for {wait:.0f} s" if wait else "it is being tried after it failed"
            return _Asked(Fault(Failing.BREAKER_OPEN, why, again=False, broken=False, asked=False), Usage())
        asked: _Asked | None = None
        try:
            asked = await self._in_budget(prompt)
        finally:
            self._heard(number, asked)
        return asked

    def _heard(self, number: int, asked: _Asked | None) -> None:
        """The breaker hears the end of each question that it let through."""
        now = self._clock()
        fault = asked.said if asked is not None else None
        if asked is None or (isinstance(fault, Fault) and not fault.asked):
            self.breaker.abandoned(number, now)
        elif isinstance(fault, Fault) and fault.broken:
            self.breaker.failed(number, now)
            if self.breaker.state is Circuit.OPEN and not self._told:
                self._told = True
                log.warning("judge %s is left alone for a while: %s", self.endpoint.name, fault.why)
        else:
            self.breaker.succeeded(number)
            if self._told and self.breaker.state is Circuit.CLOSED:
                self._told = False
                log.info("judge %s answers again", self.endpoint.name)

    async def _in_budget(self, prompt: Prompt) -> _Asked:
        """One try, or two where the endpoint turns out to know no schema."""
        form = self.form
        asked = await self._paid(prompt, form)
        if form is Form.SCHEMA and isinstance(asked.said, _RefusedForm):
            plain = await self._paid(prompt, Form.OBJECT)
            if isinstance(plain.said, Fault) and not plain.said.asked:
                return asked
            if not isinstance(plain.said, Fault):
                if self.form is Form.SCHEMA:
                    log.info("judge %s knows no JSON Schema: it is asked for plain JSON from now on", self.endpoint.name)
                self.form = Form.OBJECT
            return _Asked(plain.said, asked.usage.plus(plain.usage))
        return asked

    async def _paid(self, prompt: Prompt, form: Form) -> _Asked:
        body = request_body(self.endpoint, prompt, form)
        prices, budget = self.endpoint.prices, self._budget
        if budget is None or prices is None:
            return await self._try(body)
        reserved = estimate(prices, body)
        if not budget.reserve(time.time(), reserved):
            why = f"the budget of {budget.limit} USD in {budget.per:g} s is used up"
            return _Asked(Fault(Failing.OVER_BUDGET, why, again=False, broken=False, asked=False), Usage())
        spent = reserved  # unless better is known: what was not waited for, or tells no tokens, may well be billed
        try:
            asked = await self._try(body)
            unbilled = isinstance(asked.said, Fault) and asked.said.kind in (Failing.REFUSED, Failing.UNREACHABLE)
            spent = cost(prices, asked.usage) or (Decimal(0) if unbilled else reserved)
        finally:
            budget.settle(time.time(), reserved, spent)
        return asked

    # ------------------------------------------------------------------------------------------------------------------- one try
    async def _try(self, body: bytes) -> _Asked:
        secret = ""
        try:
            headers, secret = _headers(self.endpoint.credential)
            async with asyncio.timeout(self.endpoint.timeout):
                return await self._exchange(body, headers, secret)
        except CredentialError as error:
            why = str(error) if error.found else f"its credential cannot be read: {error.place}"
            fault = Fault(Failing.REFUSED, why, again=False, broken=False, asked=False)
        except (TimeoutError, httpx.TimeoutException):
            fault = Fault(Failing.SLOW, f"it has not answered within {self.endpoint.timeout:g} s", again=True, broken=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fault = Fault(Failing.UNREACHABLE, f"it does not answer ({type(error).__name__})", again=True, broken=True)
        return _Asked(fault, Usage())

    async def _exchange(self, body: bytes, headers: dict[str, str], secret: str) -> _Asked:
        found = bytearray()
        async with self._http.stream("POST", self._url, content=body, headers=headers, timeout=self.endpoint.timeout) as answer:
            good = answer.status_code == httpx.codes.OK
            if good and answer.headers.get("content-encoding", "identity") != "identity":
                return _Asked(_nonsense("it answers compressed, unasked"), Usage())
            async for chunk in answer.aiter_raw():
                found += chunk
                if len(found) > LARGEST:
                    if good:
                        return _Asked(_nonsense(f"it answers with more than {LARGEST >> 10} KiB"), Usage())
                    break  # the status says enough
        if answer.status_code in (400, 422):
            fault = fault_of(answer.status_code, answer.headers, bytes(found), time.time(), secret)
            return _Asked(_RefusedForm(fault.kind, fault.why, again=False, broken=False), Usage())
        if not good:
            return _Asked(fault_of(answer.status_code, answer.headers, bytes(found), time.time(), secret), Usage())
        said, usage = read_completion(bytes(found))
        return _Asked(_nonsense(said.why) if isinstance(said, Nonsense) else said, usage)


class _RefusedForm(Fault):
    """The endpoint does not take the request as it is: perhaps for its schema."""


def _nonsense(why: str) -> Fault:
    return Fault(Failing.NONSENSE, why, again=False, broken=False)


def new_http() -> httpx.AsyncClient:
    """With the proxies of the environment, as elsewhere in extproc, or without where those cannot be used."""
    try:
        return httpx.AsyncClient(follow_redirects=False)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        said = "the proxies of the environment cannot be used, judges are asked without: %s; look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY"
        log.error(said, type(error).__name__)
        return httpx.AsyncClient(follow_redirects=False, trust_env=False)


def _check(endpoint: JudgeEndpoint) -> None:
    """A URL is shown in logs: nothing secret can be in it."""
    path, hint = f"judges.{endpoint.name}", "write https://host/v1, and the key as a credential"
    try:
        parts = urlsplit(endpoint.url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    problems = []
    if not good:
        problems.append(Problem("judge.url", f"{path}.url", "is no URL of an endpoint", hint))
    elif "@" in parts.netloc or parts.query or parts.fragment:
        problems.append(Problem("judge.url", f"{path}.url", "holds a name, a query or a fragment", hint))
    if endpoint.concurrency < 1 or not 0 < endpoint.timeout < float("inf"):
        said = f"concurrency {endpoint.concurrency} with a timeout of {endpoint.timeout:g} s"
        problems.append(Problem("judge.limits", path, said, "at least 1, and more than 0 s"))
    if problems:
        raise SettingsError(problems)


def _headers(reference: Credential | None) -> tuple[dict[str, str], str]:
    """(headers, the secret in them). Raises CredentialError."""
    headers = {"accept": "application/json", "accept-encoding": "identity", "content-type": "application/json"}
    if reference is None:
        return headers, ""
    secret = read_credential(reference)
    return {**headers, reference.header: reference.prefix + secret}, secret
