"""Scenarios in which users alone tell that the canary is worse: `extproc demo` as people run it, on the real Envoy. Others of this kind
(regenerates, thumbs-down, short-sessions, refusals, good-answers) are a section of `make proof`."""

from __future__ import annotations

import pytest

from tests.integration.test_demo_faults import told


@pytest.mark.timeout(620)
def test_what_users_do_rolls_a_worse_canary_back() -> None:
    """No error, no wait, no cost: the reason is what people did, and the books agree."""
    assert "is rolled back: retries: canary " in told("retries")
