"""What people do with an answer that they have read: they ask again, or stay, or say what they think. Pure; chance is an argument."""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final

CONTENT: Final = 0.8
"""Quality with which nobody asks again because of it."""


class Reacts(StrEnum):
    """What people do in a scenario."""

    NOT = ""
    AGAIN = "again"
    """Who is not content sends the same question again."""
    SAYS = "says"
    """One in five says whether the answer was good, by POST /v1/feedback."""
    STAYS = "stays"
    """Whoever likes an answer asks another question in the same session; else the session is over."""


def asks_again(quality: float, random: Random) -> bool:
    """2 % anyway, and one in five of those who got half an answer."""
    return random.random() < 0.02 + 0.5 * max(0.0, CONTENT - quality)


def thumb(quality: float, random: Random) -> str:
    """`thumbs_up`, `thumbs_down`, or nothing, which most people say."""
    if random.random() >= 0.2:
        return ""
    return "thumbs_up" if random.random() < quality else "thumbs_down"


def stays(quality: float, random: Random) -> bool:
    """The better the answer; nobody stays for ever."""
    return random.random() < min(quality, 0.85)


def thinks(random: Random) -> float:
    """Seconds before somebody does something: people of a demo are quick."""
    return 0.3 + random.expovariate(2.0)
