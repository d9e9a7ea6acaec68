"""What the dashboards show, as a table of rows, panels and queries: Grafana's and Datadog's are made of the same one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extproc import contract
from extproc.domain import Arm, Rollout, Spec
from extproc.measures import MEASURES
from extproc.plan.monitoring.series import Expression, Gauge, Quantile, Rate, Total, Where, cost, failures, mean, of

SIDES: Final = {"new": Arm.CANARY, "old": Arm.CONTROL}
"""Who is compared: control is chosen as the canary is, and is of its size up to a share of 50 %."""
QUANTILES: Final = (0.5, 0.95, 0.99)


class Unit(StrEnum):
    """Units of values, by Grafana's names."""

    NUMBER = "short"
    SHARE = "percentunit"
    SECONDS = "s"
    PER_SECOND = "reqps"
    DOLLARS = "currencyUSD"


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or one for each value of the labels that are kept."""

    legend: str
    """Grafana's: {{label}} stands for a value."""
    asked: Expression


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: Unit
    queries: tuple[Query, ...]
    why: str
    """What it shows, and what to look for."""
    number: bool = False
    """One number, and no line."""
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def rollout_rows(spec: Spec, rollout: Rollout) -> tuple[Row, ...]:
    """Everything about one rollout."""
    return (
        Row("Where it stands", tuple(_standing(spec, rollout))),
        Row(f"Old ({rollout.stable}, control) and new ({rollout.canary}, canary)", tuple(_compared(spec, rollout))),
        Row("E-values and their limits", tuple(_evidence(rollout))),
        Row("Cohorts: the canary in each", tuple(_cohorts(spec, rollout))),
    )


def overview_rows(spec: Spec) -> tuple[Row, ...]:
    """All rollouts beside each other, and extproc itself."""
    by, sla = ("rollout", "arm"), spec.application.sla
    shares = (Query("{{rollout}}", Gauge(contract.METRIC_SHARE, (), ("rollout",))),)
    statuses = (Query("{{rollout}}: {{status}}", Gauge(contract.METRIC_STATUS, (), ("rollout", "status"))),)
    requests = (Query("{{rollout}} {{arm}}", Rate(contract.METRIC_OUTCOMES, (), by)),)
    failed = (Query("{{rollout}} {{arm}}", failures((), by)),)
    pages = (Query("{{rollout}}", Gauge(contract.METRIC_PAGE, (), ("rollout",))),)
    shown = (
        Panel("Share of the canary", Unit.SHARE, shares, "Units that meet it."),
        Panel("Status", Unit.NUMBER, statuses, "1: is so."),
        Panel("Requests", Unit.PER_SECOND, requests, "Requests that ended, by arm."),
        Panel("Failures", Unit.SHARE, failed, f"The SLA leaves {1 - sla.uptime:.4g} of all requests."),
        Panel("Somebody has to look", Unit.NUMBER, pages, "1: it is held."),
    )
    return Row("Rollouts", shown), Row("extproc itself", tuple(_itself(spec)))


def _standing(spec: Spec, rollout: Rollout) -> Iterator[Panel]:
    here = of(rollout.name)
    yield Panel("Share", Unit.SHARE, (Query("share", Gauge(contract.METRIC_SHARE, here)),), "Units that meet the canary.", number=True)
    phases = ", ".join(f"{index}: {phase.name}" for index, phase in enumerate(rollout.phases, 1))
    yield Panel("Phase", Unit.NUMBER, (Query("phase", Gauge(contract.METRIC_PHASE, here)),), f"0: in none, {phases}.", number=True)
    yield Panel("Requests so far", Unit.NUMBER, _sides_total(contract.METRIC_OUTCOMES, here), _SINCE, number=True)
    failed = (*here, ("result", "=", "failed"))
    yield Panel("Failures so far", Unit.NUMBER, _sides_total(contract.METRIC_OUTCOMES, failed), _SINCE, number=True)
    if priced(spec, rollout):
        yield Panel("USD so far", Unit.DOLLARS, _sides_total(contract.METRIC_COST, here), _SINCE, number=True)
    tokens = (Query("{{model}}", Total(contract.METRIC_TOKENS, (*here, ("type", "=", "output")), ("model",))),)
    yield Panel("Output tokens so far", Unit.NUMBER, tokens, f"By the model that answered. {_SINCE}", number=True)


_SINCE: Final = "Since the controller began; old is everybody who did not meet the canary."


def _sides_total(metric: str, where: Where) -> tuple[Query, ...]:
    return (
        Query("new", Total(metric, (*where, ("arm", "=", Arm.CANARY.value)))),
        Query("old", Total(metric, (*where, ("arm", "!=", Arm.CANARY.value)))),
    )


def _compared(spec: Spec, rollout: Rollout) -> Iterator[Panel]:
    name, sla = rollout.name, spec.application.sla
    arms = (Query("{{arm}}", Rate(contract.METRIC_OUTCOMES, of(name), ("arm",))),)
    yield Panel("Requests", Unit.PER_SECOND, arms, "By arm: canary and control are of one size up to 50 %.")
    errors = tuple(Query(side, failures(of(name, arm))) for side, arm in SIDES.items())
    yield Panel("Failures", Unit.SHARE, errors, f"The SLA leaves {1 - sla.uptime:.4g} of all requests.")
    beside = tuple(
        Query(f"{side} {{{{result}}}}", Rate(contract.METRIC_OUTCOMES, (*of(name, arm), ("result", "!=", "ok")), ("result",)))
        for side, arm in SIDES.items()
    )
    yield Panel("Not answered well", Unit.PER_SECOND, beside, "Failed, throttled (429), given up by the client.")
    yield Panel("Time to the first token", Unit.SECONDS, _quantiles(contract.METRIC_TTFT, name), f"The SLA says {sla.ttft:g} s.")
    yield Panel("Latency", Unit.SECONDS, _quantiles(contract.METRIC_DURATION, name), f"The SLA says {sla.latency_p99:g} s for the p99.")
    for kind in ("input", "output"):
        typed = tuple(
            Query(side, mean(contract.METRIC_TOKEN_USAGE, (*of(name, arm), ("gen_ai_token_type", "=", kind))))
            for side, arm in SIDES.items()
        )
        yield Panel(f"{kind.capitalize()} tokens of a request", Unit.NUMBER, typed, "Means; a longer answer costs more, and takes longer.")
    if priced(spec, rollout):
        usd = tuple(Query(side, cost(of(name, arm))) for side, arm in SIDES.items())
        yield Panel("USD of a request", Unit.DOLLARS, usd, "By the Spec's prices.")
    yield from _said(spec, rollout)


def _quantiles(metric: str, name: str) -> tuple[Query, ...]:
    return tuple(
        Query(f"{side} p{share * 100:.0f}", Quantile(metric, of(name, arm), share=share))
        for share in QUANTILES
        for side, arm in SIDES.items()
    )


def _said(spec: Spec, rollout: Rollout) -> Iterator[Panel]:
    """What judges and users say, as far as a gate asks."""
    for measure in rollout.matures:
        where, title = (*of(rollout.name), ("measure", "=", measure)), measure.replace("_", " ").capitalize()
        means = (Query("{{arm}}", Gauge(contract.METRIC_RATED_MEAN, where, ("arm",))),)
        yield Panel(title, Unit.NUMBER, means, f"In this phase: {MEASURES[measure].sentence}.")
        counts = (Query("{{arm}}", Gauge(contract.METRIC_RATED, where, ("arm",))),)
        yield Panel(
            f"{measure.replace('_', ' ').capitalize()}: how many", Unit.NUMBER, counts, "Answers of this phase that were looked at."
        )
    if spec.feedback is not None:
        rates = (Query("{{arm}}", Gauge(contract.METRIC_RESPONSE_RATE, of(rollout.name), ("arm",))),)
        yield Panel("Answers that users speak of", Unit.SHARE, rates, "Arms that differ here differ in who speaks, too.")


def _evidence(rollout: Rollout) -> Iterator[Panel]:
    here = of(rollout.name)
    limit = Query("limit", Gauge(contract.METRIC_E_LIMIT, here))
    harm = Query("{{gate}}", Gauge(contract.METRIC_E_VALUE, (*here, ("null", "=", "harm")), ("gate",)))
    yield Panel("E-values of harm", Unit.NUMBER, (harm, limit), "At its limit one rolls back.", logarithmic=True)
    safe = (Query("{{gate}}", Gauge(contract.METRIC_E_VALUE, (*here, ("null", "=", "safe")), ("gate",))),)
    yield Panel("E-values of safety", Unit.NUMBER, safe, "A guardrail at 20 has shown that it is within its margin.", logarithmic=True)
    verdicts = (Query("{{gate}}: {{verdict}}", Gauge(contract.METRIC_VERDICT, here, ("gate", "verdict"))),)
    yield Panel("Verdicts", Unit.NUMBER, verdicts, "1: is so.")


def _cohorts(spec: Spec, rollout: Rollout) -> Iterator[Panel]:
    canary, by = of(rollout.name, Arm.CANARY), ("cohort",)
    yield Panel("Requests", Unit.PER_SECOND, (Query("{{cohort}}", Rate(contract.METRIC_OUTCOMES, canary, by)),), "Of the canary.")
    yield Panel("Failures", Unit.SHARE, (Query("{{cohort}}", failures(canary, by)),), "Of the canary; one cohort alone can be ill.")
    p95 = (Query("{{cohort}}", Quantile(contract.METRIC_DURATION, canary, by, share=0.95)),)
    yield Panel("Latency, p95", Unit.SECONDS, p95, "Of the canary.")
    if priced(spec, rollout):
        yield Panel("USD of a request", Unit.DOLLARS, (Query("{{cohort}}", cost(canary, by)),), "Of the canary.")


def _itself(spec: Spec) -> Iterator[Panel]:
    times = tuple(Query(f"p{share * 100:.0f}", Quantile(contract.METRIC_DECISION_SECONDS, share=share)) for share in QUANTILES)
    yield Panel("Time of a decision", Unit.SECONDS, times, "What ext_proc itself takes, from bytes to bytes.")
    yield Panel("Decisions", Unit.PER_SECOND, _one(Rate, contract.METRIC_DECISIONS, "reason"), "By reason.")
    yield Panel(
        "Shed and failed decisions",
        Unit.PER_SECOND,
        (*_one(Rate, contract.METRIC_SHED), *_one(Rate, contract.METRIC_DECISION_ERRORS)),
        "0.",
    )
    undecided = (Query("{{cluster}}", Rate(contract.METRIC_UNDECIDED, (), ("cluster",))),)
    yield Panel("Ended without a decision", Unit.PER_SECOND, undecided, "No rollout matched (no_match), or Envoy served stable.")
    ages = (
        Query("snapshot of worker {{worker}}", Gauge(contract.METRIC_SNAPSHOT_AGE, (), ("worker",))),
        Query("heartbeat of worker {{worker}}", Gauge(contract.METRIC_HEARTBEAT_AGE, (), ("worker",))),
    )
    lease = f"Over {spec.application.watch_lease:g} s without a heartbeat canary traffic goes to stable."
    yield Panel("Age of what routers know", Unit.SECONDS, ages, lease)
    lags = (*_one(Gauge, contract.METRIC_LOOP_WORST_LAG), *_one(Gauge, contract.METRIC_TICK_SECONDS))
    yield Panel("Evaluations: lag and duration", Unit.SECONDS, lags, "One begins each second.")
    yield Panel("Routers", Unit.NUMBER, _one(Gauge, contract.METRIC_ROUTERS, "state"), "Present, or silent.")
    if spec.judge is not None:
        yield Panel("The judge's questions", Unit.NUMBER, _one(Gauge, contract.METRIC_JUDGED, "end"), "Since its process began, by end.")
        yield Panel("Judging so far", Unit.DOLLARS, _one(Gauge, contract.METRIC_JUDGE_SPENT, "rollout"), "By rollout.")
    if spec.feedback is not None:
        yield Panel("Feedback", Unit.PER_SECOND, _one(Rate, contract.METRIC_FEEDBACK, "kind"), "What users say, by kind.")


def _one(kind: type[Gauge] | type[Rate], metric: str, *by: str) -> tuple[Query, ...]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by) or metric
    return (Query(legend, kind(metric, (), by)),)


def priced(spec: Spec, rollout: Rollout) -> bool:
    """What a request costs is known. In layers of variants any model may answer."""
    asked = (rollout.stable, rollout.canary) if rollout.layer == contract.MODEL_LAYER else tuple(spec.models)
    return all(spec.models[name].prices is not None for name in asked)
