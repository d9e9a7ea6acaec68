"""Answers are judged on the real Envoy: a canary that answers worse goes back for that alone. That one which is as good goes on, and that a
judge who is away is no data, is a section of `make proof` (answers)."""

from __future__ import annotations

import re

import pytest

from tests.integration.test_demo_faults import told


@pytest.mark.timeout(620)
def test_a_canary_that_is_faster_cheaper_and_worse_is_rolled_back_by_the_judge_alone() -> None:
    """No request fails; the reason is the judge's, with both scores."""
    text = told("worse-answers")
    found = re.search(r"rolled back: judge: canary (0\.\d+) \(of \d+\), stable (0\.\d+) \(of \d+\)", text)
    assert found, text[-2000:]
    assert float(found[1]) < float(found[2]) - 0.05
    assert re.search(r"In \d+ s ([\d,]+) requests went through Envoy and \1 were answered well", text)
