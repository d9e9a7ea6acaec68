"""Write: init, check, schema."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import orjson
import typer

from extproc.errors import Problem, SettingsError

SpecArgument = Annotated[Path, typer.Argument(help="The Spec: one YAML file.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WRITE

    for command in (init, check, schema):
        app.command(rich_help_panel=WRITE)(command)


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("release.yaml"),
    application: Annotated[str, typer.Option(help="Name of the application.")] = "chat",
    stable: Annotated[str, typer.Option(help="The model that serves today.")] = "gpt-4o",
    canary: Annotated[str, typer.Option(help="The model that shall serve.")] = "gpt-5-mini",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a Spec to start from: 1, 5, 25, 50, 100 %; staff, one country, everyone."""
    from extproc import spec

    if path.exists() and not force:
        raise SettingsError(Problem("settings.exists", str(path), "is there already", "choose another name, or --force to overwrite it"))
    text = filled_template(application, stable, canary)
    spec.load(text)
    write_file(path, text)
    typer.echo(f"{path}: edit the listener, the models' endpoints and prices; then `extproc check {path}`")


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
    """The Spec that `init` writes; envoy/release.yaml is this with the defaults."""
    text = resources.files("extproc.spec").joinpath("template.yaml").read_text(encoding="utf-8")
    return text.replace("{{application}}", application).replace("{{stable}}", stable).replace("{{canary}}", canary)
