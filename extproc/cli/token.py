"""Run: `extproc token`, a credential for a person or a program that comes to the API."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

import orjson
import typer

from extproc.errors import Problem, SettingsError

BYTES: Final = 32
"""Of chance in a token: 256 bits, which nobody guesses, so that a plain digest of it may be kept."""


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import RUN

    app.command(rich_help_panel=RUN)(token)


def token(
    name: Annotated[str, typer.Argument(help="Who will have it, as the Journal will say it.", show_default=False)],
    role: Annotated[str, typer.Option(help="viewer looks; operator also acts; admin also overrides and sees what is of people.")],
) -> None:
    """Make a token: it is shown once and kept nowhere. The lines below it are for the file that --access names."""
    from extproc.controller.access import Role, digest, name_problem

    problems = []
    if said := name_problem(name):
        problems.append(Problem("token.name", name[:80], said, "such as ann, or deploy-bot"))
    if role not in list(Role):
        problems.append(Problem("token.role", "--role", f"there is no role {role!r}", f"say one of {', '.join(Role)}"))
    if problems:
        raise SettingsError(problems)
    made = secrets.token_urlsafe(BYTES)
    typer.echo(made)
    typer.echo(f"# below `people:` in the file that --access names\n  {orjson.dumps(name).decode()}:")
    typer.echo(f'    role: {role}\n    token_sha256: "{digest(made).hex()}"')
