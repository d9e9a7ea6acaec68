"""What a post-mortem asks people: what no record knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.plan.playbook.markdown import bullets

QUESTIONS: Final = "Questions for people"
_CAUSE: Final = (
    "What was different about {canary}: its weights, its prompt, its settings, its pool, its vendor?",
    "Why was it not found before it met people: by the golden set, by a load test, by a review?",
    "What else would have failed in the same way, and is it still there?",
)
_DETECTION: Final = (
    "Who noticed first, and how: a gate, an alert, a colleague, a user?",
    "What did users tell us, through which channel, and how long after it had begun?",
    "Is there harm that none of the gates measures, such as wrong facts or a changed tone?",
)
_REACTION: Final = (
    "Was the right person called, and was the playbook at hand? Which of its sentences was missing or wrong?",
    "Was something done twice, or by guess, or on the wrong rollout?",
    "Would a smaller share, a longer dwell or a narrower margin have spared people, and what would that have cost?",
)
_PEOPLE: Final = (
    "Have those who met {canary} been told, and by whom?",
    "Which of their requests were done again, and is anything left that they relied on?",
    "Does a contract or the law ask for a notice, and until when?",
)
_NEXT: Final = (
    "What do we change, who does it, until when, and how will we see that it works?",
    "What went well, and has to stay as it is?",
    "What must be true before attempt {next}, and who says so?",
)
_GROUPS: Final = (
    ("The cause", _CAUSE),
    ("Detection", _DETECTION),
    ("Reaction", _REACTION),
    ("Those whom it concerned", _PEOPLE),
    ("What follows", _NEXT),
)


def questions(canary: str, following: str) -> Iterator[str]:
    """The section. `following`: the number of the next attempt, in words or digits."""
    yield from (f"## {QUESTIONS}", "")
    for title, asked in _GROUPS:
        yield from (f"**{title}**", "")
        yield from bullets(one.format(canary=canary, next=following) for one in asked)
