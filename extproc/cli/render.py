"""Write: render."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc import contract
from extproc.render.settings import Profile

group = typer.Typer(help="Write files from a Spec: render envoy.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WRITE

    app.add_typer(group, name="render", rich_help_panel=WRITE)


@group.callback()
def render() -> None:
    """Write files from a Spec."""


@group.command()
def envoy(
    path: Annotated[Path, typer.Argument(metavar="SPEC", help="The Spec: one YAML file.", show_default=False)],
    router: Annotated[str, typer.Option(help="Where `extproc router` listens: unix:PATH or HOST:PORT.")] = contract.DEFAULT_ROUTER_LISTEN,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Its number of workers.")] = 2,
    collector: Annotated[str, typer.Option(help="Where the controller takes the access log.")] = contract.DEFAULT_COLLECTOR_LISTEN,
    profile: Annotated[Profile, typer.Option(help="full: Envoy 1.40. core: 1.36 or newer, no alpha extension.")] = Profile.FULL,
    snippet: Annotated[bool, typer.Option("--snippet", help="Only the parts to merge into an existing configuration.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output without it.")] = None,
) -> None:
    """Envoy's configuration: complete, or a snippet."""
    from extproc import render as render_room
    from extproc import spec
    from extproc.transport import parse_address

    for text in (router, collector):
        parse_address(text)
    settings = render_room.EnvoySettings(router, workers, collector, profile)
    loaded = spec.read(str(path))
    text = render_room.envoy.snippet(loaded, settings) if snippet else render_room.envoy.static(loaded, settings)
    for feature in render_room.lost(loaded, settings):
        typer.echo(f"not in the {profile.value} profile: {feature}", err=True)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
