"""postmortem-template.md: what a post-mortem of this release has, for the case that no store is left to fill it from."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.domain import Phase, Rollout, Spec
from extproc.measures import MEASURES
from extproc.plan.playbook import postmortem
from extproc.plan.playbook.glance import allowed_failures
from extproc.plan.playbook.markdown import Command, bullets, command, page, table
from extproc.plan.playbook.place import Place
from extproc.plan.playbook.questions import questions
from extproc.release.sentences import duration, margin, percent, value

_ASKED = (
    (postmortem.IMPACT, "How many requests met the canary, and how many of them failed? How many people? What did it cost?"),
    (postmortem.TIMES, "When did the phase begin, when did the first request fail, when was it decided, when was the canary last asked?"),
    (postmortem.GROWTH, "How did the share of failures rise from minute to minute?"),
    (postmortem.JOURNAL, "Who decided what, when, and for which reason?"),
    (postmortem.GATES, "What did each gate say, with which numbers, and which of them was silent?"),
    (postmortem.UNKNOWN, "Of which time is nothing known, and why?"),
)


def template(spec: Spec) -> str:
    """The whole file."""
    place = Place.of(spec)
    lines = [
        f"# Post-mortem of a release of {spec.application.name}",
        "",
        "`extproc postmortem` writes this for an attempt, with everything that was recorded; then only the questions for people are left:",
        "",
    ]
    for rollout in spec.rollouts.values():
        lines += command(Command(place.extproc("postmortem", rollout.name)))
    lines += ["Without it, answer these first.", ""]
    for title, asked in _ASKED:
        lines += [f"## {title}", "", asked, ""]
    lines += [*_limits(spec)]
    for rollout in spec.rollouts.values():
        lines += [f"# {rollout.name}", "", *questions(rollout.canary, "2")]
    return page(lines)


def _limits(spec: Spec) -> Iterator[str]:
    """What it is measured by."""
    application = spec.application
    yield from ("## What it is measured by", "")
    yield from bullets(
        (
            f"{percent(application.sla.uptime)} uptime: {allowed_failures(application):,} of {application.daily_requests:,} requests a "
            "day may fail.",
            f"A request that is open after {application.sla.latency_p99:g} s has failed; the first token is due after "
            f"{application.sla.ttft:g} s.",
            f"Without a heartbeat the canary is left after {application.watch_lease:g} s.",
            *(one for model in spec.models.values() if (one := _prices(spec, model.name))),
        )
    )
    for rollout in spec.rollouts.values():
        yield from table(
            (f"{rollout.name}, phase", "share", "dwell", "gates (margin)", "ceilings", "metrics"),
            [_row(rollout, index, phase) for index, phase in enumerate(rollout.phases)],
        )


def _prices(spec: Spec, name: str) -> str:
    prices = spec.models[name].prices
    if prices is None:
        return ""
    return (
        f"`{name}` takes ${prices.input} for a million tokens read, ${prices.cached_input} for cached ones, ${prices.output} for those "
        "written."
    )


def _row(rollout: Rollout, index: int, phase: Phase) -> tuple[str, ...]:
    shares = dict.fromkeys(percent(rollout.share_of(cohort, index)) for cohort in rollout.cohorts)
    gates = ", ".join(f"{gate.measure} ({margin(gate)})" for gate in phase.gates)
    ceilings = ", ".join(f"{one.name or one.measure} {value(MEASURES[one.measure], one.limit)}" for one in phase.ceilings)
    metrics = ", ".join(f"{one.name} {'at most' if one.more_is_worse else 'at least'} {one.bound:g}" for one in phase.metrics)
    dwell = f"{duration(phase.min_dwell)} to {duration(phase.max_dwell)}"
    return (phase.name, ", ".join(shares), dwell, gates or "none", ceilings or "none", metrics or "none")
