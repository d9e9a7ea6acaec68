"""What a rollout's verdict means to whoever else delivers: Argo Rollouts, Flagger, a script. One small JSON, and three questions.

    GET  /v1/rollouts/{name}/verdict                 always 200: for tools that read JSON (Argo Rollouts' web metric)
    GET or POST .../verdict?ask=advance              200 yes, 409 no: for tools that read the status code (Flagger's webhooks)
                                                     advance   it progresses, there is evidence, and nothing fails; or it is completed
                                                     promote   it is completed
                                                     rollback  it was rolled back
    POST without `ask` asks for `advance`. A POST's body is not looked at.

Where the controller is silent the answer is 503, whatever was last known, and where there is no evidence yet nothing advances: no
evidence is never a yes. What neither advances nor was rolled back (pending, paused, a person is asked, an incident in both arms) is a
wait, and not a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from extproc import contract
from extproc.domain import Status, Verdict
from extproc.errors import Problem, SettingsError

_HARMLESS: Final = (Verdict.PASS.value, Verdict.INCONCLUSIVE.value)
"""Inconclusive is enough here: a verdict is seldom seen at `pass`, since extproc goes to the next phase in that same second."""


class Move(StrEnum):
    """What somebody else's delivery would do next."""

    ADVANCE = contract.MOVE_ADVANCE
    PROMOTE = contract.MOVE_PROMOTE
    ROLLBACK = contract.MOVE_ROLLBACK


def verdict_document(name: str, rollout: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of one rollout, from its part of controller.view.status_document.

    `why` is the sentence that explains where it stands; `waiting_for` is what the next phase still needs. The three moves are booleans.
    """
    status = Status(rollout["status"])
    moving = status in (Status.PENDING, Status.SHADOW, Status.PROGRESSING)
    return {
        "rollout": name,
        "verdict": rollout["verdict"],
        "status": status.value,
        "phase": rollout["phase"],
        "share": rollout["share"],
        "attempt": rollout["attempt"],
        "generation": rollout["generation"],
        "why": rollout["now"] if moving else rollout["why"],
        "waiting_for": rollout["waiting_for"],
        "page": rollout["page"],
        "cohorts_out": rollout["cohorts_out"],
        Move.ADVANCE.value: status is Status.COMPLETED
        or (status is Status.PROGRESSING and not rollout["page"] and rollout["verdict"] in _HARMLESS),
        Move.PROMOTE.value: status is Status.COMPLETED,
        Move.ROLLBACK.value: status is Status.ROLLED_BACK,
    }


def asked_move(method: str, written: str | None) -> Move | None:
    """The move that a request asks about, None where it wants the JSON alone; raises SettingsError for a word that is none."""
    if written is None:
        return None if method in ("GET", "HEAD") else Move.ADVANCE
    try:
        return Move(written)
    except ValueError as error:
        raise SettingsError(Problem("api.query", "ask", f"{written!r} is no question", f"one of {', '.join(Move)}")) from error
