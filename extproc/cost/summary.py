"""What a release costs until it is completed, in its three parts: for a page, which shows beside it what has been spent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from extproc.cost.reckon import ZERO, Part
from extproc.cost.sheet import Sheet, Unpriced


def summary(sheet: Sheet | Unpriced) -> dict[str, Any]:
    """Numbers in USD, rounded to cents of a cent; `priced` is false where nothing can be said, and `why` says why.

    `parallel` is what the phases cost beyond stable alone (below 0 where the canary is cheaper), `shadow` the copies, `judge` the judge.
    """
    if isinstance(sheet, Unpriced):
        return {"priced": False, "why": sheet.why}
    lines = sheet.middle.lines
    judge = sum((line.judge.usd for line in lines), ZERO)
    shadow = sum((line.extra - line.judge.usd for line in lines if line.span.part is Part.SHADOW), ZERO)
    return {
        "priced": True,
        "parallel": _usd(sheet.middle.extra - judge - shadow),
        "shadow": _usd(shadow),
        "judge": _usd(judge),
        "total": _usd(sheet.middle.extra),
        "low": _usd(sheet.extra.low),
        "high": _usd(sheet.extra.high),
        "days": float(sheet.middle.days),
        "decided": all(line.span.decided for line in lines),
        "saving": _usd(sheet.middle.saving),
        "tokens": {"stable": sheet.stable.load.known.value, "canary": sheet.canary.load.known.value},
        "by_hours": any(rate.model.serving is not None for rate in (sheet.stable, sheet.canary)),
    }


def _usd(amount: Decimal) -> float:
    return float(round(amount, 4))
