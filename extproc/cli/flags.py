"""Write: render flags, a rollout as a feature flag of each vendor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from extproc.cli.write import SpecArgument, write_file
from extproc.errors import Problem, SettingsError

if TYPE_CHECKING:
    from extproc.domain import Rollout, Spec

DirectoryOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Directory for the files; made where it is not there.", show_default=False)
]
RolloutOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only this rollout; all by default.")]
PhaseOption = Annotated[str | None, typer.Option(help="The flag as it is at this phase, such as 25%; the first by default.")]

Files = Iterator[tuple[str, str, str]]
"""Name, text, and what there is to say of it."""


def flags(spec: SpecArgument, output: DirectoryOption, rollout: RolloutOption = None, phase: PhaseOption = None) -> None:
    """Rollouts as feature flags of Unleash, LaunchDarkly, GrowthBook and flagd, and an OpenFeature program that asks the last one.

    Exit code 1 if a vendor cannot say what the rollout says; the other files are written all the same.
    """
    from extproc import spec as specs
    from extproc.router.source import phase_index

    loaded = specs.read(str(spec))
    chosen = [(one, phase_index(one, phase)) for one in _chosen(loaded, rollout)]
    _make_directory(output)
    refused = False
    for one, index in chosen:
        refused = _write(loaded, one, index, output) or refused
    if refused:
        raise typer.Exit(1)


def _chosen(loaded: Spec, name: str | None) -> list[Rollout]:
    if name is None:
        return list(loaded.rollouts.values())
    if name not in loaded.rollouts:
        known = f"its rollouts are {', '.join(loaded.rollouts)}"
        raise SettingsError(Problem("settings.rollout", "--rollout", f"the Spec has no rollout {name!r}", known))
    return [loaded.rollouts[name]]


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(Problem("settings.write", str(path), f"cannot be made: {error}", "give a directory")) from error


def _write(loaded: Spec, rollout: Rollout, phase: int, directory: Path) -> bool:
    """Every file of one rollout; True where something could not be said."""
    from extproc.render.flags import unseen

    refused: dict[Problem, list[str]] = {}
    typer.echo(f"{rollout.name} at phase {rollout.phases[phase].name} (Spec {loaded.digest}):")
    for name, text, said in _files(loaded, rollout, phase, refused):
        write_file(directory / name, text)
        typer.echo(f"  {name}: {said}")
    for line in unseen(rollout):
        typer.echo(f"  not in the flag: {line}")
    for problem, names in refused.items():
        typer.echo(f"not written: {', '.join(names)}\n{problem}", err=True)
    return bool(refused)


def _files(loaded: Spec, rollout: Rollout, phase: int, refused: dict[Problem, list[str]]) -> Files:
    """Those that can be made; the others with their Problems go to `refused`."""
    from extproc.domain import FlagVendor
    from extproc.render import RenderError
    from extproc.render.flags import flag_document, openfeature_example, same_people

    for vendor in FlagVendor:
        name = f"{rollout.name}.{vendor.value}.json"
        try:
            document = flag_document(loaded, rollout, phase, vendor)
        except RenderError as error:
            for problem in error.problems:
                refused.setdefault(problem, []).append(name)
            continue
        others = f"the same shares of other people: the rollout's bucket is {rollout.bucket.value}"
        said = "the same people as at the edge" if same_people(rollout, vendor) else others
        yield name, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode(), said
    name, document_name = f"{rollout.name}.openfeature.py", f"{rollout.name}.{FlagVendor.FLAGD.value}.json"
    if any(document_name in names for names in refused.values()):
        return
    yield name, openfeature_example(loaded, rollout, phase), f"asks {document_name}"
