"""Scenarios in which less than everything is broken: `extproc demo` as people run it, on the real Envoy. Longer ones (one-country) and
those that break more than the canary are a section of `make proof` (scenarios)."""

from __future__ import annotations

import re

import pytest

from tests.integration.test_demo import demo


def told(name: str) -> str:
    done = demo("--scenario", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agree" in done.stdout
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stdout).split())


@pytest.mark.timeout(620)
def test_too_few_people_are_no_evidence_and_a_person_is_told_what_is_missing() -> None:
    """INCONCLUSIVE is no pass, however quiet it is."""
    text = told("low-traffic")
    assert "awaiting approval: max dwell is over and there is no decision; missing:" in text
    assert "more distinct canary units" in text
