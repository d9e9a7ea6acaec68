"""Plan: timeline, simulate, prove. What a release can know, before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console, RenderableType

from extproc.cli.watch import JsonOption
from extproc.cli.write import SpecArgument, write_file
from extproc.errors import Problem, SettingsError

if TYPE_CHECKING:
    from extproc.domain import Rollout, Spec
    from extproc.release.simulate import Row, Setting

    Told = tuple[list[Row], list[RenderableType]]
    """A table, and what is shown of it."""

RolloutOption = Annotated[str | None, typer.Option("--rollout", metavar="NAME", help="One of several; all of them by default.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same table.")]
JUDGE = "judge"
ALL = "all"
PROVED_RATE = 20.0
"""Canary's requests a second in a proof: how many it takes matters, not how long."""
PROVED_SECONDS = 90.0


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import PLAN

    for command in (timeline, simulate, prove):
        app.command(rich_help_panel=PLAN)(command)


def timeline(
    spec: SpecArgument,
    rollout: RolloutOption = None,
    errors: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of stable's requests that fail today.")] = 0.005,
    score_spread: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="Standard deviation of the judge's scores; `extproc status` says it, once known.")
    ] = 0.25,
    as_json: JsonOption = False,
) -> None:
    """How long each phase must run to be able to advance, and what it can see; exit code 1 for a plan that cannot succeed."""
    from extproc.cli.planned import plan_document, plan_picture
    from extproc.domain import taking_part
    from extproc.release.plan import Assumed, plan

    loaded, console = _read(spec), Console(highlight=False)
    assumed = Assumed(errors=errors, score_spread=score_spread)
    plans = {one.name: (one, plan(taking_part(loaded, one), one, assumed)) for one in _rollouts(loaded, rollout)}
    if as_json:
        typer.echo(orjson.dumps({name: plan_document(made) for name, (_, made) in plans.items()}, option=orjson.OPT_INDENT_2).decode())
    else:
        for one, made in plans.values():
            console.print(plan_picture(one, made))
    if any(made.problems for _, made in plans.values()):
        raise typer.Exit(1)


def simulate(
    spec: SpecArgument,
    scenario: Annotated[
        list[str], typer.Option(help="aa, errors, broken, latency, judge, cost, incident, clustered, slow, ramp, late, or all.")
    ] = ["aa"],  # noqa: B006  (typer copies it)
    runs: Annotated[int, typer.Option(min=1, help="Releases of each scenario.")] = 100,
    requests: Annotated[int, typer.Option(min=200, help="Of each release.")] = 4000,
    phase: Annotated[str | None, typer.Option(help="The phase that it stays in; by default the last in which models are compared.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Requests a second; by default those of an average day.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="The published table of the plain e-processes instead of this Spec.")] = False,
    rollout: RolloutOption = None,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """How often an equal canary would be rolled back, how soon a bad one: by this Spec's gates, and by the rules of others."""
    from extproc.cli.rehearsal import document, setting
    from extproc.domain import taking_part
    from extproc.domain.seconds import DAY

    loaded, console, progress = _read(spec), Console(highlight=False), Console(stderr=True, highlight=False)
    if plain:
        made = _plain_tables(runs, seed, progress)
    else:
        paces = [(one, rate or taking_part(loaded, one).daily_requests / DAY) for one in _rollouts(loaded, rollout)]
        made = (
            _rehearsed(setting(loaded, one, _phase(one, phase), pace, requests), name, runs, requests, seed, progress)
            for one, pace in paces
            for name in _scenarios(scenario)
        )
    found = []
    for rows, pictures in made:
        found += document(rows)
        if not as_json:
            console.print(*pictures, "", sep="\n")
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def _plain_tables(runs: int, seed: int, progress: Console) -> Iterator[Told]:
    """Every row of the published table."""
    from extproc.cli import rehearsal
    from extproc.cli.simulated import table
    from extproc.release.simulate import TABLE, plain_rows

    for name in TABLE:
        rows = plain_rows(name, rehearsal.plain(name, runs, seed, progress))
        head = f"[bold]{name}[/bold], {runs:,} releases of 100,000 requests, 5 % canary, plain e-processes"
        yield rows, [head, table(rows, "A/A" not in name)]


def _rehearsed(given: Setting, name: str, runs: int, requests: int, seed: int, progress: Console) -> Told:
    """One scenario of one rollout."""
    from extproc.cli import rehearsal
    from extproc.cli.simulated import paths, seconds, table
    from extproc.release.gate import harm_limit
    from extproc.release.simulate import WORLDS, full_rows, plain_rows

    rollout = given.rollout
    head = f"[bold]{rollout.name}[/bold] at {rollout.phases[given.phase].name}, {runs:,} releases of {requests:,} requests"
    if name == JUDGE:
        rows = plain_rows(JUDGE, rehearsal.judged(requests, runs, seed, progress))
        return rows, [f"{head}\njudge: .80 → .77, plain form", table(rows, True)]
    world = WORLDS[name]
    made = rehearsal.releases(given, world, runs, seed, progress)
    rows = full_rows(world, made)
    said = f"{head}\n{name}: {world.sentence}"
    return rows, [said, table(rows, world.harmful), seconds(made), paths(made, world, harm_limit(rollout, 1))]


def prove(spec: SpecArgument, rollout: RolloutOption = None, seed: SeedOption = 1) -> None:
    """Let every gate and every ceiling meet a canary that is bad in its way, and write beside the Spec which were seen to block."""
    from extproc.cli import proved, rehearsal
    from extproc.cli.planned import proofs_picture
    from extproc.release import proofs

    loaded, console = _read(spec), Console(highlight=False)
    known, missing = proved.read(spec), 0
    for one in _rollouts(loaded, rollout):
        places = sorted({index for _, _, index, _ in proofs.keys(one)})
        settings = [_proving(loaded, one, index) for index in places]
        found = list(zip(places, rehearsal.proofs(settings, seed, Console(stderr=True)), strict=True))
        by_name = {(index, proof.gate): proof for index, made in found for proof in made}
        known |= {key: by_name[index, name] for key, _, index, name in proofs.keys(one)}
        console.print(f"[bold]{one.name}[/bold]", proofs_picture(one, found), sep="\n")
        missing += sum(not proof.blocked for _, made in found for proof in made)
    write_file(proved.beside(spec), proved.text(known))
    console.print(f"{proved.beside(spec)}: keep it beside the Spec; `extproc check` marks what it does not have")
    if missing:
        raise typer.Exit(1)


def _proving(spec: Spec, rollout: Rollout, index: int) -> Setting:
    from extproc.cli import rehearsal

    rate = PROVED_RATE / min(rollout.phases[index].share, 0.5)
    return rehearsal.setting(spec, rollout, index, rate, round(rate * PROVED_SECONDS))


def _read(path: Path) -> Spec:
    from extproc import spec

    return spec.read(str(path))


def _rollouts(spec: Spec, name: str | None) -> list[Rollout]:
    if name is None:
        return list(spec.rollouts.values())
    if name not in spec.rollouts:
        raise SettingsError(Problem("settings.no-rollout", "--rollout", f"there is no {name!r}", f"one of {', '.join(spec.rollouts)}"))
    return [spec.rollouts[name]]


def _phase(rollout: Rollout, name: str | None) -> int:
    if name is None:
        return max(index for index, phase in enumerate(rollout.phases) if phase.share < 1 or index == 0)
    names = [phase.name for phase in rollout.phases]
    if name not in names:
        raise SettingsError(Problem("settings.no-phase", "--phase", f"{rollout.name} has none {name!r}", f"one of {', '.join(names)}"))
    return names.index(name)


def _scenarios(names: list[str]) -> list[str]:
    from extproc.release.simulate import WORLDS

    there = [*WORLDS, JUDGE]
    if ALL in names:
        return there
    for name in names:
        if name not in there:
            raise SettingsError(Problem("settings.no-scenario", "--scenario", f"there is no {name!r}", f"one of {', '.join(there)}"))
    return names
