"""Markdown as the playbook and the post-mortem use it: headings and their anchors, commands with what they print, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from extproc.plan.markdown import anchor

PRINTS = "It prints:"
"""Between a command and what it says when it has worked."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something to type, and what it prints when it has worked; empty where that is described in words."""

    text: str
    prints: str = ""


def link(title: str) -> str:
    """A link to the section with this heading."""
    return f"[{title}](#{anchor(title)})"


def anchored(text: str, named: Mapping[str, str]) -> str:
    """Names before all headings but the first, so that links work whoever shows the page. `named`: where it is not `anchor`."""
    lines: list[str] = []
    code = False
    for line in text.split("\n"):
        code ^= line.startswith("```")
        if not code and (found := re.fullmatch("##+ (.*)", line)):
            lines += [f'<a id="{named.get(found[1], anchor(found[1]))}"></a>', ""]
        lines.append(line)
    return "\n".join(lines)


def command(*commands: Command) -> list[str]:
    """Each as a block that can be copied, and under it a block with what it prints."""
    lines: list[str] = []
    for one in commands:
        lines += fence("sh", one.text)
        lines += [PRINTS, "", *fence("text", one.prints)] if one.prints else []
    return lines


def fence(language: str, text: str) -> list[str]:
    """A block of code."""
    return [f"```{language}", *text.splitlines(), "```", ""]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of cells that are Markdown already."""
    head = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return [*head, *("| " + " | ".join(one or " " for one in row) + " |" for row in rows), ""]


def bullets(items: Iterable[str]) -> list[str]:
    """A list."""
    return [*(f"* {one}" for one in items), ""]


def page(lines: Iterable[str]) -> str:
    """Lines as a file: one empty line between paragraphs, none at the end."""
    text = "\n".join(lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
