"""Act: processor off and on, the last resort."""

from __future__ import annotations

from typing import Any

import typer

from extproc.cli.act import WhyOption, who
from extproc.cli.client import DEFAULT_API, ApiOption, Client, TokenOption


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import ACT

    processor = typer.Typer(no_args_is_help=True)
    processor.callback()(_processor)
    processor.command()(off)
    processor.command()(on)
    app.add_typer(processor, name="processor", rich_help_panel=ACT)


def _processor() -> None:
    """The last resort: switch the processor off, for every Envoy at once, and on again."""


def off(why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Envoys that ask over xDS ask the router nothing any more: every request goes to its default. It stays off until it is switched on."""
    client = Client(api, token_file)
    _told(client.switch("off", why, who()), "is off")
    typer.echo(reached(client.status()["xds"]))


def on(why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Ask the router again."""
    _told(Client(api, token_file).switch("on", why, who()), "is on")


def reached(xds: dict[str, Any] | None) -> str:
    """Whom the switch reaches, for a person who must not believe more than is so."""
    connected = sum(node["connected"] for node in xds["nodes"]) if xds is not None else 0
    if connected:
        return f"Envoys that are told now: {connected}; their requests go to the default, and no router is asked (see `extproc status`)"
    return (
        "no Envoy is connected over xDS, so none can be told: while they answer, routers send canary traffic to stable; "
        "where they do not, use Envoy's runtime keys (docs/rollback.md)"
    )


def _told(answer: dict[str, Any], said: str) -> None:
    again = ", and was so before" if answer.get("repeated") else ""
    typer.echo(f"the processor {said}{again} (generation {answer['generation']})")
