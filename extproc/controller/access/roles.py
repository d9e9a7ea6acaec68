"""Roles, and what each of them may. Pure.

    viewer    looks: status, Journal, verdicts, the console's pages
    operator  also acts on rollouts, and asks which model somebody meets
    admin     also answers for missing evidence (override), and sees what is of people: exposures, samples
    nobody    is whoever has not said who he is

What is not named here wants an admin: an act that is new is nobody else's until somebody decides so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """Each may what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """True where what wants `needed` is allowed."""
        return _RANK[self] >= _RANK[needed]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}
OPERATOR_ACTS: Final = frozenset({"start", "pause", "resume", "promote", "return", "rollback", "revoke"})
"""Acts on a rollout. `override` is none of them: it says that evidence is not needed, and somebody answers for that."""


def needed_for(act: str) -> Role:
    """Who may do this."""
    return Role.OPERATOR if act in OPERATOR_ACTS else Role.ADMIN
