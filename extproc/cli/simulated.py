"""Simulated releases as a picture: a table of rules side by side, and the paths of the e-values against their limit. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.release.simulate import Row, Run, World
from extproc.release.simulate.full import OURS as OURS_FULL
from extproc.release.simulate.plain import OURS as OURS_PLAIN

WIDTH: Final = 72
HEIGHT: Final = 12
MARKS: Final = " ·:+*#"
"""By how many of the drawn releases pass through a cell."""


def table(rows: Sequence[Row], harmful: bool) -> RenderableType:
    """One line for each rule: what it did, and how soon."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    made.add_column("rule")
    for column in ("missed" if harmful else "rolled back, wrongly", "median requests", "of the canary"):
        made.add_column(column, justify="right")
    for row in rows:
        wrong = 1 - row.share if harmful else row.share
        style = "bold" if row.rule in (OURS_FULL, OURS_PLAIN) else "dim"
        counts = ("-", "-") if row.requests is None or row.canary is None else (f"{row.requests:,.0f}", f"{row.canary:,.0f}")
        made.add_row(Text(row.rule, style=style), Text(f"{wrong:.1%}", style="red" if wrong > 0.05 else "green"), *counts)
    return made


def seconds(runs: Sequence[Run]) -> str:
    """How long rollbacks took, and which gates saw it."""
    found = sorted(run.seconds for run in runs if run.seconds is not None)
    if not found:
        return "no release was rolled back"
    gates = Counter(gate for run in runs for gate in run.gates)
    by = ", ".join(f"{gate} {count:,}" for gate, count in gates.most_common(6))
    worst = found[math.ceil(0.95 * len(found)) - 1]
    return f"rolled back after {median(found):.0f} s (p95 {worst:.0f} s) from the fault; gates that failed then: {by}"


def paths(runs: Sequence[Run], world: World, limit: float) -> RenderableType:
    """ln E of all comparisons together, over time: the darker, the more releases pass there; the limit is the line on top."""
    drawn = [run.path for run in runs if run.path]
    if not drawn:
        return Text()
    longest = max(path[-1][0] for path in drawn)
    top, low = limit * 1.15, -limit * 0.4
    cells = [[0] * WIDTH for _ in range(HEIGHT)]
    for path in drawn:
        for column in range(WIDTH):
            at = (column + 0.5) / WIDTH * longest
            value = next((log_e for moment, log_e in path if moment >= at), None)
            if value is not None:
                place = int((top - min(max(value, low), top - 1e-9)) / (top - low) * HEIGHT)
                cells[min(place, HEIGHT - 1)][column] += 1
    line = min(HEIGHT - 1, int((top - limit) / (top - low) * HEIGHT))
    rows = [_row(cells[place], len(drawn), place == line, _label(place, line, top, low)) for place in range(HEIGHT)]
    said = f"        0 s{' ' * (WIDTH - 14)}{longest:>6,.0f} s"
    title = Text(f"{world.name}: E of all comparisons together, {len(drawn)} releases; E {math.exp(limit):.0f} rolls back", style="bold")
    return Group(title, *rows, Text(said, style="dim"))


def _label(place: int, line: int, top: float, low: float) -> str:
    if place == line:
        return "limit"
    nearest = int((top - 0.0) / (top - low) * HEIGHT)
    return "E = 1" if place == nearest else ""


def _row(cells: Sequence[int], drawn: int, limit: bool, label: str) -> Text:
    made = Text(f"{label:>6} ", style="dim")
    for count in cells:
        if count:
            made.append(MARKS[min(len(MARKS) - 1, 1 + int(count / drawn * (len(MARKS) - 1)))], "red" if limit else "cyan")
        else:
            made.append("─" if limit else " ", "red" if limit else "")
    return made
