"""Numbers as people say them: percent and points, seconds, dollars, tokens, scores, e-values, durations."""

from __future__ import annotations

import math
from typing import Final

from extproc.domain import Gate
from extproc.measures import MEASURES, Measure
from extproc.release.totals import Moments

_MANY: Final = math.log(1e6)


def value(measure: Measure, number: float) -> str:
    """A value of a measure: `1.20%`, `1.234 s`, `$0.00120`, `0.802`, `3.42 requests`, `1,234.5`."""
    match measure.unit:
        case "share":
            return f"{number:.2%}"
        case "seconds":
            return f"{number:.3f} s"
        case "usd":
            return f"${number:.6f}"
        case "score":
            return f"{number:.3f}"
        case "requests":
            return f"{number * measure.scale:,.2f} requests"
        case _:
            return f"{number:,.1f}"


def difference(measure: Measure, number: float, of: float | None = None) -> str:
    """A difference of two values; `of`: stable's value, to say it in percent as well where the measure is relative."""
    match measure.unit:
        case "share":
            return f"{number * 100:+.2f} pp"
        case "seconds":
            said = f"{number:+.3f} s"
        case "usd":
            said = f"{'-' if number < 0 else '+'}${abs(number):.6f}"
        case "score":
            return f"{number:+.3f}"
        case "requests":
            said = f"{number * measure.scale:+,.2f} requests"
        case _:
            said = f"{number:+,.1f}"
    return f"{said} ({number / of:+.1%})" if of else said


def margin(gate: Gate) -> str:
    """A gate's margin: `+1.00 pp`, or `+10%` of stable's value; `-10%` where less is worse."""
    measure = MEASURES[gate.measure]
    worse = gate.margin if measure.more_is_worse else -gate.margin
    return f"{worse * 100:+.4g}%" if measure.relative else difference(measure, worse)


def rate(seen: Moments) -> str:
    """`1.20% (12 of 1,000)`."""
    if not seen.n:
        return "no request"
    return f"{seen.total / seen.n:.2%} ({seen.total:,.0f} of {seen.n:,})"


def percent(share: float) -> str:
    """`25%`, `0.5%`."""
    return f"{share * 100:.4g}%"


def e_value(log_e: float) -> str:
    """`3.2`, `45`, `10^12`."""
    if log_e > _MANY:
        return f"10^{log_e / math.log(10):.0f}"
    number = math.exp(log_e)
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def duration(seconds: float) -> str:
    """Rounded up: `59 s`, `1 min 00 s`, `1 h 30 min`."""
    whole = math.ceil(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"
