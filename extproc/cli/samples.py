"""What the judge has read: samples and their scores, side by side; and how a person is forgotten."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from extproc import contract
from extproc.cli.act import RolloutArgument
from extproc.cli.known import unit_hash
from extproc.cli.run import StoreOption
from extproc.domain import COMPARED_ARMS, Purpose, Sample
from extproc.errors import Problem, SettingsError
from extproc.store import open_store
from extproc.store.exposures import Listing, Wanted
from extproc.store.feedback import forget as forget_feedback
from extproc.store.samples import SampleReader
from extproc.store.samples import forget as forget_unit
from extproc.store.samples import label as label_sample

LONGEST: Final = 1_200
"""Characters of a text that are shown."""

CountOption = Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many.")]
UnitArgument = Annotated[str, typer.Argument(metavar="UNIT", help="The user's id as the header, cookie or claim has it.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    from extproc.cli import WHO

    for command in (samples, label, forget):
        app.command(rich_help_panel=WHO)(command)


def samples(
    rollout: RolloutArgument,
    worst: Annotated[
        bool, typer.Option("--worst", help="The lowest scores of canary and control in the last visit, side by side.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Pairs of the last shadow: stable's answer beside the canary's, its worst first.")
    ] = False,
    count: CountOption = 5,
    store: StoreOption = contract.DEFAULT_STORE,
) -> None:
    """Redacted answers that were sampled for the judge, newest first, with their scores and why."""
    with closing(SampleReader(Path(contract.samples_path(store)))) as reader:
        if shadow:
            Console().print(Group(*pairs_picture(reader.pairs(rollout, count))))
            return
        latest = reader.latest(rollout, 1 if worst else count)
        if not latest:
            message = f"no sample of {rollout} is kept"
            hint = "the Spec's judge samples answers while a rollout with a gate on judge or tripwires is in a phase"
            raise SettingsError(Problem("settings.samples", rollout, message, hint))
        if not worst:
            Console().print(Group(*(sample_picture(*one) for one in reversed(latest))))
            return
        generation = latest[0][0].generation
        found = [reader.worst(rollout, generation, arm, count) for arm in COMPARED_ARMS]
    Console().print(Group(*side_by_side(*found)))


def label(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="The answer's request id, as `extproc samples` shows it.")],
    level: Annotated[int, typer.Argument(min=1, max=5, metavar="1..5", help="5: nothing is wrong with it.")],
    who: Annotated[str, typer.Option("--who", help="Your name.")] = "",
    store: StoreOption = contract.DEFAULT_STORE,
) -> None:
    """Say how good a sampled answer is: from 30 labels on `extproc status` shows how far the judge agrees with people."""
    if not label_sample(Path(contract.samples_path(store)), request, level, who, time.time()):
        raise SettingsError(Problem("settings.samples", request, "no such sample is kept", "see extproc samples ROLLOUT"))
    typer.echo(f"{request}: level {level}")


def forget(unit: UnitArgument, store: StoreOption = contract.DEFAULT_STORE) -> None:
    """Delete all samples, scores and feedback of a person, at once and for good. What was counted of them stays in the counts."""
    with closing(open_store(store)) as opened:
        hashed = unit_hash(opened.unit_key(), unit.encode())
    gone, scores = forget_unit(Path(contract.samples_path(store)), hashed)
    feedback = Path(contract.feedback_path(store))
    said = forget_feedback(feedback, hashed, _requests(store, hashed)) if feedback.exists() else 0
    typer.echo(
        f"{gone:,} samples and {scores:,} scores, and {said:,} lines of feedback, of unit {hashed} are deleted; who met a canary stays "
        "listed in `extproc exposures`"
    )


def _requests(store: str, hashed: str) -> set[str]:
    """Requests of a unit that met a canary: feedback may name no more than those."""
    path, found = Path(contract.exposures_path(store)), set[str]()
    if not path.exists():
        return found
    with closing(Listing(path, Wanted(""), time.time())) as listing:
        rollouts = listing.rollouts()
    for rollout in rollouts:
        with closing(Listing(path, Wanted(rollout, known=True), time.time())) as listing:
            listing.know([(hashed, hashed)])
            found |= {one.request for page in listing.pages() for one in page}
    return found


Scored = tuple[Sample, float | None, str]
"""A sample, its score, and the judge's reason."""


def side_by_side(canary: Sequence[Scored], control: Sequence[Scored]) -> list[RenderableType]:
    """The worst of both arms, pair by pair."""
    return [Columns([sample_picture(*one) for one in pair], equal=True, expand=True) for pair in zip(canary, control, strict=False)] or [
        Text("one of the arms has no score yet", style="yellow")
    ]


def pairs_picture(pairs: Sequence[tuple[Sample, Sample, float, str]]) -> list[RenderableType]:
    """Both answers to one request, pair by pair, and which one the judge prefers."""
    words = {0.0: "stable is better", 0.5: "no difference", 1.0: "the canary is better"}
    found: list[RenderableType] = []
    for stable, canary, value, reason in pairs:
        found.append(Columns([sample_picture(one, None, "") for one in (stable, canary)], equal=True, expand=True))
        found.append(Text(f"{words[value]}: {_short(reason)}", style="bold " + ("red" if value == 0.0 else "green" if value else "dim")))
    return found or [Text("no pair of a shadow has been compared yet", style="yellow")]


def sample_picture(sample: Sample, value: float | None, reason: str) -> RenderableType:
    """One sample: what was asked, what was answered, what the judge said."""
    at = datetime.fromtimestamp(sample.start, UTC).strftime("%Y-%m-%d %H:%M:%S")
    head = f"{sample.arm.value} · {sample.cohort} · phase {sample.phase} · {at}"
    said: list[Text] = [Text(f"{role}: {_short(text)}", style="dim") for role, text in sample.turns[-2:]]
    said.append(Text(_short(sample.answer) or f"({sample.ending})"))
    said += [Text(f"calls {_short(name)}({_short(arguments)})") for name, arguments in sample.calls]
    if sample.tripwires:
        said.append(Text(f"tripwires: {', '.join(sample.tripwires)}", style="yellow"))
    said.append(Text(_verdict(sample, value, reason), style="bold"))
    return Panel(Group(*said), title=Text(head), title_align="left", subtitle=Text(sample.request, style="dim"), border_style=_style(value))


def _verdict(sample: Sample, value: float | None, reason: str) -> str:
    if value is not None:
        return f"score {value:.2f}: {_short(reason)}"
    words = {Purpose.DIAGNOSTIC: "no score: it was kept for eyes alone", Purpose.SHADOW: "half of a pair"}
    return words.get(sample.purpose, "no score yet")


def _style(value: Any) -> str:
    if value is None:
        return "dim"
    return "red" if value < 0.4 else "yellow" if value < 0.7 else "green"


def _short(text: str) -> str:
    """As people may see it: no character that would speak to their terminal."""
    text = "".join(one if one.isprintable() or one == "\n" else f"\\x{ord(one):02x}" for one in text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
