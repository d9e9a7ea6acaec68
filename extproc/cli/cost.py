"""Plan: cost. What a release costs, what it saves, and which capacity it takes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console

from extproc.cli.client import DEFAULT_API, ApiOption, Client, TokenOption, reaching
from extproc.cli.write import SpecArgument, write_file
from extproc.errors import Problem, SettingsError

if TYPE_CHECKING:
    from extproc.cost import Given, Measured
    from extproc.domain import Spec


class Format(StrEnum):
    """What is printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="table, or json for scripts.")]
MeasuredOption = Annotated[bool, typer.Option("--measured", help="Take the tokens that a running controller has counted.")]
ShadowShareOption = Annotated[str, typer.Option(metavar="PERCENT", help="Share of requests mirrored to the canary before its first phase.")]
ShadowDurationOption = Annotated[str, typer.Option(metavar="DURATION", help="How long, such as 24h.")]
KeptOption = Annotated[str, typer.Option(metavar="DURATION", help="From COMPLETED until Envoy's own default has moved everywhere.")]
ChanceOption = Annotated[str, typer.Option(metavar="PERCENT", help="That the canary will pass: for the loss of stopping and of going on.")]
MonthsOption = Annotated[int, typer.Option(min=1, max=120, help="In which a promoted model serves.")]
StartOption = Annotated[
    str | None, typer.Option(metavar="DATE", help="Day on which the release begins, such as 2026-12-01; today by default.")
]
DirectoryOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Also write COST.md and its charts there.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import PLAN

    app.command(rich_help_panel=PLAN)(reaching(cost))


def cost(
    spec: SpecArgument,
    measured: MeasuredOption = False,
    shadow_share: ShadowShareOption = "0%",
    shadow_duration: ShadowDurationOption = "0s",
    kept: KeptOption = "1d",
    chance: ChanceOption = "80%",
    months: MonthsOption = 6,
    start: StartOption = None,
    output: DirectoryOption = None,
    form: FormatOption = Format.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """What a request costs on both models, and the release beyond stable alone; when that has come back, and which capacity it takes."""
    from extproc import cost as room
    from extproc import spec as specs
    from extproc.cli.costed import cost_picture

    loaded = specs.read(str(spec))
    share, lasts, keeps, passes = _quantities(shadow_share, shadow_duration, kept, chance)
    counted = tokens_told(loaded, Client(api, token_file).status()) if measured else {}
    given = room.Given(
        shadow_share=share,
        shadow_seconds=lasts,
        kept_seconds=keeps,
        chance=passes,
        months=months,
        start=_day(start),
        measured=counted,
    )
    found = room.sheets(loaded, given)
    if output is not None:
        _write(loaded, given, output)
    if form is Format.JSON:
        made = {one.rollout: room.document(one, given) for one in found}
        typer.echo(orjson.dumps(made, option=orjson.OPT_INDENT_2).decode())
        return
    console = Console(highlight=False)
    for one in found:
        console.print(cost_picture(one, given))


def _quantities(*written: str) -> list[float]:
    """Share, duration, duration, share, as a Spec has them; raises SettingsError with all that are none."""
    from extproc.spec import units

    options = ("--shadow-share", "--shadow-duration", "--kept", "--chance")
    readers = (units.share, units.duration, units.duration, units.share)
    found, problems = [], []
    for option, read, text in zip(options, readers, written, strict=True):
        try:
            found.append(read(text))
        except ValueError as error:
            problems.append(Problem("settings.value", option, f"{text!r} {error}"))
    if not problems and (found[0] > 0) != (found[1] > 0):
        message = "a shadow has a share and a duration: one of them is 0"
        problems.append(
            Problem("settings.shadow", "--shadow-share", message, "give both, such as --shadow-share 10% --shadow-duration 24h")
        )
    if problems:
        raise SettingsError(problems)
    return found


def _day(written: str | None) -> date:
    if written is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(written)
    except ValueError as error:
        raise SettingsError(Problem("settings.value", "--start", f"{written!r} is no day", "write it as 2026-12-01")) from error


def tokens_told(spec: Spec, status: dict[str, Any]) -> dict[tuple[str, str], Measured]:
    """Both arms of every rollout that the controller knows and that has the same models; raises SettingsError where there is none."""
    from extproc.cost import counted

    found = counted(spec, status["rollouts"])
    if not found:
        message = "the controller knows no rollout of this Spec with its models"
        raise SettingsError(Problem("settings.not-measured", "--measured", message, "leave --measured out, or give its --api"))
    return found


def _write(spec: Spec, given: Given, directory: Path) -> None:
    from extproc import cost as room

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(Problem("settings.write", str(directory), f"cannot be made: {error}", "give a directory")) from error
    for name, text in room.files(spec, given).items():
        write_file(directory / name, text)
        typer.echo(f"{directory / name}: written", err=True)
