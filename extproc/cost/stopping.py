"""Stop now or go on: what each is expected to lose, in money alone.

Two things may be true: the canary passes, or it does not. If it passes, going on brings what it saves in the months that it serves, less
what the rest of the release costs; if it does not, the phase in which that is found has been paid in vain (what a bad model's cheap answers
have saved is no gain). The loss of a choice is what the better choice would have brought beyond it, weighted by the chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from extproc.cost.given import Given
from extproc.cost.reckon import ZERO, Part, Reckoning
from extproc.cost.tokens import exact


@dataclass(frozen=True, slots=True)
class Choice:
    """At the beginning of one part of a release."""

    name: str
    remaining: Decimal
    """USD that the release still costs beyond stable alone, until Envoy's default has moved."""
    stopping: Decimal
    """USD that stopping now is expected to lose."""
    going_on: Decimal
    """USD that going on is expected to lose."""
    least_chance: Decimal | None
    """Of passing, above which going on is right in money; None: at none."""


def choices(made: Reckoning, given: Given) -> tuple[Choice, ...]:
    """For the shadow and each phase."""
    chance, left = exact(given.chance), made.extra
    found = []
    for line in made.lines:
        if line.span.part is not Part.KEPT:
            brings = made.saving * given.months - left
            found.append(_choice(line.span.name, left, brings, max(ZERO, line.extra), chance))
        left -= line.extra
    return tuple(found)


def _choice(name: str, remaining: Decimal, brings: Decimal, vain: Decimal, chance: Decimal) -> Choice:
    """`brings`: USD of going on where the canary passes; `vain`: USD that are spent where it does not."""
    going_on = chance * max(ZERO, -brings) + (1 - chance) * vain
    return Choice(name, remaining, chance * max(ZERO, brings), going_on, _least(brings, vain))


def _least(brings: Decimal, vain: Decimal) -> Decimal | None:
    """Where chance x brings = (1 - chance) x vain."""
    if vain == 0 and brings == 0:
        return ZERO
    return vain / (brings + vain) if brings > 0 else None
