"""A cost sheet as plain data, for scripts. Money is text: a Decimal's digits, so that nothing is rounded on the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from extproc.cost.given import Given
from extproc.cost.money import on
from extproc.cost.rates import Rate
from extproc.cost.reckon import Line, Reckoning
from extproc.cost.scaling import advice, needs
from extproc.cost.sentences import assumptions, headline
from extproc.cost.sheet import Range, Sheet, Unpriced
from extproc.cost.stopping import choices


def document(sheet: Sheet | Unpriced, given: Given) -> dict[str, Any]:
    """Of one rollout; `priced` is false where nothing can be said, and `headline` says why."""
    if isinstance(sheet, Unpriced):
        return {"priced": False, "headline": f"Nothing can be said of {sheet.rollout}: {sheet.why}."}
    return {
        "priced": True,
        "headline": headline(sheet, given),
        "stable": _rate(sheet.stable),
        "canary": _rate(sheet.canary),
        "month": _month(sheet.middle, sheet.saving),
        "release": {
            "days": _digits(sheet.middle.days),
            "extra": _digits(sheet.middle.extra),
            "extra_range": _range(sheet.extra),
            "parts": [_line(line) for line in sheet.middle.lines],
        },
        "break_even": {
            name: _when(days, given)
            for name, days in (("earliest", sheet.earliest), ("expected", sheet.middle.break_even), ("latest", sheet.latest))
        },
        "stopping": [
            {
                "before": one.name,
                "remaining": _digits(one.remaining),
                "loss_of_stopping": _digits(one.stopping),
                "loss_of_going_on": _digits(one.going_on),
                "least_chance": _digits(one.least_chance),
            }
            for one in choices(sheet.middle, given)
        ],
        "capacity": [
            {
                "before": one.name,
                "requests_per_second": _digits(one.requests),
                "open": _digits(one.open),
                "tokens_per_minute": _digits(one.tokens),
                "canary_replicas": one.canary,
                "canary_replicas_by_littles_law": one.taken,
                "stable_replicas": one.stable,
            }
            for one in needs(sheet)
        ],
        "advice": list(advice(sheet)),
        "assumptions": list(assumptions(sheet, given)),
    }


def _digits(amount: Decimal | None) -> str | None:
    """To a billionth."""
    if amount is None:
        return None
    shown = f"{round(amount, 9):f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _rate(rate: Rate) -> dict[str, Any]:
    load, serving = rate.load, rate.model.serving
    tokens = {name: _digits(getattr(load, name)) for name in ("input", "cached", "output", "reasoning", "uncertainty")}
    return {
        "model": rate.model.name,
        "tokens": tokens | {"known": load.known.value},
        "hosted": "gpu_hours" if serving is not None else "prices",
        "request": _digits(rate.whole()),
        "one_more_request": _digits(rate.request),
        "replicas": rate.replicas(Decimal(1)) if serving is not None else None,
    }


def _month(made: Reckoning, saving: Range) -> dict[str, Any]:
    return {
        "before": _digits(made.before),
        "after": _digits(made.after),
        "saving": _digits(made.saving),
        "saving_range": _range(saving),
    }


def _range(found: Range) -> dict[str, str | None]:
    return {"low": _digits(found.low), "high": _digits(found.high)}


def _line(line: Line) -> dict[str, Any]:
    span = line.span
    return {
        "part": span.part.value,
        "name": span.name,
        "share": _digits(span.share),
        "hours": _digits(span.hours),
        "decided": span.decided,
        "stable": _digits(line.stable),
        "canary": _digits(line.canary),
        "judge": _digits(line.judge.usd),
        "extra": _digits(line.extra),
        "standby": _digits(line.standby),
    }


def _when(days: Decimal | None, given: Given) -> dict[str, str | None]:
    """Days from the start, 0 from the first request on; and the date, where the start is known."""
    return {"days": _digits(days), "date": None if days is None or given.start is None else on(days, given.start).isoformat()}
