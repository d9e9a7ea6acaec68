"""Scenarios in which less than everything is broken: `extproc demo` as people run it, on the real Envoy. What breaks more than the canary
is a section of `make proof` (scenarios)."""

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
def test_a_fault_of_one_country_is_taken_back_there_and_nowhere_else() -> None:
    """Every good answer of everybody is compared with what the Spec gives them; the release goes on without the Germans."""
    text = told("one-country")
    assert "Cohort germany was rolled back by itself" in text
    assert "it is cohort germany alone" in text
    assert re.search(r"completed germany [\d,]+ [\d,]+ 0\.0% 0\.0% rolled back by itself", text)


@pytest.mark.timeout(620)
def test_too_few_people_are_no_evidence_and_a_person_is_told_what_is_missing() -> None:
    """INCONCLUSIVE is no pass, however quiet it is."""
    text = told("low-traffic")
    assert "awaiting approval: max dwell is over and there is no decision; missing:" in text
    assert "more distinct canary units" in text
