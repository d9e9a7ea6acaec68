"""Findings for people: grouped, ticks and crosses, a next step behind each cross. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from extproc.cli.doctor.findings import Finding, Mark

MARKS = {Mark.WELL: ("✔", "green"), Mark.NOTE: ("·", "dim"), Mark.UNSEEN: ("?", "yellow"), Mark.WRONG: ("✘", "bold red")}


def picture(findings: Sequence[Finding]) -> RenderableType:
    """All of them, and one sentence at the end."""
    parts: list[RenderableType] = []
    for topic, group in groupby(findings, key=lambda one: one.topic):
        parts.append(Text(topic, style="bold"))
        for finding in group:
            sign, style = MARKS[finding.mark]
            parts.append(Text.assemble("  ", (sign, style), " ", (finding.seen, style if finding.mark is Mark.WRONG else "")))
            if finding.do:
                parts.append(Padding(Text(f"→ {finding.do}", style="yellow" if finding.mark is Mark.WRONG else "dim"), (0, 0, 0, 6)))
    return Group(*parts, Text(), _verdict(findings))


def _verdict(findings: Sequence[Finding]) -> Text:
    wrong = sum(one.mark is Mark.WRONG for one in findings)
    unseen = sum(one.mark is Mark.UNSEEN for one in findings)
    besides = f"; {unseen} could not be looked at" if unseen else ""
    if wrong:
        things = "1 thing is" if wrong == 1 else f"{wrong} things are"
        return Text(f"✘ {things} wrong{besides}: begin with the first", style="bold red")
    return Text(f"✔ nothing is wrong{besides}", style="green")
