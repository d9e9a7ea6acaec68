"""Where `extproc demo` opens a browser, and where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extproc.cli.browser import is_watched

SCREEN = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("environment", "interactive", "platform", "watched"),
    [
        (SCREEN, True, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0", "CI": "false"}, True, "linux", True),
        ({}, True, "darwin", True),
        (SCREEN, False, "linux", False),
        ({}, True, "linux", False),
        ({**SCREEN, "CI": "true"}, True, "linux", False),
        ({**SCREEN, "SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22"}, True, "linux", False),
        ({"SSH_TTY": "/dev/ttys001"}, True, "darwin", False),
    ],
)
def test_a_browser_is_opened_only_before_a_person(environment: dict[str, str], interactive: bool, platform: str, watched: bool) -> None:
    """On the screen of the machine itself, never in a pipeline, a pipe, or for somebody who is far away."""
    assert is_watched(environment, interactive, platform) is watched


def test_the_browser_is_told_the_address(tmp_path: Path) -> None:
    """As the system names it ($BROWSER)."""
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}\n')
    browser.chmod(0o755)
    command = "from extproc.cli.browser import show; show('http://127.0.0.1:1/console/').join(30)"
    subprocess.run([sys.executable, "-c", command], env={"BROWSER": f"{browser} %s"}, cwd=Path(__file__).parents[2], check=True, timeout=60)
    assert told.read_text() == "http://127.0.0.1:1/console/"
