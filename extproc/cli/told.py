"""Envoys that are told over xDS, as lines in the terminal: what each has, and what it refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


def processor_picture(status: dict[str, Any]) -> list[RenderableType]:
    """Loud where the processor is off."""
    processor = status.get("processor") or {"off": False}
    if not processor["off"]:
        return []
    since = datetime.fromtimestamp(processor["since"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    said = f"OFF since {since}, by {processor['actor']}: {processor['why']}"
    lines = [Text(said, style="bold white on red"), Text("every request goes to its default; nothing is decided but to lower a canary")]
    lines.append(Text("to ask it again: extproc processor on --why ...", style="yellow"))
    return [Panel(Group(*lines), title="[bold]Processor[/bold]", title_align="left", border_style="bold red", padding=(0, 1))]


def readiness_picture(status: dict[str, Any]) -> list[RenderableType]:
    """Files of endpoints that are not in force; a canary that is away is told by its rollout."""
    slices = (status.get("readiness") or {"slices": {}})["slices"]
    if not slices:
        return []
    lines = [Text("are not in force, the last good endpoints stay", style="bold red")]
    lines += [Text(f"{cluster}: {one['path']} {one['message']}") for cluster, one in slices.items()]
    return [Panel(Group(*lines), title="[bold]Endpoints[/bold]", title_align="left", border_style="bold red", padding=(0, 1))]


def xds_picture(status: dict[str, Any]) -> list[RenderableType]:
    """One line for each Envoy; nothing where none is told over xDS."""
    xds = status.get("xds")
    if xds is None:
        return []
    table = Table(box=None, pad_edge=False, show_header=False)
    for node in xds["nodes"]:
        table.add_row(*_node(node, status["spec_digest"]))
    parts: list[RenderableType] = [table if xds["nodes"] else Text("no Envoy has asked yet", style="yellow")]
    parts += _wrong(xds)
    wrong = xds["problem"] is not None or any(node["refused"] is not None for node in xds["nodes"])
    return [Panel(Group(*parts), title="Envoys", title_align="left", border_style="bold red" if wrong else "dim", padding=(0, 1))]


def _node(node: dict[str, Any], digest: str) -> tuple[Text, ...]:
    since = f"{'for' if node['connected'] else 'away for'} {node['seconds']:,.0f} s"
    has = node["spec_digest"] or "-"
    return (
        Text(node["node"]),
        Text(since, "" if node["connected"] else "yellow"),
        Text(node["protocol"] or ""),
        Text(f"Spec {has}", "" if has == digest else "bold yellow"),
        Text("refused what is new" if node["refused"] is not None else "", "bold red"),
    )


def _wrong(xds: dict[str, Any]) -> Iterator[Text]:
    for node in xds["nodes"]:
        if node["refused"] is not None:
            yield Text(f"{node['node']} refuses {node['refused']['part']}: {node['refused']['why']}", style="bold red")
    if xds["problem"] is not None:
        yield Text(f"no configuration can be made: {xds['problem']['path']}: {xds['problem']['message']}", style="bold red")
        yield Text(f"    {xds['problem']['hint']}", style="yellow")
