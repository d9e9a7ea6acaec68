"""Watch: status, journal."""

from __future__ import annotations

import time
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.live import Live

from extproc.cli.client import DEFAULT_API, ApiOption, Client, TokenOption, reaching
from extproc.cli.picture import journal_table, picture

JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WATCH

    for command in (status, journal):
        app.command(rich_help_panel=WATCH)(reaching(command))


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Keep the picture up to date until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Where every rollout stands, what it waits for, both arms, the evidence against its limits."""
    client = Client(api, token_file)
    if as_json:
        typer.echo(orjson.dumps(client.status(), option=orjson.OPT_INDENT_2).decode())
        return
    console = Console()
    if not watch:
        console.print(picture(client.status(), client.journal()))
        return
    with Live(picture(client.status(), client.journal()), console=console, screen=False, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(0.5)
                live.update(picture(client.status(), client.journal()), refresh=True)
        except KeyboardInterrupt:
            return


def journal(
    rollout: Annotated[str | None, typer.Argument(help="Only this rollout.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many entries, newest first.")] = 50,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Every decision and every human action: who, when, why."""
    entries = Client(api, token_file).journal(rollout, limit)
    if as_json:
        typer.echo(orjson.dumps(entries, option=orjson.OPT_INDENT_2).decode())
        return
    Console().print(journal_table(entries) if entries else "the Journal is empty")
