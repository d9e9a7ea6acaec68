"""What the API process and the brain say to each other: a line of JSON each way, one question at a time per connection.

    {"ask": "status" | "metrics" | "health", "until": SECONDS}
    {"ask": "act", "until": SECONDS, "act": {"rollout", "action", "actor", "why", "request", "options"}}
    -> {"said": ...}  or  {"refused": KIND, "problems": [...]}

* `until` is an instant of the machine's monotonic clock, which all its processes share. A question that the brain meets later is not
  answered, and an act not carried out: nobody waits for it any more, and a brain that stood still has better things to do.
* `request` is a name that the asker gives an act. The Journal keeps it, so that the same act (action and name) asked again is answered
  and not done twice.
* Lines are bounded; what is no question costs its connection, and nothing else.

Pure: bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from extproc.domain import Action
from extproc.errors import ExtprocError, Problem, RefusedError, SettingsError, StoreError

LONGEST_QUESTION: Final = 32_768
"""Bytes of a question; the API takes bodies of half of that."""
LONGEST_ANSWER: Final = 16 << 20
"""Bytes of an answer."""
ACTIONS: Final[Mapping[str, Action]] = {
    "start": Action.START,
    "pause": Action.PAUSE,
    "resume": Action.RESUME,
    "promote": Action.ADVANCE,
    "return": Action.RETURN,
    "override": Action.OVERRIDE,
    "rollback": Action.ROLL_BACK,
    "revoke": Action.REVOKE,
}
"""What people call the acts."""
SWITCHES: Final[Mapping[str, Action]] = {"off": Action.SWITCH_OFF, "on": Action.SWITCH_ON}
"""Of the processor, and so of all rollouts: acts that name none."""
KNOWN: Final = frozenset((*ACTIONS, *SWITCHES))


class LateError(ExtprocError):
    """The brain met a question after its time, and has not answered it."""


class Ask(StrEnum):
    """What can be asked."""

    STATUS = "status"
    METRICS = "metrics"
    HEALTH = "health"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class Act:
    """What a person wants to be done."""

    rollout: str
    """"" for a switch."""
    action: str
    """One of ACTIONS, or of SWITCHES."""
    actor: str
    why: str
    request: str
    """The asker's own name for this act, empty where there is none."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What the act leaves open, such as {"conversations": "drain"}; `acts.OPTIONS` has them all."""


@dataclass(frozen=True, slots=True)
class Question:
    """One line to the brain."""

    ask: Ask
    until: float
    """Monotonic seconds after which it is of no use."""
    act: Act | None = None

    def write(self) -> bytes:
        """One line."""
        act = {"act": asdict(self.act)} if self.act is not None else {}
        return orjson.dumps({"ask": self.ask, "until": self.until, **act}) + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Question:
        """What `write` wrote; raises ValueError for anything else."""
        given = orjson.loads(line)
        if not isinstance(given, dict) or given.keys() - {"act"} != {"ask", "until"}:
            raise ValueError("is no question")
        ask, until = Ask(str(given["ask"])), given["until"]
        if isinstance(until, bool) or not isinstance(until, int | float):
            raise ValueError("`until` is a number of seconds")
        if (ask is Ask.ACT) != ("act" in given):
            raise ValueError("an act belongs to the question `act`, and to no other")
        return cls(ask, until, _act(given["act"]) if ask is Ask.ACT else None)


def _act(given: object) -> Act:
    if not isinstance(given, dict):
        raise ValueError("is no act")
    try:
        act = Act(**given)
    except TypeError as error:
        raise ValueError("an act has other fields") from error
    texts = (act.rollout, act.action, act.actor, act.why, act.request)
    options = act.options.items() if isinstance(act.options, dict) else [(None, None)]
    known = act.action in ACTIONS or act.action in SWITCHES
    if not all(isinstance(text, str) for text in (*texts, *(text for pair in options for text in pair))) or not known:
        raise ValueError("an act is made of texts and an action that exists")
    return act


# -------------------------------------------------------------------------------------------------------------------- answers
_KINDS: Final[Mapping[str, type[ExtprocError]]] = {
    "refused": RefusedError,
    "late": LateError,
    "store": StoreError,
    "settings": SettingsError,
}


def said(document: object) -> bytes:
    """An answer."""
    return orjson.dumps({"said": document}) + b"\n"


def refused(error: ExtprocError) -> bytes:
    """An answer that is a refusal."""
    kind = next((kind for kind, one in _KINDS.items() if isinstance(error, one)), "settings")
    return orjson.dumps({"refused": kind, "problems": [asdict(problem) for problem in error.problems]}) + b"\n"


def heard(line: bytes) -> Any:
    """The document of an answer; raises what the brain raised, and ValueError for what is no answer."""
    given = orjson.loads(line)
    if not isinstance(given, dict) or not ({"said"} == given.keys() or {"refused", "problems"} == given.keys()):
        raise ValueError("is no answer")
    if "said" in given:
        return given["said"]
    try:
        problems = [Problem(**problem) for problem in given["problems"]]
        raised = _KINDS[given["refused"]]
    except (TypeError, KeyError) as error:
        raise ValueError("is no refusal") from error
    raise raised(problems)
