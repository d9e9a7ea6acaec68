"""What a release costs, what it saves, and which capacity it takes: COST.md and cost.svg of a Spec. Pure; money is Decimal, in USD.

tokens: Spec, measured -> Load     rates: Model + Load -> Rate     sheet: Spec + Given -> Sheet, by `reckon` at the middle and the corners
page, chart, document: Sheet -> Markdown, SVG, plain data
"""

from __future__ import annotations

from extproc.cost.chart import chart
from extproc.cost.document import document
from extproc.cost.given import NOTHING_GIVEN, Given
from extproc.cost.page import page
from extproc.cost.sheet import Sheet, Unpriced, sheets
from extproc.cost.summary import summary
from extproc.cost.tokens import Measured, counted
from extproc.domain import Spec

__all__ = ["NOTHING_GIVEN", "Given", "Measured", "Sheet", "Unpriced", "counted", "document", "files", "sheets", "summary"]


def files(spec: Spec, given: Given = NOTHING_GIVEN) -> dict[str, str]:
    """Name -> text: COST.md, and a chart for each rollout that has prices (cost.svg; with several, cost-ROLLOUT.svg)."""
    found = sheets(spec, given)
    names = ["" if isinstance(one, Unpriced) else "cost.svg" if len(found) == 1 else f"cost-{one.rollout}.svg" for one in found]
    pictures = {name: chart(one, given) for name, one in zip(names, found, strict=True) if isinstance(one, Sheet)}
    return {"COST.md": page(spec.application.name, found, names, given), **pictures}
