"""Shares as a vendor can say them: whole parts of 100, of 10,000, of 100,000.

Sums and products of floats have noise (1 - 0.41 is 0.5900000000000001, a bucket more than 0.59 at GrowthBook); whole parts have none.
"""

from __future__ import annotations

from extproc.domain import Rollout
from extproc.errors import Problem
from extproc.render.flags.rules import Rule
from extproc.render.settings import RenderError

_CLOSE = 1e-6
"""Of a part: far above what floats lose, far below what anybody writes."""


def check_shares(rollout: Rollout, found: list[Rule], parts: int, vendor: str) -> None:
    """Raise RenderError with every cohort whose share is not a whole number of parts: rounded, it would be other people."""
    step = f"{100 / parts:g}%"
    wrong = {rule.cohort: rule.share for rule in found if abs(rule.share * parts - round(rule.share * parts)) > _CLOSE}
    if wrong:
        hint = f"choose shares (and holdback) in steps of {step}, or write the flag by hand"
        raise RenderError(
            [
                Problem("render.flag-share", f"rollouts.{rollout.name}", _message(cohort, share, vendor, step), hint)
                for cohort, share in wrong.items()
            ]
        )


def _message(cohort: str, share: float, vendor: str, step: str) -> str:
    return f"cohort {cohort} has a share of {share * 100:.9g}%, and {vendor} knows steps of {step}"


def part(share: float, parts: int) -> int:
    """A share that was checked, as so many parts."""
    return round(share * parts)
