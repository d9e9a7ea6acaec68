"""Run: backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc.errors import Problem, SettingsError


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import RUN

    app.command(rich_help_panel=RUN)(backup)


def backup(
    store: Annotated[str, typer.Argument(help="The store: sqlite:PATH. While it is in use is fine.", show_default=False)],
    destination: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace the file, unless a controller has it open.")] = False,
) -> None:
    """Copy the store and verify the copy. To restore: stop the controller, `extproc backup sqlite:BACKUP STORE-FILE --force`, start it."""
    from extproc import store as store_room

    if ":" in str(destination):
        hint = f"write {str(destination).partition(':')[2]}" if str(destination).startswith("sqlite:") else "choose a name without a colon"
        raise SettingsError(Problem("settings.destination", str(destination), "is not the name of a file", hint))
    copied = store_room.backup(store, destination, force)
    typer.echo(
        f"{destination}: generation {copied.generation}, {copied.entries:,} entries in the Journal, {copied.size:,} bytes, verified; "
        "it holds the key of the units' hashes: keep it private"
    )
