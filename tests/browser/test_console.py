"""The console in Debian's chromium, before a whole extproc that runs: the real Envoy, models that are told to fail, traffic.

One stand for all, so the tests tell one story, in this order: a release begins with its shadow, goes on, is moved by hand, fails, is tried
again, is stopped by hand, and ends as it should.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from extproc import __version__
from extproc.controller.console import History
from extproc.domain import COPY, Arm, Preferred, Purpose
from extproc.store.samples import Kept, SampleFile
from tests.support.console_stand import ConsoleStand
from tests.support.lateness import lateness
from tests.support.prefix_proxy import prefix_proxy
from tests.support.samples import sample, scored

pytestmark = pytest.mark.timeout(400)
"""A release goes on for minutes where the machine is busy."""
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
RUN_AXE = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
SERIOUS = ("serious", "critical")
PAGES = ("#/", "#/release/gpt-5-mini", "#/fleet", "#/explain", "#/exposures", "#/samples")
PATIENCE = 60_000
LONGEST = 240_000
SEES = """(word) => new Promise((resolve) => {
  const title = () => document.querySelector(".head .title").textContent;
  const look = () => (title().includes(word) ? resolve(Date.now()) : requestAnimationFrame(look));
  look();
})"""
"""When a release's page says it: milliseconds, by the browser's clock."""
SEEN_WITHIN = 2.0
"""Seconds from a decision to its being on the page."""
SCRIPT = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
SHORT_SCRIPT = "Ada <img src=x onerror=window.hit=1>"
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


def log_in(page: Page, stand: ConsoleStand, name: str = "Ada") -> None:
    page.click("#who")
    page.fill("#name", name)
    page.fill("#token", stand.token)
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text(name)


def act(page: Page, why: str, word: str, follow: bool = False) -> None:
    """Two clicks and a typed reason. `follow`: until the last router has it."""
    page.click("#stop")
    expect(page.locator("#why")).to_be_focused()
    page.keyboard.type(why)
    page.locator("dialog").get_by_role("button", name=word, exact=True).click()
    expect(page.locator("#reached" if follow else "dialog .primary")).to_be_visible()


def tab_to(page: Page, words: str) -> None:
    """By the keyboard alone."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == words:
            return
    raise AssertionError(f"{words!r} cannot be reached")


def act_by_keyboard(page: Page, why: str, word: str) -> None:
    page.keyboard.press("s")
    expect(page.locator("#why")).to_be_focused()
    page.keyboard.type(why)
    tab_to(page, word)
    page.keyboard.press("Enter")
    expect(page.locator("#reached")).to_contain_text("last router")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()


def here(page: Page) -> str:
    """The phase that a release's page shows as the present one."""
    return page.locator(".head .track [aria-current=step] .name").inner_text()


def shows(page: Page, word: str) -> None:
    expect(page.locator(".head .title")).to_contain_text(word, timeout=PATIENCE)


# ------------------------------------------------------------------------------------------------------------------- the story
def test_a_release_begins_with_its_shadow(stand: ConsoleStand, browser: Browser) -> None:
    """Nothing is there yet, and it says so; started from the page; what copies have shown while nobody meets the canary; promoted."""
    with opened(browser, f"{stand.address}#/release/{stand.rollout}", bypass_csp=True) as page:
        shows(page, "waits for its start")
        expect(page.locator("main")).to_contain_text("Nothing is compared now")
        assert page.locator(".head .track [aria-current]").count() == 0
        log_in(page, stand)
        act(page, "reviewed", "Start")
        page.keyboard.press("Escape")
        shows(page, "shadow")
        assert here(page) == "shadow"
        expect(page.locator(".head .facts")).to_contain_text("Judged pairs")
        expect(page.locator(".arms caption")).to_contain_text("which nobody gets")
        expect(page.locator(".measures")).to_contain_text("errors (shadow)")
        expect(page.locator(".measures")).to_contain_text("judge (shadow)")
        expect(page.locator(".money")).to_contain_text("copies that nobody gets")
        page.evaluate(AXE)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            _accessible(page, f"shadow {theme}")
        act(page, "seen enough", "Promote to 25%")
        page.keyboard.press("Escape")
        shows(page, "progressing")
    stand.act("pause", "to be looked at")


def test_a_release_is_followed_without_a_login(stand: ConsoleStand, browser: Browser) -> None:
    """The page moves to the next phase by itself, says what it waits for, and offers no deed before a login."""
    with opened(browser, stand.address) as page:
        card = page.locator("article.card")
        expect(card).to_contain_text("paused")
        card.get_by_role("link").click()
        assert here(page) == "25%"
        stand.act("resume", "go on")
        expect(page.locator(".head .waits")).to_contain_text("Waits for")
        page.wait_for_function(
            "() => document.querySelector('.head .track [aria-current=step] .name').textContent !== '25%'", timeout=LONGEST
        )
        stand.act("pause", "to be looked at")
        shows(page, "paused")
        assert page.locator(".measures tbody tr").count() >= 4
        expect(page.locator(".measures")).to_contain_text("pp to")
        expect(page.locator(".timeline")).to_contain_text("25% → 50%")
        expect(page.locator(".chart canvas")).to_be_visible()
        page.click("#stop")
        expect(page.locator("dialog")).to_contain_text("Log in")
        assert page.locator("dialog [data-do=deed]").count() == 0
        page.keyboard.press("Escape")


def test_cohorts_and_money_are_told(stand: ConsoleStand, browser: Browser) -> None:
    """Errors of both arms by cohort; what it has cost so far and will have when it is completed; a part of the chart on demand; instants in
    the reader's own zone, with UTC beside them."""
    with opened(browser, f"{stand.address}#/release/{stand.rollout}", timezone_id="Asia/Kolkata", locale="en-GB") as page:
        at = page.locator(".timeline time").first
        utc = datetime.fromisoformat(str(at.get_attribute("datetime")))
        expect(at).to_have_text((utc + timedelta(hours=5, minutes=30)).strftime("%H:%M:%S"))
        expect(at).to_have_attribute("title", f"{utc:%Y-%m-%d %H:%M:%S} UTC")
        everyone = page.locator("tr[data-key=everyone]")
        expect(everyone).to_contain_text(re.compile("%[0-9,]+ of [0-9,]+.*%[0-9,]+ of [0-9,]+"))
        rows = page.locator(".money tr")
        expect(rows.filter(has_text="Parallel run")).to_contain_text(re.compile(r"−\$[0-9.]+.*−\$[0-9.]+"))
        expect(rows.filter(has_text="Judge")).to_contain_text(re.compile(r"\$[0-9.]+.*\$[0-9.]+"))
        expect(rows.filter(has_text="Together")).to_contain_text(re.compile(r"\$[0-9.]+.*\$[0-9.]+"))
        page.get_by_role("button", name="Last 5 min").click()
        expect(page.get_by_role("button", name="Last 5 min")).to_have_attribute("aria-pressed", "true")
        box = page.locator(".chart .u-over").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60, steps=4)
        page.mouse.up()
        expect(page.locator("[data-do=range][aria-pressed=true]")).to_have_count(0)
        page.mouse.dblclick(box["x"] + 100, box["y"] + 50)
        expect(page.get_by_role("button", name="All", exact=True)).to_have_attribute("aria-pressed", "true")


def test_the_fleet(stand: ConsoleStand, browser: Browser) -> None:
    """Routers with version, age, generation, rate and how long decisions take; what Envoy let through; the controller."""
    with opened(browser, f"{stand.address}#/fleet") as page:
        router = page.locator("tbody tr").first
        expect(router).to_contain_text("serves")
        expect(router).to_contain_text("2 of 2 workers")
        expect(router).to_contain_text(__version__)
        expect(router).to_contain_text(re.compile("[0-9.]+ (µs|ms) / [0-9.]+ (µs|ms)"))
        expect(page.locator("main")).to_contain_text("Failed open")
        expect(page.locator("main")).to_contain_text("every second, lag")


def test_controllers_that_stand_by_are_shown(stand: ConsoleStand, browser: Browser) -> None:
    """Where the status document names several: who leads, and how long ago each was heard of. A name is text, whatever is in it."""
    document = stand.ask("GET", "/v1/status").json()
    document["controllers"] = [
        {"name": "one", "leader": True, "age": 0.2, "version": "0.1.0"},
        {"name": SCRIPT, "leader": False, "age": 7.0, "version": "0.1.0"},
    ]
    document["routers"][0]["router"] = SCRIPT
    told = b"event: status\ndata: " + orjson.dumps({**document, "stale": 0}) + b"\n\n"
    with opened(browser, "about:blank", away=True) as page:
        page.route("**/v1/live", lambda route: route.fulfill(body=told, content_type="text/event-stream"))
        page.goto(f"{stand.address}#/fleet")
        expect(page.locator("tr[data-key=one]")).to_contain_text("leads")
        other = page.get_by_role("row", name=SCRIPT).filter(has_text="stands by")
        expect(other).to_contain_text("7 s ago")
        expect(page.get_by_role("row", name=SCRIPT).filter(has_text="workers")).to_be_visible()
        assert page.locator("main img, main script").count() == 0


def test_the_keyboard_is_enough_to_act(stand: ConsoleStand, browser: Browser) -> None:
    """Log in, go back a phase, take one cohort out, pause: nobody touches a mouse."""
    with opened(browser, f"{stand.address}#/release/{stand.rollout}") as page:
        shows(page, "paused")
        tab_to(page, "Log in")
        page.keyboard.press("Enter")
        expect(page.locator("#name")).to_be_focused()
        page.keyboard.type("Ada")
        page.keyboard.press("Tab")
        page.keyboard.type(stand.token)
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_have_text("Ada")
        act_by_keyboard(page, "once more", "25%")
        expect(page.locator(".timeline")).to_contain_text("50% → 25%")
        act_by_keyboard(page, "only there", "new-zealand alone")
        expect(page.locator("tr[data-key=new-zealand]")).to_contain_text("rolled back by itself")
        expect(page.locator("tr[data-key=everyone]")).to_contain_text("takes part")
        act_by_keyboard(page, "enough", "Pause")
        shows(page, "paused")


def test_the_address_that_the_demo_prints_logs_in(stand: ConsoleStand, browser: Browser) -> None:
    """And the token is taken out of it, so that nobody reads it over a shoulder or finds it in the browser's history."""
    with opened(browser, f"{stand.address}#token={stand.token}") as page:
        expect(page.locator("#who")).to_have_text("demo")
        assert stand.token not in page.url
        assert stand.token not in page.evaluate("document.cookie")


def test_a_rollback_is_on_the_page_within_two_seconds(stand: ConsoleStand, browser: Browser) -> None:
    """Of the decision, which the Journal dates; and the decision opens into the Findings behind it."""
    with opened(browser, f"{stand.address}#/release/{stand.rollout}") as page:
        shows(page, "paused")
        stand.turn({"error_rate": 1.0})
        with lateness() as machine:
            seen = page.evaluate(SEES, "rolled back") / 1000
        decided = next(entry["at"] for entry in stand.journal() if entry["action"] == "roll_back")
        # Controller, its API and the browser may be late one after the other where the machine is.
        assert seen - decided <= SEEN_WITHIN + 3 * machine.worst
        entry = page.locator(".timeline li.bad").first
        entry.locator("summary").click()
        expect(entry.locator(".findings")).to_contain_text("errors: canary")
        page.wait_for_timeout(1200)
        expect(entry.locator("details")).to_have_attribute("open", "")  # and stays open while the page goes on
        expect(page.locator(".measures")).to_contain_text("fails")
        expect(page.locator("tr[data-key=everyone]")).to_contain_text("on stable")
        expect(page.locator(".head .advice").get_by_role("link", name="Its worst answers, in the console")).to_be_visible()


def test_it_is_stopped_by_hand_in_two_clicks_and_a_reason(stand: ConsoleStand, browser: Browser) -> None:
    """Tried again, promoted, then rolled back by a person. His name and his reason have script in them: shown as text, told in the Journal
    as they are; and the dialog says after how long the last router had it."""
    stand.turn({"error_rate": 0.0})
    with opened(browser, f"{stand.address}#/release/{stand.rollout}") as page:
        log_in(page, stand, SHORT_SCRIPT)
        page.click("#stop")
        again = page.get_by_role("button", name="Try again")
        expect(again).to_be_disabled()
        page.keyboard.type("mended")  # the field has the focus
        again.click()
        page.locator("dialog .primary").click()
        shows(page, "shadow")
        act(page, "seen before", "Promote to 25%")
        page.keyboard.press("Escape")
        shows(page, "progressing")
        act(page, SCRIPT, "Everything", follow=True)
        expect(page.locator("#reached")).to_contain_text("last router")
        took = page.locator("#reached").inner_text()
        page.keyboard.press("Escape")
        shows(page, "rolled back")
        expect(page.locator(".timeline li").first).to_contain_text(SCRIPT)
        expect(page.locator(".timeline li").first).to_contain_text(f"by {SHORT_SCRIPT}")
        expect(page.locator(".head .waits")).to_contain_text(SCRIPT)
        assert page.locator("main img, main script").count() == 0
    assert stand.journal()[0]["actor"] == SHORT_SCRIPT
    assert re.fullmatch(r"The last router told after [0-9.]+ s that it has it\.", took)


def test_people_and_answers(stand: ConsoleStand, browser: Browser) -> None:
    """Why a user meets a model; who met the canary, to take along; two answers, blind until both have a level."""
    with opened(browser, f"{stand.address}#/explain") as page:
        log_in(page, stand)
        page.fill("#headers", f"x-user-id: {SCRIPT}\nx-user-tier: {SCRIPT}")
        page.fill("#model", "gpt-5")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator("main .layer")).to_contain_text("rolled back")
        page.get_by_text("Cohorts that were tried").click()
        expect(page.locator("main .layer")).to_contain_text(f"x-user-tier is {SCRIPT}")
        assert page.locator("main img, main script").count() == 0

        page.goto(f"{stand.address}#/exposures")
        page.check("input[name=failed]")
        page.get_by_role("button", name="List").click()
        expect(page.locator("main tbody tr").first).to_contain_text("failed")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as CSV").click()
        rows = Path(download.value.path()).read_text().splitlines()
        assert rows[0].startswith("rollout,attempt,")
        assert len(rows) > 5


def test_answers_are_judged_blind(stand: ConsoleStand, browser: Browser) -> None:
    """Two answers whose texts, and the judge's reasons, have script in them: shown as text; whose each is, is told when both have a level.
    The levels lie beside the judge's scores, where its calibration finds them. (An hour ago: the stand's own answers go on coming.)"""
    kept = SampleFile(stand.samples, Kept())
    now = time.time() - 3_600.0
    for number, arm in enumerate((Arm.CANARY, Arm.CONTROL)):
        told: dict[str, Any] = {"request": f"{SCRIPT}{number}", "rollout": stand.rollout, "arm": arm, "start": now}
        kept.add(sample(turns=(("user", SCRIPT),), answer=f"{SCRIPT} {number}", cohort=SCRIPT, calls=((SCRIPT, SCRIPT),), **told), now)
        kept.score(scored(value=0.75, reason=SCRIPT, at=now, **told))
    with opened(browser, f"{stand.address}#token={stand.token}") as page:
        expect(page.locator("#who")).to_have_text("demo")
        page.goto(f"{stand.address}#/samples?before={now + 1.0}")
        answers = page.locator(".sample")
        expect(answers).to_have_count(2)
        for index in (0, 1):
            expect(answers.nth(index).locator(".answer")).to_contain_text(SCRIPT)
        assert not re.search(r"\b(canary|control)\b", page.locator("main").inner_text().partition("Answer A")[2])
        for index in (0, 1):
            answers.nth(index).get_by_role("button", name="4 good").click()
            expect(answers.nth(index).locator("[aria-pressed=true]")).to_have_text("4 good")
        expect(answers.locator(".arm")).to_have_count(2)
        assert set(answers.locator(".arm").all_inner_texts()) == {"canary", "control"}
        expect(answers.first).to_contain_text(f"The judge: 0.75. {SCRIPT}")
        assert page.locator("main img, main script").count() == 0
        expect(page.locator("main .note")).to_contain_text("answer different questions")
        page.get_by_role("link", name="Worst", exact=True).click()
        expect(page.locator("main .note")).to_contain_text("scored lowest")
    assert [pair for pair in kept.labels() if pair == (4, 0.75)] == [(4, 0.75)] * 2
    kept.close()


def test_a_pair_of_one_question_is_offered_where_there_is_a_shadow(stand: ConsoleStand, browser: Browser) -> None:
    """Both answers to one request, blind until both have a level; then whose each is, and which one the judge prefers and why. The page
    says that those of the other tabs answer different questions."""
    kept = SampleFile(stand.samples, Kept())
    now = time.time()
    told: dict[str, Any] = {"rollout": stand.rollout, "start": now, "purpose": Purpose.SHADOW, "turns": (("user", SCRIPT),)}
    kept.add(sample(request="pair", arm=Arm.CONTROL, answer="the moon is far", **told), now)
    kept.add(sample(request=f"pair{COPY}", arm=Arm.CANARY, answer="the moon is cheese", **told), now)
    kept.prefer(Preferred("pair", stand.rollout, 1_000_000, "00000000000000aa", now, 0.0), SCRIPT, "a judge", 0.0, now)
    kept.close()
    with opened(browser, f"{stand.address}#token={stand.token}") as page:
        expect(page.locator("#who")).to_have_text("demo")
        page.goto(f"{stand.address}#/samples")
        page.get_by_role("link", name="Same question (shadow)").click()
        expect(page.locator("main .note").first).to_contain_text("Both answers are to the same question")
        answers = page.locator(".sample")
        expect(answers).to_have_count(2)
        expect(answers.locator(".arm")).to_have_count(0)
        for index in (0, 1):
            answers.nth(index).get_by_role("button", name="3 fair").click()
        expect(answers.filter(has_text="the moon is cheese").locator(".arm")).to_have_text("canary")
        expect(answers.filter(has_text="the moon is far").locator(".arm")).to_have_text("stable")
        expect(page.locator("main .note[role=status]")).to_contain_text(f"The judge: stable is better. {SCRIPT}")
        assert page.locator("main img, main script").count() == 0


def test_where_the_judge_failed_the_canary_its_answers_are_a_click_away(stand: ConsoleStand, browser: Browser) -> None:
    """From the decision's Findings and from the measures, to the worst answers of the visit that it ended; of a shadow, to its pairs.
    Users' feedback stands beside both arms. (The documents are changed on their way: the stand's judge is never asked to decide.)"""
    status, (entry, *more) = stand.ask("GET", "/v1/status").json(), stand.journal()
    judged = {"verdict": "fail", "sentence": "judge: worse", "log_e_harm": 4.0, "log_e_safe": 0.0, "log_e_limit": 3.0, "estimate": None}
    rest = dict.fromkeys(("interval", "canary_value", "stable_value"), None) | {"canary_samples": 9, "stable_samples": 9, "margin": 0.0}
    entry["numbers"]["findings"] = [{**judged, **rest, "cohort": "", "within": "", "gate": gate} for gate in ("judge", "shadow:judge")]
    status["rollouts"][stand.rollout]["findings"] = []
    said = {"requests": 200, "heard": 3, "rate": 0.015}
    status["users"]["feedback"] = {
        "waiting": 0,
        "problem": "",
        "response": {stand.rollout: {"canary": said, "control": {**said, "heard": 8}}},
    }
    told = b"event: status\ndata: " + orjson.dumps({**status, "stale": 0}) + b"\n\n"
    with opened(browser, f"{stand.address}#token={stand.token}", away=True) as page:
        expect(page.locator("#who")).to_have_text("demo")
        page.route("**/v1/live", lambda route: route.fulfill(body=told, content_type="text/event-stream"))
        page.route("**/v1/journal*", lambda route: route.fulfill(body=orjson.dumps({"entries": [entry, *more]})))
        page.goto("about:blank")
        page.goto(f"{stand.address}#/release/{stand.rollout}")
        expect(page.locator(".arms")).to_contain_text("1.5 % (3 of 200)")
        expect(page.locator(".measures")).to_contain_text("Worst answers")
        page.locator(".timeline summary").first.click()
        links = page.locator(".timeline .findings").first.get_by_role("link", name="Worst answers")
        expect(links).to_have_count(2)
        links.nth(1).click()
        expect(page.locator("main .note").first).to_contain_text("the same question")
        page.go_back()
        page.locator(".measures").get_by_role("link", name="Worst answers").first.click()
        expect(page.locator("main .note").first).to_contain_text("scored lowest. ")
        expect(page.locator("main .note time")).to_have_attribute("datetime", re.compile(r"^\d{4}-"))
        expect(page.locator("main .tabs [aria-current]")).to_have_text("Worst")


def test_what_is_not_there_and_what_is_refused_is_told(stand: ConsoleStand, browser: Browser) -> None:
    """In words for people, with what to do; and an address that somebody was sent shows its script as text."""
    with opened(browser, f"{stand.address}#/release/{quote(SCRIPT, safe='')}", away=True) as page:
        expect(page.locator("main")).to_contain_text(f"There is no rollout {SCRIPT}.")
        page.goto(f"{stand.address}#/nowhere")
        expect(page.locator("main")).to_contain_text("There is no such page")
        page.goto(f"{stand.address}#/samples")
        expect(page.locator("main")).to_contain_text("This wants a login")
        page.click("#who")
        page.fill("#name", "Ada")
        page.fill("#token", SCRIPT)
        page.keyboard.press("Enter")
        expect(page.locator("dialog [role=alert]")).to_contain_text("this is not the token")
        page.fill("#token", stand.token)
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_have_text("Ada")
        page.goto(f"{stand.address}#/samples?rollout={quote(SCRIPT, safe='')}")
        expect(page.locator("main")).to_contain_text("No pair yet")
        page.goto(f"{stand.address}#/exposures?rollout={quote(SCRIPT, safe='')}")
        page.fill("#cohort", SCRIPT)
        page.get_by_role("button", name="List").click()
        expect(page.locator("main")).to_contain_text(re.compile("Nobody|no such"))
        page.click("#stop")
        page.context.clear_cookies()
        page.keyboard.type("too late")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("dialog")).to_contain_text("The API's token")
        assert page.locator("main img, main script").count() == 0


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


def test_a_day_of_history_is_drawn(stand: ConsoleStand, browser: Browser) -> None:
    """24 hours at one point a second, as the server thins them. How fast is measured by `make proof` (console)."""
    history, now = History(), time.time()
    for second in range(86_400):
        finding = {"gate": "errors", "log_e_harm": math.sin(second / 900), "log_e_safe": 1.0, "log_e_limit": 4.0, "within": "+1pp"}
        one = {"phase": "25%", "status": "progressing", "attempt": 1, "share": 0.25, "findings": [finding]}
        history.add({"at": now - 86_400 + second, "rollouts": {stand.rollout: one}})
    body = orjson.dumps(history.document(stand.rollout))
    with opened(browser, stand.address) as page:
        page.route("**/v1/history*", lambda route: route.fulfill(body=body, content_type="application/json"))
        page.goto(f"{stand.address}#/release/{stand.rollout}")
        expect(page.locator(".chart canvas")).to_be_visible()
        expect(page.locator(".chart .u-legend")).to_contain_text("safety, where it is least")
        expect(page.locator(".chart")).to_have_attribute("aria-label", re.compile("of safety, where it is least: .+ of 20$"))
        expect(page.locator("#evidence ~ p").last).to_contain_text(re.compile("Since (23 h|1 d)"))  # what is live is added


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
        shows(page, "shadow")
        stand.act("promote", "seen before")
        shows(page, "progressing")
        expect(page.locator(".head .title")).to_contain_text("completed", timeout=LONGEST)
        expect(page.locator(".timeline")).to_contain_text("50% → 100%")
        expect(page.locator(".head .facts")).to_contain_text("100 %")
