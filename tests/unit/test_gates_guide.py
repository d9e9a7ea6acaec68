"""docs/gates.md can be copied: every YAML block is put into the first Spec of docs/assignment.md, and loaded; its table is the code's."""

from __future__ import annotations

import re

import pytest

from extproc.domain import Ceiling, Reaction
from extproc.measures import MEASURES
from tests.unit.test_assignment_guide import DOCS, blocks, loaded

GUIDE = (DOCS / "gates.md").read_text(encoding="utf-8")
PARTS = blocks(GUIDE, "yaml")
NAME = "gpt-5-mini"


@pytest.mark.parametrize("part", PARTS, ids=[str(number) for number in range(1, 1 + len(PARTS))])
def test_every_block_fits_into_the_first_spec(part: str) -> None:
    """Each by itself."""
    assert list(loaded(part).rollouts) == [NAME]


def test_what_the_comments_promise() -> None:
    """Ceilings, reactions, metrics and the calendar come out as the guide says."""
    of = {
        key: loaded(next(part for part in PARTS if key in part)).rollouts[NAME]
        for key in ("unusable", "on_fail: return", "tickets", "free")
    }
    assert Ceiling("errors", 0.2, "unusable") in of["unusable"].phases[0].ceilings
    assert Ceiling("output_tokens", 1500.0) in of["unusable"].phases[4].ceilings
    assert [phase.on_fail for phase in of["on_fail: return"].phases][:2] == [Reaction.ROLL_BACK, Reaction.RETURN]
    assert [gate.margin for gate in of["on_fail: return"].phases[3].gates] == [0.001, 0.1]
    assert [metric.rolls_back for metric in of["tickets"].phases[0].metrics] == [False, True]
    assert [phase.share > of["free"].approval_above for phase in of["free"].phases] == [False, False, False, True, True]


def test_the_table_names_every_measure() -> None:
    """With its default margins."""
    rows = re.findall(r"^\| (`[a-z].*?) \| .*? \| (.*?) \|$", GUIDE, re.MULTILINE)
    written = " ".join(names for names, _ in rows)
    short = re.sub(r"`(latency|ttft)_mean`, `_p50`, `_p95`, `_p99`", r"`\1_mean`, `\1_p50`, `\1_p95`, `\1_p99`", written)
    assert sorted(re.findall(r"`([a-z_0-9]+)`", short)) == sorted(MEASURES)
    assert MEASURES["errors"].margins == MEASURES["throttled"].margins == (0.05, 0.01, 0.005, 0.0025)
    assert {measure.margins for measure in MEASURES.values() if measure.relative} == {(0.5, 0.2, 0.1, 0.1)}
    less_is_worse = {name for name, measure in MEASURES.items() if not measure.more_is_worse}
    assert less_is_worse == {"cached_tokens", "output_rate", "judge", "session_length", "thumbs"}
    assert MEASURES["tripwires"].margins == MEASURES["judge"].margins == MEASURES["thumbs"].margins == (0.05, 0.03, 0.02, 0.02)
