"""Plan: plan, the release folder of a Spec; and what has drifted from the Spec since it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated, Final

import typer

from extproc.cli.write import SpecArgument
from extproc.errors import Problem, SettingsError

if TYPE_CHECKING:
    from extproc.plan import Drift

SHOWN: Final = 100
"""Characters of a line that a report repeats."""
EXECUTABLE: Final = 0o111


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import PLAN

    app.command(rich_help_panel=PLAN)(plan)


def plan(
    spec: SpecArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="DIR", help="Only say what of a folder has drifted from the Spec.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that a person has changed.")] = False,
) -> None:
    """Write everything that a release of this Spec needs into one folder, or say what has drifted; exit code 1 where something has."""
    from extproc import plan as room
    from extproc import spec as specs

    if (output is None) == (check is None):
        raise SettingsError(Problem("settings.plan", "--output", "name a folder to write or one to check", "-o DIR, or --check DIR"))
    if force and check is not None:
        raise SettingsError(Problem("settings.plan", "--force", "a check overwrites nothing", "leave it out, or write with -o DIR"))
    made = room.files(specs.read(str(spec)), text=specs.read_text(str(spec)))
    if check is not None:
        _check(check, made)
    elif output is not None:
        typer.echo(write_folder(output, made, force))


def _check(folder: Path, made: Mapping[str, str]) -> None:
    from extproc.plan import drift

    found = drift(made, _there(folder, made))
    for one in found:
        typer.echo("\n".join(_lines(one)))
    typer.echo(
        f"{folder}: {len(found)} of {len(made)} files have drifted" if found else f"{folder}: {len(made)} files, as the Spec makes them"
    )
    if found:
        raise typer.Exit(1)


def _lines(one: Drift) -> list[str]:
    """A file, what became of it, and its first line that differs."""
    head = f"{one.path}: {one.kind.value}"
    if not one.line:
        return [head]
    return [f"{head}, from line {one.line}", f"  Spec  {_shown(one.wanted)}", f"  there {_shown(one.found)}"]


def _shown(line: str | None) -> str:
    if not line:
        return "(ends here)" if line is None else "(an empty line)"
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return printable if len(printable) <= SHOWN else f"{printable[: SHOWN - 1]}…"


def write_folder(folder: Path, made: Mapping[str, str], force: bool) -> str:
    """Write a folder, all of it or nothing, and say what was done; raises SettingsError where a person would lose a change, or where it
    cannot be written."""
    from extproc.plan import blocking

    there = _there(folder, made)
    changed = [] if force else blocking(made, there)
    if changed:
        hint = "move the change into the Spec, or --force to lose it"
        raise SettingsError([Problem("plan.changed", str(folder / one.path), _told(one), hint, one.line) for one in changed])
    gone = [path for path in there if path not in made]
    differing = {path: text for path, text in made.items() if there.get(path) != text}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            _replace(folder, differing, gone, there)
        else:
            _create(folder, made)
    except OSError as error:
        raise SettingsError(Problem("settings.write", str(folder), f"cannot be written: {error}", "nothing was changed")) from error
    removed = f", {len(gone)} removed" if gone else ""
    return f"{folder}: {len(made)} files, {len(differing)} of them written{removed}; begin with {folder / 'README.md'}"


def _told(one: Drift) -> str:
    return f"{one.kind.value}: {_shown(one.found)!r}" if one.line else one.kind.value


def _there(folder: Path, made: Mapping[str, str]) -> dict[str, str]:
    """Texts of the folder's files that are ours; others are nobody's business here."""
    from extproc.plan import MANIFEST, known_paths

    if folder.exists() and not folder.is_dir():
        raise SettingsError(Problem("settings.plan", str(folder), "is no folder", "name a folder"))
    kept = _read(folder / MANIFEST)
    found = {path: _read(folder / path) for path in known_paths(made, kept)}
    return {path: text for path, text in found.items() if text is not None}


def _read(path: Path) -> str | None:
    """A file's text, bytes that are no UTF-8 kept as surrogates; None where there is none."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(Problem("settings.plan", str(path), f"cannot be read: {error}", "move it away")) from error


def _stage(staging: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        target = staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("utf-8", "surrogateescape"))
        if text.startswith("#!"):
            mode = target.stat().st_mode
            # Whoever may read a script may run it.
            target.chmod(mode | (mode >> 2 & EXECUTABLE))


def _create(folder: Path, made: Mapping[str, str]) -> None:
    """The whole folder appears at once."""
    staging = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _stage(staging / "new", made)
        (staging / "new").rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(folder: Path, differing: Mapping[str, str], gone: list[str], there: Mapping[str, str]) -> None:
    """Everything is written beside before the first file is replaced; each appears whole, and a failure puts back what was there."""
    from extproc.plan import MANIFEST

    staging = Path(mkdtemp(prefix=".plan-", dir=folder))
    done: list[str] = []
    try:
        _stage(staging / "new", differing)
        _stage(staging / "old", {path: there[path] for path in {*differing, *gone} & there.keys()})
        for path in sorted(differing, key=lambda path: (path == MANIFEST, path)):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / "new" / path).replace(target)
            done.append(path)
        for path in gone:
            (folder / path).unlink()
            done.append(path)
    except OSError:
        for path in done:
            if path in there:
                (staging / "old" / path).replace(folder / path)
            else:
                (folder / path).unlink()
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for path in gone:
        _prune(folder, (folder / path).parent)


def _prune(folder: Path, empty: Path) -> None:
    """Folders that nothing is left in."""
    while empty != folder and not os.listdir(empty):
        empty.rmdir()
        empty = empty.parent
