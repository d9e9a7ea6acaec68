"""Write: init, check, schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from extproc.cli.begin import Given, Hosting, asked, begun
from extproc.domain import ApplicationType, Infrastructure
from extproc.errors import Problem, SettingsError

SpecArgument = Annotated[Path, typer.Argument(help="The Spec: one YAML file.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WRITE

    for command in (init, check, schema):
        app.command(rich_help_panel=WRITE)(command)


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("release.yaml"),
    application: Annotated[str | None, typer.Option(help="Name of the application; chat by default.")] = None,
    kind: Annotated[ApplicationType | None, typer.Option("--type", help="What it does; chatbot by default.")] = None,
    stable: Annotated[str | None, typer.Option(help="The model that serves today; gpt-4o by default.")] = None,
    canary: Annotated[str | None, typer.Option(help="The model that shall serve; gpt-5-mini by default.")] = None,
    daily_requests: Annotated[int | None, typer.Option(min=1, help="LLM requests on a usual day; 2000000 by default.")] = None,
    daily_units: Annotated[int | None, typer.Option(min=1, help="Distinct users on a usual day; a fortieth of the requests.")] = None,
    latency_p99: Annotated[str | None, typer.Option(metavar="TIME", help="In which 99 of 100 requests end; 8s by default.")] = None,
    ttft: Annotated[str | None, typer.Option(metavar="TIME", help="To the first token; a quarter of that by default.")] = None,
    uptime: Annotated[str | None, typer.Option(metavar="SHARE", help="Requests that must succeed; 99.9% by default.")] = None,
    infrastructure: Annotated[Infrastructure | None, typer.Option(help="Where Envoy and extproc run; kubernetes by default.")] = None,
    hosting: Annotated[Hosting | None, typer.Option(help="The models: a vendor's cloud, or self-hosted; cloud by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a Spec to start from, with phases that your traffic can carry. On a terminal, and without options, it asks what it needs."""
    if path.exists() and not force:
        raise SettingsError(Problem("settings.exists", str(path), "is there already", "choose another name, or --force to overwrite it"))
    given = Given(application, kind, stable, canary, daily_requests, daily_units, latency_p99, ttft, uptime, infrastructure, hosting)
    # Where the output is caught, nobody sees a question.
    if given == Given() and sys.stdin.isatty() and sys.stdout.isatty():
        given = asked()
    text, lost = begun(given)
    write_file(path, text)
    typer.echo(f"{path}: edit the listener, the models' endpoints and prices; then `extproc check {path}`")
    for sentence in lost:
        typer.echo(f"  {sentence}")


def check(path: SpecArgument) -> None:
    """Report every problem of a Spec at once; then what is valid and still worth knowing. Exit code 1 if anything is wrong."""
    from extproc import spec
    from extproc.cli import proved
    from extproc.release import proofs

    loaded = spec.read(str(path))
    typer.echo(f"{path}: {len(loaded.models)} models, {len(loaded.rollouts)} rollouts, digest {loaded.digest}: no problem")
    spots = spec.blind_spots(loaded)
    if spots:
        typer.echo(f"\n{len(spots)} blind spots (none of them stops a release):")
    for spot in spots:
        typer.echo(f"  {spot}".replace("\n", "\n  "))
    known = proved.read(path)
    hopes = [hope for rollout in loaded.rollouts.values() for hope in proofs.unproven(rollout, known)]
    if hopes:
        typer.echo(f"\n{len(hopes)} gates and ceilings have never been seen to block: `extproc prove {path}` lets bad canaries meet them")
    for hope in hopes if known else ():
        typer.echo(f"  {hope}".replace("\n", "\n  "))


def schema() -> None:
    """Print the JSON Schema of a Spec, for completion and checks in editors."""
    from extproc import spec

    typer.echo(orjson.dumps(spec.json_schema(), option=orjson.OPT_INDENT_2).decode())


def write_file(path: Path, text: str) -> None:
    """Write what a command made; raises SettingsError where that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(Problem("settings.write", str(path), f"cannot be written: {error}", "does its directory exist?")) from error


def filled_template(application: str, stable: str, canary: str) -> str:
    """The Spec that `init` writes for a large business; envoy/release.yaml is this with the defaults."""
    return begun(Given(application=application, stable=stable, canary=canary))[0]
