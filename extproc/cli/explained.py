"""An explanation as a picture in the terminal: who, which cohort, where on the ring, which model, and when that changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from extproc.domain import RING

WIDTH: Final = 60
"""Characters of the ring."""
_ARMS: Final = {"canary": "bold green", "control": "bold cyan", "rest": "bold"}
_MARKS: Final = {
    "decides": ("✔", "bold green", "matches"),
    "excludes": ("⊘", "bold yellow", "matches, and excludes it"),
    "no_match": ("✘", "dim", "does not match"),
    "not_reached": ("·", "dim", "not reached"),
}
_STANDING: Final = {
    "ring": "",
    "not_yet": "not yet",
    "cohort_out": "rolled back",
    "not_exposed": "not exposed",
    "withdrawn": "withdrawn",
    "completed": "completed",
}


def explained_picture(document: dict[str, Any]) -> RenderableType:
    """Every layer, and what there is to know besides."""
    parts: list[RenderableType] = [_layer(layer) for layer in document["layers"]]
    if not parts:
        parts.append(Text("the Spec has no rollout: every request keeps its own route", style="yellow"))
    at = datetime.fromtimestamp(document["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    asked = ", ".join(f"{name} {value}" for name, value in document["asked"].items() if value)
    parts.append(
        Text(f"Spec {document['spec_digest']}, State {document['generation']}, at {at} UTC" + (f"; {asked}" if asked else ""), "dim")
    )
    parts += [Text(f"note: {note}", style="yellow") for note in document["notes"]]
    if document["withdrawn"]:
        names = ", ".join(document["withdrawn"])
        parts.append(Text(f"withdrawn now, because nobody can watch it: {names}; look at `extproc status`", style="bold red"))
    return Group(*parts)


def _layer(layer: dict[str, Any]) -> RenderableType:
    taken = layer["taken"]
    title = Text(f"layer {layer['layer']}", style="bold")
    others = [rollout for rollout in layer["rollouts"] if rollout["considered"] != "taken"]
    passed = [Text.assemble(("✘ ", "dim"), (one["name"], "bold"), f" {one['sentence']}") for one in others]
    if taken is None:
        said = Text("no rollout of this layer has the request: it keeps its own route", style="bold yellow")
        return Panel(Group(said, *passed), title=title, title_align="left", border_style="dim", padding=(0, 1))
    mine = next(one for one in layer["rollouts"] if one["considered"] == "taken")
    head = Text.assemble(
        (f"{'CANARY' if taken['arm'] == 'canary' else 'STABLE'} → {taken['model']}", _ARMS[taken["arm"]]),
        (f" on {taken['cluster']}" if taken["cluster"] not in ("", taken["model"]) else ""),
        f"   {taken['sentence']}",
    )
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(taken, mine):
        facts.add_row(name, value)
    body = Group(head, Text(), facts, Text(), _cohorts(taken), *_ring(taken), *passed)
    return Panel(body, title=title, title_align="left", border_style=_ARMS[taken["arm"]].removeprefix("bold "), padding=(0, 1))


def _facts(taken: dict[str, Any], mine: dict[str, Any]) -> Iterator[tuple[str, RenderableType | str]]:
    status = taken["status"].replace("_", " ")
    yield "rollout", f"{taken['rollout']}, {status} at {taken['phase']}; {mine['sentence']}"
    if mine["slot"] is not None:
        slot = mine["slot"]
        begin, end, here = (_share(slot[name] / RING) for name in ("begin", "end", "point"))
        yield "slot", f"{slot['name']} ({begin} to {end} of the layer's units); this one is at {here}"
    yield taken["unit"]["kind"], _unit(taken["unit"])
    if taken["pool"]:
        members = (f"{'▶ ' if one['chosen'] else ''}{one['cluster']} {_share(one['share'])}" for one in taken["pool"])
        yield "pool", "   ".join(members)
    if taken["otherwise"]:
        yield "otherwise", taken["otherwise"]
    if taken["qa"] != "none":
        said = {"unchecked": "came, and was not looked at: its secret is not here", "valid": "is valid"}
        yield "QA header", said.get(taken["qa"], f"{taken['qa']}: ignored")
    if taken["conversation"] is not None:
        yield "conversation", f"{taken['conversation']['place']}: {taken['conversation']['sentence']}"
    yield "canary", Text(taken["entry"]["sentence"], style="bold" if taken["entry"]["when"] == "phase" else "")
    yield "evidence", "its outcome counts for the gates" if taken["evidence"] else "its outcome does not count for the gates"
    for effect in taken["effects"]:
        yield f"Envoy's {effect['on']}", f"{effect['name']}: {effect['value']}"


def _unit(unit: dict[str, Any]) -> str:
    if not unit["id"]:
        return f"unknown: {', '.join(unit['tried']) or 'there is no source'} gave nothing"
    missing = f"; before it, {', '.join(unit['tried'])} gave nothing" if unit["tried"] else ""
    anonymous = "" if unit["durable"] else "; anonymous"
    return f"{unit['id']} ({unit['source']}{missing}{anonymous})"


def _cohorts(taken: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("", "cohort", "who", "this request", "canary now", "from"):
        table.add_column(column, overflow="fold", no_wrap=column in ("cohort", "canary now", "from"))
    for cohort in taken["cohorts"]:
        mark, style, words = _MARKS[cohort["met"]]
        who = cohort["who"] + (f"; never {cohort['exclude']}" if cohort["exclude"] else "")
        reads = ", ".join(f"{one['fact']}: {one['value'] or '(nothing)'}" for one in cohort["reads"])
        now = _STANDING.get(cohort["standing"], cohort["standing"])
        share = f"{_share(cohort['share'])}" + (f" ({now})" if now else "")
        table.add_row(
            Text(mark, style=style),
            Text(cohort["name"], style=style),
            who,
            "; ".join(filter(None, (words, reads))),
            share,
            cohort["first_phase"],
        )
    return table


def _ring(taken: dict[str, Any]) -> Iterator[RenderableType]:
    """The ring of the cohort that decided, and where the unit stands on it."""
    cohort = next((one for one in taken["cohorts"] if one["name"] == taken["cohort"]), None)
    if taken["point"] is None or cohort is None:
        return
    below, above = cohort["canary_below"], cohort["control_from"]
    left, right = _width(below), _width(RING - above)
    place = min(WIDTH - 1, int(taken["position"] * WIDTH))
    yield Text()
    yield Text(f"{'':{place}}▼ {taken['point']:,} of 2^32, {_share(taken['position'])}")
    yield Text.assemble(("█" * left, "green"), ("─" * (WIDTH - left - right), "dim"), ("█" * right, "cyan"))
    yield Text.assemble(("canary", "green"), f" below {below:,}, ", ("control", "cyan"), f" from {above:,}, the rest between")


def _width(points: int) -> int:
    """Characters of a part of the ring; a part that is there is seen."""
    return max(1, round(points / RING * WIDTH)) if points else 0


def _share(share: float) -> str:
    return f"{share * 100:.6g}%"
