"""`extproc judge` with real processes: models, judge, the command; its exit codes, its resuming, and what may not be in its files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from tests.support.offline import KEY, QUICK, Done, Stand, ended, interrupt, prompts, stand

pytestmark = pytest.mark.timeout(400)
Play = Callable[[Stand], Awaitable[None]]
HOSTILE = "<script>alert('judged')</script><img src=x onerror=alert(1)></pre></main>{{7*7}}\u202egnp"
SECRETS = "write to jane.doe@example.com, key sk-proj-abcdefghijklmnopqrstuvwx1234567890"


def play(path: Path, what: Play, **qualities: float | str) -> None:
    async def whole() -> None:
        async with stand(path, **qualities) as given:  # type: ignore[arg-type]
            await what(given)

    asyncio.run(whole())


async def compared(given: Stand, count: int, *arguments: object) -> Done:
    file = prompts(given.directory / "prompts.jsonl", count)
    return await given.run("--against", "stable", "--prompts", file, *arguments, OFFLINE_KEY=KEY)


async def requests(given: Stand) -> tuple[int, int]:
    """(canary's, stable's) by their own ledgers."""
    canary, stable = await given.canary.ledger(), await given.stable.ledger()
    return canary["requests"], stable["requests"]


class Page(HTMLParser):
    """Tags, and what would load or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.active: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "action", "background")]
        if tag in ("script", "iframe", "img", "link", "object", "embed", "form", "base") or names:
            self.active.append(f"{tag} {names}")


def test_a_good_canary_passes_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    """Exit code 0 with evidence; the model is asked as the Spec names it, key and model name; all that was asked is in the file."""

    async def good(given: Stand) -> None:
        done = await compared(given, 110)
        assert done.code == 0, done.said
        assert "PASS: judge: canary 0." in done.stdout
        assert "margin -0.150" in done.stdout
        report = given.report()
        assert (report["verdict"], report["ended"], report["needed_prompts"]) == ("pass", "done", None)
        assert report["findings"][0]["safety_e"] >= 20
        for side in ("canary", "stable"):
            arm = report["arms"][side]
            assert (arm["asked"], arm["failed"], arm["scored"]) == (110, 0, 110)
            assert arm["score"]["low"] < 0.85 < arm["score"]["high"] + 0.05
        assert report["judge"]["noise"]["pairs"] >= 20
        assert report["usd"] == pytest.approx(sum(arm["usd"] for arm in report["arms"].values()) + report["judge"]["usd"])
        assert await requests(given) == (110, 110)
        assert (await given.canary.ledger())["asked_for"] == {"gpt-5-mini": 110}
        judged = given.judge.ledger()["requests"]
        again = await compared(given, 110)
        assert again.code == 0, again.said
        assert await requests(given) == (110, 110)
        assert given.judge.ledger()["requests"] == judged
        assert KEY not in done.said + given.page() + (given.out / "report.json").read_text() + (given.out / "results.jsonl").read_text()

    play(tmp_path, good, margin="15%")


def test_a_worse_canary_fails_and_its_worst_prompts_are_named(tmp_path: Path) -> None:
    """Exit code 1; the sentence has the numbers, the page shows the worst pair first, and no result of other prompts is mixed in."""

    async def worse(given: Stand) -> None:
        done = await compared(given, 30)
        assert done.code == 1, done.said
        assert "FAIL: judge: canary 0.4" in done.stdout
        assert "worst for the canary: q0" in done.stdout
        report = given.report()
        worst = report["prompts"][0]
        assert worst["id"] in done.stdout
        assert worst["difference"] == min(row["difference"] for row in report["prompts"])
        assert report["pairs"]["losses"] > 25
        page = given.page()
        assert page.index(f'class="id">{worst["id"]}<') < page.index("All prompts")
        other = await compared(given, 31)
        assert other.code == 2
        assert "[judge.other-results]" in other.stderr
        assert "other prompts" in other.stderr

    play(tmp_path, worse, canary=0.45)


def test_little_evidence_is_inconclusive_unless_that_is_allowed(tmp_path: Path) -> None:
    """Exit code 3 with how many prompts would do; --allow-inconclusive makes it 0. The canary alone meets a floor."""

    async def little(given: Stand) -> None:
        done = await compared(given, 12)
        assert done.code == 3, done.said
        assert "prompts like these would be needed to pass, these are 12" in done.stdout
        assert given.report()["needed_prompts"] > 12
        assert (await compared(given, 12, "--allow-inconclusive")).code == 0
        file = given.directory / "prompts.jsonl"
        alone = await given.run("--prompts", file, "--floor", "0.3", OFFLINE_KEY=KEY)
        assert alone.code == 0, alone.said
        assert "floor 0.300" in alone.stdout
        assert given.report()["pairs"] is None
        assert await requests(given) == (12, 12)
        high = await given.run("--prompts", file, "--floor", "0.98", OFFLINE_KEY=KEY)
        assert high.code == 1, high.said

    play(tmp_path, little)


def test_a_judge_that_is_away_is_no_data(tmp_path: Path) -> None:
    """Exit code 3: nothing passes or fails without a judge, the reason is told, and once it is back the run goes on."""

    async def away(given: Stand) -> None:
        given.judge.turn(down_rate=1.0)
        done = await compared(given, 8)
        assert done.code == 3, done.said
        assert "NO DATA" in done.stdout
        assert "the judge does not answer" in done.stdout
        assert given.report()["ended"] == "no_judge"
        asked = await requests(given)
        assert asked[0] <= 8
        given.judge.turn(down_rate=0.0)
        assert (await compared(given, 8, "--allow-inconclusive")).code == 0
        assert await requests(given) == (8, 8)

    play(tmp_path, away)


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    """Ctrl-C: exit code 4 with reports of what there is; the models' own ledgers show that the next run asks only what is missing."""

    async def stopped(given: Stand) -> None:
        # So slow that whoever interrupts it may be late.
        await given.canary.turn({**QUICK, "ttft": 0.5})
        file = prompts(given.directory / "prompts.jsonl", 40)
        arguments = ("--against", "stable", "--prompts", file)
        results = given.out / "results.jsonl"
        done = await interrupt(await given.start(*arguments, OFFLINE_KEY=KEY), results, 20)
        assert done.code == 4, done.said
        assert "run it again to go on" in done.stdout
        assert "Traceback" not in done.said
        some = await requests(given)
        assert 0 < some[0] < 40
        assert given.report()["ended"] == "stopped"
        answers = [line for line in map(orjson.loads, results.read_bytes().splitlines()) if line["kind"] == "answer"]
        assert len(answers) == sum(some)
        results.write_bytes(results.read_bytes() + b'{"kind": "answer", "si')  # what a power cut leaves
        await given.canary.turn(QUICK)
        whole = await ended(await given.start(*arguments, OFFLINE_KEY=KEY))
        assert whole.code in (0, 3), whole.said
        assert await requests(given) == (40, 40)
        assert given.report()["arms"]["canary"]["scored"] == 40

    play(tmp_path, stopped)


def test_a_second_signal_waits_for_nothing(tmp_path: Path) -> None:
    """A model that hangs holds nobody up: exit code 4 at once, and the reports are there."""

    async def hanging(given: Stand) -> None:
        await given.canary.turn({**QUICK, "hang_rate": 1.0})
        file = prompts(given.directory / "prompts.jsonl", 10)
        process = await given.start("--against", "stable", "--prompts", file, "--timeout", "120", OFFLINE_KEY=KEY)
        results = given.out / "results.jsonl"
        for _ in range(600):
            if results.exists() and results.read_bytes().count(b"\n") > 4:
                break
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1.0)
        assert process.returncode is None
        began = asyncio.get_running_loop().time()
        process.send_signal(signal.SIGINT)
        done = await ended(process)
        assert asyncio.get_running_loop().time() - began < 60
        assert done.code == 4, done.said
        assert "once more leaves at once" in done.stderr
        assert "Traceback" not in done.said
        assert given.report()["arms"]["stable"]["asked"] == 4

    play(tmp_path, hanging)


def test_the_budget_stops_a_run(tmp_path: Path) -> None:
    """Exit code 4 below the limit; with more money it goes on, and what was spent before counts."""

    async def poor(given: Stand) -> None:
        done = await compared(given, 30, "--max-usd", "0.10")
        assert done.code == 4, done.said
        assert "--max-usd" in done.stdout
        report = given.report()
        assert report["ended"] == "budget"
        assert 0.03 < report["usd"] <= 0.10
        assert (await compared(given, 30, "--max-usd", "0.10")).code == 4
        assert given.report()["usd"] <= 0.10
        assert (await compared(given, 30, "--max-usd", "5")).code in (0, 3)
        assert await requests(given) == (30, 30)

    play(tmp_path, poor)


def test_requests_that_fail_are_counted_and_not_judged(tmp_path: Path) -> None:
    """Every failure is in the report with its reason; a canary that fails much more often than stable fails the gate."""

    async def broken(given: Stand) -> None:
        await given.canary.turn({**QUICK, "error_rate": 1.0, "error_status": 400})
        done = await compared(given, 20)
        assert done.code == 1, done.said
        assert "FAIL: failures: canary 20 of 20, stable 0 of 20" in done.stdout
        arm = given.report()["arms"]["canary"]
        assert (arm["failed"], arm["scored"], sum(arm["failures"].values())) == (20, 0, 20)
        assert "status 400" in next(iter(arm["failures"]))
        assert "(failed)" in done.stdout

    play(tmp_path, broken)


def test_hostile_answers_are_text_and_secrets_are_gone(tmp_path: Path) -> None:
    """A model that writes markup, personal data and the key it was sent changes nothing in the page and leaves none of it behind."""

    async def hostile(given: Stand) -> None:
        async def answer(request: web.Request) -> web.Response:
            said = f"{HOSTILE} {SECRETS} {request.headers['authorization']}"
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            return web.json_response(
                {"object": "chat.completion", "model": "x", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}
            )

        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        given.document["models"]["gpt-5-mini"]["endpoint"]["port"] = runner.addresses[0][1]
        more = [{"id": "evil", "prompt": f"{HOSTILE} {SECRETS}", "tags": ["<b>tag</b>"]}]
        file = prompts(given.directory / "prompts.jsonl", 3, more)
        try:
            done = await given.run("--against", "stable", "--prompts", file, OFFLINE_KEY=KEY)
            assert done.code in (1, 3), done.said
            page, report = given.page(), (given.out / "report.json").read_text()
            seen = Page(page)
            assert seen.active == []
            assert "script" not in seen.tags
            assert page.count("</main>") == 1
            assert "&lt;script&gt;alert(" in page
            assert "\u202e" not in page
            assert "default-src 'none'" in page
            kept = (given.out / "results.jsonl").read_text()
            for secret in ("jane.doe@example.com", "sk-proj-abcdef", KEY):
                assert secret not in page + report + kept + done.said
            assert "[email]" in page
            open_too = await given.run("--prompts", file, "--keep-texts", OFFLINE_KEY=KEY)
            assert "[judge.other-results]" in open_too.stderr
            given.directory = given.directory / "kept"
            given.directory.mkdir()
            await given.run("--prompts", file, "--keep-texts", OFFLINE_KEY=KEY)
            assert "jane.doe@example.com" in given.page()
            assert KEY not in given.page() + (given.out / "results.jsonl").read_text()
        finally:
            await runner.cleanup()

    play(tmp_path, hostile)


def test_mistakes_are_problems_before_anything_is_asked(tmp_path: Path) -> None:
    """Exit code 2: a key that is not there, prompts that are none, a Spec without a judge."""

    async def mistakes(given: Stand) -> None:
        file = prompts(given.directory / "prompts.jsonl", 2)
        no_key = await given.run("--prompts", file)
        assert (no_key.code, "[judge.credential]" in no_key.stderr) == (2, True), no_key.said
        file.write_text('{"prompt": 3}\n{"prompts": "x"}\n')
        bad = await given.run("--prompts", file, OFFLINE_KEY=KEY)
        assert bad.code == 2
        assert "line 1" in bad.stderr
        assert "line 2" in bad.stderr
        del given.document["judge"]
        given.document["rollouts"]["gpt-5-mini"]["phases"][0]["gates"].pop("judge")
        unjudged = await given.run(OFFLINE_KEY=KEY)
        assert (unjudged.code, "[judge.no-judge]" in unjudged.stderr) == (2, True), unjudged.said
        assert await requests(given) == (0, 0)

    play(tmp_path, mistakes)
