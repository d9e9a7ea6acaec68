"""What is released, in numbers: who meets the canary in each phase, and how long the day's error budget lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.domain import Application, Infrastructure, Phase, Rollout, Spec, taking_part
from extproc.domain.seconds import DAY
from extproc.plan.playbook.markdown import table
from extproc.plan.playbook.place import chooses_models
from extproc.plan.said import REQUESTS, all_of, many
from extproc.release.sentences import duration, percent

GLANCE: Final = "What is released"
RUNS_ON: Final = {Infrastructure.KUBERNETES: "Kubernetes", Infrastructure.CLOUD_RUN: "Cloud Run", Infrastructure.VM: "machines of its own"}


def allowed_failures(application: Application) -> int:
    """Requests of a day that may fail: what the SLA's uptime leaves."""
    return round((1.0 - application.sla.uptime) * application.daily_requests)


def met_at_most(spec: Spec, rollout: Rollout, phase: int) -> tuple[int, int]:
    """(units, requests) of an average day that meet the canary in a phase, where every unit is in the cohort with the largest share."""
    share = max(rollout.share_of(cohort, phase) for cohort in rollout.cohorts)
    there = taking_part(spec, rollout)
    return round(there.daily_units * share), round(there.daily_requests * share)


def glance(spec: Spec) -> Iterator[str]:
    """The section."""
    application, sla = spec.application, spec.application.sla
    yield from (f"## {GLANCE}", "")
    yield (
        f"`{application.name}` has {application.daily_requests:,} requests{_whose(spec)} on a usual day, on "
        f"{RUNS_ON[application.infrastructure]}, behind Envoy on port {spec.listener.port} (its admin interface: "
        f"{spec.listener.admin_port}, loopback). A request fails that is open after {sla.latency_p99:g} s; the first token is due after "
        f"{sla.ttft:g} s; {percent(sla.uptime)} uptime allows {allowed_failures(application):,} failed requests a day."
    )
    yield ""
    for rollout in spec.rollouts.values():
        yield from _rollout(spec, rollout)


def _rollout(spec: Spec, rollout: Rollout) -> Iterator[str]:
    kind = "" if chooses_models(rollout) else f" (variants of the layer `{rollout.layer}`)"
    cohorts = ", ".join(f"`{cohort.name}`" for cohort in rollout.cohorts)
    yield from (f"**{rollout.name}**: from `{rollout.stable}` to `{rollout.canary}`{kind}; cohorts {cohorts}.", "")
    met = [f"{one} a day, at most" for one in dict.fromkeys((many(rollout), REQUESTS))]
    columns = ("phase", *(cohort.name for cohort in rollout.cohorts), *met)
    rows = [_row(spec, rollout, index, phase) for index, phase in enumerate(rollout.phases)]
    yield from table((*columns, "a total failure uses up the day's allowance in", "ceilings"), rows)


def _row(spec: Spec, rollout: Rollout, index: int, phase: Phase) -> tuple[str, ...]:
    units, requests = met_at_most(spec, rollout, index)
    allowed = allowed_failures(spec.application)
    lasts = "nobody meets it" if not requests else "more than a day" if allowed >= requests else duration(allowed / requests * DAY)
    ceilings = ", ".join(one.name or one.measure for one in phase.ceilings) or "none"
    shares = tuple(percent(rollout.share_of(cohort, index)) for cohort in rollout.cohorts)
    met = (f"{requests:,}",) if many(rollout) == REQUESTS else (f"{units:,}", f"{requests:,}")
    return (phase.name, *shares, *met, lasts, ceilings)


def _whose(spec: Spec) -> str:
    word = all_of(spec)
    return "" if word == REQUESTS else f" of {spec.application.daily_units:,} {word}"
