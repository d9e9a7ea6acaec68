"""Write: render, files made from a Spec."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from extproc import contract
from extproc.cli.write import SpecArgument, write_file
from extproc.render import EnvoySettings, Profile, envoy_snippet, envoy_yaml, lost_features
from extproc.render.settings import CA_BUNDLE

RouterOption = Annotated[str, typer.Option(help="Where the router listens (its --listen): unix:PATH or HOST:PORT.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=256, help="The router's worker processes, one endpoint each.")]
CollectorOption = Annotated[str, typer.Option(help="Where the controller takes the access log (its --collector): unix:PATH or HOST:PORT.")]
ProfileOption = Annotated[Profile, typer.Option(help="full: Envoy 1.40 with alpha extensions. core: Envoy 1.36.4 and newer, without them.")]
BundleOption = Annotated[str, typer.Option(help="Authorities (PEM) on Envoy's machine, for models whose Spec names no ca_file.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output by default.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WRITE

    render = typer.Typer(no_args_is_help=True)
    render.callback()(_render)
    render.command()(envoy)
    app.add_typer(render, name="render", rich_help_panel=WRITE)


def _render() -> None:
    """Write what runs around extproc from the Spec: Envoy's configuration."""


def envoy(
    spec: SpecArgument,
    router: RouterOption = contract.DEFAULT_ROUTER_LISTEN,
    workers: WorkersOption = 2,
    collector: CollectorOption = contract.DEFAULT_COLLECTOR_LISTEN,
    profile: ProfileOption = Profile.FULL,
    ca_bundle: BundleOption = CA_BUNDLE,
    snippet: Annotated[bool, typer.Option("--snippet", help="Only the parts to merge into an Envoy of your own.")] = False,
    output: OutputOption = None,
) -> None:
    """A configuration for Envoy: strips what clients must not say, asks the router, sends each request to its model."""
    from extproc import spec as specs
    from extproc.transport import parse_address

    for address in (router, collector):
        parse_address(address)
    chosen = {"--router": router, "--workers": str(workers), "--collector": collector, "--profile": profile.value, "--ca-bundle": ca_bundle}
    made_by = _command(spec, chosen, snippet)
    settings = EnvoySettings(contract.endpoints(router, workers), collector, profile, ca_bundle)
    loaded = specs.read(str(spec))
    text = envoy_snippet(loaded, settings, made_by) if snippet else envoy_yaml(loaded, settings, made_by)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text)
    for feature in lost_features(settings):
        typer.echo(f"profile {profile.value} does without {feature}", err=True)


def _command(spec: Path, chosen: dict[str, str], snippet: bool) -> str:
    """The command again, without what is a default anyway."""
    defaults = {
        "--router": contract.DEFAULT_ROUTER_LISTEN,
        "--workers": "2",
        "--collector": contract.DEFAULT_COLLECTOR_LISTEN,
        "--profile": Profile.FULL.value,
        "--ca-bundle": CA_BUNDLE,
    }
    words = ["extproc", "render", "envoy", str(spec)]
    for option, value in chosen.items():
        if value != defaults[option]:
            words += [option, value]
    return shlex.join([*words, "--snippet"] if snippet else words)
