"""What the tests of stores share: documents, and other processes beside the test's."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from extproc.domain import Action, JournalEntry, RolloutState, State, Status
from extproc.errors import StoreError

ROOT = Path(__file__).parents[2]


def state(generation: int = 1) -> State:
    """Two rollouts."""
    one = RolloutState(Status.PROGRESSING, 2, 1_700_000_000.25, generation, 1, "because", "print")
    return State(generation, "digest", {"new": one, "other": replace(one, status=Status.PAUSED, why="ada said so")})


def entry(generation: int = 1, rollout: str = "new", **numbers: object) -> JournalEntry:
    """Without a number yet."""
    return JournalEntry(0, 1_700_000_000.5, rollout, "ada", Action.ADVANCE, "why not", generation, numbers)


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process, with a line of its own for each print."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """All that it printed, when it has ended."""
    output, _ = process.communicate(timeout=90)
    return output.strip()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it printed."""
    stdout: IO[str] | None = process.stdout
    assert stdout is not None
    return stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=90)


def problem(caught: pytest.ExceptionInfo[StoreError]) -> tuple[str, str]:
    """Id and hint of the one Problem; a hint there must be."""
    (one,) = caught.value.problems
    assert one.hint
    return one.id, one.message
