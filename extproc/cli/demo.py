"""Run: demo."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from extproc.cli.browser import is_watched, show
from extproc.cli.picture import picture

if TYPE_CHECKING:
    from extproc.demo.crowd import Crowd


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import RUN

    app.command(rich_help_panel=RUN)(demo)


def demo(
    scenario: Annotated[
        str,
        typer.Option(
            help="healthy: the canary ends as the default. errors, slow, costly, hang, late-fault: it breaks in one way, and is rolled "
            "back. one-country: for one country alone. incident: stable breaks with it. low-traffic: too few people to tell. crash-router, "
            "crash-controller, blind: extproc itself is killed, frozen, cut off. cohorts: staff first, then countries, tiers, everyone."
        ),
    ] = "healthy",
    fast: Annotated[bool, typer.Option("--fast", help="Shorter dwells and more traffic; nothing else.")] = False,
    people: Annotated[
        int | None, typer.Option(min=100, help="How many people use the application; else as the scenario says.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another crowd.")] = 1,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the console, where this terminal has a screen and a browser.")
    ] = True,
) -> None:
    """A whole rollout on the real Envoy with simulated models, live; ends by itself and compares its books with the models' ledgers."""
    from extproc.demo.run import DemoSettings, run
    from extproc.demo.scenarios import scenario_named

    console = Console()
    settings = DemoSettings(scenario_named(scenario), fast, people or 0, seed)
    console.print(f"[bold]{settings.scenario.name}[/bold]: {settings.scenario.sentence}", highlight=False)
    with _Screen(console) as screen:
        try:
            result = asyncio.run(run(settings, screen.show, screen.say, screen.serves if browser else str))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    if result.who is not None:
        console.print(Panel(crowd_table(result.who), title="Who got what, and why", title_align="left"))
    style = "red" if result.problems else "green"
    console.print(Panel(Text(result.story), title="What happened", title_align="left", border_style=style))
    for problem in result.problems:
        console.print(Text(f"✘ {problem}", style="bold red"))
    if result.problems:
        raise typer.Exit(1)
    console.print("[green]✔ extproc's books and the models' ledgers agree, and the scenario ended as it should.[/green]", highlight=False)


_WHY = {
    "ring": "by the ring",
    "not_yet": "before its phase",
    "cohort_out": "rolled back by itself",
    "completed": "the default now",
}


def crowd_table(who: Crowd) -> Table:
    """A line for each cohort at each phase: its people, the share of them that was to meet the canary, the share that did."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("phase", "cohort", "people", "answers", "canary", "seen", "why"):
        table.add_column(column, justify="left" if column in ("phase", "cohort", "why") else "right", no_wrap=True)
    before = ""
    for row in who.rows:
        shown = Text(row.phase, style="bold") if row.phase != before else Text()
        style = "green" if row.on_canary else "dim"
        figures = (f"{len(row.people):,}", f"{row.requests:,}", f"{row.expected:.1%}", Text(f"{row.seen:.1%}", style=style))
        table.add_row(shown, row.cohort, *figures, _WHY.get(row.reason, row.reason))
        before = row.phase
    return table


class _Screen:
    """A live picture on a terminal; elsewhere a line for every entry of the Journal and one every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._told = 0
        self._last = 0.0

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None and self._live.is_started:
            self._live.stop()

    def say(self, line: str) -> None:
        """What is being started."""
        self._console.print(f"[dim]… {line}[/dim]", highlight=False, soft_wrap=True)

    def serves(self, address: str) -> None:
        """The console is there. It is opened to look only: a token in the browser's command line could be read by everybody."""
        if is_watched(os.environ, self._console.is_terminal and sys.stdin.isatty()):
            show(address)

    def show(self, status: dict[str, Any], journal: list[dict[str, Any]], news: str) -> None:
        """The present state of things."""
        if self._live is not None:
            if not self._live.is_started:
                self._live.start()
            parts = [picture(status, journal), Text(f"» {news}", style="bold magenta")] if news else [picture(status, journal)]
            self._live.update(Group(*parts), refresh=True)
            return
        for entry in reversed(journal):
            if entry["sequence"] > self._told:
                self._told = entry["sequence"]
                share = entry["numbers"].get("share")
                at = "" if share is None else f" (canary share {share:.0%})"
                self._console.print(f"{entry['rollout']}: {entry['action']}{at}: {entry['why']}", highlight=False, soft_wrap=True)
        if time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            for name, rollout in status["rollouts"].items():
                arms = "; ".join(f"{arm} {one['requests']:,} requests, {one['failures']:,} failed" for arm, one in rollout["arms"].items())
                self._console.print(f"  {name} at {rollout['phase']}: {arms}; {rollout['now']}", highlight=False, soft_wrap=True)
