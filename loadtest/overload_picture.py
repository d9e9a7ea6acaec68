"""The course of an overload as one small SVG: what was sent and what failed open, p99, memory; the stages as bands. No script, no font."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from loadtest.overload_report import Seen

WIDTH: Final = 860
LEFT: Final = 64
RIGHT: Final = 16
PANEL: Final = 92
GAP: Final = 34
TOP: Final = 40
COLOURS: Final = {"blue": "#2563eb", "red": "#dc2626", "grey": "#6b7280", "green": "#059669", "orange": "#d97706"}
Line = tuple[str, str, Sequence[tuple[float, float]]]
"""(name, colour, points)."""


def picture(seen: Seen) -> str:
    """The whole run but the search before it."""
    stages = [stage for stage in seen.stages if stage.begin >= seen.stage("comfortable").begin]
    begin, end = stages[0].begin, stages[-1].end
    rows = [(one.begin - begin, seen.figures(one.begin, one.end)) for one in seen.rows() if one.begin >= begin - 1]
    middle = [(at + (figures.seconds / 2), figures) for at, figures in rows]
    memory: dict[str, list[tuple[float, float]]] = {}
    for sample in seen.samples:
        if sample.at >= begin:
            total: dict[str, int] = {}
            for (role, _), size in sample.memory.items():
                total[role] = total.get(role, 0) + size
            for role, size in total.items():
                memory.setdefault(role, []).append((sample.at - begin, size / (1 << 20)))
    colours = dict(zip(("Envoy", "controller", "worker"), ("orange", "blue", "green"), strict=True))
    panels: list[tuple[str, list[Line]]] = [
        (
            "requests/s",
            [
                ("sent", "blue", [(at, one.sent / one.seconds) for at, one in middle]),
                ("failed open", "red", [(at, one.counted["failure_mode_allowed"] / one.seconds) for at, one in middle]),
            ],
        ),
        (
            "ms",
            [
                ("p99, sending to answer", "blue", [(at, one.latencies[1] * 1e3) for at, one in middle]),
                ("p50", "grey", [(at, one.latencies[0] * 1e3) for at, one in middle]),
            ],
        ),
        ("MiB", [(role, colours[role], points) for role, points in memory.items() if role in colours]),
    ]
    height = TOP + len(panels) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    scale = (WIDTH - LEFT - RIGHT) / (end - begin)
    for number, stage in enumerate(stages):
        x, width = LEFT + (stage.begin - begin) * scale, (stage.end - stage.begin) * scale
        fill = "#f3f4f6" if number % 2 else "#e5e7eb"
        parts.append(f'<rect x="{x:.1f}" y="{TOP - 6}" width="{width:.1f}" height="{height - TOP}" fill="{fill}"/>')
        # Names of short stages stand one above the other.
        parts.append(f'<text x="{x + 2:.1f}" y="{10 + 9 * (number % 3)}" font-size="8" fill="#374151">{escape(stage.name)}</text>')
    for index, (unit, lines) in enumerate(panels):
        parts += _panel(TOP + index * (PANEL + GAP), unit, lines, scale)
    return "\n".join([*parts, "</svg>", ""])


def _panel(y: int, unit: str, lines: Sequence[Line], scale: float) -> list[str]:
    most = max((value for _, _, points in lines for _, value in points), default=0.0) * 1.08 or 1.0
    bottom = y + PANEL
    parts = [f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#9ca3af"/>']
    for share in (0.0, 0.5, 1.0):
        height = bottom - share * PANEL / 1.08
        label = f"{most / 1.08 * share:,.0f}" if most >= 20 else f"{most / 1.08 * share:.1f}"
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end" fill="#374151">{label}</text>')
    parts.append(f'<text x="4" y="{y - 3}" fill="#374151">{unit}</text>')
    legend = LEFT + 6
    for name, colour, points in lines:
        path = " ".join(f"{LEFT + at * scale:.1f},{bottom - value / most * PANEL:.1f}" for at, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[colour]}" stroke-width="1.5"/>')
        parts.append(f'<text x="{legend}" y="{bottom + 13}" fill="{COLOURS[colour]}">{escape(name)}</text>')
        legend += 12 + 6 * len(name)
    return parts
