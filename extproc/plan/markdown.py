"""Markdown, written so that no name or sentence of a Spec changes its meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_SPECIAL: Final = re.compile(r"([\\`*\[\]<>|~&!#$]|(?<!\w)_|_(?!\w))")
"""An underscore within a word is none: names of measures stay as they are."""
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Controls, ends of lines and changes of direction: a line of the plan is one line."""


def prose(text: str) -> str:
    """Somebody's words as words: nothing in them is markup, and they are one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(_UNSEEN.sub(" ", text).split()))


def code(text: str) -> str:
    """A text as code; good in tables too."""
    text = _UNSEEN.sub(" ", text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def link(text: str, path: str) -> str:
    """A link inside the folder."""
    return f"[{prose(text)}]({path.replace(' ', '%20').replace('(', '%28').replace(')', '%29')})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are Markdown already; columns with these indices are aligned to the right."""
    lines = [_row(head), _row(["--:" if column in right else "---" for column in range(len(head))])]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def listed(items: Iterable[str]) -> str:
    """A list of points."""
    return "\n".join(f"* {item}" for item in items)


def anchor(heading: str) -> str:
    """The name by which a heading is linked to, as GitHub makes it."""
    kept = "".join(character for character in heading.lower() if character.isalnum() or character in " -_")
    return kept.replace(" ", "-")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
