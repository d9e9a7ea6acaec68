"""The demo as people run it: both scenarios, to their ends, with the books compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "extproc", "demo", "--fast", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def left_running() -> list[str]:
    """Command lines of processes that a demo would have started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "extproc-demo-" in line or "extproc.demo" in line:
            found.append(line)
    return found


@pytest.mark.timeout(620)
def test_a_healthy_canary_ends_at_100_percent() -> None:
    """Five phases on the real Envoy, no client error, extproc's books equal the models' ledgers, nothing is left running."""
    before = left_running()
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete (canary share 100%)" in done.stdout
    assert "agree" in done.stdout
    assert set(left_running()) <= set(before)


@pytest.mark.timeout(620)
def test_a_failing_canary_is_rolled_back_within_the_promise() -> None:
    """25 % share, 20 canary requests per second: at most 5 s from the first failing response to the last canary request."""
    done = demo("--scenario", "errors", "--seed", "2")
    text = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rolled back" in text
    took = re.search(r"to its last request ([0-9.]+) s passed", text)
    assert took is not None
    assert float(took[1]) <= 5.0


def test_an_unknown_scenario_is_a_problem_with_the_known_ones() -> None:
    """Before anything is started."""
    done = demo("--scenario", "heathly")
    assert done.returncode == 1
    assert "[demo.unknown-scenario]" in done.stderr
    assert "healthy" in done.stderr
    assert "Traceback" not in done.stderr
