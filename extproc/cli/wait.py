"""Watch: wait. Until a rollout is where a pipeline wants it, or has ended otherwise; the exit code says which."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.status import Status as Spinner
from rich.text import Text

from extproc.cli.act import RolloutArgument
from extproc.cli.awaited import CODES, COMPLETED, Ended, Seen, ended, goal, last_words, progress, seen
from extproc.cli.client import DEFAULT_API, ApiOption, Client, TokenOption, reaching
from extproc.errors import ExtprocError, Problem, SettingsError
from extproc.spec.units import duration

LOOK_EVERY: Final = 1.0
"""Seconds between looks: as often as the controller decides."""
PASSING: Final = frozenset({"api.unreachable", "api.no-answer", "api.foreign"})
"""Problems of a controller that is being restarted, or of what stands in front of it meanwhile."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    from extproc.cli import WATCH

    app.command(rich_help_panel=WATCH, epilog=CODES)(reaching(wait))


def wait(
    rollout: RolloutArgument,
    until: Annotated[
        str, typer.Option("--until", metavar="PHASE|completed", help="Name of a phase, such as 25%, or completed.")
    ] = COMPLETED,
    timeout: Annotated[str, typer.Option("--timeout", help="How long at most, such as 30m or 2d.")] = "2h",
    stop_when_asked: Annotated[
        bool, typer.Option("--stop-when-asked", help="End at once, with 5, where a person is needed; else that is waited for too.")
    ] = False,
    patience: Annotated[str, typer.Option("--patience", help="How long the controller may be away, as in a restart.")] = "1m",
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """Wait until a rollout has reached a phase, or is completed; the exit code says how it ended."""
    terms = Terms(rollout, until, _seconds("--timeout", timeout), stop_when_asked, _seconds("--patience", patience))
    client, console = Client(api, token_file), Console(stderr=True, soft_wrap=True, highlight=False)
    if console.is_terminal:
        with console.status(Text(f"{rollout}: asks {api}")) as spinner:
            how, said = follow(client, terms, _on_terminal(spinner))
    else:
        how, said = follow(client, terms, _line_by_line(console))
    typer.echo(said)
    raise typer.Exit(how)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is waited for, and for how long."""

    rollout: str
    until: str
    timeout: float
    stops_when_asked: bool
    patience: float


def follow(client: Client, terms: Terms, show: Callable[[Seen | None, str, float], None]) -> tuple[Ended, str]:
    """Look until the wait ends: how, and the line that says so. A controller that is away is waited for as long as patience lasts.

    `show` is told of each look: what was seen, or None and why there was nothing, and the seconds that are left.
    """
    begun = heard = time.monotonic()
    last: Seen | None = None
    while True:
        away, now = "", time.monotonic()
        try:
            document = client.status()
            one = seen(document, terms.rollout)
            goal(terms.until, one.phases)
            if document["stale"]:
                away = f"the controller has not answered for {document['stale']:.0f} s"
            else:
                last, heard = one, time.monotonic()
        except ExtprocError as error:
            if any(problem.id not in PASSING for problem in error.problems):
                raise
            away = f"{error.problems[0].path}: {error.problems[0].message}"
        passed, left = now - begun, begun + terms.timeout - now
        if not away:
            how = ended(one, terms.until, terms.stops_when_asked)
            if how is None and left <= 0:
                how = Ended.PERSON if one.needs_person else Ended.NOT_YET
            if how is not None:
                return how, last_words(one, how, terms.until, passed)
        elif left <= 0 or now - heard >= terms.patience:
            return Ended.UNREACHABLE, f"{terms.rollout} cannot be followed{_last_known(last)}: {away}"
        show(None if away else one, away, max(0.0, left))
        time.sleep(max(0.0, min(LOOK_EVERY, left)))


def _last_known(last: Seen | None) -> str:
    return f" (it was {last.place})" if last is not None else ""


def _on_terminal(spinner: Spinner) -> Callable[[Seen | None, str, float], None]:
    def show(one: Seen | None, away: str, left: float) -> None:
        spinner.update(Text(progress(one, left) if one is not None else f"waits for the controller: {away}"))

    return show


def _line_by_line(console: Console) -> Callable[[Seen | None, str, float], None]:
    """For logs: one line whenever the place changes."""
    said = ""

    def show(one: Seen | None, away: str, _: float) -> None:
        nonlocal said
        line = f"{one.name} is {one.place}" if one is not None else "waits for the controller"
        if line != said:
            said = line
            console.print(f"{line}: {one.why if one is not None else away}", markup=False)

    return show


def _seconds(option: str, written: str) -> float:
    try:
        return duration(written)
    except ValueError as error:
        raise SettingsError(Problem("settings.duration", option, f"{written!r} {error}")) from error
