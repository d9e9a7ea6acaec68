"""The hidden worth of a simulated answer: it is in the words themselves, so that whoever reads the text can tell, and nothing else need.

A simulated model writes words of two kinds: substance and padding. The quality of a text is the share of substance among the words of
both kinds; any other word counts for nothing. So a sentence that is smuggled into an answer neither adds to its worth nor takes from it.
"""

from __future__ import annotations

import re
from random import Random
from typing import Final

SUBSTANCE: Final = (
    "tabulated",
    "derivation",
    "asymptote",
    "corroborated",
    "eigenvalue",
    "coefficient",
    "calibrated",
    "invariant",
    "enumerated",
    "quantified",
)
PADDING: Final = ("basically", "somehow", "whatsoever", "kinda", "presumably", "doodad", "anyhow", "gizmo", "sorta", "thingy")
"""Words that hardly stand in anybody's instructions."""
NEUTRAL: Final = ("the", "answer", "has", "a", "and", "with")
UNKNOWN: Final = 0.5
"""Quality of a text without a word of either kind: no simulated model wrote it."""
LETTERS_PER_TOKEN: Final = 4
_SENTENCE: Final = 8
"""Words of a sentence; every third word is neutral."""
_KIND: Final = {**dict.fromkeys(SUBSTANCE, 1), **dict.fromkeys(PADDING, 0)}
_WORD: Final = re.compile(r"[a-z]+")


def quality_of(text: str) -> float:
    """In [0, 1]; UNKNOWN where nothing tells."""
    kinds = [_KIND[word] for word in _WORD.findall(text.lower()) if word in _KIND]
    return sum(kinds) / len(kinds) if kinds else UNKNOWN


def text_of_quality(quality: float, tokens: int, random: Random) -> str:
    """A text of about so many tokens (at least one word) whose `quality_of` is `quality` on average over draws."""
    letters = max(1, tokens) * LETTERS_PER_TOKEN
    length = sum(len(word) + 1 for word in (*SUBSTANCE, *PADDING)) / (len(SUBSTANCE) + len(PADDING))
    neutral = sum(len(word) + 1 for word in NEUTRAL) / len(NEUTRAL)
    telling = max(1, round(letters / (length + neutral / 2)))
    substance = min(telling, int(min(1.0, max(0.0, quality)) * telling + random.random()))
    words = [random.choice(SUBSTANCE) for _ in range(substance)] + [random.choice(PADDING) for _ in range(telling - substance)]
    random.shuffle(words)
    for place in range(2, telling, 2):
        words[place] = f"{random.choice(NEUTRAL)} {words[place]}"
    sentences = [" ".join(words[at : at + _SENTENCE]).capitalize() + "." for at in range(0, telling, _SENTENCE)]
    return " ".join(sentences)
