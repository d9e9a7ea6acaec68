"""Asking a Snapshot who meets what, for tests of assignment."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from extproc.assign import NO_SECRETS, Answer, Secrets, Snapshot, assign, derive, prepare
from extproc.domain import Arm, Assignment, Rollout, Status
from tests.support.specs import rollout, spec, state_of

NOW = 1_764_241_200.0
SECRETS = Secrets(b"c" * 32, {"new": b"q" * 32})
"""Keys of conversation tokens, and of the QA headers of rollout `new`."""


def no_bytes(*_: object) -> bytes:
    """Replies are wire's matter."""
    return b""


def compiled(
    *rollouts: Rollout,
    share: float = 0.5,
    status: Status = Status.PROGRESSING,
    secrets: Secrets = NO_SECRETS,
    withdrawn: tuple[str, ...] = (),
    around: dict[str, Any] | None = None,
    **state: Any,
) -> Snapshot:
    """Rollouts at a phase. `around`: of the Spec; `state`: of each rollout's state."""
    given = spec(*(rollouts or (rollout(),)), **(around or {}))
    return derive(prepare(given, secrets), state_of(given, share, status, **state), no_bytes, withdrawn)


def ask(snapshot: Snapshot, user: str = "", now: float = NOW, layer: int = 0, request_id: bytes = b"", **headers: str) -> Answer | None:
    """The answer of one layer for a user (or nobody) with these headers (x_user_tier="gold"; path=... for :path)."""
    subject = {name.replace("_", "-"): value.encode() for name, value in headers.items() if name != "path"}
    if "path" in headers:
        subject[":path"] = headers["path"].encode()
    if user:
        subject["x-user-id"] = user.encode()
    return assign(snapshot.layers[layer], subject, request_id or None, now)


def found(answer: Answer | None) -> Assignment:
    """What was assigned; fails where nothing was."""
    assert answer is not None
    return answer.choice.assignment


def met(snapshot: Snapshot, users: Iterable[str], arm: Arm = Arm.CANARY, **headers: str) -> set[str]:
    """Users who are in an arm."""
    return {user for user in users if (answer := ask(snapshot, user, **headers)) is not None and found(answer).arm is arm}


def users(count: int, name: str = "u") -> list[str]:
    """u0, u1 ..."""
    return [f"{name}{number}" for number in range(count)]


def near(count: int, n: int, p: float) -> bool:
    """Within 4 standard deviations of n*p: a right split fails this once in 16,000 times."""
    return abs(count - n * p) <= 4 * sqrt(n * p * (1 - p)) + 1e-9


def chi_square(table: dict[tuple[Any, Any], int]) -> float:
    """Of independence."""
    total = sum(table.values())
    rows, columns = ({key[side]: 0 for key in table} for side in (0, 1))
    for (row, column), count in table.items():
        rows[row] += count
        columns[column] += count
    return sum(
        (table.get((row, column), 0) - a * b / total) ** 2 / (a * b / total) for row, a in rows.items() for column, b in columns.items()
    )
