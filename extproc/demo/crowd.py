"""Who got what, and why: every answer that a client got, beside what the Spec's own rules give that person at that moment. Pure.

Clients write down each good answer; the Journal says when the rollout stood where. For each moment the Spec is derived as a router
derives it, and each person assigned. The table counts people, the check compares every single answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final, NamedTuple

import orjson

from extproc import contract
from extproc.assign import Snapshot, assign, derive, prepare
from extproc.assign.expected import COMPLETED, expected
from extproc.domain import Arm, Reason, RolloutState, Spec, State, Status

SPREAD: Final = 0.5
"""Seconds after a change until every router has it, with room for a busy machine; the promise is 0.1 s."""
DEVIATIONS: Final = 4.5
"""Standard deviations of a share that are chance: one table in ten thousand is beyond them."""


class Met(NamedTuple):
    """One good answer."""

    sent: float
    ended: float
    """Unix seconds; it was decided in between, on a busy machine not at once."""
    tier: str
    country: str
    user: str
    cookie: str
    """Both empty for the first request of somebody anonymous: under which id it was decided, no client knows."""
    model: str


class Stand(NamedTuple):
    """Where the rollout stood, from one moment to another."""

    phase: str
    status: Status
    place: int
    begin: float
    end: float
    out: tuple[str, ...] = ()
    """Cohorts that were rolled back by themselves."""


@dataclass(slots=True)
class Row:
    """One cohort at one phase."""

    cohort: str
    phase: str
    reason: str
    expected: float
    """Share of its people that meet the canary, as `extproc cohorts` tells it."""
    people: set[str] = field(default_factory=set)
    on_canary: set[str] = field(default_factory=set)
    requests: int = 0
    partial: bool = False
    """True where some answers of the canary were failures, which nobody wrote down: the share then says nothing."""

    @property
    def seen(self) -> float:
        """Share of its people that did."""
        return len(self.on_canary) / len(self.people)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The table, and every answer that was another than the rules give."""

    rows: tuple[Row, ...]
    other: int
    """Answers of stable to people who belonged to the canary."""
    wrong: int
    """Answers of the canary to people who did not."""
    outside: int
    """Answers that are in no row: under way while the rollout moved, or decided under an id that no client knows."""

    def problems(self, undecided: int) -> list[str]:
        """What is not as it should be. `undecided`: requests that Envoy answered without a decision, by stable."""
        found = [f"{self.wrong:,} answers of the canary went to people who did not belong to it"] if self.wrong else []
        if self.other > undecided:
            found.append(f"{self.other:,} answers of stable went to people on the canary, and only {undecided:,} had no decision")
        for row in self.rows:
            if row.partial:
                continue
            people = len(row.people)
            # Each answer without a decision may be the only one that somebody got.
            chance = DEVIATIONS * sqrt(row.expected * (1 - row.expected) * people) + undecided
            if abs(len(row.on_canary) - row.expected * people) > chance + 1e-6:
                told = f"{row.seen:.2%} of {len(row.people):,} people met the canary, expected are {row.expected:.2%}"
                found.append(f"cohort {row.cohort} at {row.phase}: {told}")
        return found


def read(lines: Iterable[bytes]) -> Iterator[Met]:
    """What clients wrote down, a JSON list a line; a last line that was cut off is left out."""
    for line in lines:
        if line.endswith(b"\n"):
            yield Met(*orjson.loads(line))


def stands(spec: Spec, rollout: str, journal: Sequence[Mapping[str, Any]], end: float) -> list[Stand]:
    """By the Journal (newest first): each visit of a phase, and what came after the last one."""
    names = [phase.name for phase in spec.rollouts[rollout].phases]
    moves = [entry for entry in reversed(journal) if entry["rollout"] == rollout and "to" in entry["numbers"]]
    found: list[Stand] = []
    for entry, after in zip(moves, [*moves[1:], None], strict=True):
        status, phase = Status(entry["numbers"]["to"]["status"]), entry["numbers"]["to"]["phase"]
        name = phase if status.exposes else COMPLETED if status is Status.COMPLETED else status.value
        out = tuple(entry["numbers"].get("cohorts_out", ()))
        found.append(Stand(name, status, names.index(phase), entry["at"], after["at"] if after is not None else end, out))
    return found


def crowd(spec: Spec, rollout: str, stood: Sequence[Stand], path: str, answers: Iterable[Met], failing: str = "") -> Crowd:
    """Every answer beside what the person was to get. `failing`: the cohort for which the canary has failed."""
    prepared = prepare(spec)
    moments = [(stand, derive(prepared, State(1, spec.digest, {rollout: _state(stand)}), lambda *_: b"")) for stand in stood]
    ours = next(one for one in expected(spec) if one.name == rollout)
    shares = {(cohort.name, one.phase): one.canary for cohort in ours.cohorts for one in cohort.shares}
    rows: dict[tuple[str, str, str], Row] = {}
    canary = spec.rollouts[rollout].canary
    other = wrong = outside = 0
    for met in answers:
        moment = next((one for one in moments if one[0].begin + SPREAD <= met.sent and met.ended < one[0].end), None)
        found = _decided(spec, moment[1], path, spec.rollouts[rollout].stable, met) if moment is not None else None
        if moment is None or found is None:
            outside += 1
            continue
        cohort, reason, arm = found
        got = met.model == canary
        wrong += got and arm is not Arm.CANARY
        other += not got and arm is Arm.CANARY
        phase = moment[0].phase
        share = 0.0 if reason == Reason.COHORT_OUT else shares.get((cohort, phase), 0.0)
        row = rows.setdefault((cohort, phase, reason), Row(cohort, phase, reason, share, partial=cohort == failing and share > 0))
        row.requests += 1
        row.people.add(met.user or met.cookie)
        if got:
            row.on_canary.add(met.user or met.cookie)
    return Crowd(tuple(_sorted(spec, rollout, stood, rows)), other, wrong, outside)


def _state(stand: Stand) -> RolloutState:
    return RolloutState(stand.status, stand.place, stand.begin, 1, 1, "", "", cohorts_out=stand.out)


def _decided(spec: Spec, snapshot: Snapshot, path: str, model: str, met: Met) -> tuple[str, str, Arm] | None:
    """(cohort, reason, arm) of the person who got an answer; None where nobody knows who that was."""
    if not (met.user or met.cookie):
        return None
    headers = {"x-user-id": met.user, spec.identity.tier_header: met.tier, spec.identity.country_header: met.country, "cookie": met.cookie}
    subject = {name: value.encode() for name, value in headers.items() if value}
    subject |= {":path": path.encode(), contract.REQUEST_MODEL: model.encode()}
    answer = assign(snapshot.layers[0], subject, None, met.sent)
    assert answer is not None, "every request of the demo is one that its rollout is about"
    made = answer.choice.assignment
    return made.cohort, made.reason.value, made.arm


def _sorted(spec: Spec, rollout: str, stood: Sequence[Stand], rows: Mapping[tuple[str, str, str], Row]) -> Iterator[Row]:
    """By phase, then by cohort in the order of the Spec."""
    for phase in dict.fromkeys(stand.phase for stand in stood):
        for cohort in spec.rollouts[rollout].cohorts:
            yield from (row for key, row in rows.items() if key[:2] == (cohort.name, phase))
