"""Worlds of the full design: who asks, how often, and what becomes of a request, in each arm and at each moment.

What is told of a request is what Envoy would tell; nothing here knows of gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from extproc.domain import Arm
from extproc.release.simulate.draw import Draw

INPUT_TOKENS: Final = 400
OUTPUT_TOKENS: Final = 200


@dataclass(frozen=True, slots=True)
class Side:
    """One model."""

    errors: float = 0.005
    error_after: float = 0.2
    """Seconds until a failure; an instant refusal and a timeout differ here."""
    latency: float = 0.6
    """Median seconds of an answer, lognormal."""
    latency_sigma: float = 0.6
    tokens: float = 1.0
    """Factor of the tokens that are written: cost follows."""
    tokens_sigma: float = 0.8
    """The same spread for what is read and what is written."""
    reads: float = 1.0
    """Factor of the tokens that are read."""
    cached: float = 0.5
    """Share of them that comes from a cache."""
    reasoning: float = 0.2
    """Share of what is written."""
    throttled: float = 0.0
    aborts: float = 0.0
    """Share of requests that the client gives up."""
    retries: float = 0.0
    """Share of requests that ask again."""


@dataclass(frozen=True, slots=True)
class World:
    """What happens in a release. Moments are seconds from its beginning."""

    name: str
    sentence: str
    harmful: bool
    """True where the canary is to be rolled back; False where a rollback is a false alarm."""
    stable: Side = Side()
    canary: Side = Side()
    fault_at: float = 0.0
    """Until then the canary is as stable is."""
    users: int = 1_000_000
    requests_per_user: float = 1.0
    """Of a user who is there, within a few seconds each."""
    frail: float = 0.0
    """Share of users of whom a large part of all requests fail, whichever model they meet: clustered errors."""
    frail_errors: float = 0.3
    incident: tuple[float, float] = (math.inf, math.inf)
    """From and to when both models fail."""
    incident_errors: float = 0.3
    ramp: bool = False
    """Walk through all phases instead of staying in one."""
    drift: float = 0.0
    """By how much the errors of both swing, as a share of themselves, with a period of two minutes."""
    cohort: str = ""
    """Whose canary alone is harmful; empty: everybody's."""
    same_prices: bool = False
    """The canary costs stable's prices, whatever the Spec says: one that is cheaper may write more and be no dearer."""


WELL: Final = Side()
WORLDS: Final[Mapping[str, World]] = MappingProxyType(
    {
        world.name: world
        for world in (
            World("aa", "both models are the same", False),
            World("errors", "the canary fails ten times as often", True, canary=Side(errors=0.05)),
            World("broken", "the canary fails always", True, canary=Side(errors=1.0)),
            World("latency", "the canary is 50 % slower", True, canary=Side(latency=0.9)),
            World("cost", "the canary writes half as much again", True, canary=Side(tokens=1.5), same_prices=True),
            World("incident", "both fail together for half a minute", False, incident=(40.0, 70.0)),
            World(
                "clustered",
                "a few users fail often, wherever they are, and ask often",
                False,
                users=3_000,
                requests_per_user=8.0,
                frail=0.02,
            ),
            World("slow", "the canary's failures come late, and as often", False, canary=Side(error_after=5.0)),
            World("ramp", "both the same, from phase to phase, while the errors of both drift", False, ramp=True, drift=0.9),
            World("late", "a total failure after a quiet time", True, canary=Side(errors=1.0), fault_at=90.0),
        )
    }
)
"""Each by name. `judge` is in the plain form alone: scores are no part of an outcome."""


def side(world: World, arm: Arm, at: float) -> Side:
    """The model that an arm meets at a moment."""
    made = world.canary if arm is Arm.CANARY and at >= world.fault_at else world.stable
    if world.drift:
        made = replace(made, errors=made.errors * (1 + world.drift * math.sin(at / 120 * 2 * math.pi)))
    begin, end = world.incident
    return replace(made, errors=max(made.errors, world.incident_errors)) if begin <= at < end else made


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one request."""

    failed: bool
    throttled: bool
    aborted: bool
    retried: bool
    duration: float
    read: int
    """Tokens."""
    cached: int
    written: int
    reasoned: int


def answer(model: Side, frail: float, draw: Draw) -> Answer:
    """Of one request; `frail`: the least chance that it fails."""
    failed = draw.random() < max(model.errors, frail)
    throttled = not failed and model.throttled > 0 and draw.random() < model.throttled
    aborted = not failed and model.aborts > 0 and draw.random() < model.aborts
    retried = model.retries > 0 and draw.random() < model.retries
    duration = model.error_after if failed else model.latency * math.exp(draw.gauss(0.0, model.latency_sigma))
    longer = math.exp(draw.gauss(0.0, model.tokens_sigma))
    read, written = int(INPUT_TOKENS * model.reads * longer) + 1, int(OUTPUT_TOKENS * model.tokens * longer) + 1
    return Answer(failed, throttled, aborted, retried, duration, read, int(read * model.cached), written, int(written * model.reasoning))
