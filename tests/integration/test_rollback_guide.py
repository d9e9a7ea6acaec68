"""docs/rollback.md is a story that happens: each command of it, in order, on the real Envoy, prints what the guide says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.integration.test_acts import _germany
from tests.support.standing import Standing, standing, typed

GUIDE = (Path(__file__).parents[2] / "docs" / "rollback.md").read_text(encoding="utf-8")
STEPS = [
    (words, printed.strip())
    for block in re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for words, printed in re.findall(r"^\$ extproc (.*?)\n(.*?)(?=^\$|\Z)", block, re.MULTILINE | re.DOTALL)
]


def printed(served: Standing, words: str) -> str:
    where = ["--api", f"http://127.0.0.1:{served.ports.api}", "--token-file", str(served.directory / "extproc.db.token")]
    command = [sys.executable, "-m", "extproc", *shlex.split(words), *where]
    done = typed(lambda: subprocess.run(command, capture_output=True, text=True, timeout=120))
    assert "Traceback" not in done.stderr
    return (done.stdout + done.stderr).strip()


def test_every_command_prints_what_the_guide_says() -> None:
    """To the letter, generations included: nothing but these acts moves it."""
    assert len(STEPS) >= 10
    with standing(_germany) as served:
        for action in ("start", "promote", "promote", "promote"):
            served.api("POST", f"/v1/rollouts/gpt-5-mini/{action}", json={"why": "to the beginning of the story"})
        assert [(words, printed(served, words)) for words, _ in STEPS] == STEPS


def test_every_act_of_the_first_table_has_its_chapter() -> None:
    """A link that leads nowhere helps nobody at three in the morning."""
    chapters = {re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)}
    links = set(re.findall(r"\]\(#(.*?)\)", GUIDE))
    assert links == chapters
