"""`extproc demo --scenario cohorts` as people run it, to its end, on the real Envoy."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


@pytest.mark.timeout(620)
def test_staff_first_then_countries_then_tiers_then_everyone() -> None:
    """Every good answer was the one that the Spec gives that person at that moment; the table holds as many as the models served."""
    command = [sys.executable, "-m", "extproc", "demo", "--scenario", "cohorts", "--fast"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("Who got what, and why")[2].partition("What happened")[0]
    found = re.findall(r"│ +(?:[\d%]+|completed)? +(\S+) +[\d,]+ +[\d,]+ +([\d.]+)% +([\d.]+)% +(.+?) +│", table)
    first = {}
    for place, (cohort, expected, _, why) in enumerate(found):
        if float(expected) > 0:
            assert why in ("by the ring", "the default now")
            first.setdefault(cohort, place)
        else:
            assert why == "before its phase"
    assert list(first) == ["staff", "asia-pacific", "paid", "everyone"]
    assert "agree" in done.stdout
