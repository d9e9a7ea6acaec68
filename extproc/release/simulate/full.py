"""The full design: the same Evidence, gates and decisions that run in the controller, fed with a world instead of an access log.

A second is a second: requests arrive, are heard of when they end, and every second the gates are evaluated and a decision is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from extproc.domain import Action, Arm, Finding, Outcome, Phase, Prices, Reason, Rollout, RolloutState, Status, Verdict
from extproc.release.decide import decide
from extproc.release.evidence import Evidence
from extproc.release.gate import TOGETHER, evaluate
from extproc.release.simulate.draw import Draw
from extproc.release.simulate.peers import Minute, rules_of_errors
from extproc.release.simulate.rows import Row, Stop, row
from extproc.release.simulate.worlds import Answer, World, answer, side

OURS: Final = "extproc"
BEGIN: Final = 1_000_000_020.0
"""Unix seconds at which a release begins: the beginning of a minute."""
SETTLE: Final = 3.0
"""Seconds more, beside window and deadline, in which what was sent is looked at."""
MINUTE: Final = 60.0
MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """How much of it."""

    rollout: Rollout
    deadline: float
    prices: dict[str, Prices]
    """By cluster, which are named as the models are."""
    phase: int
    """Where the release stays; where the world is a ramp, it begins at the first one."""
    rate: float
    """Requests a second."""
    seconds: float
    look: float = 1.0
    """Seconds between evaluations."""


@dataclass(slots=True)
class Run:
    """One release."""

    stop: Stop | None = None
    """Where it was rolled back."""
    seconds: float | None = None
    """From the fault to the rollback."""
    action: Action = Action.HOLD
    cohort: str = ""
    gates: tuple[str, ...] = ()
    """Those that failed."""
    paged: bool = False
    safe: int | None = None
    """Canary requests until every gate passed."""
    peers: dict[str, Stop | None] = field(default_factory=dict)
    path: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, ln of the e-value of all comparisons together)."""


def simulate(setting: Setting, world: World, draw: Draw, keep_path: bool = False) -> Run:
    """One release, seeded by its Draw."""
    return _Release(setting, world, draw).run(keep_path)


def rows(world: World, runs: Sequence[Run]) -> list[Row]:
    """A table of releases in one world, our rule first."""
    table = [row(world.name, OURS, [run.stop for run in runs])]
    return table + [row(world.name, rule, [run.peers[rule] for run in runs]) for rule in (runs[0].peers if runs else ())]


@dataclass(slots=True)
class _Request:
    """On its way."""

    number: int
    generation: int
    cohort: str
    arm: Arm
    unit: str
    start: float
    answer: Answer
    told: bool = False
    """As one that is still open."""


class _Release:
    """One release on its way."""

    def __init__(self, setting: Setting, world: World, draw: Draw) -> None:
        self._setting, self._world, self._draw = setting, world, draw
        self._rollout = setting.rollout
        self._phase = 0 if world.ramp else setting.phase
        self._generation = 2
        prices, stable = setting.prices, setting.rollout.stable
        if world.same_prices and stable in prices:
            prices = prices | {setting.rollout.canary: prices[stable]}
        self._evidence = Evidence(setting.rollout, setting.deadline, prices=prices)
        self._evidence.begin_visit(self._generation, self._phase)
        self._sent = [0, 0]
        """Canary's and stable's requests."""
        self._under_way: list[_Request] = []
        self._peers = rules_of_errors()
        self._minute = [0, 0, 0, 0]
        """Since the last minute: canary's and stable's requests, canary's and stable's failures."""
        self._number = 0
        self._returning: list[tuple[float, int]] = []

    def run(self, keep_path: bool) -> Run:
        made, setting = Run(peers=dict.fromkeys(self._peers)), self._setting
        steps = math.ceil((setting.seconds + setting.deadline + MINUTE + SETTLE) / setting.look)
        share_of_phase = setting.seconds / len(self._rollout.phases)
        for step in range(1, steps + 1):
            now = step * setting.look
            if now <= setting.seconds:
                self._send(now - setting.look, now)
            self._hear(now)
            self._evidence.advance(BEGIN + now)
            findings = evaluate(self._rollout, self._evidence)
            if keep_path:
                made.path.append((now, next((one.log_e_harm for one in findings if one.gate == TOGETHER), 0.0)))
            if self._decide(made, findings, now):
                break
            if now % MINUTE == 0:
                self._ask_peers(made)
            if self._world.ramp and self._phase + 1 < len(self._rollout.phases) and now >= (self._phase + 1) * share_of_phase:
                self._phase, self._generation = self._phase + 1, self._generation + 1
                self._evidence.begin_visit(self._generation, self._phase)
        return made

    def _decide(self, made: Run, findings: Sequence[Finding], now: float) -> bool:
        """True where it is over."""
        state = RolloutState(Status.PROGRESSING, self._phase, now, self._generation, 1, "simulated", "")
        decision = decide(self._rollout, state, findings, self._evidence, now)
        made.paged = made.paged or decision.page
        if made.safe is None and findings and all(one.verdict is Verdict.PASS for one in findings):
            made.safe = self._sent[0]
        if decision.action not in (Action.ROLL_BACK, Action.ROLL_BACK_COHORT, Action.RETURN):
            return False
        made.action, made.cohort = decision.action, decision.cohort
        made.stop = Stop(sum(self._sent), self._sent[0])
        made.seconds = now - self._world.fault_at
        made.gates = tuple(one.gate for one in findings if one.verdict is Verdict.FAIL)
        return True

    # ----------------------------------------------------------------------------------------------------------------- traffic
    def _send(self, begin: float, end: float) -> None:
        count = self._setting.rate * (end - begin)
        whole = int(count) + (self._draw.random() < count % 1)
        for index in range(whole):
            at = begin + (end - begin) * index / whole
            self._request(at, self._user(at))

    def _user(self, at: float) -> int:
        """Somebody new, or somebody who is here and asks again."""
        world, draw = self._world, self._draw
        if world.requests_per_user > 1 and self._returning and draw.random() < 1 - 1 / world.requests_per_user:
            place = int(draw.random() * len(self._returning))
            return self._returning[place][1]
        user = int(draw.random() * world.users)
        if world.requests_per_user > 1:
            self._returning.append((at, user))
            if len(self._returning) > 200:
                del self._returning[0]
        return user

    def _request(self, at: float, user: int) -> None:
        rollout, world = self._rollout, self._world
        self._number += 1
        unit = (user * 0x9E3779B97F4A7C15 + 0x1234567) & MASK
        unit = (unit ^ unit >> 31) * 0xBF58476D1CE4E5B9 & MASK
        point = (unit >> 32) / 2**32
        there = rollout.cohorts[unit % len(rollout.cohorts)]
        cohort, share = there.name, rollout.share_of(there, self._phase)
        arm = Arm.CANARY if point < share else Arm.CONTROL if point >= max(1 - there.shares[self._phase], share) else Arm.REST
        model = side(world, arm, at)
        if world.cohort and cohort != world.cohort and arm is Arm.CANARY:
            model = side(world, Arm.REST, at)
        frail = world.frail_errors if world.frail and unit % 10_000 < world.frail * 10_000 else 0.0
        canary = arm is Arm.CANARY
        request = _Request(self._number, self._generation, cohort, arm, f"{unit:016x}", BEGIN + at, answer(model, frail, self._draw))
        self._sent[not canary] += 1
        self._minute[not canary] += 1
        self._minute[3 - canary] += request.answer.failed
        self._under_way.append(request)

    def _hear(self, now: float) -> None:
        """Ends, and each request that is still open after a second, once: Envoy tells of both."""
        left = []
        for request in self._under_way:
            ended = request.start + request.answer.duration
            if ended <= BEGIN + now:
                self._evidence.observe(self._outcome(request, True), ended)
                continue
            left.append(request)
            if not request.told:
                request.told = True
                self._evidence.observe(self._outcome(request, False), BEGIN + now)
        self._under_way = left

    def _outcome(self, request: _Request, final: bool) -> Outcome:
        """As the access log would tell it."""
        rollout, said = self._rollout, request.answer
        answered = final and not said.failed
        return Outcome(
            stream_id=str(request.number),
            layer=rollout.layer,
            rollout=rollout.name,
            generation=request.generation,
            phase="",
            cohort=request.cohort,
            arm=request.arm,
            reason=Reason.RING,
            unit=request.unit,
            durable=True,
            start=request.start,
            duration=said.duration if final else 0.0,
            final=final,
            status=500 if said.failed else 429 if said.throttled else 200,
            failed=final and said.failed,
            client_aborted=final and said.aborted,
            throttled=said.throttled,
            attempts=1,
            ttft=said.duration / 3 if answered else None,
            answered_by=rollout.canary if request.arm is Arm.CANARY else rollout.stable,
            model="",
            input_tokens=said.read if answered else None,
            cached_tokens=said.cached if answered else None,
            output_tokens=said.written if answered else None,
            reasoning_tokens=said.reasoned if answered else None,
            retry=said.retried,
            regenerate=said.retried,
        )

    def _ask_peers(self, made: Run) -> None:
        canary, stable, x, y = self._minute[0], self._minute[1], self._minute[2], self._minute[3]
        self._minute = [0, 0, 0, 0]
        seen = Minute(canary, stable, x, y, x / canary if canary else 0.0, y / stable if stable else 0.0)
        for name, rule in self._peers.items():
            if made.peers[name] is None and rule.minute(seen):
                made.peers[name] = Stop(sum(self._sent), self._sent[0])


def at_share(rollout: Rollout, share: float) -> tuple[Rollout, int]:
    """The rollout with this share in its nearest phase, and the index of that: to see what each share can know. Cohorts that are ahead of
    the phase, or behind it, stay where they are."""
    place = min(range(len(rollout.phases)), key=lambda index: abs(rollout.phases[index].share - share))
    before = rollout.phases[place]
    phase = replace(before, share=share, name=f"{share:.4g}")
    cohorts = tuple(
        replace(one, shares=(*one.shares[:place], share, *one.shares[place + 1 :])) if one.shares[place] == before.share else one
        for one in rollout.cohorts
    )
    return replace(with_phase(rollout, place, phase), cohorts=cohorts), place


def with_phase(rollout: Rollout, place: int, phase: Phase) -> Rollout:
    """The rollout with another phase in this place."""
    return replace(rollout, phases=(*rollout.phases[:place], phase, *rollout.phases[place + 1 :]))
