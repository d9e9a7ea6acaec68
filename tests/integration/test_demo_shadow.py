"""The shadow on the real Envoy, with a judge: a canary that is worse never meets anybody, one that is as good goes on."""

from __future__ import annotations

import pytest

from tests.integration.test_demo_faults import told


@pytest.mark.timeout(620)
@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("worse-in-shadow", "nobody has met the canary"),
        ("shadow", "is completed: "),
    ],
)
def test_a_shadow_ends_as_its_canary_deserves(scenario: str, reason: str) -> None:
    """The books agree with the models' ledgers, copies included; no client sees an error."""
    said = told(scenario)
    assert reason in said
    assert "a copy did, which nobody noticed" in said
