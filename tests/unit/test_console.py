"""The console's server side: who may look, who may act, what a page is told, and what is in its files."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc.controller.access import LONGEST_NAME, OneToken, Role, Who, digest
from extproc.controller.ask import Known, SilentError
from extproc.controller.console.files import POLICY, Files
from extproc.controller.console.history import MOST_POINTS, History
from extproc.controller.console.live import Live
from extproc.controller.console.routes import CSRF_HEADER
from extproc.controller.console.sessions import LASTS, Sessions
from extproc.domain import Status
from extproc.errors import Problem
from tests.unit.test_api import NAME, TOKEN, Served

NOW = 1_800_000_000.0
OURS = {CSRF_HEADER: "1", "sec-fetch-site": "same-origin"}
HOME = {"host": "127.0.0.1:9970"}
DOCS = Path(__file__).parents[2] / "docs"
ACT = f"/console/v1/rollouts/{NAME}/start"


@pytest.fixture
def api(tmp_path: Path) -> Any:
    served = Served(tmp_path)
    yield served
    served.close()


def login(api: Served, name: str = "Ada", token: str = TOKEN, **headers: str) -> Any:
    return api.ask("POST", "/console/v1/login", token="", json={"name": name, "token": token}, headers_more={**OURS, **headers})


def ask(api: Served, method: str, path: str, headers: dict[str, str], **arguments: Any) -> Any:
    return api.ask(method, path, token="", headers_more=headers, **arguments)


def cookie(api: Served) -> dict[str, str]:
    return {"cookie": login(api).headers["set-cookie"].partition(";")[0]}


# ------------------------------------------------------------------------------------------------------------------- sessions
def test_a_session_is_its_own_tokens_and_ends() -> None:
    """What is tampered with, signed with another token, or over, is nobody's."""
    sessions, access = Sessions(b"one"), OneToken("one")
    value = sessions.begin(Who("Ada", Role.ADMIN, digest("one")), NOW, "n")
    session = sessions.read(value, NOW + LASTS - 1, access.named)
    assert session is not None
    assert (session.name, session.role) == ("Ada", Role.ADMIN)
    assert sessions.read(value, NOW + LASTS, access.named) is None
    assert Sessions(b"other").read(value, NOW, access.named) is None
    assert sessions.read(value, NOW, OneToken("another token").named) is None
    said, _, signature = value.partition(".")
    for bad in ("", ".", said, f"{said}.", f"{said[:-2]}AA.{signature}", f"{said}.{signature[:-1]}", f"ü.{signature}", "x" * 5_000):
        assert sessions.read(bad, NOW, access.named) is None
    assert Sessions(b"one").cookie != Sessions(b"other").cookie
    assert b"one" not in value.encode()


@pytest.mark.parametrize("name", ["", "  ", "extproc", "ExtProc", "a\nb", "x" * (LONGEST_NAME + 1), "a\u202eb"])
def test_a_name_is_one_that_the_journal_can_show(name: str) -> None:
    """Nobody is called like the automation, and nobody invisibly."""
    with pytest.raises(ValueError, match="name"):
        Sessions(b"one").begin(Who(name, Role.ADMIN, b""), NOW, "n")


# --------------------------------------------------------------------------------------------------------------------- acting
def test_nothing_is_done_without_a_login_and_without_the_header(api: Served) -> None:
    """401 without a login, 403 where another site may ask; the rollout stays as it is."""
    why = {"why": "x"}
    assert ask(api, "POST", ACT, OURS, json=why).status_code == 401
    logged_in = cookie(api)
    for headers in ({}, {CSRF_HEADER: "1", "sec-fetch-site": "cross-site"}, {CSRF_HEADER: "1", "sec-fetch-site": "same-site"}):
        answer = ask(api, "POST", ACT, {**logged_in, **headers}, json=why)
        assert answer.status_code == 403
        assert answer.json()["problems"][0]["id"] == "console.csrf"
    assert api.loop.state.rollouts[NAME].status is Status.PENDING


def test_who_has_logged_in_acts_under_that_name(api: Served) -> None:
    """Whatever name a page sends, the Journal has the one of the login."""
    answer = ask(api, "POST", ACT, {**cookie(api), **OURS}, json={"why": "reviewed", "actor": "somebody else"})
    assert answer.status_code == 200, answer.text
    assert api.store.journal(NAME, 1)[0].actor == "Ada"


def test_the_cookie_is_good_for_the_console_alone(api: Served) -> None:
    """The API itself asks for the bearer token, as before."""
    logged_in = cookie(api)
    assert ask(api, "GET", "/v1/status", logged_in).status_code == 401
    assert ask(api, "POST", f"/v1/rollouts/{NAME}/start", {**logged_in, **OURS}, json={"why": "x"}).status_code == 401


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(api: Served) -> None:
    """HttpOnly, SameSite=Strict, no path or domain wider than the console's; Secure where a proxy ends TLS."""
    said = login(api).headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in said
    assert not re.search(r"(?i)path=|domain=|secure", said)
    assert TOKEN not in said
    assert "; Secure" in login(api, **{"x-forwarded-proto": "https"}).headers["set-cookie"]


def test_a_wrong_token_opens_nothing(api: Served) -> None:
    """401, no cookie, and the token is not repeated."""
    answer = login(api, token="wrong-token")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "wrong-token" not in answer.text
    assert "wrong-token" not in ask(api, "POST", "/console/v1/login", OURS, json={"token": "wrong-token"}).text


@pytest.mark.parametrize("path", ["exposures?rollout=new", "samples?rollout=new"])
def test_what_is_of_users_wants_a_login_even_at_home(api: Served, path: str) -> None:
    """Looking is for releases; who met a canary and what was answered are not for everybody."""
    assert ask(api, "GET", f"/console/v1/{path}", HOME).status_code == 401
    assert ask(api, "GET", f"/console/v1/{path}", {**HOME, **cookie(api)}).status_code in (200, 503)
    assert ask(api, "POST", "/console/v1/explain", {**HOME, **OURS}, json={}).status_code == 401


def test_a_level_is_from_1_to_5_and_of_a_sample(api: Served) -> None:
    """Else it is refused with what to give."""
    headers = {**cookie(api), **OURS}
    for body in ({"request": "r", "level": 6}, {"request": "r", "level": True}, {"request": "r", "level": 3}, {"level": 3}):
        assert ask(api, "POST", "/console/v1/label", headers, json=body).status_code == 400


def test_answers_are_asked_for_by_a_kind_and_an_instant(api: Served) -> None:
    """Else it is refused with what there is; pairs of one question come whole, others by arm."""
    headers = {**HOME, **cookie(api)}
    for query in ("which=best", "before=yesterday"):
        assert ask(api, "GET", f"/console/v1/samples?rollout=new&{query}", headers).status_code == 400
    assert ask(api, "GET", "/console/v1/samples?rollout=new&which=shadow", headers).json()["pairs"] == []
    assert ask(api, "GET", "/console/v1/samples?rollout=new&which=worst&before=1.5", headers).json()["arms"] == {
        "canary": [],
        "control": [],
    }


# -------------------------------------------------------------------------------------------------------------------- looking
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (HOME, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]:1"}, 200),
        ({"host": "evil.example"}, 401),
        ({"host": "127.0.0.1.evil.example"}, 401),
        ({**HOME, "x-forwarded-for": "10.0.0.1"}, 401),
        ({**HOME, "forwarded": "for=10.0.0.1"}, 401),
        ({**HOME, "via": "1.1 proxy"}, 401),
    ],
)
def test_one_may_look_from_the_machine_itself(api: Served, headers: dict[str, str], status: int) -> None:
    """A name that another page's site could take on, and a proxy, want a login; with one, all of them may."""
    for path in ("journal", f"history?rollout={NAME}", "measures"):
        assert ask(api, "GET", f"/console/v1/{path}", headers).status_code == status
        assert ask(api, "GET", f"/console/v1/{path}", {**headers, **cookie(api)}).status_code == 200


# ---------------------------------------------------------------------------------------------------------------------- files
def test_what_a_release_costs_is_told_to_whoever_may_look(api: Served) -> None:
    """Until it is completed, for every rollout of the Spec in force; from elsewhere it wants a login, as everything does."""
    answer = ask(api, "GET", "/console/v1/money", HOME)
    assert answer.status_code == 200, answer.text
    told = answer.json()["rollouts"][NAME]
    assert told["priced"] or "prices" in told["why"]
    assert ask(api, "GET", "/console/v1/money", {"host": "rebound.example"}).status_code == 401
    status = api.ask("GET", "/v1/status").json()["rollouts"][NAME]
    assert status["money"] == {"arms": {arm: {"requests": 0, "priced": 0, "usd": 0.0} for arm in ("canary", "stable")}, "parallel": 0.0}
    assert [one["arms"]["canary"] for one in status["by_cohort"]] == [{"requests": 0, "failures": 0, "error_rate": None}] * len(
        status["cohorts"]
    )


def test_every_file_is_served_under_the_policy(api: Served) -> None:
    """No inline script or style, nothing from elsewhere; what is not there is 404, however it is asked for."""
    for name in Files().names:
        answer = ask(api, "GET", f"/console/{name}", {})
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = ask(api, "GET", f"/console/{name}", {"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "unsafe" not in POLICY
    for name in ("../controller/api.py", "%2e%2e/%2e%2e/pyproject.toml", "js", "js/", "nothing"):
        assert ask(api, "GET", f"/console/{name}", {}).status_code == 404
    there = ask(api, "GET", "/console", {})
    assert (there.status_code, there.headers["location"]) == (307, "console/")


def test_no_file_leans_on_the_internet_or_on_markup() -> None:
    """No address of another host, no absolute path, no string that becomes markup, no inline handler."""
    for name, data in Files().names.items():
        if name.startswith("uplot/"):
            continue
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), name
        assert not re.search(r"""(src|href)=["']/""", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), name
        if name.endswith(".html"):
            assert not re.search(r"\son\w+=|style=|<style|<script(?![^>]*\ssrc=)", text), name


def test_the_guide_shows_what_is_there_and_small() -> None:
    """docs/console.md: each picture that it shows lies beside it, none lies there unshown, and the pages' pictures are small."""
    shown = set(re.findall(r"!\[[^]]+\]\(([\w/-]+\.png)\)", (DOCS / "console.md").read_text(encoding="utf-8")))
    assert shown == {path.relative_to(DOCS).as_posix() for pattern in ("console*.png", "console/*.png") for path in DOCS.glob(pattern)}
    assert all((DOCS / name).stat().st_size < 150_000 for name in shown if name.startswith("console/"))


# -------------------------------------------------------------------------------------------------------------------- history
def status(at: float, harm: float, phase: str = "1%", status: str = "progressing") -> dict[str, Any]:
    finding = {"gate": "errors", "log_e_harm": harm, "log_e_safe": 0.5, "log_e_limit": 3.0, "within": "+1pp"}
    guard = {**finding, "gate": "cost", "within": ""}
    one = {"phase": phase, "status": status, "attempt": 1, "share": 0.01, "findings": [finding, guard]}
    return {"at": at, "rollouts": {NAME: one}}


def test_a_day_at_one_point_a_second_is_bounded_and_keeps_the_worst() -> None:
    """24 hours: at most MOST_POINTS, in order, the one bad second among them, made into bytes in well under a second."""
    history = History()
    for second in range(86_400):
        history.add(status(NOW + second, 2.9 if second == 40_000 else 0.1, "1%" if second < 50_000 else "5%"))
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        document = history.document(NAME)
        size = len(orjson.dumps(document))
        took.append(time.perf_counter() - begun)
    assert MOST_POINTS / 2 <= len(document["at"]) <= MOST_POINTS
    assert document["at"] == sorted(document["at"])
    assert document["at"][-1] - document["at"][0] > 86_000
    assert max(document["gates"]["errors"]["harm"]) == 2.9
    assert set(document["gates"]["errors"]["safe"]) == {0.5}
    assert set(document["gates"]["cost"]["safe"]) == {None}, "what only guards has no safety to show"
    assert [mark["phase"] for mark in document["marks"]] == ["1%", "5%"]
    assert size < 200_000
    assert min(took) < 0.5, "the machine may be late by itself, but not each time"


def test_the_same_answer_is_one_point() -> None:
    """However often it is looked at."""
    history = History()
    for _ in range(3):
        history.add(status(NOW, 0.1))
    assert len(history.document(NAME)["at"]) == 1
    assert history.document("other")["at"] == []


# ------------------------------------------------------------------------------------------------------------------------ live
class Looked:
    """A watch that counts."""

    def __init__(self) -> None:
        self.looks = 0
        self.silent = False

    async def look(self) -> Known:
        self.looks += 1
        if self.silent:
            raise SilentError(Problem("api.no-answer", "x", "silent", "wait"), asked=True)
        document = {**status(NOW + self.looks, 0.1), "loop": {"ticks": self.looks}, "generation": 1, "routers": []}
        return Known(document, 0.0)


def test_many_pages_cost_one_look_and_a_slow_one_gets_the_newest() -> None:
    """Fifty pages hear the same bytes of the same look; who comes back late hears what is so now, and the end of the server ends all."""

    async def listened() -> None:
        watch = Looked()
        live = Live(watch, History())  # type: ignore[arg-type]
        live.start()
        pages = [live.frames() for _ in range(50)]
        for page in pages:
            assert (await anext(page)).startswith(b"retry: ")
        first = [await anext(page) for page in pages]
        assert len({id(frame) for frame in first[-10:]}) <= 2
        assert watch.looks < 5
        slow = pages[0]
        for _ in range(3):
            live.hurry()
            await anext(pages[1])
        frame = await anext(slow)
        assert orjson.loads(frame.partition(b"data: ")[2])["loop"]["ticks"] == watch.looks
        watch.silent = True
        live.hurry()
        assert (await anext(pages[1])).startswith(b"event: silent\n")
        await live.stop()
        rest = await asyncio.gather(*(_rest(page) for page in pages))
        assert max(rest) <= 1
        assert live.pages == 0

    asyncio.run(listened())


async def _rest(page: Any) -> int:
    return len([frame async for frame in page])
