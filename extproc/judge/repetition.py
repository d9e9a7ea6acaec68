"""Runaway repetition: a model that cannot stop saying the same. Linear in the text's length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

TAIL: Final = 4_000
"""Characters at the end that are looked at for a period: a loop goes on until a limit stops it, so it is there."""
LEAST_LOOP: Final = 300
"""Characters that a loop takes at least: a chorus is shorter."""
LEAST_ROUNDS: Final = 6
"""Times that its period comes: headings and rows of tables that happen to be alike come less often."""
SAME_LINES: Final = 12
"""Identical lines in a row: more than a poem has."""
MOST_WORDS: Final = 20_000
SHINGLE: Final = 8
"""Words whose sequence is compared."""
LEAST_WORDS: Final = 160
"""Words from which sequences are counted."""
REPEATED_SHARE: Final = 0.7
"""Share of sequences that were there before. Ordinary prose has below 0.05, a long list of similar items below 0.5."""

_FENCED: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LETTER: Final = re.compile(r"\w")


def runs_away(text: str) -> bool:
    """Whether the text ends in a loop, has the same line many times in a row, or says mostly what it has said before.

    Blocks of code are left out but for the loop at the end: their lines are alike for good reasons.
    """
    prose = _FENCED.sub("\n", text)
    return _ends_in_a_loop(text.rstrip()[-TAIL:]) or _same_lines(prose) or _says_it_again(prose.split(maxsplit=MOST_WORDS)[:MOST_WORDS])


def _ends_in_a_loop(tail: str) -> bool:
    """The longest end of the tail that has a period which fits LEAST_ROUNDS times, by the failure function of the tail reversed
    (Knuth, Morris & Pratt 1977). A period without a letter or a digit is a ruler or blank space."""
    backwards = tail[::-1]
    fails = [0] * len(backwards)
    matched = 0
    for end in range(1, len(backwards)):
        while matched and backwards[end] != backwards[matched]:
            matched = fails[matched - 1]
        if backwards[end] == backwards[matched]:
            matched += 1
        fails[end] = matched
        length = end + 1
        period = length - matched
        if length >= LEAST_LOOP and length >= LEAST_ROUNDS * period and _LETTER.search(backwards[:period]):
            return True
    return False


def _same_lines(text: str) -> bool:
    before, run = "", 0
    for line in map(str.strip, text.split("\n")):
        if not line:
            continue
        run = run + 1 if line == before else 1
        before = line
        if run >= SAME_LINES and _LETTER.search(line):
            return True
    return False


def _says_it_again(words: Sequence[str]) -> bool:
    count = len(words) - SHINGLE + 1
    if len(words) < LEAST_WORDS:
        return False
    different = len(set(zip(*(words[start : start + count] for start in range(SHINGLE)), strict=True)))
    return 1 - different / count > REPEATED_SHARE
