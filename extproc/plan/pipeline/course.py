"""The course of one rollout as a pipeline follows it: one wait for each phase, a person where the Spec asks for one, and times."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from extproc.domain import ChangeWindow, Rollout, Spec, StartMode
from extproc.domain.seconds import DAY, HOUR, WEEK

LONGEST_JOB: Final = 5 * DAY - HOUR
"""Seconds: a job on a runner of one's own may take five days at GitHub, the hour is for what is around the wait."""
GRACE: Final = 1800.0
"""Seconds on top: for a controller that is being replaced, or a person who is about to answer. A job that is run again goes on."""
COMPLETED: Final = "completed"
"""What `extproc wait --until` calls the end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait: until the next phase is entered, or the rollout is completed."""

    until: str
    number: int
    """From 1: it names jobs."""
    asked: bool
    """A person must approve that phase."""
    whole: float
    """Seconds that it may take."""

    @property
    def timeout(self) -> float:
        """Seconds of one job; what takes longer is run again, and goes on."""
        return min(self.whole, LONGEST_JOB)


@dataclass(frozen=True, slots=True)
class Course:
    """One rollout."""

    name: str
    slug: str
    """The name with nothing but a-z, 0-9 and dashes, unlike every other rollout's."""
    first: str
    """Name of the first phase."""
    manual: bool
    """It waits for `extproc start`; else it begins by itself as soon as its Spec is in force."""
    shadow: bool
    """The canary answers copies first, which nobody gets; the first phase follows by itself."""
    opening: float
    """Seconds that the start may take: until its change window opens, its shadow has shown enough, and a little."""
    waits: tuple[Wait, ...]

    @property
    def total(self) -> float:
        """Seconds of all waits."""
        return sum(wait.whole for wait in self.waits)


def courses(spec: Spec) -> tuple[Course, ...]:
    """All rollouts, in the order of the Spec."""
    found: list[Course] = []
    for rollout in spec.rollouts.values():
        slug = _slug(rollout.name, {one.slug for one in found})
        manual = rollout.start is StartMode.MANUAL
        shadow = rollout.shadow.max_dwell if rollout.shadow is not None else 0.0
        opening = min(longest_closed(rollout.windows) + shadow + GRACE, LONGEST_JOB)
        found.append(Course(rollout.name, slug, rollout.phases[0].name, manual, rollout.shadow is not None, opening, _waits(rollout)))
    return tuple(found)


def _waits(rollout: Rollout) -> tuple[Wait, ...]:
    closed = longest_closed(rollout.windows)
    after = [(phase.name, phase.share > rollout.approval_above) for phase in rollout.phases[1:]] + [(COMPLETED, False)]
    return tuple(
        Wait(until, number, asked, phase.max_dwell + closed + GRACE)
        for number, (phase, (until, asked)) in enumerate(zip(rollout.phases, after, strict=True), 1)
    )


def longest_closed(windows: Sequence[ChangeWindow]) -> float:
    """Seconds of the longest stretch of a week in which automation may not raise exposure; 0 where it always may. The windows are taken
    as if they were of one zone: an hour more or less does not matter to a timeout of days."""
    spans = sorted((day * DAY + window.begin, day * DAY + window.end) for window in windows for day in window.days)
    if not spans:
        return 0.0
    longest, end = spans[0][0] + WEEK - max(span[1] for span in spans), spans[0][1]
    for begin, until in spans[1:]:
        longest, end = max(longest, begin - end), max(end, until)
    return max(0.0, longest)


def written(seconds: float) -> str:
    """`24h`, `1h30m`: as commands and GitLab read it, in whole minutes, never less."""
    hours, minutes = divmod(math.ceil(seconds / 60.0), 60)
    return f"{hours}h{minutes}m" if hours and minutes else f"{hours}h" if hours else f"{minutes}m"


def plain(name: str) -> str:
    """A name as Kubernetes and job ids take it: a-z, 0-9 and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def _slug(name: str, taken: set[str]) -> str:
    slug, number = plain(name), 2
    while slug in taken:
        slug, number = f"{plain(name)}-{number}", number + 1
    return slug
