"""How fast the console opens a release of a day, and how smoothly it scrolls and zooms: Chromium before a stand with real traffic.

    python -m loadtest.console [--opens 7]

The history is a day of points, one a second, thinned by the code that the API process runs; everything else on the page is what the stand
says, and goes on while it is measured. Frames are the browser's own (requestAnimationFrame). A section of `make proof` (console).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from extproc.controller.console import History
from loadtest.report import verdict
from tests.support.console_stand import ConsoleStand

DAY: Final = 86_400
GATES: Final = ("errors", "latency_mean", "latency_p95", "cost", "judge", "ceiling:errors", "together")
OPENS: Final = 7
LONGEST: Final = 1.0
"""Seconds from the click to the drawn chart."""
SMOOTH: Final = 1 / 30
"""Seconds between frames that 95 of 100 may take: below this, eyes see a motion and no steps."""
SETTLE: Final = 2_000
"""Milliseconds in which the page comes to rest before frames are counted."""
CHROMIUM: Final = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
OPEN: Final = """(hash) => new Promise((resolve) => {
  const begun = performance.now();
  location.hash = hash;
  const look = () => requestAnimationFrame(document.querySelector(".chart canvas") ? () => resolve(performance.now() - begun) : look);
  look();
})"""
WATCH: Final = """() => {
  window.frames_seen = [];
  let last = performance.now();
  const look = (now) => { window.frames_seen.push(now - last); last = now; window.looking = requestAnimationFrame(look); };
  window.looking = requestAnimationFrame((now) => { last = now; window.looking = requestAnimationFrame(look); });
}"""
STOP: Final = "() => { cancelAnimationFrame(window.looking); return window.frames_seen; }"
Section = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Frames:
    """Seconds between the frames of one kind of motion."""

    name: str
    took: Sequence[float]

    def at(self, share: float) -> float:
        """A quantile."""
        return sorted(self.took)[min(len(self.took) - 1, int(share * len(self.took)))]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen."""

    thinned: float
    """Seconds that the server takes for the document of a day."""
    points: int
    size: int
    """Bytes of that document."""
    opened: Sequence[float]
    """Seconds from a click on a release to its chart."""
    motions: tuple[Frames, ...]

    @property
    def problems(self) -> list[str]:
        """What is not as it was promised."""
        slow = [f"{one.name}: p95 {one.at(0.95) * 1000:.0f} ms between frames" for one in self.motions if one.at(0.95) > SMOOTH]
        middle = statistics.median(self.opened)
        return slow + ([f"opens in {middle:.2f} s"] if middle >= LONGEST else [])


def measure(opens: int = OPENS) -> Measured:
    """On a stand of its own, which is paused in its second phase so that all of the page is there."""
    with ConsoleStand() as stand, sync_playwright() as playwright:
        stand.act("start", "proof")
        stand.act("promote", "proof")
        while stand.status()["phase_index"] == 0:
            time.sleep(0.2)
        stand.act("pause", "proof")
        history = _day(stand.rollout)
        begin = time.perf_counter()
        document = history.document(stand.rollout)
        body = orjson.dumps(document)
        thinned = time.perf_counter() - begin
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, "--no-proxy-server"])
        try:
            opened = [_opened(browser, stand, body) for _ in range(opens)]
            motions = _motions(_page(browser, stand, body, f"#/release/{stand.rollout}"))
        finally:
            browser.close()
    return Measured(thinned, len(document["at"]), len(body), opened, motions)


def _day(rollout: str) -> History:
    """Lines that cross, as evidence does, and phases that change."""
    history, now = History(), time.time()
    for second in range(DAY):
        findings = [
            {
                "gate": gate,
                "log_e_harm": 2 * math.sin(second / (700 + 300 * place)),
                "log_e_safe": 1.0,
                "log_e_limit": 4.0 + place,
                "within": "+1pp",
            }
            for place, gate in enumerate(GATES)
        ]
        stands = {"phase": f"{10 + second // 21_600}%", "status": "progressing", "attempt": 1, "share": 0.25}
        history.add({"at": now - DAY + second, "rollouts": {rollout: {**stands, "findings": findings}}})
    return history


def _page(browser: Browser, stand: ConsoleStand, body: bytes, place: str = "") -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.route("**/v1/history*", lambda route: route.fulfill(body=body, content_type="application/json"))
    page.goto(stand.address + place)
    page.wait_for_selector(".chart canvas" if place else "article.card")
    return page


def _opened(browser: Browser, stand: ConsoleStand, body: bytes) -> float:
    page = _page(browser, stand, body)
    took: float = page.evaluate(OPEN, f"#/release/{stand.rollout}")
    page.close()
    return took / 1000


def _motions(page: Page) -> tuple[Frames, ...]:
    """The page stands still, is scrolled with the wheel, its chart is read with the mouse, and zoomed; live all the time."""
    page.wait_for_timeout(SETTLE)
    page.mouse.move(640, 450)
    return (
        _watched(page, "at rest", lambda: page.wait_for_timeout(4_000)),
        _watched(page, "scrolling", lambda: _scroll(page)),
        _watched(page, "the cursor over the chart", lambda: _read(page)),
        _watched(page, "zooming", lambda: _zoom(page)),
    )


def _watched(page: Page, name: str, motion: Any) -> Frames:
    page.evaluate(WATCH)
    motion()
    return Frames(name, [took / 1000 for took in page.evaluate(STOP)])


def _scroll(page: Page) -> None:
    for step in range(200):
        page.mouse.wheel(0, 60 if step % 100 < 50 else -60)
        page.wait_for_timeout(16)


def _box(page: Page) -> tuple[float, float, float]:
    page.locator(".chart").scroll_into_view_if_needed()
    box = page.locator(".chart .u-over").bounding_box()
    assert box is not None
    return box["x"], box["y"] + box["height"] / 2, box["width"]


def _read(page: Page) -> None:
    left, middle, width = _box(page)
    for step in range(150):
        page.mouse.move(left + width * (step % 75) / 75, middle)
        page.wait_for_timeout(16)


def _zoom(page: Page) -> None:
    left, middle, width = _box(page)
    for _ in range(8):
        page.mouse.move(left + width * 0.3, middle)
        page.mouse.down()
        page.mouse.move(left + width * 0.7, middle, steps=12)
        page.mouse.up()
        page.wait_for_timeout(100)
        page.mouse.dblclick(left + width * 0.5, middle)
        page.wait_for_timeout(100)


def lines(measured: Measured) -> list[str]:
    """As Markdown."""
    opened = sorted(measured.opened)
    told = [
        "A release of 24 hours at one point a second, in Chromium before `extproc serve`, with the real Envoy and traffic on the same",
        f"machine ({os.cpu_count()} cores). {DAY:,} points of {len(GATES)} measures are thinned to {measured.points:,}, "
        f"{measured.size / 1000:,.0f} kB, which the API process",
        f"writes in {measured.thinned * 1000:.0f} ms. From the click on the release to its drawn chart, {len(opened)} times: "
        f"{', '.join(f'{one * 1000:.0f}' for one in opened)} ms;",
        f"median {statistics.median(opened) * 1000:.0f} ms. Promised: under {LONGEST:.0f} s.",
        "",
        "Milliseconds between frames (requestAnimationFrame; a screen of 60 Hz has one in 16.7), while the page hears every evaluation:",
        "",
        "| | frames | median | p95 | p99 | longest |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in measured.motions:
        cells = " | ".join(f"{value * 1000:.1f}" for value in (one.at(0.5), one.at(0.95), one.at(0.99), max(one.took)))
        told.append(f"| {one.name} | {len(one.took)} | {cells} |")
    return [*told, "", f"Promised: p95 below {SMOOTH * 1000:.0f} ms."]


def section() -> Section:
    """For `make proof`."""
    measured = measure()
    return lines(measured), measured.problems


def main() -> int:
    """Entry point: exit code 1 if a figure is not what was promised."""
    parser = argparse.ArgumentParser(description="How fast the console opens, and how smoothly it scrolls.")
    parser.add_argument("--opens", type=int, default=OPENS)
    measured = measure(parser.parse_args().opens)
    console = Console(highlight=False)
    console.print("\n".join(lines(measured)), markup=False)
    return verdict(measured.problems, console)


if __name__ == "__main__":
    sys.exit(main())
