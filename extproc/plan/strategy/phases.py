"""Phases with their duration, and what a canary that fails in one of them costs."""

from __future__ import annotations

from extproc.domain import Phase, Rollout, Spec
from extproc.domain.seconds import DAY
from extproc.plan.markdown import code, listed, prose, table
from extproc.plan.said import REQUESTS, lasting, many, waited
from extproc.release.plan import Assumed, PhasePlan, Plan
from extproc.release.sentences import percent


def parts(spec: Spec, rollout: Rollout, made: Plan) -> list[str]:
    """The sections about phases and about a total failure."""
    whose = () if many(rollout) == REQUESTS else (f"{many(rollout)} a day",)
    head = ("phase", "share", *whose, "canary requests a day", "asks for", "and evidence from", "at least", "at most")
    last = len(head) - 1
    pairs = list(zip(rollout.phases, made.phases, strict=True))
    found = [
        "### Phases",
        table(head, [_phase(rollout, phase, one) for phase, one in pairs], right=(*range(1, last - 3), last - 1, last)),
        *_shadow(rollout, made),
        _assumed(),
        "### If the canary fails",
        "What a canary costs that fails every request, from its first one to the rollback, on an average day.",
        table(
            ("phase", "stopped after", "in", "requests that failed", "of a day's error budget", "smallest error rate that is found"),
            [_failure(spec, rollout, one) for one in made.phases],
            right=(1, 2, 3, 4, 5),
        ),
    ]
    if made.problems:
        found += ["### What stands against it", listed(prose(f"{one.path}: {one.message}: {one.hint}") for one in made.problems)]
    return found


def _shadow(rollout: Rollout, made: Plan) -> list[str]:
    """Before the first phase; nothing where there is no shadow."""
    shadow = rollout.shadow
    if shadow is None:
        return []
    judged = f", of which the judge has compared {shadow.min_judged:,}" if shadow.min_judged else ""
    bound = f", or once its copies have cost ${shadow.per_release:,.2f}" if shadow.per_release is not None else ""
    return [
        f"Before it a shadow: the requests of {percent(shadow.share)} of the {many(rollout)} who take part in the first phase are copied "
        f"to the canary, and nobody gets its answers. It takes {lasting(made.shadow)} at least, for {shadow.min_pairs:,} pairs{judged}; it "
        f"ends the attempt after {lasting(shadow.max_dwell)} without them{bound}."
    ]


def _assumed() -> str:
    """What the numbers rest on."""
    assumed = Assumed()
    return (
        f"Expected where the canary is as good as stable, {percent(assumed.errors)} of stable's requests fail, and the logarithm of "
        f"latencies and costs has a standard deviation of {assumed.spread:g}. What traffic says in truth decides, not this table."
    )


def _phase(rollout: Rollout, phase: Phase, one: PhasePlan) -> tuple[str, ...]:
    slowest = max(one.gates, key=lambda gate: gate.units or float("inf"), default=None)
    evidence = "ceilings alone" if one.share >= 1 else "no guardrail"
    if slowest is not None:
        units = "more than anybody has" if slowest.units is None else f"{slowest.units:,}"
        evidence = f"{units} {many(rollout)} ({code(slowest.measure)})"
    least = {REQUESTS: phase.min_requests}
    least[many(rollout)] = max(phase.min_units, least.get(many(rollout), 0))
    asked = ", ".join([lasting(phase.min_dwell), *(f"{number:,} {what}" for what, number in reversed(least.items()))])
    numbers = [f"{one.requests:,.0f}"] if many(rollout) == REQUESTS else [f"{one.units:,.0f}", f"{one.requests:,.0f}"]
    return prose(one.name), percent(one.share), *numbers, asked, evidence, waited(one.seconds), lasting(phase.max_dwell)


def _failure(spec: Spec, rollout: Rollout, one: PhasePlan) -> tuple[str, ...]:
    smallest = "-" if one.smallest is None else f"{one.smallest:.2%}"
    if one.failures is None or one.found_after is None:
        why = "not compared: ceilings" if one.share >= 1 else "never: too few"
        return prose(one.name), why, "-", "-", "-", smallest
    # As many as fail until it is found, and at least those that it takes.
    failed = max(float(one.failures), one.requests / DAY * one.found_after)
    budget = (1 - spec.application.sla.uptime) * spec.application.daily_requests
    after = f"{one.failures} {many(rollout)}"
    return prose(one.name), after, lasting(one.found_after), f"{failed:,.0f}", f"{failed / budget:.2%}", smallest
