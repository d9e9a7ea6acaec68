"""What a fault did to clients and to traffic, from every single answer; and the table and the picture of all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, NamedTuple

LEASE: Final = 3.0
"""Seconds: the least `watch_lease` that a Spec may ask for."""
MESSAGE_TIMEOUT: Final = 0.05
BEAT: Final = 1.0
"""Seconds between heartbeats: a fault may come right after one, or right before the next."""
SLACK: Final = 1.5
"""Seconds for what is on its way: requests that are being answered, the end of a second, a busy machine."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard, and how long."""

    rate: float = 120.0
    """Requests per second."""
    people: int = 60
    """They ask in turn: each is heard of twice a second."""
    streaming: float = 0.2
    quiet: float = 4.0
    """Seconds before and after each fault."""
    seed: int = 1


class Answer(NamedTuple):
    """One request, as its sender saw it; instants on the event loop's clock."""

    sent: float
    ended: float
    person: int
    streaming: bool
    model: str
    problem: str


@dataclass(frozen=True, slots=True)
class Done:
    """One fault that was done, and what was seen of it."""

    name: str
    what: str
    """What exactly was done."""
    withdraws: float | None
    """Seconds within which canary traffic must be on stable; None: it stays where it is, but for requests that fail open."""
    quiet_from: float
    begin: float
    end: float
    """When it began to be undone; where it mends itself, when everything was well again."""
    recovery: float
    """Seconds until everything was as before (workers, metric, canary traffic): from `end`, or from `begin` where it mends itself."""
    until: float
    metric: str
    """The line of /metrics or of Envoy's stats that says so, and"""
    status: str
    """the line of `extproc status`, as they were printed."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """A fault in numbers."""

    errors: int
    requests: int
    canary_before: float
    """Share of answers by the canary before the fault."""
    last_canary: float | None
    """Seconds from the fault to the last canary request before the traffic was on stable; None where it stays."""
    moved: int
    """Answers of stable to people who meet the canary, while it stays."""
    strangers: int
    """Answers of the canary to people who have never met it before: nobody is ever moved *to* it."""
    slowest: float
    """Seconds that the slowest request took, from the fault to the end; against the slowest of the quiet time before."""
    slowest_before: float


def figures(done: Done, answers: Sequence[Answer], canary: str) -> Figures:
    """From the answers to requests that were sent between `quiet_from` and `until`."""
    mine = [one for one in answers if done.quiet_from <= one.sent < done.until]
    before = [one for one in mine if one.sent < done.begin]
    during = [one for one in mine if one.sent >= done.begin]
    met = {one.person for one in before if one.model == canary}
    last = None
    if done.withdraws is not None:
        # Whoever is asked after the end meets the canary again: only what came before counts.
        held = [one.sent for one in during if one.model == canary and one.sent < done.end]
        last = max(held, default=done.begin) - done.begin
    return Figures(
        errors=sum(bool(one.problem) for one in mine),
        requests=len(mine),
        canary_before=len([one for one in before if one.model == canary]) / max(1, len(before)),
        last_canary=last,
        moved=sum(one.person in met and one.model != canary and not one.problem for one in during) if done.withdraws is None else 0,
        strangers=sum(one.person not in met and one.model == canary for one in during),
        slowest=max((one.ended - one.sent for one in during), default=0.0),
        slowest_before=max((one.ended - one.sent for one in before), default=0.0),
    )


def problems(done: Done, found: Figures) -> list[str]:
    """What was promised and not seen."""
    wrong = list(done.problems)
    if found.errors:
        wrong.append(f"{found.errors} clients' errors")
    if found.strangers:
        wrong.append(f"{found.strangers} answers of the canary to people who had not met it")
    if not 0.2 < found.canary_before < 0.8:
        wrong.append(f"before it, {found.canary_before:.0%} of answers were the canary's: the fault was done to nothing")
    if done.withdraws is not None and found.last_canary is not None and found.last_canary > done.withdraws:
        wrong.append(f"the canary was met until {found.last_canary:.1f} s after the fault, promised {done.withdraws:g} s")
    wrong += [f"no {what} says so" for what, line in (("metric", done.metric), ("status line", done.status)) if not line]
    return [f"{done.name}: {one}" for one in wrong]


def table(rows: Sequence[tuple[Done, Figures]]) -> list[str]:
    """Markdown: a row for each fault, then the lines that told of it."""
    lines = [
        "| fault | requests, errors | where traffic went | slowest (before) | well again after |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for done, found in rows:
        if done.withdraws is None:
            went = f"stays; {found.moved:,} canary requests failed open to stable" if found.moved else "stays, every request"
        else:
            went = f"to stable: last canary request after {found.last_canary:.1f} s (promised {done.withdraws:g})"
        slow = f"{found.slowest * 1e3:,.0f} ms ({found.slowest_before * 1e3:,.0f})"
        lines.append(f"| {done.name} | {found.requests:,}, {found.errors} | {went} | {slow} | {done.recovery:.1f} s |")
    lines += ["", "What was done, and the lines that said so:"]
    for done, _ in rows:
        lines += ["", f"**{done.name}**: {done.what}.", "", "```", done.metric, done.status, "```"]
    return lines


# --------------------------------------------------------------------------------------------------------------------- picture
WIDTH, LEFT, RIGHT, ROW, TOP = 860, 200, 16, 44, 46
SLICE = 0.5
"""Seconds of answers in one column."""


def picture(rows: Sequence[tuple[Done, Figures]], answers: Sequence[Answer], canary: str) -> str:
    """For each fault the canary's share of answers over time; the fault's own time is shaded, errors would be red."""
    longest = max(done.until - done.quiet_from for done, _ in rows)
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = TOP + ROW * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="8" y="16" font-size="13" fill="#111827">Half of the people meet the canary (blue). Shaded: the fault. '
        f"Red: clients&#8217; errors ({sum(found.errors for _, found in rows):,} of {sum(found.requests for _, found in rows):,}).</text>",
        f'<text x="8" y="32" fill="#6b7280">Columns of {SLICE:g} s; the height is the share of answers that the canary gave.</text>',
    ]
    for index, (done, _) in enumerate(rows):
        top = TOP + index * ROW
        bottom = top + ROW - 10
        x0, x1 = (LEFT + (at - done.quiet_from) * scale for at in (done.begin, done.end))
        parts.append(f'<text x="8" y="{top + 22}" fill="#111827">{escape(done.name)}</text>')
        parts.append(f'<rect x="{x0:.1f}" y="{top}" width="{max(2.0, x1 - x0):.1f}" height="{ROW - 10}" fill="#fde68a"/>')
        for column in range(int((done.until - done.quiet_from) / SLICE)):
            begin = done.quiet_from + column * SLICE
            mine = [one for one in answers if begin <= one.sent < begin + SLICE]
            if not mine:
                continue
            share = sum(one.model == canary for one in mine) / len(mine)
            failed = sum(bool(one.problem) for one in mine) / len(mine)
            x, width = LEFT + column * SLICE * scale, SLICE * scale - 0.6
            for part, colour in ((share, "#2563eb"), (failed, "#dc2626")):
                if part:
                    tall = part * (ROW - 10)
                    parts.append(f'<rect x="{x:.1f}" y="{bottom - tall:.1f}" width="{width:.1f}" height="{tall:.1f}" fill="{colour}"/>')
        parts.append(
            f'<line x1="{LEFT}" y1="{bottom}" x2="{LEFT + (done.until - done.quiet_from) * scale:.1f}" y2="{bottom}" stroke="#9ca3af"/>'
        )
    seconds = range(0, int(longest) + 1, 5)
    parts += [f'<text x="{LEFT + at * scale:.1f}" y="{height - 6}" fill="#6b7280">{at} s</text>' for at in seconds]
    return "\n".join([*parts, "</svg>", ""])
