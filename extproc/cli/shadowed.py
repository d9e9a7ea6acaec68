"""A shadow in the terminal: what both models made of the same requests."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text


def shadow_picture(shadow: dict[str, Any]) -> RenderableType:
    """Pairs, what a judge prefers, what it costs, and whether the mirror works."""
    parts = [f"{shadow['pairs']:,} pairs of {shadow['min_pairs']:,}"]
    if shadow["min_judged"]:
        won = shadow["preferred"]
        parts.append(
            f"{shadow['judged']:,} judged of {shadow['min_judged']:,}: canary better {won['canary']:,}, stable {won['stable']:,}, "
            f"no difference {won['tie']:,}"
        )
    if shadow["slower"] is not None:
        parts.append(f"canary {shadow['slower']:+.3f} s")
    bound = f" of ${shadow['per_release']:,.2f}" if shadow["per_release"] is not None else ""
    parts.append(f"${shadow['spent']:,.4f}{bound} spent")
    counted = {"without a copy": shadow["missing"], "copies told to wait (429)": shadow["throttled"]}
    lines = [Text("   ".join(parts))]
    lines += [Text(f"{count:,} {what}", style="dim") for what, count in counted.items() if count]
    if shadow["silent"]:
        lines.append(Text(shadow["silent"], style="bold yellow"))
    return Group(*lines)
