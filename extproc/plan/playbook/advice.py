"""What each alert means and what to do: sentences of this Spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from extproc.domain import Spec
from extproc.plan.playbook.place import Place


@dataclass(frozen=True, slots=True)
class Advice:
    """Of one alert."""

    means: str
    look: tuple[str, ...]
    """Commands that change nothing."""
    then: tuple[tuple[str, str], ...]
    """(what was seen, heading of the section to go to)."""


def advice(spec: Spec, place: Place) -> dict[str, Advice]:
    """By the alert's name."""
    return dict(_all(spec, place))


def _all(spec: Spec, place: Place) -> Iterator[tuple[str, Advice]]:
    yield from ()
