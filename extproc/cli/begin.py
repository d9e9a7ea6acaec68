"""What `init` asks, and the Spec that it writes from the answers."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer

from extproc.domain import ApplicationType, Gate, Infrastructure, Phase
from extproc.errors import Problem, SettingsError
from extproc.measures import ERRORS, MEASURES

if TYPE_CHECKING:
    from extproc.plan.proposal import Proposal

Word = TypeVar("Word", bound=StrEnum)


class Hosting(StrEnum):
    """Who runs the models."""

    CLOUD = "cloud"
    SELF_HOSTED = "self-hosted"


@dataclass(frozen=True, slots=True)
class Given:
    """What was said; None: the default."""

    application: str | None = None
    kind: ApplicationType | None = None
    stable: str | None = None
    canary: str | None = None
    daily_requests: int | None = None
    daily_units: int | None = None
    latency_p99: str | None = None
    ttft: str | None = None
    uptime: str | None = None
    infrastructure: Infrastructure | None = None
    hosting: Hosting | None = None


NAME, STABLE, CANARY = "chat", "gpt-4o", "gpt-5-mini"
REQUESTS: Final = 2_000_000
EACH: Final = 40
"""Requests of a user on a day."""
LATENCY, UPTIME = "8s", "99.9%"
FIRST_TOKEN: Final = 0.25
"""Of the whole latency."""
CEILING: Final = 0.75
"""Of the promised p99: where the p95 may be at most."""
LAST_ERRORS: Final = "2%"
"""Ceiling at 100%, where nobody is left to compare with."""
WIDTH: Final = 134
"""Characters of a comment's line."""
_SLOT: Final = re.compile(r"\{\{(\w+)(?::(\d+))?\}\}")
"""`{{name}}`, or `{{name:29}}`: padded, so that comments stand below each other."""
COMPARED: Final = """\
    # Compared with stable in every phase: errors, latency, time to first token, and cost, {prices}. A `gates:` block
    # here or in a phase says it otherwise; docs/gates.md has every measure, its margin and what a verdict does.
"""
BY_USER: Final = """\
    unit:
      kind: user
      sources:                                  # tried in order
        - header: x-user-id
        - api_key: authorization                # hashed before it is used
        - cookie: llm_uid                       # Envoy sets it for the anonymous
"""
BY_REQUEST: Final = """\
    unit: request                               # each is drawn anew; `user` keeps people on one side
"""
CLOUD: Final = """\
  {stable}:
    endpoint: {{host: api.openai.com, port: 443, tls: true}}
    credential: {{env: OPENAI_API_KEY}}           # by reference: the key itself is never in this file
    prices: {{input: $2.50, cached_input: $1.25, output: $10.00}}
  {canary}:
    endpoint: {{host: api.openai.com, port: 443, tls: true}}
    credential: {{env: OPENAI_CANARY_API_KEY}}
    send_model: {canary}                      # written into the body of canary requests; all other bodies stay as they are
    prices: {{input: $0.25, cached_input: $0.025, output: $2.00}}
"""
SELF_HOSTED: Final = """\
  {stable}:
    endpoint: {{host: {stable}.{domain}, port: 8000}}
  {canary}:
    endpoint: {{host: {canary}.{domain}, port: 8000}}
    send_model: {canary}                      # written into the body of canary requests; all other bodies stay as they are
"""
DOMAINS: Final = {Infrastructure.KUBERNETES: "models.svc.cluster.local"}


def asked() -> Given:
    """Answers of whoever sits at the terminal; Enter takes the default, and what cannot be is asked again."""
    from extproc.spec import units

    kind = _choice("What does the application do", ApplicationType.CHATBOT)
    stable = typer.prompt("The model that serves today", default=STABLE)
    canary = typer.prompt("The model that shall serve", default=CANARY)
    requests = typer.prompt("LLM requests on a usual day", default=REQUESTS, value_proc=_count)
    people = typer.prompt("Distinct users on a usual day", default=_usual_units(requests), value_proc=_count)
    latency = typer.prompt("Latency P99: 99 of 100 requests end within", default=LATENCY, value_proc=_written(units.duration))
    uptime = typer.prompt("Uptime: requests that must succeed", default=UPTIME, value_proc=_written(units.share))
    infrastructure = _choice("Where do Envoy and extproc run", Infrastructure.KUBERNETES)
    hosting = _choice("The models: a vendor's cloud, or self-hosted", Hosting.CLOUD)
    return Given(None, kind, stable, canary, requests, people, latency, None, uptime, infrastructure, hosting)


def _choice(question: str, default: Word) -> Word:
    words = type(default)

    def read(text: str) -> Word:
        try:
            return words(text.strip().lower())
        except ValueError as error:
            raise typer.BadParameter(f"one of {', '.join(words)}") from error

    found: Word = typer.prompt(f"{question} ({', '.join(words)})", default=default.value, value_proc=read)
    return found


def _count(text: str) -> int:
    digits = str(text).replace(",", "").replace("_", "").strip()
    if not digits.isdecimal() or not int(digits):
        raise typer.BadParameter("a whole number above 0")
    return int(digits)


def _written(read: Callable[[Any], float]) -> Callable[[str], str]:
    """The text itself, where it can be read."""

    def proc(text: str) -> str:
        try:
            read(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        return text.strip()

    return proc


def _usual_units(requests: int) -> int:
    return max(1, requests // EACH)


def begun(given: Given) -> tuple[str, tuple[str, ...]]:
    """The Spec's text, and what of it is unusual; raises SpecError where an answer cannot be, SettingsError where no phases can."""
    from extproc import spec
    from extproc.plan.proposal import propose

    requests = given.daily_requests or REQUESTS
    people = given.daily_units or _usual_units(requests)
    if people > requests:
        message = f"{people:,} users, and {requests:,} requests"
        raise SettingsError(Problem("settings.units", "--daily-units", message, "count those who make at least one request a day"))
    if (given.stable or STABLE) == (given.canary or CANARY):
        message = f"stable and canary are both {given.canary or CANARY!r}"
        raise SettingsError(Problem("settings.same-model", "--canary", message, "a rollout goes from one model to another"))
    values = _values(given, requests, people)
    loaded = spec.load(_filled(values | _usual()))
    (rollout,) = loaded.rollouts.values()
    proposal = propose(loaded.application, rollout)
    if proposal is None:
        message = f"with {requests:,} requests a day not even a canary that always fails can be told from chance"
        hint = "compare the models offline (extproc judge), and move everybody at once"
        raise SettingsError(Problem("settings.too-little-traffic", "--daily-requests", message, hint))
    return _filled(values | _proposed(proposal, str(values["latency_p95"]))), proposal.lost


def _values(given: Given, requests: int, people: int) -> dict[str, object]:
    """Slot -> what goes there, the phases apart."""
    stable, canary = given.stable or STABLE, given.canary or CANARY
    latency, infrastructure = given.latency_p99 or LATENCY, given.infrastructure or Infrastructure.KUBERNETES
    hosted = given.hosting is Hosting.SELF_HOSTED
    models = SELF_HOSTED if hosted else CLOUD
    prices = "as soon as both models have prices" if hosted else "since both models have prices"
    return {
        "application": given.application or NAME,
        "type": given.kind or ApplicationType.CHATBOT,
        "daily_requests": requests,
        "daily_units": people,
        "units": "users on a usual day",
        "latency_p99": latency,
        "latency_p95": _part(latency, CEILING, "--latency-p99"),
        "ttft": given.ttft or _part(latency, FIRST_TOKEN, "--latency-p99"),
        "uptime": given.uptime or UPTIME,
        "infrastructure": infrastructure,
        "stable": stable,
        "canary": canary,
        "models": models.format(stable=stable, canary=canary, domain=DOMAINS.get(infrastructure, "models.internal")),
        "compared": COMPARED.format(prices=prices),
    }


def _part(latency: str, part: float, option: str) -> str:
    from extproc.spec import units

    try:
        return f"{units.duration(latency) * part:.6g}s"
    except ValueError as error:
        raise SettingsError(Problem("settings.duration", option, f"{latency!r} {error}", "such as 8s or 1m30s")) from error


def _filled(values: dict[str, object]) -> str:
    text = resources.files("extproc.spec").joinpath("template.yaml").read_text(encoding="utf-8")
    return _SLOT.sub(lambda slot: str(values[slot[1]]).ljust(int(slot[2] or 0)), text)


# ---------------------------------------------------------------------------------------------------------------------- phases
def _usual() -> dict[str, object]:
    """Phases that say nothing yet: what the planner proposes takes their place."""
    return {"unit": BY_USER, "approval": "", "phases": "    phases:\n      - {share: 50%}\n      - {share: 100%}\n"}


def _proposed(proposal: Proposal, p95: str) -> dict[str, object]:
    if proposal.approval_above >= 1:
        approval = f"    {'# approval_above: 25%':<44}# larger shares wait for `extproc promote`"
    else:
        approval = f"{f'    approval_above: {_share(proposal.approval_above)}':<48}# larger shares wait for `extproc promote`"
    return {
        "daily_units": proposal.application.daily_units,
        "units": "units on a usual day: each request is one, see `unit`" if proposal.by_request else "users on a usual day",
        "unit": BY_REQUEST if proposal.by_request else BY_USER,
        "approval": f"{approval}\n",
        "phases": "\n".join([*_comments(proposal.lost), "    phases:", *_phases(proposal.phases, p95)]) + "\n",
    }


def _comments(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from (f"    # {line}" for line in textwrap.wrap(sentence, WIDTH, break_on_hyphens=False))


def _phases(phases: tuple[Phase, ...], p95: str) -> Iterator[str]:
    for index, phase in enumerate(phases):
        written = f"share: {_share(phase.share)}, min_dwell: {_time(phase.min_dwell)}, max_dwell: {_time(phase.max_dwell)}"
        written += f", min_units: {phase.min_units}"
        if phase.share >= 1:
            written += f", ceilings: {{errors: {LAST_ERRORS}, latency_p95: {p95}}}"
        gates = [said for gate in phase.gates if (said := _gate(index, gate))]
        if not gates or phase.share >= 1:
            yield f"      - {{{written}}}"
            continue
        yield from (f"      {'-' if not number else ' '} {part}" for number, part in enumerate(written.split(", ")))
        yield "        gates:                                  # the whole list of this phase"
        for gate in phase.gates:
            yield f"          {gate.measure}: {{{_gate(index, gate) or _harm(gate)}}}"


def _gate(index: int, gate: Gate) -> str:
    """What of a gate is not the measure's default for a phase with this index, that of the first list apart."""
    measure = MEASURES[gate.measure]
    parts = [f"margin: {_share(gate.margin)}"] if gate.margin != measure.margin(index) else []
    if gate.guardrail is False and gate.measure in (ERRORS.name, "latency_mean", "cost"):
        parts.append("guardrail: false")
    return ", ".join(parts)


def _harm(gate: Gate) -> str:
    return "guardrail: false" if gate.guardrail is False and MEASURES[gate.measure].guardrail else ""


def _share(share: float) -> str:
    from extproc.spec.units import show_share

    return show_share(share)


def _time(seconds: float) -> str:
    """`30m`, `24h`, `6d`."""
    if seconds < 3600:
        return f"{math.ceil(seconds / 60)}m"
    hours = math.ceil(seconds / 3600)
    return f"{hours}h" if hours <= 72 else f"{math.ceil(hours / 24)}d"
