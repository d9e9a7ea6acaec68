"""The shadow on the real Envoy, with a judge. That a canary which is as good goes on from it is a section of `make proof` (answers)."""

from __future__ import annotations

import re

import pytest

from tests.integration.test_demo_faults import told


@pytest.mark.timeout(620)
def test_a_canary_that_is_worse_in_its_shadow_never_meets_anybody() -> None:
    """The judge's reason; the books agree with the models' ledgers, copies included; no client sees an error."""
    said = told("worse-in-shadow")
    assert re.search(r"judge in the shadow: canary better in \d+, stable in \d+", said)
    assert "nobody has met the canary" in said
    assert re.search(r"answered well; 0 met gpt-5-mini, and of \d+ a copy did, which nobody noticed", said)
