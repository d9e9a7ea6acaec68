"""What the kills of a controller are made of, what was seen of each, what was promised and not seen, and all of it as Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from extproc.domain import JournalEntry, State
from extproc.release import AUTOMATION

LONGEST_LOSS: Final = 1.0
"""Seconds of outcomes that a kill may cost."""


class Answer(StrEnum):
    """What became of a person's act."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    NONE = "no answer"


@dataclass(frozen=True, slots=True)
class Plan:
    """One series of kills."""

    kills: int = 50
    rate: float = 400.0
    """Outcomes per second."""
    act_every: float = 0.4
    """Seconds between two acts, on average."""
    first_life: float = 6.0
    """Seconds until the first kill: there must be evidence by then."""
    longest_life: float = 6.0
    """Seconds from a controller's readiness to its kill: anything up to that; every third one is killed within milliseconds of an act."""
    rollbacks: bool = True
    """Whether people roll back and begin anew now and then."""
    seed: int = 1
    lateness: float = 0.15
    """Seconds by which the machine may be late with a tick, over all: what is saved each second is then a little older."""
    on_the_way: float = 0.1
    """Seconds that a message may be under way: at the edge of a save it may be in or not."""


@dataclass(frozen=True, slots=True)
class PersonsAct:
    """One POST."""

    why: str
    """Names it: no two have the same."""
    answer: Answer
    generation: int = 0
    """As answered."""


@dataclass(frozen=True, slots=True)
class Death:
    """One kill, and what the store and the next controller said."""

    lost_seconds: float
    """From the last save to the kill."""
    lost_outcomes: int
    """Sent in that time."""
    down: float
    """Seconds until the next controller answered."""
    shown_seconds: float
    """Of outcomes not looked at, by the next controller's status; 0 where no rollout was exposed."""
    shown_outcomes: int
    vectors: int
    """Log-capitals in the store, compared with the next controller's."""
    books: str = ""
    """What was wrong with Journal, State or Evidence; empty if nothing."""


@dataclass(slots=True)
class Seen:
    """What a series of kills saw."""

    plan: Plan
    acts: list[PersonsAct] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    journal: Sequence[JournalEntry] = ()
    """At the end, oldest first."""
    sent: int = 0
    """Outcomes."""
    counted: int = 0
    """Visits whose outcomes were counted against those that were sent."""


def books(journal: Sequence[JournalEntry], state: State, acts: Sequence[PersonsAct]) -> list[str]:
    """What does not fit: Journal (oldest first) and State against each other, and against what people were answered."""
    found: list[str] = []
    if [entry.sequence for entry in journal] != list(range(1, len(journal) + 1)):
        found.append("the Journal is not numbered without gaps")
    if [entry.generation for entry in journal] != list(range(1, len(journal) + 1)):
        found.append("generations do not rise by one with each entry")
    if journal[-1].generation != state.generation:
        found.append(f"State has generation {state.generation}, the Journal ends with {journal[-1].generation}")
    if "to" in journal[-1].numbers:
        there = state.rollouts[journal[-1].rollout].status.value
        if journal[-1].numbers["to"]["status"] != there:
            found.append(f"the Journal ends with {journal[-1].numbers['to']['status']}, State has {there}")
    times = Counter(entry.why for entry in journal if entry.actor != AUTOMATION)
    found += [f"{why} is {count} times in the Journal" for why, count in times.items() if count > 1]
    generations = {entry.why: entry.generation for entry in journal}
    for act in acts:
        if act.answer is Answer.ACKNOWLEDGED and generations.get(act.why) != act.generation:
            found.append(
                f"{act.why} was acknowledged as generation {act.generation} and is {generations.get(act.why, 'not')} in the Journal"
            )
        if act.answer is Answer.REFUSED and act.why in generations:
            found.append(f"{act.why} was refused and is in the Journal")
    return found


def vectors(document: dict[str, Any]) -> dict[str, list[Any]]:
    """The e-processes against harm in a document of Evidence: they run over a whole attempt, whatever visit is the present one."""
    return {f"{kind}/{scale}": lane for kind, lanes in document["harm"].items() for scale, lane in enumerate(lanes) if lane[0]}


def verdict(seen: Seen) -> list[str]:
    """What was promised and not seen."""
    found = [death.books for death in seen.deaths if death.books]
    if len(seen.deaths) != seen.plan.kills:
        found.append(f"{len(seen.deaths)} kills of {seen.plan.kills}")
    bound = LONGEST_LOSS + seen.plan.lateness
    found += [f"a kill cost {death.lost_seconds:.2f} s of outcomes" for death in seen.deaths if death.lost_seconds > bound]
    answers = Counter(act.answer for act in seen.acts)
    if answers[Answer.ACKNOWLEDGED] < len(seen.deaths):
        found.append(f"only {answers[Answer.ACKNOWLEDGED]} acts were acknowledged: this shows little")
    if not any(death.vectors for death in seen.deaths):
        found.append("no e-process was ever compared: this shows nothing")
    return found


def told(seen: Seen) -> list[str]:
    """Markdown."""
    answers = Counter(act.answer for act in seen.acts)
    there = {entry.why for entry in seen.journal}
    unanswered = sum(act.answer is Answer.NONE and act.why in there for act in seen.acts)
    lost = sorted(death.lost_seconds for death in seen.deaths)
    outcomes = [death.lost_outcomes for death in seen.deaths]
    shown = [death for death in seen.deaths if death.shown_seconds]
    automatic = sum(entry.actor == AUTOMATION for entry in seen.journal)
    compared = sum(death.vectors for death in seen.deaths)
    rows = [
        ("kills (SIGKILL); from the kill to the next controller's first answer, median", f"{len(seen.deaths)}; {_median_down(seen):.2f} s"),
        (
            "acts of people acknowledged; of these in the Journal with the generation answered, once",
            f"{answers[Answer.ACKNOWLEDGED]}; all" if not any(death.books for death in seen.deaths) else "see below",
        ),
        ("acts refused (none in the Journal)", f"{answers[Answer.REFUSED]}"),
        ("acts without an answer, because of a kill; of these in the Journal, once", f"{answers[Answer.NONE]}; {unanswered}"),
        ("entries of the Journal, generations without gap; of these by the automation", f"{len(seen.journal)}; {automatic}"),
        ("outcomes sent; visits whose outcomes were counted against those sent", f"{seen.sent:,}; {seen.counted}"),
        ("outcomes lost by a kill, seconds: median, worst", f"{statistics.median(lost):.2f}, {lost[-1]:.2f}"),
        ("outcomes lost by a kill, number: median, worst", f"{statistics.median(outcomes):.0f}, {max(outcomes)}"),
        ("log-capitals of e-processes equal, to the last bit, in the store and in the next controller's next save", f"{compared:,}"),
    ]
    if shown:
        longest = max(shown, key=lambda death: death.shown_seconds)
        said = f"{len(shown)}; {longest.shown_seconds:.1f} s (about {longest.shown_outcomes:,})"
        rows.append(("times that `status` said what was not looked at (with down time and 2 s of warm-up); most", said))
    return [
        f"`python -m loadtest.kills`: `extproc controller` killed {len(seen.deaths)} times (seed {seen.plan.seed}) while",
        f"{seen.plan.rate:.0f} outcomes/s arrive over gRPC and a person acts over the API several times a second; every third kill comes",
        "within milliseconds of an act. After each the store is read before the next controller starts.",
        "",
        "| what | seen |",
        "| --- | --- |",
        *(f"| {what} | {figure} |" for what, figure in rows),
    ]


def _median_down(seen: Seen) -> float:
    return statistics.median(death.down for death in seen.deaths)
