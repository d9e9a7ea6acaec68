"""Act: start, pause, resume, promote, return, rollback, revoke."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from extproc import contract
from extproc.cli.client import DEFAULT_API, ApiOption, Client, TokenOption, reaching
from extproc.errors import Problem, SettingsError

AUTOMATION: Final = "extproc"
"""Actor of every decision that no person made; the API takes it from nobody."""
RolloutArgument = Annotated[str, typer.Argument(help="Name of the rollout.", show_default=False)]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the Journal.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import ACT

    commands: dict[str, Callable[..., None]] = {
        "start": start,
        "pause": pause,
        "resume": resume,
        "promote": promote,
        "return": return_,
        "rollback": rollback,
        "revoke": revoke,
    }
    for name, command in commands.items():
        app.command(name, rich_help_panel=ACT)(reaching(command))


def start(
    rollout: RolloutArgument,
    why: WhyOption,
    retry: Annotated[bool, typer.Option("--retry", help="Try a rolled-back one again: attempt k has alpha / 2^(k-1).")] = False,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Begin a rollout that waits for it; with --retry, try one again that was rolled back."""
    answer = _do(rollout, "start", why, api, token_file, retry="yes" if retry else "no")
    if retry:
        said = f"attempt {answer['attempt']}, which has 1/{2 ** (answer['attempt'] - 1)} of alpha; its evidence begins anew"
        typer.echo(f"{rollout} is {_stands(answer)}: {said}")
    else:
        typer.echo(f"{rollout} is {_stands(answer)}")


def pause(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Stay at the present share; bad evidence still rolls back."""
    typer.echo(f"{rollout} is {_stands(_do(rollout, 'pause', why, api, token_file))}")


def resume(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """Let a paused rollout, or one that waits for approval, go on by itself; after an incident, look at the phase anew."""
    typer.echo(f"{rollout} is {_stands(_do(rollout, 'resume', why, api, token_file))}")


def promote(
    rollout: RolloutArgument,
    why: WhyOption,
    override_gates: Annotated[
        bool, typer.Option("--override-gates", help="Not now: you answer for missing evidence for a while. Harm still rolls back.")
    ] = False,
    for_: Annotated[str, typer.Option("--for", help="How long you answer for it, such as 2h; at most 7d.", show_default=False)] = "",
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Go to the next phase now, whatever the gates say; or, with --override-gates, let it go on without what they still ask for."""
    if override_gates != bool(for_):
        hint = 'such as: extproc promote ROLLOUT --override-gates --for 2h --why "..."'
        raise SettingsError(Problem("act.option", "--override-gates", "goes with --for, and --for with it", hint))
    answer = _do(rollout, "override", why, api, token_file, **{"for": for_}) if for_ else _do(rollout, "promote", why, api, token_file)
    typer.echo(f"{rollout} is {_stands(answer)}")
    if for_:
        typer.echo(f"for {for_} nothing is held for missing evidence; dwell, minimums, change windows and every rollback stay")


def return_(
    rollout: RolloutArgument,
    why: WhyOption,
    to: Annotated[str, typer.Option("--to", help="Name of an earlier phase, such as 5%; else the one before.", show_default=False)] = "",
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Go back to an earlier phase; it climbs again by itself."""
    answer = _do(rollout, "return", why, api, token_file, **({"to": to} if to else {}))
    typer.echo(f"{rollout} is {_stands(answer)}; conversation tokens have ended")


def rollback(
    rollout: RolloutArgument,
    why: WhyOption,
    cohort: Annotated[str, typer.Option("--cohort", help="This cohort alone; nobody else is moved.", show_default=False)] = "",
    drain: Annotated[bool, typer.Option("--drain", help="Open conversations may end on the canary; else they move at once.")] = False,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Everyone back to stable, now; with --cohort, that cohort alone."""
    options = {"cohort": cohort} if cohort else {}
    if drain:
        options["conversations"] = "drain"
    answer = _do(rollout, "rollback", why, api, token_file, **options)
    alone = f"cohort {cohort} is on stable; for everybody else " if cohort else ""
    typer.echo(f"{alone}{rollout} is {_stands(answer)}")


def revoke(rollout: RolloutArgument, why: WhyOption, api: ApiOption = DEFAULT_API, token_file: TokenOption = None) -> None:
    """End all conversation tokens at once: open conversations meet what the ring says. The share stays as it is."""
    answer = _do(rollout, "revoke", why, api, token_file)
    typer.echo(f"{rollout}: every conversation token that was handed out so far has ended (generation {answer['generation']})")


_AT_PHASE: Final = ("progressing", "paused", "awaiting_approval")


def _stands(answer: dict[str, Any]) -> str:
    at = f" at {answer['phase']}" if answer["status"] in _AT_PHASE else ""
    return f"{answer['status'].replace('_', ' ')}{at} (generation {answer['generation']})"


def _do(rollout: str, action: str, why: str, api: str, token_file: Path | None, **options: str) -> dict[str, Any]:
    return Client(api, token_file).act(rollout, action, why, who(), **options)


def who() -> str:
    """Who acts, for the Journal. In the image everybody is the user `extproc`, which is the automation's name: that one is told apart."""
    name = os.environ.get(contract.ACTOR_ENVIRONMENT) or os.environ.get("SUDO_USER") or _user()
    return f"somebody as {name}" if name == AUTOMATION else name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return "unknown"
