"""cost.svg: what each part of a release costs an hour beside stable alone, and what has been saved by when. Light and dark.

Text is placed by its width as an upper estimate (0.6 of its size for a character), so that no two labels meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from extproc.cost.axis import Scale, ticks
from extproc.cost.balance import panel
from extproc.cost.given import Given
from extproc.cost.money import brief, hours
from extproc.cost.money import mark as axis_mark
from extproc.cost.reckon import Line
from extproc.cost.sheet import Sheet
from extproc.cost.svg import document, rect, rule, short, text

WIDTH: Final = 900
LEFT: Final = 250
RIGHT: Final = 150
ROW: Final = 30
TOP: Final = 118
BAR: Final = 14
LONGEST_NAME: Final = 22
"""Characters of a model or rollout: three of them fit into the title, two and two more words into the legend."""
LONGEST_PHASE: Final = 16
BALANCE: Final = 300
"""Height of the lower panel."""


def chart(sheet: Sheet, given: Given) -> str:
    """The whole SVG."""
    lines = sheet.middle.lines
    below = TOP + ROW * len(lines) + 74
    stable, canary = (short(rate.model.name, LONGEST_NAME) for rate in (sheet.stable, sheet.canary))
    body = [
        text(24, 36, f"{short(sheet.rollout, LONGEST_NAME)}: {stable} → {canary}", "title"),
        text(24, 70, "What an hour costs in each part of the release", "head"),
        *_legend(sheet),
        *_bars(lines),
        *panel(sheet, given, top=below, height=BALANCE, left=LEFT - 110, right=WIDTH - 130),
    ]
    said = f"Costs of the release of {canary}, part by part, and the balance against {stable} alone"
    return document(WIDTH, below + BALANCE + 70, said, body)


def _legend(sheet: Sheet) -> list[str]:
    """In a line of its own, under the head."""
    x, parts = 24.0, []
    entries = [("stable", short(sheet.stable.model.name, LONGEST_NAME)), ("canary", short(sheet.canary.model.name, LONGEST_NAME))]
    entries += [("judge", "judge")] if sheet.case.judge is not None else []
    for kind, name in entries:
        parts += [rect(x, 84, 11, 11, kind), text(x + 17, 94, name, "label")]
        x += 17 + 7.5 * len(name) + 24
    return [*parts, f'<line class="alone" x1="{x:.1f}" x2="{x:.1f}" y1="82" y2="97"/>', text(x + 8, 94, "stable alone", "label")]


def _bars(lines: Sequence[Line]) -> list[str]:
    """One row each: its name and time, what is paid an hour, what that is beyond stable alone in all of its time."""
    hourly = [[amount / line.span.hours for amount in (line.stable, line.canary, line.judge.usd)] for line in lines]
    alone = [(line.stable + line.canary + line.judge.usd - line.extra) / line.span.hours for line in lines]
    most = max([*(sum(row, Decimal(0)) for row in hourly), *alone], default=Decimal(0))
    marks = ticks(Decimal(0), most, 4)
    scale = Scale(Decimal(0), max(marks[-1], most), LEFT, WIDTH - RIGHT)
    bottom = TOP + ROW * len(lines)
    parts = [rule(scale(mark), TOP - 6, scale(mark), bottom, "grid") for mark in marks]
    parts += [text(scale(mark), bottom + 16, axis_mark(mark), "tick", "middle") for mark in marks]
    parts.append(text(WIDTH - 24, TOP - 12, "beyond stable alone", "tick", "end"))
    for number, (line, amounts) in enumerate(zip(lines, hourly, strict=True)):
        y, begin = TOP + ROW * number, Decimal(0)
        parts.append(text(24, y + 15, short(line.span.name, LONGEST_PHASE), "name"))
        parts.append(text(LEFT - 12, y + 15, hours(line.span.hours), "tick", "end"))
        for kind, amount in zip(("stable", "canary", "judge"), amounts, strict=True):
            parts += [rect(scale(begin), y + 4, scale(begin + amount) - scale(begin), BAR, kind)] if amount > 0 else []
            begin += amount
        parts.append(rule(scale(alone[number]), y, scale(alone[number]), y + BAR + 8, "alone"))
        parts.append(text(WIDTH - 24, y + 15, brief(line.extra), "name", "end"))
    return parts
