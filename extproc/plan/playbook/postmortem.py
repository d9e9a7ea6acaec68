"""A post-mortem, filled from what was written while it happened: Journal, list of exposures, Spec. What no record knows is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from extproc.domain import Action, JournalEntry, Rollout, RolloutState, Spec, Status
from extproc.plan.markdown import prose
from extproc.plan.playbook.attempts import ending
from extproc.plan.playbook.findings import findings
from extproc.plan.playbook.glance import allowed_failures
from extproc.plan.playbook.impact import Cell, Impact
from extproc.plan.playbook.markdown import bullets, page, table
from extproc.plan.playbook.questions import questions
from extproc.release.sentences import percent

IMPACT = "Impact"
TIMES = "When"
GROWTH = "How it grew"
JOURNAL = "What was decided, by whom"
GATES = "What each gate saw"
UNKNOWN = "What is not known"


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything that is known of one attempt."""

    spec: Spec
    rollout: Rollout
    state: RolloutState
    """Where it stands now."""
    attempt: int
    entries: tuple[JournalEntry, ...]
    """Lines of the Journal of this attempt, oldest first."""
    impact: Impact
    units: int
    """Distinct ones that met the canary."""
    open: int
    """Requests of which no end was heard of."""
    undecided: int
    """Requests that the canary answered and nobody had decided."""
    gaps: tuple[str, ...]
    """What is missing in the list of exposures, as sentences."""
    as_of: float
    """Up to when that list goes (Unix seconds)."""
    partial: tuple[str, ...] = ()
    """Other controllers' lists that are not in it, as sentences."""


def postmortem(one: Incident, now: float) -> str:
    """The whole text, Markdown."""
    end = ending(one.entries)
    lines = [f"# Post-mortem: {one.rollout.name}, attempt {one.attempt}", ""]
    lines += [
        f"`{one.spec.application.name}`, from `{one.rollout.stable}` to `{one.rollout.canary}`. Made at {moment(now)} from the Journal "
        f"and the list of exposures up to {moment(one.as_of)}; Spec {one.spec.digest}. All times are UTC.",
        "",
        *_short(one, end),
        *_impact(one),
        *_times(one, end),
        *_grown(one),
        *_journal(one),
        f"## {GATES}",
        "",
        *(line for entry in reversed(one.entries) for line in _seen(entry)),
        *_unknown(one),
        *questions(one.rollout.canary, str(one.attempt + 1)),
    ]
    return page(lines)


def moment(seconds: float) -> str:
    """`2026-11-28 10:12:03.4`, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-5]


def _after(seconds: float) -> str:
    return f"{seconds:,.1f} s" if abs(seconds) < 120 else f"{seconds / 60:,.1f} min" if abs(seconds) < 7200 else f"{seconds / 3600:,.1f} h"


def _actor(entry: JournalEntry) -> str:
    return "extproc itself" if entry.actor == "extproc" else prose(entry.actor)


# ---------------------------------------------------------------------------------------------------------------------- in short
_ENDED: Mapping[Action, str] = {
    Action.ROLL_BACK: "was rolled back",
    Action.RETURN: "was returned to an earlier phase",
    Action.ROLL_BACK_COHORT: "was taken from one cohort",
}


def _short(one: Incident, end: JournalEntry | None) -> Iterator[str]:
    whole = one.impact.together()
    if end is None:
        yield f"Nothing of this attempt was taken back: it is {one.state.status.value.replace('_', ' ')}."
    else:
        before = end.numbers.get("from", {})
        at = "its shadow" if before.get("status") == Status.SHADOW else f"phase {before.get('phase', '')}"
        cohort = f" ({end.numbers['cohort']})" if end.action is Action.ROLL_BACK_COHORT else ""
        yield f"**{one.rollout.name} {_ENDED[end.action]}{cohort} at {moment(end.at)}, in {at}, by {_actor(end)}: {prose(end.why)}.**"
    yield ""
    yield (
        f"{whole.requests:,} requests of {one.units:,} {one.rollout.unit.kind}s met `{one.rollout.canary}`, and {whole.failed:,} of "
        f"them failed. It is {one.state.status.value.replace('_', ' ')} now."
    )
    yield ""
    if one.partial:
        yield "**All numbers of requests, users and money here are partial: other controllers have led, and their lists are not in them.**"
        yield ""
        yield from bullets([f"{prose(said)}." for said in one.partial])


# ------------------------------------------------------------------------------------------------------------------------ impact
def _impact(one: Incident) -> Iterator[str]:
    whole, application = one.impact.together(), one.spec.application
    allowed = allowed_failures(application)
    yield from (f"## {IMPACT}", "")
    rows = [
        ("requests that met the canary", f"{whole.requests:,}"),
        ("of them failed", f"{whole.failed:,} ({_part(whole.failed, whole.requests)})"),
        (f"{one.rollout.unit.kind}s that met it", f"{one.units:,} ({_part(one.units, application.daily_units)} of those of a usual day)"),
        (
            "the day's allowance of failures",
            f"{allowed:,} ({percent(application.sla.uptime)} uptime of {application.daily_requests:,} requests); used: "
            f"{_part(whole.failed, allowed)}",
        ),
        *_money(one),
    ]
    yield from table(("what", "how much"), rows)
    for title, place in (("phase", 1), ("cohort", 2)):
        yield from table(
            (title, "requests", "failed", "share", "first", "last"),
            [(prose(name) or "nobody decided", *_cell(cell)) for name, cell in one.impact.by(place).items()],
        )


def _part(number: int, of: int) -> str:
    return f"{number / of:.2%}" if of else "-"


def _cell(cell: Cell) -> tuple[str, ...]:
    return f"{cell.requests:,}", f"{cell.failed:,}", _part(cell.failed, cell.requests), moment(cell.first), moment(cell.last)


def _money(one: Incident) -> Iterator[tuple[str, str]]:
    impact = one.impact
    if not impact.priced:
        yield "money", "unknown: no answer told its tokens, or the model has no prices in the Spec"
        return
    of = f"{impact.priced:,} answers that told their tokens"
    yield "money for the answers", f"${impact.spent:.4f} ({of})"
    if impact.stable is not None:
        more = impact.spent - impact.instead
        said = "more than" if more > 0 else "less than" if more < 0 else "as much as"
        amount = f"${abs(more):.4f} {said}" if more else said
        yield f"compared with {one.rollout.stable}", f"{amount} ${impact.instead:.4f} that it would have taken for as many tokens"


# ------------------------------------------------------------------------------------------------------------------------- times
def _times(one: Incident, end: JournalEntry | None) -> Iterator[str]:
    visit, begun = one.impact.of_visit(), [entry for entry in one.entries if entry.action is Action.START]
    rows: list[tuple[str, str, str]] = []
    if begun:
        rows.append(("the attempt began", moment(begun[0].at), ""))
    if visit.requests:
        rows.append(("first request of the canary in the phase", moment(visit.first), ""))
    failed = visit.first_failed if visit.failed else None
    if failed is not None:
        rows.append(("first failed one of that phase", moment(failed), ""))
    if end is not None:
        detected = f"{_after(end.at - failed)} after the first failure" if failed is not None else "no request of that phase had failed"
        rows.append((f"decided ({_actor(end)})", moment(end.at), detected))
        last = one.impact.together(end.generation, end.numbers.get("cohort")).last
        if last:
            rows.append(("last request of the canary", moment(last), _reaction(last - end.at)))
    yield from (f"## {TIMES}", "")
    yield from table(("what", "when", "detection and reaction"), rows)
    yield "A canary fails now and then without being bad: when it began is in the rows below. Starts of requests are by Envoy's clock."
    yield ""


def _reaction(seconds: float) -> str:
    return f"{_after(seconds)} after the decision" if seconds > 0 else f"none after the decision ({_after(-seconds)} before it)"


def _grown(one: Incident) -> Iterator[str]:
    rows = one.impact.grown()
    if rows:
        yield from (f"## {GROWTH}", "", "By the start of requests, in the phase in which it was decided:", "")
        yield from table(
            ("from", "requests", "failed", "share"),
            [(moment(second), f"{requests:,}", f"{failed:,}", _part(failed, requests)) for second, requests, failed in rows],
        )


# ----------------------------------------------------------------------------------------------------------------------- journal
def _journal(one: Incident) -> Iterator[str]:
    yield from (f"## {JOURNAL}", "")
    start = one.entries[0].at
    rows = [
        (
            moment(entry.at),
            f"+{_after(entry.at - start)}",
            _what(entry),
            _share(entry.numbers),
            _actor(entry),
            str(entry.generation),
            prose(entry.why),
        )
        for entry in one.entries
    ]
    yield from table(("at", "after", "what", "share", "by", "generation", "why"), rows)


def _what(entry: JournalEntry) -> str:
    there, said = entry.numbers.get("to"), entry.action.value.replace("_", " ")
    if entry.action is Action.ROLL_BACK_COHORT:
        return f"{said} {entry.numbers.get('cohort', '')}"
    return f"{said}: {there['status'].replace('_', ' ')}, {there['phase']}" if there else said


def _share(numbers: Mapping[str, Any]) -> str:
    return percent(float(numbers["share"])) if "share" in numbers else ""


def _seen(entry: JournalEntry) -> Iterator[str]:
    made = findings(entry.numbers.get("findings") or ())
    if made:
        yield from (f"At {moment(entry.at)}, when it was decided: {_what(entry)}.", "", *made)


def _unknown(one: Incident) -> Iterator[str]:
    said = [f"{prose(gap)}." for gap in one.gaps]
    if one.open:
        said.append(f"Of {one.open:,} requests no end was heard of.")
    if one.undecided:
        said.append(f"{one.undecided:,} requests were answered by the canary without a decision: of whom, nobody knows.")
    yield from (f"## {UNKNOWN}", "")
    yield from bullets(said or ["No gap is known in the list of those who met the canary."])
