"""Watch: `extproc postmortem`. What was written while it happened, as a text for the people who talk about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extproc import contract
from extproc.cli.act import RolloutArgument
from extproc.cli.client import TokenOption, reaching
from extproc.cli.lists import Affected, FromOption, affected
from extproc.cli.run import StoreOption
from extproc.cli.write import write_file
from extproc.errors import Problem, SettingsError, StoreError

if TYPE_CHECKING:
    from extproc.domain import Rollout, RolloutState, Spec
    from extproc.plan.playbook.postmortem import Incident
    from extproc.store import Store
    from extproc.store.exposures import Wanted


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WATCH

    app.command(rich_help_panel=WATCH)(reaching(postmortem))


def postmortem(
    rollout: RolloutArgument,
    attempt: Annotated[int | None, typer.Option(min=1, help="By default the last one of which something was taken back.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output.")] = None,
    sources: FromOption = None,
    token_file: TokenOption = None,
    store: StoreOption = contract.DEFAULT_STORE,
) -> None:
    """A post-mortem, filled: timeline, impact in requests, users and money, detection and reaction, what each gate saw; then the questions
    that only people can answer. Reads the Journal (with the Evidence's numbers at each decision), the Spec and the lists of exposures, as
    `extproc exposures` does, with or without a controller; it asks no Prometheus."""
    from extproc.plan.playbook.postmortem import postmortem as text_of
    from extproc.store import open_store

    now = time.time()
    with closing(open_store(store)) as opened:
        incident = _incident(opened, rollout, attempt, lambda wanted: affected(store, wanted, sources or (), token_file, now))
    text = text_of(incident, now)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_file(output, text)
    typer.echo(
        f"{output}: {len(incident.entries)} lines of the Journal, {incident.impact.together().requests:,} requests that met the canary"
    )
    for one in incident.partial:
        typer.echo(f"PARTIAL {one}", err=True)


def _incident(opened: Store, name: str, attempt: int | None, read: Callable[[Wanted], AbstractContextManager[Affected]]) -> Incident:
    """Everything that the store and the lists know; raises StoreError, or SettingsError where there is no such rollout or attempt."""
    from extproc.plan.playbook.attempts import ending, of_attempt, visit_before
    from extproc.plan.playbook.impact import Impact, prices_of
    from extproc.plan.playbook.postmortem import Incident
    from extproc.store import whole_journal
    from extproc.store.exposures import Wanted

    spec, rollout, state = _stands(opened, opened.url, name)
    lines = list(whole_journal(opened, name))[::-1]
    which, entries = of_attempt(lines, attempt)
    if not any(entry.action.value == "start" for entry in lines) or not entries:
        message = f"has no attempt {attempt}" if attempt is not None else "has not begun"
        raise SettingsError(Problem("settings.attempt", name, message, f"see extproc journal {name}"))
    impact = Impact(
        prices_of(spec),
        spec.models[rollout.stable].prices if rollout.stable in spec.models else None,
        visit_before(entries, ending(entries)),
    )
    with read(Wanted(name, attempt=which)) as found:
        for page in found.listing.pages():
            impact.add(page)
        told = found.listing.summary
    gaps = tuple(gap.sentence() for gap in told.gaps)
    return Incident(spec, rollout, state, which, entries, impact, told.units, told.open, told.undecided, gaps, told.as_of, found.partial)


def _stands(opened: Store, store: str, name: str) -> tuple[Spec, Rollout, RolloutState]:
    """The Spec in force, and where the rollout stands."""
    from extproc import spec as spec_room

    state = opened.read_state()
    if state is None:
        raise StoreError(Problem("postmortem.no-state", store, "holds no State yet", "start the controller with a Spec"))
    spec = spec_room.load(opened.read_spec(state.spec_digest))
    if name not in spec.rollouts or name not in state.rollouts:
        raise SettingsError(Problem("settings.no-rollout", name, "is not in the Spec in force", f"one of {', '.join(spec.rollouts)}"))
    return spec, spec.rollouts[name], state.rollouts[name]
