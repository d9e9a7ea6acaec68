"""The strategy of a release as people read it: PLAN.md, the same as one page, and a picture of what runs where."""

from __future__ import annotations

from extproc.domain import Spec
from extproc.plan.page import page
from extproc.plan.strategy import mermaid, svg
from extproc.plan.strategy.architecture import architecture
from extproc.plan.strategy.text import title, whole

PLAN, PAGE, DIAGRAM, PICTURE = "PLAN.md", "PLAN.html", "architecture.mmd", "architecture.svg"


def files(spec: Spec) -> dict[str, str]:
    """Path -> text of the four files."""
    drawn = architecture(spec)
    text, picture = whole(spec, PICTURE, DIAGRAM), svg.drawn(drawn)
    return {
        PLAN: text,
        PAGE: page(title(spec), text, {PICTURE: picture}),
        DIAGRAM: mermaid.drawn(drawn),
        PICTURE: picture,
    }
