"""Pieces of an SVG, as text. Its colours are those of the reader's screen: light, or dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

_STYLE: Final = """\
svg { --paper: #ffffff; --ink: #1b1f24; --faint: #5b6470; --grid: #e3e6ea; --stable: #8a97a6; --canary: #1f77d0; --judge: #d9822b;
  --good: #1a7f4b; --band: #1f77d0; font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --paper: #14181d; --ink: #e8ebee; --faint: #9aa5b1; --grid: #2b323a; --stable: #6d7a89;
  --canary: #58a6ff; --judge: #f0a050; --good: #4cc38a; --band: #58a6ff; } }
.paper { fill: var(--paper); } text { fill: var(--ink); font-size: 13px; } .title { font-size: 19px; font-weight: 600; }
.head { font-size: 14px; font-weight: 600; } .tick, .label { font-size: 12px; fill: var(--faint); } .name { font-size: 13px; }
.name, .tick { font-variant-numeric: tabular-nums; } .stable { fill: var(--stable); } .canary { fill: var(--canary); }
.judge { fill: var(--judge); } .grid { stroke: var(--grid); } .zero { stroke: var(--faint); }
.alone { stroke: var(--ink); stroke-width: 2; }
.band { fill: var(--band); fill-opacity: 0.16; } .line { fill: none; stroke: var(--canary); stroke-width: 2.5; stroke-linejoin: round; }
.until { stroke: var(--faint); stroke-dasharray: 4 4; } .good { fill: var(--good); } .strong { font-weight: 600; }
.halo { stroke: var(--paper); stroke-width: 2; }"""


def document(width: float, height: float, said: str, body: Sequence[str]) -> str:
    """The whole file; `said` is read to those who do not see it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img">',
            f"<title>{escape(said)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{width:g}" height="{height:g}" rx="8"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """Words on a baseline."""
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{placed}>{escape(words)}</text>'


def short(words: str, longest: int) -> str:
    """Of a name as much as there is room for."""
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A bar; never so narrow that it is not seen."""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height:.1f}" rx="1.5"/>'


def rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def path(points: Sequence[tuple[float, float]], kind: str, closed: bool = False) -> str:
    """A line through points, or the area that they enclose."""
    drawn = " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path class="{kind}" d="M{drawn}{" Z" if closed else ""}"/>'


def dot(x: float, y: float, kind: str) -> str:
    """A mark on a line."""
    return f'<circle class="{kind} halo" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
