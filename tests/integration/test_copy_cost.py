"""What a copy costs, measured part by part: the parts lead from nothing to what is rendered, and the real Envoy does each of them."""

from __future__ import annotations

import asyncio

from extproc.render.sampling import copying
from loadtest.copy_cost import NAMESPACE, TENTHS, measure, parts, report

ROUNDS = 2 * TENTHS


def test_the_last_part_is_what_is_rendered() -> None:
    """And the first is no filter at all."""
    first, *_, last = parts().values()
    assert first is None
    assert last == copying([NAMESPACE])


def test_every_part_is_asked_as_often() -> None:
    """One latency for each round; that three of the parts open a stream, and two do not, is asked of Envoy by the measurement itself."""
    found = asyncio.run(measure(ROUNDS))
    assert [len(each) for each in found] == [ROUNDS] * len(parts())
    assert all(one > 0 for each in found for one in each)


def test_the_table_says_what_is_added() -> None:
    """Medians against those of no copy, tenth by tenth; an interval of no width where nothing scatters."""
    *_, last = report([[100.0 + 10 * part] * ROUNDS for part in range(len(parts()))])
    assert last == "| the assignment in each message (as rendered) | 140 us | +40 us | +40 to +40 us |"
