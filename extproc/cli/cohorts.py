"""The cohorts of a Spec as a table: who, from when, which share of each arm by phase, and a usual day of the whole. Pure."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


def cohorts_picture(document: dict[str, Any]) -> RenderableType:
    """Every rollout."""
    if not document["rollouts"]:
        return Text("the Spec has no rollout", style="yellow")
    return Group(*(_rollout(one) for one in document["rollouts"]))


def _rollout(rollout: dict[str, Any]) -> RenderableType:
    slot = f", slot {rollout['slot']} ({_share(rollout['slot_share'])} of its units)" if rollout["slot"] else ""
    head = Text(f"{rollout['stable']} → {rollout['canary']}, by {rollout['unit']}, layer {rollout['layer']}{slot}")
    parts: list[RenderableType] = [head, Text(), _cohorts(rollout), Text(), _days(rollout)]
    said = "Cohorts are tried in order, the first that matches counts. Their sizes are not known: shares are of a cohort's own units."
    if rollout["some_in_none"]:
        said += " Who matches none meets stable, until the rollout is completed."
    parts.append(Text(said, style="dim"))
    return Panel(Group(*parts), title=Text(rollout["name"], style="bold"), title_align="left", padding=(0, 1))


def _cohorts(rollout: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("", "cohort", "who", "from", "arm"):
        table.add_column(column, overflow="fold")
    for one in rollout["cohorts"][0]["shares"]:
        table.add_column(one["phase"], justify="right", no_wrap=True)
    for place, cohort in enumerate(rollout["cohorts"], start=1):
        who = cohort["who"] + (f"; never {cohort['exclude']}" if cohort["exclude"] else "")
        for arm, style in (("canary", "green"), ("control", "cyan"), ("rest", "dim")):
            first = arm == "canary"
            table.add_row(
                str(place) if first else "",
                Text(cohort["name"] if first else "", style="bold"),
                who if first else "",
                cohort["first_phase"] if first else "",
                Text(arm, style=style),
                *(Text(_share(one[arm]), style=style) for one in cohort["shares"]),
            )
    return table


def _days(rollout: dict[str, Any]) -> Table:
    """The whole of a usual day, if all of the application's requests are this rollout's."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("on the canary, of a usual day")
    for day in rollout["days"]:
        table.add_column(day["phase"], justify="right", no_wrap=True)
    table.add_row(f"units ({rollout['unit']})", *(_bounds(day["canary_units"]) for day in rollout["days"]))
    table.add_row("requests", *(_bounds(day["canary_requests"]) for day in rollout["days"]))
    return table


def _bounds(bounds: tuple[int, int]) -> str:
    least, most = bounds
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _share(share: float) -> str:
    return f"{share * 100:.4g}%"
