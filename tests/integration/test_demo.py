"""The demo as people run it: both scenarios, to their ends, with the books compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.lateness import lateness

MARK = uuid.uuid4().hex
"""In the environment of what a demo of this test has started."""


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "extproc", "demo", "--fast", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, **environment})


def left_running(mark: str) -> list[str]:
    """Command lines of processes with this in their environment: other demos may run on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.timeout(620)
def test_a_healthy_canary_ends_at_100_percent() -> None:
    """Five phases on the real Envoy, no client error, extproc's books equal the models' ledgers, nothing is left running."""
    done = demo(DEMO_OF_A_TEST=MARK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete (canary share 100%)" in done.stdout
    assert "agree" in done.stdout
    assert left_running(f"DEMO_OF_A_TEST={MARK}") == []


@pytest.mark.timeout(620)
def test_a_failing_canary_is_rolled_back_within_the_promise() -> None:
    """25 % share, 20 canary requests per second: at most 5 s from the first failing response to the last canary request."""
    with lateness() as machine:
        done = demo("--scenario", "errors", "--seed", "2")
    text = " ".join(done.stdout.replace("│", " ").split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rolled back" in text
    took = re.search(r"to its last request ([0-9.]+) s passed", text)
    assert took is not None
    # A machine that pauses makes everybody late.
    assert float(took[1]) <= 5.0 + machine.worst


@pytest.mark.timeout(300)
def test_an_interrupted_demo_ends_quietly() -> None:
    """Ctrl-C in the midst of a rollout: the code of an interrupt, no traceback, nothing is left running."""
    command = [sys.executable, "-m", "extproc", "demo", "--fast", "--no-browser"]
    mark, pipe = uuid.uuid4().hex, subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env={**os.environ, "DEMO_OF_A_TEST": mark}, preexec_fn=in_front
    ) as process:
        assert process.stdout is not None
        said = list(up_to(process.stdout, "needs"))
        process.send_signal(signal.SIGINT)
        text = "".join(said) + process.communicate(timeout=120)[0]
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert left_running(f"DEMO_OF_A_TEST={mark}") == []


def in_front() -> None:
    """A test run in the background inherits an interrupt that is ignored; whoever presses Ctrl-C is in front of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def up_to(lines: Iterable[str], word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return


def test_an_unknown_scenario_is_a_problem_with_the_known_ones() -> None:
    """Before anything is started."""
    done = demo("--scenario", "heathly")
    assert done.returncode == 1
    assert "[demo.unknown-scenario]" in done.stderr
    assert "healthy" in done.stderr
    assert "Traceback" not in done.stderr
