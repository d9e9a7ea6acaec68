"""Who: exposures, the list of those who met a canary."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from extproc import contract
from extproc.cli.act import RolloutArgument
from extproc.cli.client import TokenOption, reaching
from extproc.cli.known import api_keys, users
from extproc.cli.lists import FromOption, affected
from extproc.cli.run import StoreOption
from extproc.errors import Problem, SettingsError
from extproc.spec.units import duration
from extproc.store import open_store
from extproc.store.exposures import Listing, Summary, Wanted, instant
from extproc.store.exposures.lines import as_csv, as_jsonl, as_last_line, columns, csv_rows


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


SinceOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Requests that began then or later: ISO 8601 (UTC by default), Unix seconds, or 2h (ago)."),
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Requests that began before.")]
IdsOption = Annotated[
    Path | None, typer.Option("--ids", metavar="FILE", help="User ids, one a line: their rows show the id. The only way an id appears.")
]
KeysOption = Annotated[
    Path | None, typer.Option("--api-keys", metavar="FILE", help="API keys, one a line, each with a name after a space.")
]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WHO

    app.command(rich_help_panel=WHO)(reaching(exposures))


def exposures(
    rollout: RolloutArgument,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only this attempt; the first is 1.")] = None,
    phase: Annotated[str | None, typer.Option(help="Only this phase, such as 25%.")] = None,
    cohort: Annotated[str | None, typer.Option(help="Only this cohort.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only requests that failed.")] = False,
    units: Annotated[bool, typer.Option("--units", help="Distinct units with first, last, requests, failed; not requests.")] = False,
    ids: IdsOption = None,
    keys: KeysOption = None,
    known: Annotated[bool, typer.Option("--known", help="Only those that --ids or --api-keys name.")] = False,
    shape: Annotated[Format, typer.Option("--format", help="CSV or lines of JSON.")] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A new file (mode 0600) instead of standard output.")
    ] = None,
    sources: FromOption = None,
    part: Annotated[
        bool, typer.Option("--part", help="This machine's list alone and whole, to be put together with another one's by its --from.")
    ] = False,
    token_file: TokenOption = None,
    store: StoreOption = contract.DEFAULT_STORE,
) -> None:
    """Who met the canary, and how it ended: every request, hashed ids. Reads the file beside the store, with or without a controller; where
    other controllers have led, their lists too.

    A summary, every gap in the list, and what could not be asked, go to standard error.
    """
    if known and ids is None and keys is None:
        raise SettingsError(Problem("settings.known", "--known", "nobody is named", "give --ids or --api-keys"))
    now = time.time()
    named = ids is not None or keys is not None
    wanted = Wanted(rollout, attempt, phase, cohort, _at(since, "--since", now), _at(until, "--until", now), failed, known)
    if part:
        if wanted != Wanted(rollout) or named or units or sources:
            hint = "narrow it where it is put together with the others"
            raise SettingsError(Problem("settings.part", "--part", "is the whole list of this machine, as it is", hint))
        _write_part(store, wanted, output, now)
        return
    with affected(store, wanted, sources or (), token_file, now) as found:
        listing = found.listing
        if named:
            _name(listing, store, ids, keys)
        with _written(output) as file:
            _list(listing, file, shape, units, named)
        for line in told(rollout, listing.summary, found.rollouts or listing.rollouts(), found.asked, found.partial):
            typer.echo(line, err=True)


def _write_part(store: str, wanted: Wanted, output: Path | None, now: float) -> None:
    """As the API writes it."""
    with closing(Listing(Path(contract.exposures_path(store)), wanted, now)) as listing, _written(output) as file:
        for page in listing.pages():
            file.write(as_jsonl(page, ids=False))
        file.write(as_last_line(listing.summary))
    typer.echo(f"{wanted.rollout}: {listing.summary.requests:,} requests, of this machine alone", err=True)


def _name(listing: Listing, store: str, ids: Path | None, keys: Path | None) -> None:
    """Say whose hashes are known."""
    with closing(open_store(store)) as opened:
        key = opened.unit_key()
    if ids is not None:
        listing.know(users(ids, key))
    if keys is not None:
        listing.know(api_keys(keys, key))


def _list(listing: Listing, file: TextIO, shape: Format, units: bool, named: bool) -> None:
    """Lines, as they are read."""
    shown = as_jsonl if shape is Format.JSONL else as_csv
    if shape is Format.CSV:
        file.write(csv_rows([columns(units, named)]))
    for page in listing.pages():
        if not units:
            file.write(shown(page, named))
    if units:
        for met in listing.units():
            file.write(shown(met, named))


def told(
    rollout: str, summary: Summary, rollouts: tuple[str, ...], asked: tuple[str, ...] = (), partial: tuple[str, ...] = ()
) -> list[str]:
    """The summary for people, and a sentence for each gap; whose lists it is put together from, and what they do not have."""
    if not summary.requests and rollout not in rollouts:
        known = f"there are: {', '.join(rollouts)}" if rollouts else "nobody has met any canary"
        lines = [f"{rollout}: no exposure is known; {known}"]
    else:
        parts = [f"{summary.units:,} units", f"{summary.failed:,} failed"]
        parts += [f"{summary.transient:,} of units that may never be seen again"] if summary.transient else []
        parts += [f"{summary.undecided:,} without a decision, and so without a unit"] if summary.undecided else []
        parts += [f"of {summary.open:,} no end was heard of"] if summary.open else []
        parts += [f"{summary.named:,} units are named"] if summary.named else []
        lines = [f"{rollout}: {summary.requests:,} requests met the canary: {', '.join(parts)}"]
    lines.append(f"the list begins {instant(summary.began)} and goes up to {instant(summary.as_of)}")
    lines += [f"put together from {len(asked)} lists: {', '.join(asked)}"] if asked else []
    if not summary.gaps and not partial:
        return [*lines, "no gap is known"]
    return [*lines, *(f"GAP {gap.sentence()}" for gap in summary.gaps), *(f"PARTIAL {one}" for one in partial)]


@contextmanager
def _written(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file that is there only if all of it is; raises SettingsError."""
    if path is None:
        yield sys.stdout
        return
    try:
        opened = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(opened, "w", encoding="utf-8", newline="") as file:
                yield file
        except BaseException:
            with suppress(FileNotFoundError):
                path.unlink()
            raise
    except OSError as error:
        hint = "choose another name" if isinstance(error, FileExistsError) else "is there room, and is the directory yours to write?"
        raise SettingsError(Problem("settings.write", str(path), f"cannot be written: {error.strerror}", hint)) from error


def _at(text: str | None, name: str, now: float) -> float | None:
    """Unix seconds of an instant as people write it."""
    if text is None:
        return None
    with suppress(ValueError):
        return now - duration(text)
    with suppress(ValueError, OverflowError):
        found = float(text)
        if 0 <= found < 1e12:
            return found
    try:
        moment: Any = datetime.fromisoformat(text)
        return float((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        hint = "write 2026-11-27T10:00Z, Unix seconds, or a duration such as 2h for so long ago"
        raise SettingsError(Problem("settings.time", name, f"{text!r} is no instant", hint)) from error
