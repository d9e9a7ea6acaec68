"""The console in Debian's chromium, before a whole extproc that runs: the real Envoy, models that are told to fail, traffic.

One stand for all, so the tests tell one story, in this order: a release goes on, fails, is tried again, is stopped by hand.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from extproc.controller.console import History
from tests.support.console_stand import ConsoleStand
from tests.support.prefix_proxy import prefix_proxy

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
RUN_AXE = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
SERIOUS = ("serious", "critical")
PAGES = ("#/", "#/release/gpt-5-mini", "#/fleet", "#/explain", "#/exposures", "#/samples")
PATIENCE = 30_000
OPENS = """(hash) => new Promise((resolve) => {
  const begun = performance.now();
  location.hash = hash;
  const drawn = () => resolve(performance.now() - begun);
  const look = () => requestAnimationFrame(document.querySelector(".chart canvas") ? drawn : look);
  look();
})"""
"""Milliseconds from a click on a release to its chart."""
LONGEST = 120_000
SEEN_WITHIN = 2.0
"""Seconds from a decision to its being on the page."""
SCRIPT = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
NETWORK = re.compile(r"Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY")
"""What chromium itself says of a server that is gone."""


@pytest.fixture(scope="module")
def stand() -> Iterator[ConsoleStand]:
    with ConsoleStand() as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is missing: apt-get install chromium, or set CHROMIUM"
        assert os.environ.get("CI") != "true", message
        pytest.skip(message)
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE)
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, "--no-proxy-server"])
        yield made
        made.close()


@contextmanager
def opened(browser: Browser, address: str, away: bool = False, **options: Any) -> Iterator[Page]:
    """A page; at its end nothing was said on its console, but for a server that was `away`, and no script of a text has run."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}") if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(address)
        yield page
        assert page.evaluate("window.hit") is None
        assert [line for line in said if not (away and NETWORK.search(line))] == []
    finally:
        context.close()


def log_in(page: Page, stand: ConsoleStand) -> None:
    page.click("#who")
    page.fill("#name", "Ada")
    page.fill("#token", stand.token)
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text("Ada")


def here(page: Page) -> str:
    """The phase that a release's page shows as the present one."""
    return page.locator(".head .track [aria-current=step] .name").inner_text()


def shows(page: Page, word: str) -> None:
    expect(page.locator(".head .title")).to_contain_text(word, timeout=PATIENCE)


# ------------------------------------------------------------------------------------------------------------------- the story
def test_a_release_is_followed_without_a_login(stand: ConsoleStand, browser: Browser) -> None:
    """The page moves to the next phase by itself, says what it waits for, and offers no deed before a login."""
    with opened(browser, stand.address) as page:
        card = page.locator("article.card")
        expect(card).to_contain_text("progressing")
        expect(card).to_contain_text("Waits for")
        card.get_by_role("link").click()
        before = here(page)
        page.wait_for_function("(was) => document.querySelector('.head .track [aria-current=step] .name').textContent !== was", arg=before)
        assert here(page) == "25%"
        assert page.locator(".measures tbody tr").count() >= 4
        expect(page.locator(".measures")).to_contain_text("pp to")
        expect(page.locator(".timeline")).to_contain_text("10% → 25%")
        expect(page.locator(".chart canvas")).to_be_visible()
        page.click("#stop")
        expect(page.locator("dialog")).to_contain_text("Log in")
        assert page.locator("dialog [data-do=deed]").count() == 0
        page.keyboard.press("Escape")


def test_the_address_that_the_demo_prints_logs_in(stand: ConsoleStand, browser: Browser) -> None:
    """And the token is taken out of it, so that nobody reads it over a shoulder or finds it in the browser's history."""
    with opened(browser, f"{stand.address}#token={stand.token}") as page:
        expect(page.locator("#who")).to_have_text("demo")
        assert stand.token not in page.url
        assert stand.token not in page.evaluate("document.cookie")


def test_a_rollback_is_on_the_page_within_two_seconds(stand: ConsoleStand, browser: Browser) -> None:
    """Of the decision, which the Journal dates; and the decision opens into the Findings behind it."""
    with opened(browser, f"{stand.address}#/release/{stand.rollout}") as page:
        shows(page, "progressing")
        stand.turn({"error_rate": 1.0})
        page.wait_for_function("() => document.querySelector('.head .title').textContent.includes('rolled back')")
        seen = time.time()
        decided = next(entry["at"] for entry in stand.journal() if entry["action"] == "roll_back")
        assert seen - decided <= SEEN_WITHIN
        entry = page.locator(".timeline li.bad").first
        entry.locator("summary").click()
        expect(entry.locator(".findings")).to_contain_text("errors: canary")
        page.wait_for_timeout(1200)
        expect(entry.locator("details")).to_have_attribute("open", "")  # and stays open while the page goes on
        expect(page.locator(".measures")).to_contain_text("fails")


def test_it_is_stopped_by_hand_in_two_clicks_and_a_reason(stand: ConsoleStand, browser: Browser) -> None:
    """Tried again, then rolled back by a person whose reason has script in it: shown as text, told in the Journal under his name, and the
    dialog says after how long the last router had it."""
    stand.turn({"error_rate": 0.0})
    with opened(browser, f"{stand.address}#/release/{stand.rollout}") as page:
        log_in(page, stand)
        page.click("#stop")
        again = page.get_by_role("button", name="Try again")
        expect(again).to_be_disabled()
        page.keyboard.type("mended")  # the field has the focus
        again.click()
        page.locator("dialog .primary").click()
        shows(page, "progressing")
        page.click("#stop")
        page.keyboard.type(SCRIPT)
        page.get_by_role("button", name="Everything").click()
        expect(page.locator("#reached")).to_contain_text("last router")
        took = page.locator("#reached").inner_text()
        page.keyboard.press("Escape")
        shows(page, "rolled back")
        expect(page.locator(".timeline li").first).to_contain_text(SCRIPT)
        expect(page.locator(".timeline li").first).to_contain_text("by Ada")
        assert page.locator(".timeline img, .timeline script, .waits img").count() == 0
    assert stand.journal()[0]["actor"] == "Ada"
    assert float(re.findall(r"([0-9.]+) s ", took)[0]) < 5.0


def test_people_and_answers(stand: ConsoleStand, browser: Browser) -> None:
    """Why a user meets a model; who met the canary, to take along; two answers, blind until both have a level."""
    with opened(browser, f"{stand.address}#/explain") as page:
        log_in(page, stand)
        page.fill("#headers", f"x-user-id: {SCRIPT}\nx-user-tier: {SCRIPT}")
        page.fill("#model", "gpt-5")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator("main .layer")).to_contain_text("rolled back")
        expect(page.locator("main .layer")).to_contain_text(SCRIPT)

        page.goto(f"{stand.address}#/exposures")
        page.check("input[name=failed]")
        page.get_by_role("button", name="List").click()
        expect(page.locator("main tbody tr").first).to_contain_text("failed")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as CSV").click()
        rows = Path(download.value.path()).read_text().splitlines()
        assert rows[0].startswith("rollout,attempt,")
        assert len(rows) > 5

        page.goto(f"{stand.address}#/samples")
        answers = page.locator(".sample")
        expect(answers).to_have_count(2)
        assert not re.search(r"\b(canary|control)\b", answers.first.inner_text())
        for index in (0, 1):
            answers.nth(index).get_by_role("button", name="4 good").click()
        whose = {answers.nth(index).locator(".arm").inner_text() for index in (0, 1)}
        assert whose == {"canary", "control"}


def test_the_controller_is_lost_and_regained(stand: ConsoleStand, browser: Browser) -> None:
    """The page says that it is not live and how old it is, and comes back by itself."""
    with opened(browser, stand.address, away=True) as page:
        expect(page.locator("#pulse")).to_have_text("live")
        stand.kill_controller()
        expect(page.locator("#pulse")).to_have_text("not live")
        expect(page.locator("#notice")).to_contain_text("comes back by itself. What you see is")
        expect(page.locator("#pulse")).to_have_text("live")
        expect(page.locator("#notice")).to_be_empty()
        stand.freeze_controller()
        try:
            expect(page.locator("#notice")).to_contain_text("has not answered for ")
        finally:
            stand.thaw_controller()
        expect(page.locator("#pulse")).to_have_text("live")


# ---------------------------------------------------------------------------------------------------------------- for everybody
def test_axe_finds_nothing_serious(stand: ConsoleStand, browser: Browser) -> None:
    """On every page and in the dialogs, in both themes."""
    for theme in ("light", "dark"):
        with opened(browser, stand.address, color_scheme=theme, bypass_csp=True) as page:
            page.evaluate(AXE)
            _accessible(page, "log in", "#who")
            log_in(page, stand)
            for address in PAGES:
                page.evaluate("(hash) => { location.hash = hash; }", address)
                page.wait_for_timeout(300)
                _accessible(page, f"{address} {theme}")
            _accessible(page, "stop", "#stop")


def _accessible(page: Page, where: str, opens: str = "") -> None:
    if opens:
        page.click(opens)
    found = [one for one in page.evaluate(RUN_AXE) if one["impact"] in SERIOUS]
    shown = [(one["id"], one["help"], [node["html"][:160] for node in one["nodes"]][:3]) for one in found]
    assert found == [], f"{where}: {json.dumps(shown, indent=1)}"
    if opens:
        page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [360, 3840])
def test_it_fits(stand: ConsoleStand, browser: Browser, width: int) -> None:
    """From a telephone to a wall: nothing is wider than the window."""
    with opened(browser, stand.address, viewport={"width": width, "height": 800}) as page:
        expect(page.locator("#pulse")).to_have_text("live")
        for address in PAGES:
            page.evaluate("(hash) => { location.hash = hash; }", address)
            page.wait_for_timeout(150)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address


def test_a_day_of_history_opens_within_a_second(stand: ConsoleStand, browser: Browser) -> None:
    """24 hours at one point a second, as the server thins them: from the click to the drawn chart, the best of three."""
    history, now = History(), time.time()
    for second in range(86_400):
        finding = {"gate": "errors", "log_e_harm": math.sin(second / 900), "log_e_safe": 1.0, "log_e_limit": 4.0}
        one = {"phase": "25%", "status": "progressing", "attempt": 1, "share": 0.25, "findings": [finding]}
        history.add({"at": now - 86_400 + second, "rollouts": {stand.rollout: one}})
    body = orjson.dumps(history.document(stand.rollout))
    took = []
    for _ in range(3):
        with opened(browser, stand.address) as page:
            page.route("**/v1/history*", lambda route: route.fulfill(body=body, content_type="application/json"))
            expect(page.locator("#pulse")).to_have_text("live")
            took.append(page.evaluate(OPENS, f"#/release/{stand.rollout}"))
            expect(page.locator("#evidence + p")).to_contain_text("Since 23 h")
    assert min(took) < 1_000


def test_the_keyboard_is_enough(stand: ConsoleStand, browser: Browser) -> None:
    """`s` opens the stop dialog with the focus in its first field, Escape closes it and gives the focus back, Tab goes through the bar."""
    with opened(browser, stand.address) as page:
        log_in(page, stand)
        page.locator("#main").focus()
        page.keyboard.press("s")
        expect(page.locator("#why")).to_be_focused()
        page.keyboard.type("s")
        expect(page.locator("#why")).to_have_value("s")
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_be_hidden()
        page.locator(".skip").focus()
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        assert {"Releases", "Fleet", "Ada", "Stop or move…", stand.rollout} <= set(reached)


def test_behind_a_prefix_everything_wants_a_login(stand: ConsoleStand, browser: Browser) -> None:
    """A proxy that names itself: the page comes up under its prefix, shows nothing before the login, and is live after it."""
    with prefix_proxy(stand.port) as address, opened(browser, f"{address}/console", away=True) as page:
        expect(page.locator("main")).to_contain_text("Log in to look")
        log_in(page, stand)
        expect(page.locator("article.card")).to_contain_text(stand.rollout)
        expect(page.locator("#pulse")).to_have_text("live")
        (kept,) = page.context.cookies()
        assert kept["path"].startswith("/ops/releases/console")
        assert kept["httpOnly"]
        assert kept["sameSite"] == "Strict"
        assert page.evaluate("document.cookie") == ""


def test_a_healthy_release_is_followed_to_its_end(stand: ConsoleStand, browser: Browser) -> None:
    """Once more from the first phase to all people, watched on a page that nobody touches."""
    stand.turn({"error_rate": 0.0})
    with opened(browser, f"{stand.address}#/release/{stand.rollout}") as page:
        stand.act("start", "mended", retry="yes")
        shows(page, "progressing")
        expect(page.locator(".head .title")).to_contain_text("completed", timeout=LONGEST)
        expect(page.locator(".timeline")).to_contain_text("50% → 100%")
        expect(page.locator(".head .facts")).to_contain_text("100 %")
