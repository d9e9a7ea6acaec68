"""The console for people with roles, in Debian's chromium: a viewer is offered no deed, and logs in with a token alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from extproc.controller.access import digest
from extproc.demo.processes import free_port
from tests.browser.test_console import browser, opened
from tests.support.envoy_stand import running, wait_for

__all__ = ["browser"]
TOKENS = {"vera": ("viewer", "token-of-vera-0123456789"), "otto": ("operator", "token-of-otto-0123456789")}
EXTPROC = [sys.executable, "-m", "extproc"]


@dataclass
class Alone:
    """A controller, and nothing else."""

    address: str


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    directory = tmp_path_factory.mktemp("roles")
    subprocess.run([*EXTPROC, "init", str(directory / "r.yaml")], check=True, capture_output=True)
    people = [f'  {name}: {{role: {role}, token_sha256: "{digest(token).hex()}"}}' for name, (role, token) in TOKENS.items()]
    (directory / "access.yaml").write_text("\n".join(["people:", *people, ""]))
    port, log = free_port(), directory / "log"
    words: list[str | Path] = ["controller", "--spec", directory / "r.yaml", "--store", f"sqlite:{directory}/x.db"]
    words += ["--collector", f"unix:{directory}/c.sock", "--api-port", str(port), "--access", directory / "access.yaml"]
    with running([*EXTPROC, *words], log) as process:
        wait_for(lambda: b"controller ready" in log.read_bytes(), process, log, 120.0)
        yield Alone(f"http://127.0.0.1:{port}/console/")


def test_a_viewer_looks_and_is_offered_no_deed(alone: Alone, browser: Browser) -> None:
    """The name is the token's; the button, its key and the pages of people are closed; the server would refuse them as well."""
    with opened(browser, alone.address) as page:
        page.click("#who")
        assert page.locator("#name").count() == 0
        page.fill("#token", TOKENS["vera"][1])
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_have_text("vera")
        expect(page.locator("article.card")).to_be_visible()
        for button in page.locator("[data-do=act]").all():
            expect(button).to_be_hidden()
        page.keyboard.press("s")
        expect(page.locator("dialog")).to_be_hidden()
        for hash_, role in (("#/exposures", "admin"), ("#/samples", "admin"), ("#/explain", "operator")):
            page.evaluate("(hash) => { location.hash = hash; }", hash_)
            expect(page.locator("main")).to_contain_text(f"This is for {role}.")
        headers = {"x-extproc-console": "1"}
        refused = page.request.post(f"{alone.address}v1/rollouts/gpt-5-mini/rollback", headers=headers, data={"why": "x"})
        assert (refused.status, refused.json()["problems"][0]["id"]) == (403, "api.role")


def test_an_operator_acts_and_the_journal_says_who(alone: Alone, browser: Browser) -> None:
    """Two clicks and a reason, as ever."""
    with opened(browser, alone.address) as page:
        page.click("#who")
        page.fill("#token", TOKENS["otto"][1])
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_have_text("otto")
        page.click("#stop")
        page.fill("#why", "a test of roles")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("dialog")).to_contain_text("Written down after")
    entries = httpx.get(f"{alone.address}v1/journal", trust_env=False, timeout=60).json()["entries"]
    assert [(entry["actor"], entry["action"]) for entry in entries][:1] == [("otto", "pause")]
