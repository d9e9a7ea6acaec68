"""Outcomes made by hand, and traffic made of them, for tests of Evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from extproc.domain import Arm, Outcome, Reason
from extproc.release import Evidence


def outcome(number: int = 0, start: float = 100.0, canary: bool = True, failed: bool = False, **changes: Any) -> Outcome:
    """A request of generation 2 that ended 0.2 s after its start; `number` names the request and its unit."""
    plain: dict[str, Any] = {
        "stream_id": f"s{number}",
        "layer": "model",
        "rollout": "new",
        "generation": 2,
        "phase": "5%",
        "cohort": "everyone",
        "arm": Arm.CANARY if canary else Arm.REST,
        "reason": Reason.RING,
        "unit": f"{number:016x}",
        "durable": True,
        "start": start,
        "duration": 0.2,
        "final": True,
        "status": 500 if failed else 200,
        "failed": failed,
        "client_aborted": False,
        "throttled": False,
        "attempts": 1,
        "ttft": 0.1,
        "answered_by": "new" if canary else "old",
        "model": "",
        "input_tokens": 10,
        "cached_tokens": 0,
        "output_tokens": 20,
        "reasoning_tokens": 0,
    }
    return Outcome(**(plain | changes))


def told(one: Outcome) -> list[Outcome]:
    """What Envoy says of a request: an entry for each second that it is open, and one at its end."""
    ages = range(1, math.ceil(one.duration)) if one.final else ()
    return [replace(one, duration=float(age), final=False, failed=False) for age in ages] + [one]


def show(evidence: Evidence, outcomes: Iterable[Outcome]) -> None:
    """Every entry arrives at once, and four times a second requests are looked at that are old enough."""
    now = looked = 0.0
    for entry in sorted((entry for one in outcomes for entry in told(one)), key=lambda entry: entry.start + entry.duration):
        now = entry.start + entry.duration
        if now >= looked + 0.25:
            looked = now
            evidence.advance(now)
        evidence.observe(entry, now)
    evidence.advance(now + 1000.0)


def traffic(
    seconds: float, share: float = 0.05, rate: int = 100, canary_errors: float = 0.0, errors: float = 0.0, **changes: Any
) -> list[Outcome]:
    """Evenly spread requests from t=100 on, each of a unit of its own: every (1/share)-th meets the canary, as many are control; errors
    are spread evenly within each arm."""
    made = []
    seen = {True: 0, False: 0}
    met = controlled = 0.0
    for number in range(int(seconds * rate)):
        met += share
        canary = met >= 1 - 1e-9
        met -= canary
        controlled += 0.0 if canary else min(share, 1 - share) / (1 - share)
        control = controlled >= 1 - 1e-9
        controlled -= control
        wanted = canary_errors if canary else errors
        before = seen[canary] * wanted
        seen[canary] += 1
        failed = int(before + wanted + 1e-9) > int(before + 1e-9)
        arm = Arm.CANARY if canary else Arm.CONTROL if control else Arm.REST
        made.append(outcome(number, 100.0 + number / rate, canary, failed, **{"arm": arm, **changes}))
    return made
