"""People who use an LLM application through Envoy: locust's side of the load test.

With the web page:   locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 --spec envoy/release.yaml --phase 25%
Headless:            the same with --headless --users 200 --spawn-rate 100 --run-time 60s
Everything at once, processes included: python loadtest/run.py

Each locust user is a seat. A person sits down, asks one to four questions with pauses to read and think, and makes room for the next,
so that a few hundred seats see thousands of people. Each person keeps an id (or, if anonymous, a cookie), a tier and a client address,
sent as `x-forwarded-for`, which Envoy believes where the Spec's listener says `trusted_hops: 1`. At the end the split per cohort and
the latency per arm are printed and written to --report; the exit code is 1 if a request failed or a split does not hold.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from random import Random
from typing import Any

import gevent
from locust import FastHttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from observations import CohortRule, Observations, cohort_of
from report import markdown, write

from extproc import spec as spec_room
from extproc.demo.population import Person, answering_model, population, request_body
from extproc.domain import Cohort, Rollout, Spec

DONE = b"data: [DONE]\n\n"
PATH = "/v1/chat/completions"
PIECE = 64
"""Bytes read at a time from a stream: less than its first event, so that the first read is the first token."""
STREAMING = 0.25
RANDOM = Random()


class Plan:
    """What to send and what to expect, read from the Spec."""

    def __init__(self, options: Any) -> None:
        spec = spec_room.read(options.spec)
        rollout = _rollout(spec, options.rollout)
        canary = spec.models[rollout.canary]
        phases = [phase.name for phase in rollout.phases]
        if options.phase and options.phase not in phases:
            raise SystemExit(f"--phase {options.phase}: rollout {rollout.name} has the phases {', '.join(phases)}")
        self.tier_header, self.geo_header = spec.identity.tier_header, spec.identity.country_header
        self.rules = [_rule(cohort, (self.tier_header, self.geo_header)) for cohort in rollout.cohorts]
        self.country_header = self.geo_header if spec.listener.geoip is None else None
        self.user_header = next((source.name for source in rollout.unit.sources if source.kind == "header"), None)
        self.ask_for = options.ask_for or next(iter(rollout.match.models), rollout.stable)
        self.people = itertools.cycle(population(options.people, options.people_seed, options.anonymous))
        at = phases.index(options.phase) if options.phase else None
        shares = {cohort.name: min(cohort.shares[at], 1 - rollout.holdback) for cohort in rollout.cohorts} if at is not None else None
        self.observations = Observations(shares, canary.send_model or rollout.canary)
        self.settings = {"rollout": rollout.name, "phase": options.phase or "moving", "people": options.people, "seed": options.people_seed}

    def headers(self, person: Person, cookie: str) -> dict[str, str]:
        """What this person's browser, and the gateway in front of Envoy, send."""
        headers = {"content-type": "application/json", "x-forwarded-for": person.address, self.tier_header: person.tier}
        if self.country_header is not None:
            headers[self.country_header] = person.country
        if person.id and self.user_header is not None:
            headers[self.user_header] = person.id
        if cookie:
            headers["cookie"] = cookie
        return headers

    def cohort(self, person: Person) -> str:
        """Where this person belongs."""
        return cohort_of(self.rules, {self.tier_header: person.tier, self.geo_header: person.country})


def _rollout(spec: Spec, name: str) -> Rollout:
    if name and name not in spec.rollouts:
        raise SystemExit(f"--rollout {name}: the Spec has {', '.join(spec.rollouts)}")
    return spec.rollouts[name] if name else next(iter(spec.rollouts.values()))


def _rule(cohort: Cohort, headers: tuple[str, str]) -> CohortRule:
    rule = CohortRule(cohort.name, cohort.selector, cohort.exclude)
    if not rule.understood(headers):
        raise SystemExit(f"cohort {cohort.name}: the load test knows cohorts by tier and country only")
    return rule


class Talker(FastHttpUser):
    """One seat."""

    wait_time = between(0.2, 1.2)  # type: ignore[no-untyped-call]
    network_timeout = 30.0
    connection_timeout = 5.0
    plan: Plan

    @task
    def conversation(self) -> None:
        """One person's visit."""
        person = next(self.plan.people)
        cookie = ""
        for turn in range(RANDOM.randint(1, 4)):
            if turn:
                gevent.sleep(self.wait_time())
            cookie = self.ask(person, cookie) or cookie

    def ask(self, person: Person, cookie: str) -> str:
        """One question; returns the cookie that was set, if one was."""
        stream = RANDOM.random() < STREAMING
        body = request_body(self.plan.ask_for, stream, RANDOM.choice((8, 20, 60)))
        begin = time.perf_counter()
        headers = self.plan.headers(person, cookie)
        with self.client.post(
            PATH, data=body, headers=headers, name="stream" if stream else "json", stream=stream, catch_response=True
        ) as response:
            first_token, answer = self._read(response, stream, begin)
            seconds = time.perf_counter() - begin
            response.request_meta["response_time"] = seconds * 1000
            response.request_meta["response_length"] = len(answer)
            problem = _problem(response, answer, stream)
            if problem:
                self.plan.observations.failed(problem)
                response.failure(problem)
                return ""
            response.success()
        known = person.id or cookie
        self.plan.observations.good(self.plan.cohort(person), known, answering_model(answer), seconds, first_token)
        return str(response.headers.get("set-cookie", "") or "").partition(";")[0]

    @staticmethod
    def _read(response: Any, stream: bool, begin: float) -> tuple[float | None, bytes]:
        if not stream or not response.status_code:
            return None, response.content or b""
        pieces = response.iter_content(PIECE, decode_content=False)
        first = next(pieces, b"")
        first_token = time.perf_counter() - begin
        return first_token, first + b"".join(pieces)


def _problem(response: Any, answer: bytes, stream: bool) -> str:
    if not response.status_code:
        return f"no answer: {getattr(response, 'error', 'connection closed')}"
    if response.status_code != 200:
        return f"status {response.status_code}"
    if stream and not answer.endswith(DONE):
        return "broken stream"
    return ""


# --------------------------------------------------------------------------------------------------------------------- the run
@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--spec", default="envoy/release.yaml", help="The Spec that Envoy was rendered from")
    parser.add_argument("--rollout", default="", help="Which rollout; default: the Spec's first")
    parser.add_argument("--phase", default="", help="The phase that is served, such as 25%%; empty: it moves, and no split is asked for")
    parser.add_argument(
        "--ask-for", default="", help="The model that requests name; default: the rollout's first match, or its stable model"
    )
    parser.add_argument("--people", type=int, default=20_000, help="How many people there are")
    parser.add_argument("--people-seed", type=int, default=1, help="Another seed is another crowd")
    parser.add_argument("--anonymous", type=float, default=0.02, help="Share of people without an id")
    parser.add_argument("--report", default="loadtest/reports", help="Directory of the reports")
    parser.add_argument("--report-name", default="", help="Their name, then not printed here; default: the time")


@events.init.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner | WorkerRunner):
        raise SystemExit("this load test counts people in one process: run it without --master, --worker and --processes")
    if environment.parsed_options is not None:
        Talker.plan = Plan(environment.parsed_options)
        RANDOM.seed(environment.parsed_options.people_seed)


@events.quitting.add_listener
def _end(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if options is None:
        return
    if environment.runner is not None:
        environment.runner.stop()  # where a signal ends the web page: requests under way are finished and counted
    results = {**Talker.plan.observations.results(), "settings": Talker.plan.settings}
    name = options.report_name or time.strftime("%Y%m%d-%H%M%S")
    path = write(Path(options.report), name, results)
    if not options.report_name:
        print(markdown(name, results) + f"\nwritten to {path}")
    environment.process_exit_code = 1 if results["problems"] else 0
