"""The console's pictures in docs, made anew: Chromium before a stand with the real Envoy, models, a judge and traffic.

    python -m loadtest.screenshots [--into docs]

docs/console.png is a release that goes on, docs/console-rollback.png the same one a moment after its rollback; docs/console has the other
pages in both themes. Run it after a change of what is seen: figures differ from run to run, what is shown does not. Two minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.console_stand import ConsoleStand

CHROMIUM: Final = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
DWELL: Final = "30s"
"""Of each phase: long enough for lines in the chart, and for some pictures before the next one."""
PATIENCE: Final = 120.0
"""Seconds for whatever is waited for."""
WIDE: Final = {"width": 1240, "height": 1500}
"""A release's page down to the chart's end."""
THEMES: Final = ("light", "dark")
PAGES: Final = {
    "releases": ("#/", 420),
    "fleet": ("#/fleet", 820),
    "explain": ("#/explain", 820),
    "exposures": ("#/exposures", 820),
    "samples": ("#/samples?which=shadow", 820),
}
"""Address and height."""


def main(arguments: list[str]) -> int:
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(description="The console's pictures in docs.")
    parser.add_argument("--into", type=Path, default=Path("docs"), metavar="DIR")
    into: Path = parser.parse_args(arguments).into
    (into / "console").mkdir(parents=True, exist_ok=True)
    with ConsoleStand(DWELL) as stand, sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, "--no-proxy-server"])
        try:
            made = _story(stand, browser, into)
        finally:
            browser.close()
    for path in made:
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")
    return 0


def _story(stand: ConsoleStand, browser: Browser, into: Path) -> list[Path]:
    """A shadow, two phases, a fault, a rollback; what is seen on the way."""
    release = f"#/release/{stand.rollout}"
    stand.act("start", "reviewed with the search team", "Ada")
    _until(lambda: stand.status()["shadow"]["judged"] >= 12)
    stand.act("promote", "the shadow's answers are good", "Ada")
    _until(lambda: stand.status()["phase_index"] == 1 and stand.status()["watched"] > 10)
    made = [_shot(stand, browser, release, "light", WIDE, into / "console.png")]
    for name, (address, height) in PAGES.items():
        size = {"width": 1000, "height": height}
        made += [_shot(stand, browser, address, theme, size, into / "console" / f"{name}-{theme}.png") for theme in THEMES]
        if name == "releases":
            stand.act("pause", "a provider's incident", "Ada")
    stand.turn({"error_rate": 0.4})
    _until(lambda: stand.status()["status"] == "rolled_back")
    time.sleep(3.0)  # the end of the lines
    return [*made, _shot(stand, browser, release, "dark", WIDE, into / "console-rollback.png")]


def _shot(stand: ConsoleStand, browser: Browser, address: str, theme: Any, size: Any, path: Path) -> Path:
    """One page as somebody who has logged in sees it."""
    page = browser.new_context(viewport=size, color_scheme=theme).new_page()
    page.goto(f"{stand.address}#token={stand.token}")
    page.wait_for_selector("#who:text-is('demo')")
    page.evaluate("(hash) => { location.hash = hash; }", address)
    page.wait_for_selector("#pulse:text-is('live')")
    # A machine with other work loses entries of the access log now and then, and the page says so: not what these pictures are of.
    page.wait_for_selector("#notice:empty", state="attached", timeout=PATIENCE * 1_000)
    _prepared(page, address)
    page.wait_for_timeout(2_500)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=path)
    page.context.close()
    return path


def _prepared(page: Page, address: str) -> None:
    """What a reader would do first."""
    if address == PAGES["explain"][0]:
        page.fill("#headers", "x-user-id: ada\nx-user-tier: gold")
        page.fill("#model", "gpt-5")
        page.get_by_role("button", name="Explain").click()
        page.wait_for_selector("main .layer")
    elif address == PAGES["exposures"][0]:
        page.get_by_role("button", name="List").click()
        page.wait_for_selector("main tbody tr")
    elif address == PAGES["samples"][0]:
        page.wait_for_selector(".sample")


def _until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError("the stand does not come to where a picture is taken")
        time.sleep(0.3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
