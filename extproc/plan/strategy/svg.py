"""The architecture as SVG: text alone, no font and no picture of anybody's, light and dark.

Five columns: users, load balancer, then Envoy over router and controller, then models. Lengths are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from extproc.plan.strategy.architecture import Architecture, Box, Flow

WIDE, TALL = 222, 84
"""Of a box."""
GAP: Final = 74
"""Between columns: room for a word on an arrow."""
STEP: Final = TALL + 18
"""From one model to the next."""
TOP: Final = 64
EDGE: Final = 24
FITS: Final = 29
"""Characters of a line that fit into a box."""
STYLE: Final = """
.arch text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1d2430; }
.arch .title { font-size: 14px; font-weight: 650; }
.arch .soft { fill: #5a6577; }
.arch .label { font-size: 11px; fill: #475063; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
.arch .back { fill: #ffffff; }
.arch rect.box { stroke-width: 1.5; }
.arch .outside { fill: #eef1f5; stroke: #8894a6; } .arch .edge { fill: #e3edfb; stroke: #1f4f8f; }
.arch .brain { fill: #ece7fb; stroke: #5b3fa8; } .arch .stable { fill: #def3e6; stroke: #14663a; }
.arch .canary { fill: #fdf0d2; stroke: #8a4b00; }
.arch .place { fill: none; stroke: #8894a6; stroke-dasharray: 6 5; }
.arch path { fill: none; stroke-width: 1.6; }
.arch path.request { stroke: #1d2430; stroke-width: 2.2; } .arch path.assignment { stroke: #5b3fa8; }
.arch path.outcome { stroke: #b4541a; stroke-dasharray: 5 4; } .arch path.state { stroke: #5b3fa8; }
.arch marker path { stroke: none; } .arch #arch-request path { fill: #1d2430; } .arch #arch-outcome path { fill: #b4541a; }
.arch #arch-assignment path, .arch #arch-state path { fill: #5b3fa8; }
@media (prefers-color-scheme: dark) {
.arch text { fill: #e4e8ee; } .arch .soft { fill: #aab4c3; } .arch .back { fill: #1c222b; }
.arch .label { fill: #c0c8d4; stroke: #1c222b; }
.arch .outside { fill: #2b333f; stroke: #8894a6; } .arch .edge { fill: #1b3050; stroke: #8fbcf5; }
.arch .brain { fill: #2f2750; stroke: #b7a4f2; } .arch .stable { fill: #123524; stroke: #8fe0b0; }
.arch .canary { fill: #3d2e0e; stroke: #f0b46a; } .arch .place { fill: none; }
.arch path.request { stroke: #e4e8ee; } .arch path.assignment, .arch path.state { stroke: #b7a4f2; }
.arch path.outcome { stroke: #f0a070; } .arch #arch-request path { fill: #e4e8ee; } .arch #arch-outcome path { fill: #f0a070; }
.arch #arch-assignment path, .arch #arch-state path { fill: #b7a4f2; }
}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box is."""

    x: float
    y: float
    width: float = WIDE
    height: float = TALL

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def drawn(given: Architecture) -> str:
    """The whole file."""
    places = _places(given)
    width = max(place.right for place in places.values()) + EDGE
    inner = [places[box.key] for box in (given.way[2], *given.inner)]
    height = max(max(place.bottom for place in places.values()), max(one.bottom for one in inner) + EDGE) + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="arch" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'role="img" aria-labelledby="arch-title">',
        f'<title id="arch-title">{escape(given.title)}</title>',
        f"<style>{STYLE}</style>",
        "<defs>",
        *(_marker(flow) for flow in Flow),
        "</defs>",
        f'<rect class="back" width="{width:g}" height="{height:g}" rx="10"/>',
        _frame(given.place, inner),
        *_arrows(given, places),
        *(_box(box, places[box.key]) for box in given.boxes),
        *_legend(height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _places(given: Architecture) -> dict[str, Place]:
    column = [EDGE + number * (WIDE + GAP) for number in range(5)]
    users, balancer, envoy = given.way
    router, controller, store = given.inner
    models = {box.key: Place(column[4], TOP + number * STEP) for number, box in enumerate(given.models)}
    deepest = max((place.bottom for place in models.values()), default=TOP)
    # Envoy is as tall as what it serves, so that every arrow to a model is straight; the rest is below.
    tall = max(TALL, min(deepest, TOP + 6 * STEP) - TOP)
    below = TOP + tall + GAP
    first = max(below, deepest + 42)
    around = {box.key: Place(column[4], first + number * STEP) for number, box in enumerate(given.around)}
    return {
        users.key: Place(column[0], TOP + (tall - TALL) / 2),
        balancer.key: Place(column[1], TOP + (tall - TALL) / 2),
        envoy.key: Place(column[2], TOP, 2 * WIDE + GAP, tall),
        router.key: Place(column[2], below),
        controller.key: Place(column[3], below),
        store.key: Place(column[2], below + TALL + GAP),
        **models,
        **around,
    }


def _frame(name: str, inner: Sequence[Place]) -> str:
    left, top = min(one.x for one in inner) - 14, min(one.y for one in inner) - 34
    width, height = max(one.right for one in inner) + 14 - left, max(one.bottom for one in inner) + 20 - top
    return (
        f'<rect class="place" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="12"/>'
        f'<text class="soft" x="{left + 16:g}" y="{top + 22:g}">{escape(name)}</text>'
    )


def _marker(flow: Flow) -> str:
    return (
        f'<marker id="arch-{flow.value}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse" '
        'markerUnits="userSpaceOnUse"><path d="M0 0 8 4 0 8z"/></marker>'
    )


def _box(box: Box, at: Place) -> str:
    fits = int(FITS * at.width / WIDE)
    lines = [_short(line, fits) for line in box.lines]
    y = at.middle - 9 * len(lines) + 3
    texts = [f'<text class="title" x="{at.x + 14:g}" y="{y:g}">{escape(_short(box.title, fits * 7 // 10))}</text>']
    texts += [f'<text class="soft" x="{at.x + 14:g}" y="{y + 19 * number:g}">{escape(line)}</text>' for number, line in enumerate(lines, 1)]
    whole = escape("\n".join((box.title, *box.lines)))
    shape = f'<rect class="box {box.role.value}" x="{at.x:g}" y="{at.y:g}" width="{at.width:g}" height="{at.height:g}" rx="8"/>'
    return f"<g><title>{whole}</title>{shape}{''.join(texts)}</g>"


def _short(text: str, fits: int) -> str:
    """What fits; the end is what tells names apart, so the middle is left out."""
    return text if len(text) <= fits else f"{text[: fits // 2]}…{text[len(text) - fits // 2 + 1 :]}"


# ---------------------------------------------------------------------------------------------------------------------- arrows
def _arrows(given: Architecture, places: dict[str, Place]) -> list[str]:
    users, balancer, envoy = (places[box.key] for box in given.way)
    router, controller, store = (places[box.key] for box in given.inner)
    said = {(arrow.begin, arrow.end): arrow for arrow in given.arrows}
    labels = {pair: arrow.label for pair, arrow in said.items()}
    third = router.width / 3
    found = [
        _line(Flow.REQUEST, [(users.right, users.middle), (balancer.x, users.middle)], labels["users", "balancer"]),
        _line(Flow.REQUEST, [(balancer.right, users.middle), (envoy.x, users.middle)], labels["balancer", "envoy"]),
        _upright(Flow.ASSIGNMENT, router.x + third, envoy.bottom, router.y, labels["envoy", "router"], left=True),
        _upright(Flow.ASSIGNMENT, router.x + 2 * third, router.y, envoy.bottom, labels["router", "envoy"], left=False),
        _upright(Flow.OUTCOME, controller.x + 48, envoy.bottom, controller.y, labels["envoy", "controller"], left=False),
        _upright(Flow.STATE, router.x + router.width / 2, store.y, router.bottom, labels["store", "router"], left=True),
    ]
    turn = controller.x + controller.width / 2
    found.append(
        _line(Flow.STATE, [(turn, controller.bottom), (turn, store.middle), (store.right, store.middle)], labels["controller", "store"])
    )
    for box in given.models:
        at = places[box.key]
        found += _to_model(envoy, at, labels["envoy", box.key])
    trunk = controller.right + 24
    for box in given.around:
        at = places[box.key]
        inwards = (box.key, "controller") in said
        y = controller.middle if inwards else controller.middle + 18
        way = [(controller.right, y), (trunk, y), (trunk, at.middle), (at.x, at.middle)]
        label = labels[(box.key, "controller") if inwards else ("controller", box.key)]
        found.append(_line(Flow.STATE if inwards else Flow.OUTCOME, way[::-1] if inwards else way, label, (trunk + at.x) / 2))
    return found


def _to_model(envoy: Place, at: Place, label: str) -> list[str]:
    y = min(at.middle, envoy.bottom - 14)
    turn = envoy.right + GAP / 2 + 8
    way = [(envoy.right, y), (at.x, y)] if y == at.middle else [(envoy.right, y), (turn, y), (turn, at.middle), (at.x, at.middle)]
    return [_line(Flow.REQUEST, way, label)]


def _line(flow: Flow, way: Sequence[tuple[float, float]], label: str, at: float | None = None) -> str:
    """An arrow of straight pieces; its label is above the longest level one, or begins at x = `at` above the last."""
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in way)
    level = [(one, other) for one, other in pairwise(way) if one[1] == other[1]]
    (x1, y), (x2, _) = max(level, key=lambda pair: abs(pair[0][0] - pair[1][0]))
    middle = (x1 + x2) / 2
    if at is not None:
        outer = max(way, key=lambda point: point[0])
        middle, y = at, outer[1]
    return f'<path class="{flow.value}" d="{path}" marker-end="url(#arch-{flow.value})"/>{_label(middle, y - 7, label, "middle")}'


def _upright(flow: Flow, x: float, begin: float, end: float, label: str, left: bool) -> str:
    text = _label(x - 8 if left else x + 8, (begin + end) / 2 + 4, label, "end" if left else "start")
    return f'<path class="{flow.value}" d="M{x:g} {begin:g} L{x:g} {end:g}" marker-end="url(#arch-{flow.value})"/>{text}'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="label" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(height: float) -> list[str]:
    found = []
    kinds = (
        (Flow.REQUEST, "requests and answers"),
        (Flow.ASSIGNMENT, "which model, and State"),
        (Flow.OUTCOME, "the way back of outcomes"),
    )
    for number, (flow, said) in enumerate(kinds):
        y = height - EDGE - 8 - 22 * (len(kinds) - 1 - number)
        found.append(
            f'<path class="{flow.value}" d="M{EDGE} {y - 4:g} L{EDGE + 34} {y - 4:g}" marker-end="url(#arch-{flow.value})"/>'
            f'<text class="soft" x="{EDGE + 46}" y="{y:g}">{said}</text>'
        )
    return found
