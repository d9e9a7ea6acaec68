"""The architecture as a Mermaid flowchart, for pages that draw it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.plan.strategy.architecture import Architecture, Arrow, Box, Flow

LINES: Final[Mapping[Flow, str]] = {Flow.REQUEST: "==>", Flow.ASSIGNMENT: "-->", Flow.OUTCOME: "-.->", Flow.STATE: "-->"}
COLOURS: Final = (
    "classDef outside fill:#eef1f5,stroke:#8894a6,color:#1d2430",
    "classDef edge fill:#e3edfb,stroke:#1f4f8f,color:#12294a",
    "classDef brain fill:#ece7fb,stroke:#5b3fa8,color:#2b1d55",
    "classDef stable fill:#def3e6,stroke:#14663a,color:#0b3a21",
    "classDef canary fill:#fdf0d2,stroke:#8a4b00,color:#4a2800",
    "style place fill:none,stroke:#8894a6,stroke-dasharray:6 5",
)
_ENTITIES: Final = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", ";": "#59;", "\\": "#92;"}
"""Mermaid's own form of entities, in which no character of a name ends a label."""


def drawn(given: Architecture) -> str:
    """The diagram's text."""
    inside = {given.way[2].key, *(box.key for box in given.inner)}
    lines = [f"%% {given.title}", "flowchart LR"]
    lines += [f"  {_box(box)}" for box in given.boxes if box.key not in inside]
    lines += [f'  subgraph place ["{_text(given.place)}"]', *(f"    {_box(box)}" for box in given.boxes if box.key in inside), "  end"]
    lines += [f"  {_arrow(arrow)}" for arrow in given.arrows]
    lines += [f"  {colour}" for colour in COLOURS]
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    label = "<br/>".join([f"<b>{_text(box.title)}</b>", *(_text(line) for line in box.lines)])
    return f'{box.key}["{label}"]:::{box.role.value}'


def _arrow(arrow: Arrow) -> str:
    return f'{arrow.begin} {LINES[arrow.flow]}|"{_text(arrow.label)}"| {arrow.end}'


def _text(text: str) -> str:
    return "".join(_ENTITIES.get(character, character) for character in text)
