"""Act: start, pause, resume, promote, rollback, revoke."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from extproc.cli.client import DEFAULT_API, ApiOption, Client, TokenOption

RolloutArgument = Annotated[str, typer.Argument(help="Name of the rollout.", show_default=False)]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the Journal.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import ACT

    for command in (start, pause, resume, promote, rollback, revoke):
        app.command(rich_help_panel=ACT)(command)


def start(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Begin a rollout that waits for it, or try a rolled-back one again (with half the alpha)."""
    _act(rollout, "start", why, api, token_file)


def pause(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Stay at the present share; bad evidence still rolls back."""
    _act(rollout, "pause", why, api, token_file)


def resume(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Let a paused rollout, or one that waits for approval, go on by itself."""
    _act(rollout, "resume", why, api, token_file)


def promote(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Go to the next phase now, whatever the gates say."""
    _act(rollout, "promote", why, api, token_file)


def rollback(
    rollout: RolloutArgument,
    why: WhyOption,
    drain: Annotated[bool, typer.Option("--drain", help="Open conversations may end on the canary; else they move at once.")] = False,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Everyone back to stable, now."""
    _act(rollout, "rollback", why, api, token_file, conversations="drain" if drain else "move")


def revoke(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """End all conversation tokens at once: open conversations meet what the ring says. The share stays as it is."""
    answer = Client(api, token_file).act(rollout, "revoke", why, _who())
    typer.echo(f"{rollout}: every conversation token that was handed out so far has ended (generation {answer['generation']})")


def _act(rollout: str, action: str, why: str, api: str, token_file: Path | None, **options: str) -> None:
    answer = Client(api, token_file).act(rollout, action, why, _who(), **options)
    typer.echo(f"{rollout} is {answer['status'].replace('_', ' ')} (generation {answer['generation']})")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return "unknown"
