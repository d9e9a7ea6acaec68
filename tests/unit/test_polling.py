"""controller.polling: what a flag service answers comes into force only if it can be used; the last good stays; keys appear nowhere."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from extproc import flags
from extproc import spec as specs
from extproc.controller import fetching
from extproc.controller.loop import Loop
from extproc.controller.polling import Poller
from extproc.domain import FlagVendor
from extproc.errors import StoreError
from extproc.store import Store, open_store
from tests.support import flag_specs
from tests.support.flag_documents import ATTRIBUTES, DOCUMENTS
from tests.support.flag_service import AUTHORIZED, KEY, Service, flag_service

GB, FD, UN = FlagVendor.GROWTHBOOK, FlagVendor.FLAGD, FlagVendor.UNLEASH


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("FLAG_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with flag_service(DOCUMENTS) as made:
        yield made


def source(service: Service, vendor: FlagVendor, every: str = "5s") -> dict[str, Any]:
    """A polled source as a Spec writes it."""
    credential = {"credential": {"env": "FLAG_KEY", "prefix": ""}} if vendor in AUTHORIZED else {}
    return {"vendor": vendor.value, "poll": {"url": service.url(vendor), "every": every, **credential}, "attributes": ATTRIBUTES}


def text(sources: dict[str, Any], *named: tuple[str, str], salt: str = "r") -> str:
    """A Spec with a cohort for each (source, flag)."""
    cohorts = [{"name": f"c{number}", "flag": {"source": one, "key": key}} for number, (one, key) in enumerate(named)]
    rollout = {"stable": "old", "canary": "new", "unit": "user", "cohorts": [*cohorts, {"name": "rest"}], "phases": [{"share": "100%"}]}
    return flag_specs.text({"r": {**rollout, "start": "manual", "salt": salt}}, flags=sources)


class Desk:
    """A loop and its poller, and time as we like it."""

    def __init__(self, path: Path, spec_text: str) -> None:
        self.path = path
        self.store: Store = open_store(f"sqlite:{path}", writer=True)
        self.loop = Loop(spec_text, self.store, 1000.0)
        self.poller = Poller(self.loop)
        self.now = 0.0

    def ask(self, after: float = 5.0) -> None:
        """Let so many seconds go by, ask what is due, and wait for the answers."""

        async def work() -> None:
            async with httpx.AsyncClient(follow_redirects=False) as client:
                self.now += after
                self.poller.look(client, self.now)
                asking = [one.asking for one in self.poller.sources.values() if one.asking is not None]
                await asyncio.gather(*asking)

        asyncio.run(work())

    def adopt(self, spec_text: str) -> None:
        self.loop.adopt(spec_text, specs.load(spec_text), 1001.0)

    def kept(self) -> int:
        """Documents in the store, that of the Spec apart."""
        with sqlite3.connect(self.path) as db:
            rows = [row[0] for row in db.execute("SELECT text FROM specs")]
        db.close()
        return sum('"application"' not in row for row in rows)

    def close(self) -> None:
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[[str], Desk]]:
    made: list[Desk] = []

    def make(spec_text: str) -> Desk:
        made.append(Desk(tmp_path / "store.db", spec_text))
        return made[-1]

    yield make
    made[-1].close()


def without(vendor: FlagVendor, key: str) -> dict[str, Any]:
    """The document without one flag."""
    document = orjson.loads(orjson.dumps(DOCUMENTS[vendor]))
    if vendor is UN:
        document["features"] = [one for one in document["features"] if one["name"] != key]
    else:
        del document["features" if vendor is GB else "flags"][key]
    return document  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------------------------- good answers
@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_document_comes_into_force_and_is_not_sent_again(vendor: FlagVendor, service: Service, desk: Callable[[str], Desk]) -> None:
    """In the vendor's own format, at its own path, with its own key; the second time it is asked for by its ETag."""
    at = desk(text({"ours": source(service, vendor)}, ("ours", "everything")))
    at.ask()
    digest = at.loop.state.flags["ours"]
    assert orjson.loads(at.store.read_spec(digest)) == DOCUMENTS[vendor]
    assert (at.loop.state.generation, at.store.journal("r")[0].why) == (2, f"flags {digest} of ours are in force")
    at.ask()
    assert service.statuses(vendor) == [200, 304]
    told = at.poller.document()["ours"]
    assert (told["vendor"], told["digest"], told["failures"], told["problems"]) == (vendor.value, digest, 0, [])
    assert told["good_at"] is not None
    assert at.loop.state.generation == 2
    assert 'extproc_flags_age_seconds{source="ours"}' in at.poller.exposition().decode()


def test_nothing_is_asked_before_it_is_due(service: Service, desk: Callable[[str], Desk]) -> None:
    """`every`, for each source by itself."""
    at = desk(text({"slow": source(service, GB, "30s"), "fast": source(service, FD, "5s")}, ("slow", "beta")))
    for _ in range(12):
        at.ask(2.5)
    assert (len(service.statuses(GB)), len(service.statuses(FD))) == (1, 6)


def test_a_flag_that_changes_at_the_service_is_another_document(service: Service, desk: Callable[[str], Desk]) -> None:
    """State's generation rises, the Journal of the rollout that reads the source says so; that of no other rollout does."""
    at = desk(text({"ours": source(service, FD), "unread": source(service, GB)}, ("ours", "beta")))
    at.ask()
    service.documents[FD] = without(FD, "share")
    service.documents[GB] = without(GB, "share")
    at.ask()
    assert len([entry for entry in at.store.journal("r") if "are in force" in entry.why]) == 2
    assert at.loop.state.generation == 5
    assert at.store.journal("r")[0].numbers["source"] == "ours"


# -------------------------------------------------------------------------------------------------------------------- bad answers
BAD = {
    "500": "answers with status 500",
    "redirect": "answers with status 302",
    "html": "answers with what is no JSON",
    "list": "answers with JSON that is no object",
    "latin": "answers with bytes that are no text",
    "large": "answers with more than 16 MiB",
    "silent": "has not answered within",
    "drip": "has not answered within",
}


@pytest.mark.parametrize("mood", BAD)
def test_a_bad_answer_changes_nothing_and_is_told_once(
    mood: str, service: Service, desk: Callable[[str], Desk], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good document stays; counted each time, in the log once; when it is over that is told too."""
    at = desk(text({"ours": source(service, UN)}, ("ours", "everything")))
    at.ask()
    state = at.loop.state
    service.mood[UN] = mood
    patience = fetching.TIMEOUT
    if "within" in BAD[mood]:
        monkeypatch.setattr(fetching, "TIMEOUT", 0.6)
    with caplog.at_level(logging.INFO, "extproc"):
        for _ in range(3):
            at.ask()
        assert at.loop.state is state
        told = at.poller.document()["ours"]
        assert (told["failures"], told["digest"], len(told["problems"])) == (3, state.flags["ours"], 1)
        assert BAD[mood] in told["problems"][0]["message"]
        assert [one.levelname for one in caplog.records] == ["ERROR"]
        assert 'extproc_flag_poll_failures{source="ours"} 3.0' in at.poller.exposition().decode()
        service.mood.clear()
        monkeypatch.setattr(fetching, "TIMEOUT", patience)
        at.ask()
    assert [one.getMessage() for one in caplog.records][1:] == ["flags of ours can be used again"]
    assert at.poller.document()["ours"]["problems"] == []
    said = caplog.text + str(at.poller.document()) + at.poller.exposition().decode() + str(at.store.journal())
    assert KEY not in said
    assert KEY not in at.path.read_bytes().decode("latin-1")


def test_a_service_that_is_not_there_is_told_by_its_address_alone(desk: Callable[[str], Desk]) -> None:
    """What follows the path may be a token."""
    given = {"vendor": "flagd", "poll": {"url": "http://127.0.0.1:9/flags?token=abc", "every": "5s"}}
    at = desk(text({"ours": given}, ("ours", "beta")))
    at.ask()
    (problem,) = at.poller.document()["ours"]["problems"]
    assert problem["message"] == "http://127.0.0.1:9/flags does not answer (ConnectError)"
    assert at.loop.state.flags == {}


def test_a_wrong_key_is_told_without_it(
    service: Service, desk: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """401 as any other status; a key that was changed is used at the next question, without a restart."""
    monkeypatch.setenv("FLAG_KEY", "wr0ng")
    at = desk(text({"ours": source(service, UN)}, ("ours", "beta")))
    at.ask()
    assert "answers with status 401" in at.poller.document()["ours"]["problems"][0]["message"]
    assert "wr0ng" not in caplog.text + str(at.poller.document())
    monkeypatch.setenv("FLAG_KEY", KEY + "\n")
    at.ask()
    assert at.poller.document()["ours"]["problems"] == []


@pytest.mark.parametrize("content", [None, "", "two\nlines", "schlüssel", b"\xff"])
def test_a_key_that_cannot_be_read_is_told_by_its_place(
    content: str | bytes | None, tmp_path: Path, service: Service, desk: Callable[[str], Desk]
) -> None:
    """Nothing is asked then."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given = source(service, UN)
    given["poll"]["credential"] = {"file": str(path), "prefix": ""}
    at = desk(text({"ours": given}, ("ours", "beta")))
    at.ask()
    (problem,) = at.poller.document()["ours"]["problems"]
    assert (problem["id"], problem["path"]) == ("flags.credential", "flags.ours.poll.credential")
    assert str(path) in problem["message"]
    assert "schlüssel" not in str(problem)
    assert service.asked == []
    path.write_text(KEY)
    at.ask()
    assert service.statuses(UN) == [200]


@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_document_that_lacks_a_flag_is_not_used(vendor: FlagVendor, service: Service, desk: Callable[[str], Desk]) -> None:
    """Every flag that a cohort names, all told at once, each by its key; flags that nobody names may come and go."""
    at = desk(text({"ours": source(service, vendor)}, ("ours", "beta"), ("ours", "seats")))
    at.ask()
    state = at.loop.state
    broken = orjson.loads(orjson.dumps(without(vendor, "seats") if vendor is not FlagVendor.LAUNCHDARKLY else DOCUMENTS[vendor]))
    if vendor is FlagVendor.LAUNCHDARKLY:
        broken["flags"]["seats"]["rules"][0]["clauses"][0]["op"] = "soundsLike"
    service.documents[vendor] = broken
    at.ask()
    assert at.loop.state is state
    (problem,) = at.poller.document()["ours"]["problems"]
    assert problem["path"] == "flags.ours"
    assert problem["message"].startswith(("flags.seats", 'flags: there is no flag "seats"'))
    service.documents[vendor] = without(vendor, "share")
    at.ask()
    assert at.loop.state.generation == state.generation + 1


def test_an_error_of_our_own_stops_no_polling(
    service: Service, desk: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A document that breaks our evaluator is one that cannot be used; the next one is."""
    at = desk(text({"ours": source(service, FD)}, ("ours", "beta")))

    def broken(*_: Any) -> Any:
        raise RecursionError("too deep")

    with monkeypatch.context() as patched:
        patched.setattr(flags, "compile_flag", broken)
        at.ask()
        assert "RecursionError" in at.poller.document()["ours"]["problems"][0]["message"]
    at.ask()
    assert at.poller.document()["ours"]["problems"] == []
    assert "ours" in at.loop.state.flags


def test_a_store_that_refuses_is_tried_again(service: Service, desk: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in force that was not committed; the service has to send it again."""
    at = desk(text({"ours": source(service, FD)}, ("ours", "beta")))
    with sqlite3.connect(at.path) as other:
        other.execute("BEGIN IMMEDIATE")
        at.ask()
        other.rollback()
    other.close()
    assert at.loop.state.flags == {}
    assert at.poller.document()["ours"]["problems"][0]["id"] == "store.busy"
    at.ask()
    assert service.statuses(FD) == [200, 200]
    assert "ours" in at.loop.state.flags


@pytest.mark.parametrize("proxy", ["nonsense://proxy", "http://[::1", "socks5://127.0.0.1:9"])
def test_proxies_that_cannot_be_used_stop_no_polling(
    proxy: str, service: Service, desk: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip in the environment of the controller is told, and flags are asked for all the same."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    at = desk(text({"ours": source(service, FD)}, ("ours", "beta")))

    async def work() -> None:
        keeping = asyncio.create_task(at.poller.keep())
        async with asyncio.timeout(60):
            while not at.loop.state.flags:
                await asyncio.sleep(0.02)
        keeping.cancel()

    asyncio.run(work())
    assert "look at HTTP_PROXY" in caplog.text
    assert proxy not in caplog.text


def test_a_slow_service_keeps_no_other_waiting(service: Service, desk: Callable[[str], Desk]) -> None:
    """And is not asked again before it has answered."""
    at = desk(text({"slow": source(service, GB), "quick": source(service, FD)}, ("quick", "beta")))
    service.mood[GB] = "silent"

    async def work() -> None:
        async with httpx.AsyncClient() as client:
            for step in range(400):
                at.poller.look(client, 5.0 * step)
                await asyncio.sleep(0.15)
                if len(service.statuses(FD)) >= 6:
                    break
            for polled in at.poller.sources.values():
                if polled.asking is not None:
                    polled.asking.cancel()
            await asyncio.sleep(0)

    begun = time.monotonic()
    asyncio.run(work())
    assert len(service.statuses(FD)) >= 6
    # It takes three seconds for each answer.
    assert len(service.statuses(GB)) <= (time.monotonic() - begun) / 3
    assert "quick" in at.loop.state.flags


# ---------------------------------------------------------------------------------------------------------------------- another Spec
def test_a_spec_that_names_another_flag_has_the_document_looked_at_anew(service: Service, desk: Callable[[str], Desk]) -> None:
    """At once and in full, not when the service has something new: what was good for the old Spec may lack what the new one names."""
    sources = {"ours": source(service, FD, "60s")}
    at = desk(text(sources, ("ours", "beta")))
    at.ask()
    at.adopt(text(sources, ("ours", "beta"), ("ours", "unknown")))
    at.ask(1.0)
    assert service.asked == [(FD, None, 200), (FD, None, 200)]
    (problem,) = at.poller.document()["ours"]["problems"]
    assert problem["message"].startswith('flags: there is no flag "unknown"')
    assert at.loop.state.flags.keys() == {"ours"}, "the last good document stays, for the flags that it has"
    at.adopt(text(sources, ("ours", "beta")))
    at.ask(1.0)
    assert at.poller.document()["ours"]["problems"] == []


def test_an_answer_to_the_spec_before_is_not_used(service: Service, desk: Callable[[str], Desk]) -> None:
    """It was looked at for other flags; it is asked for again."""
    sources = {"ours": source(service, FD, "60s")}
    at = desk(text(sources, ("ours", "beta")))

    async def work() -> None:
        async with httpx.AsyncClient() as client:
            at.poller.look(client, 1.0)
            at.adopt(text(sources, ("ours", "seats")))
            asking = at.poller.sources["ours"].asking
            assert asking is not None
            await asking
            assert at.loop.state.flags == {}
            at.poller.look(client, 1.2)
            asking = at.poller.sources["ours"].asking
            assert asking is not None
            await asking

    asyncio.run(work())
    assert at.loop.state.flags.keys() == {"ours"}
    assert [etag for _, etag, _ in service.asked] == [None, None]


def test_sources_that_are_gone_are_dropped_and_their_documents_deleted(service: Service, desk: Callable[[str], Desk]) -> None:
    """Gone, no longer polled, or of another vendor: the document is not named any more; one more change, and it is not there any more."""
    sources = {name: source(service, FD) for name in ("stays", "goes", "file", "turns")}
    at = desk(text(sources, ("stays", "beta")))
    at.ask()
    assert (at.loop.state.flags.keys(), at.kept()) == (sources.keys(), 1), "four sources, one and the same document"
    service.documents[FD] = without(FD, "share")
    at.ask()
    after = {"stays": sources["stays"], "turns": source(service, GB)}
    at.adopt(text(after, ("stays", "beta")))
    assert at.loop.state.flags.keys() == {"stays"}
    assert at.poller.document().keys() == sources.keys(), "until it looks again"
    at.ask()
    assert at.poller.document().keys() == after.keys()
    assert at.loop.state.flags.keys() == after.keys()
    assert at.kept() == 2


def test_a_document_is_deleted_when_two_changes_have_passed(service: Service, desk: Callable[[str], Desk]) -> None:
    """Readers may still be at the State before; beyond that nobody asks. Twenty changes leave two documents."""
    at = desk(text({"ours": source(service, FD)}, ("ours", "beta")))
    for number in range(20):
        service.documents[FD] = {**DOCUMENTS[FD], "metadata": {"version": number}}
        at.ask()
        assert at.kept() == min(number + 1, 2)
    at.store.read_spec(at.loop.state.flags["ours"])


def test_a_document_that_another_source_still_has_is_kept(service: Service, desk: Callable[[str], Desk]) -> None:
    """Two sources with the same text have one document between them."""
    at = desk(text({"quick": source(service, FD, "5s"), "slow": source(service, FD, "3600s")}, ("quick", "beta"), ("slow", "beta")))
    at.ask()
    assert at.loop.state.flags["quick"] == at.loop.state.flags["slow"]
    for number in range(4):
        service.documents[FD] = {**DOCUMENTS[FD], "metadata": {"version": number}}
        at.ask()
    assert orjson.loads(at.store.read_spec(at.loop.state.flags["slow"])) == DOCUMENTS[FD]


def test_a_document_that_comes_back_is_kept(service: Service, desk: Callable[[str], Desk]) -> None:
    """On, off, on: what was on its way out is in force again."""
    at = desk(text({"ours": source(service, FD)}, ("ours", "beta")))
    for number in range(6):
        service.documents[FD] = {**DOCUMENTS[FD], "metadata": {"version": number % 2}}
        at.ask()
        assert orjson.loads(at.store.read_spec(at.loop.state.flags["ours"])) == service.documents[FD]
    assert at.kept() == 2


# ------------------------------------------------------------------------------------------------------------------------- a restart
def test_a_restart_keeps_the_flags_and_deletes_what_was_left(service: Service, desk: Callable[[str], Desk]) -> None:
    """The last good document is in force while the service is away; nothing piles up over many restarts."""
    given = text({"ours": source(service, FD)}, ("ours", "beta"))
    at = desk(given)
    for number in range(8):
        service.documents[FD] = {**DOCUMENTS[FD], "metadata": {"version": number}}
        at.ask()
        flags_before, generation = dict(at.loop.state.flags), at.loop.state.generation
        at.close()
        at = desk(given)
        assert (dict(at.loop.state.flags), at.loop.state.generation) == (flags_before, generation)
        at.ask()
        assert at.loop.state.generation == generation, "the same document is no change"
        assert at.kept() <= 2
    service.mood[FD] = "500"
    at.close()
    at = desk(given)
    at.ask()
    assert orjson.loads(at.store.read_spec(at.loop.state.flags["ours"])) == service.documents[FD]
    assert at.poller.document()["ours"]["good_at"] is None


def test_flags_that_cannot_be_committed_change_nothing(desk: Callable[[str], Desk], service: Service) -> None:
    """State in memory is State in the store."""
    at = desk(text({"ours": source(service, FD)}, ("ours", "beta")))
    with sqlite3.connect(at.path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            at.loop.adopt_flags("ours", "{}", 1002.0)
        other.rollback()
    other.close()
    assert at.loop.state.flags == {}
    assert at.loop.adopt_flags("ours", "{}", 1002.0) is True
    assert at.loop.adopt_flags("ours", "{}", 1003.0) is False
