"""What the gates say, as a picture: the worst first, one line each. Pure: a rollout of the status document in, rich out."""

from __future__ import annotations

import math
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

BAR: Final = 12
SAFE_LIMIT: Final = math.log(20.0)
VERDICTS: Final = {"pass": ("✔", "green"), "fail": ("✘", "bold red"), "inconclusive": ("…", "yellow"), "no_data": ("∅", "dim")}
_WORST: Final = ("fail", "no_data", "inconclusive", "pass")
TOGETHER: Final = "together"
LINES: Final = 12
"""Findings that are shown; the others, which are better, are counted."""


def worst_first(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By verdict, then by how near harm is to its limit; all comparisons together come first of all."""
    return sorted(findings, key=lambda one: (one["gate"] != TOGETHER, _WORST.index(one["verdict"]), -_harm(one)))


def _harm(finding: dict[str, Any]) -> float:
    return float(finding["log_e_harm"] / finding["log_e_limit"]) if finding["log_e_limit"] else 0.0


def findings_picture(rollout: dict[str, Any]) -> RenderableType:
    """E-values on a logarithmic scale against the limits that decide; under it the sentences of what has failed."""
    ordered = worst_first(rollout["findings"])
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for column in ("", "harm", "", "safety", ""):
        table.add_column(column, no_wrap=True)
    for finding in ordered[:LINES]:
        table.add_row(*_row(finding))
    parts: list[RenderableType] = [table]
    if left := ordered[LINES:]:
        counted = ", ".join(
            f"{count} {word.replace('_', ' ')}" for word in _WORST if (count := sum(one["verdict"] == word for one in left))
        )
        parts.append(Text(f"and {len(left)} more: {counted}; all of them with --json", style="dim"))
    parts += [Text(one["sentence"], style="red") for one in ordered if one["verdict"] == "fail" and one["gate"] != TOGETHER]
    return Group(*parts)


def _row(finding: dict[str, Any]) -> tuple[RenderableType, ...]:
    mark, style = VERDICTS[finding["verdict"]]
    name = "all together" if finding["gate"] == TOGETHER else finding["gate"]
    head = Text(f"{mark} {name}", style=style)
    limit, harm, safe = finding["log_e_limit"], finding["log_e_harm"], finding["log_e_safe"]
    against = f"E {e_value(harm)} of {e_value(limit)}"
    if finding["gate"].startswith("metric:"):
        return head, Text(), Text("no value" if finding["estimate"] is None else f"{finding['estimate']:g}"), Text(), Text()
    if finding["within"]:
        shown = f"E {e_value(safe)} of {e_value(SAFE_LIMIT)} for {finding['within']}"
        return head, bar(_share(harm, limit), BAR, "red"), Text(against), bar(safe / SAFE_LIMIT, BAR, "green"), Text(shown)
    return head, bar(_share(harm, limit), BAR, "red"), Text(against), Text(), Text()


def _share(harm: float, limit: float) -> float:
    return harm / limit if limit else 0.0


def bar(share: float, width: int, style: str) -> Text:
    """A bar that is full at 1."""
    full = round(max(0.0, min(1.0, share)) * width)
    return Text.assemble(("━" * full, style), ("─" * (width - full), "dim"))


def e_value(log_e: float) -> str:
    """An e-value as people read it."""
    if log_e > math.log(1e5):
        return f"10^{log_e / math.log(10):.0f}"
    value = math.exp(log_e)
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"
