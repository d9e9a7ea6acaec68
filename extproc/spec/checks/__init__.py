"""What no single block can see: references, order, overlaps. Each rule yields what it found; none stops another.

The rules read the *written* values and take from them every block whose own shape is right. So a file is told all that is wrong with
it at once: a slip in one phase does not hide that another phase names no known measure. A rule never judges a block that it cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.spec.checks import calendar, cohorts, deploy, files, flags, gates, judge, layers, models, rollouts, shadow
from extproc.spec.checks.tools import Found, did_you_mean, mapping

__all__ = ["Found", "check", "did_you_mean"]


def check(values: Any, contents: Mapping[str, str]) -> Iterator[Found]:
    """Every rule over everything in the parsed file that has the right shape; `contents` are the files that it names."""
    document = mapping(values)
    yield from files.check(values, contents)
    yield from models.check(document)
    yield from flags.check(document, contents)
    yield from judge.check(document, contents)
    yield from layers.check(document)
    yield from deploy.check(document)
    for name, written in mapping(document.get("rollouts")).items():
        yield from rollouts.check(document, ("rollouts", name), mapping(written))
        yield from gates.check(document, ("rollouts", name), mapping(written))
        yield from calendar.check(("rollouts", name), mapping(written))
        yield from cohorts.check(document, ("rollouts", name), mapping(written))
        yield from shadow.check(document, ("rollouts", name), mapping(written))
