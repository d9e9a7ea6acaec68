"""The feedback service as a real process: who may post, what is answered, what floods and slow clients cost the others."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from extproc.controller.api import Api
from extproc.controller.ask import BrainClient
from extproc.controller.feedback.app import BODY_TAKES
from extproc.controller.feedback.limits import Bucket, Limits
from extproc.controller.feedback.patience import HEAD
from extproc.controller.feedback.process import command
from extproc.controller.journal import JournalReader
from extproc.domain import FeedbackKind
from extproc.runtime.child import ASK_TIMEOUT, QUESTION, Child
from tests.support.disks import can_make_immutable, immutable
from tests.support.feedback import ADMIN, FEEDBACK_KEY, ORIGIN, PATIENCE, ROOT, Service, answered, key_header, serving, token

UP = {"kind": "thumbs_up"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all who need no other settings. At its end it has said nothing of anybody: only that some requests were none."""
    with serving(tmp_path_factory.mktemp("feedback")) as made:
        yield made
        assert made.stop() == 0
        assert all(line["message"].endswith("Invalid HTTP request received.") for line in made.said())


def problems(answer: httpx.Response) -> list[str]:
    return [problem["id"] for problem in answer.json()["problems"]]


def up(**changes: Any) -> dict[str, Any]:
    return {**UP, "token": token(), **changes}


# -------------------------------------------------------------------------------------------------------------------- who may post
def test_a_token_is_enough(service: Service) -> None:
    """It is in the log when the answer comes, with all that the token says; a double click is one."""
    about = answered()
    answer = service.post({"kind": "rating", "value": 4, "token": token(7, start=about.start)})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "refused": []})
    _, one = service.log()[-1]
    assert (one.kind, one.value, one.token, one.request_id) == (FeedbackKind.RATING, 4.0, about, "")
    again = service.post({"kind": "rating", "value": 4, "token": token(7, start=about.start)})
    assert again.json() == {"accepted": 0, "duplicates": 1, "refused": []}


def test_a_request_id_needs_a_key(service: Service) -> None:
    """Of a server; the API's token is none, nor is anything else."""
    request = str(uuid.uuid4())
    body = {**UP, "request_id": request}
    for headers in ({}, key_header(ADMIN), key_header(FEEDBACK_KEY[:-1]), {"authorization": f"Basic {FEEDBACK_KEY}"}):
        answer = service.post(body, headers)
        assert (answer.status_code, problems(answer), answer.headers["www-authenticate"]) == (401, ["feedback.key"], "Bearer")
    assert service.post(body, key_header()).status_code == 202
    assert service.log()[-1][1].request_id == request
    assert service.post(up(), key_header("wrong")).status_code == 401, "a wrong key is said, whatever else is right"


def test_request_ids_from_browsers_where_that_is_wanted(tmp_path: Path) -> None:
    """Without a key then, and only ids of the exact shape."""
    with serving(tmp_path, allow_request_ids_from_browsers=True, keys_file="") as service:
        assert service.post({**UP, "request_id": str(uuid.uuid4())}).status_code == 202
        answer = service.post({**UP, "request_id": "1"})
        assert (answer.status_code, problems(answer)) == (422, ["feedback.request-id"])
        assert service.post({**UP, "request_id": str(uuid.uuid4())}, key_header()).status_code == 401


def test_tokens_that_do_not_count(service: Service) -> None:
    """Forged: 401; too old: 403; of tomorrow: 422."""
    day = 86_400
    for shown, status, identity in (
        (token(key=b"another key of thirty-two bytes."), 401, "feedback.token"),
        (token(start=time.time() - day - 5), 403, "feedback.expired"),
        (token(start=time.time() + day), 422, "feedback.early"),
    ):
        answer = service.post({**UP, "token": shown})
        assert (answer.status_code, problems(answer)) == (status, [identity])
        assert shown not in answer.text


def test_the_api_takes_no_feedback_key(tmp_path: Path) -> None:
    """Neither door has a key to the other one; a key that is the API's token is refused at the start."""
    url = f"sqlite:{tmp_path}/x.db"
    with closing(JournalReader(url)) as journal, closing(Api(BrainClient(tmp_path / "s"), journal, ADMIN)) as api:
        client = TestClient(api.app())
        assert client.get("/v1/journal", headers=key_header()).status_code == 401
    (tmp_path / "shared").write_text(f"{ADMIN}\n")
    made = Service(tmp_path, keys_file=str(tmp_path / "shared"), admin_digest=sha256(ADMIN.encode()).hexdigest())
    with closing(made):
        made.begin()
        assert made.line() == b""
        assert "token of the controller's API" in made.said()[-1]["message"]
        assert ADMIN not in (tmp_path / "err").read_text()


def test_keys_are_replaced_while_it_serves(tmp_path: Path) -> None:
    """The file is followed: a new key counts, an old one ends; a bad file leaves the last good one."""
    with serving(tmp_path) as service:
        keys = Path(service.settings.keys_file)

        def status(key: str) -> int:
            return service.post({**UP, "request_id": str(uuid.uuid4())}, key_header(key)).status_code

        keys.write_text("another-key-of-the-server-0123456789\n")
        until(lambda: status("another-key-of-the-server-0123456789") == 202)
        assert status(FEEDBACK_KEY) == 401
        keys.write_text("short\n")
        until(lambda: any("feedback.keys" in line["message"] for line in service.said()))
        assert status("another-key-of-the-server-0123456789") == 202


def until(what: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------------------------------------------- CORS
def preflight(service: Service, origin: str) -> httpx.Response:
    """What a browser asks before it posts."""
    headers = {"origin": origin, "access-control-request-method": "POST"}
    return httpx.options(service.url, headers=headers, trust_env=False, timeout=PATIENCE)


def test_pages_of_named_origins(service: Service) -> None:
    """They may ask, post and read; `*` is in no answer, and caches are told that it depends on the origin."""
    asked = preflight(service, ORIGIN)
    assert (asked.status_code, asked.headers["access-control-allow-origin"], asked.headers["vary"]) == (204, ORIGIN, "Origin")
    assert (asked.headers["access-control-allow-methods"], asked.headers["access-control-allow-headers"]) == ("POST", "content-type")
    for answer in (service.post(up(), {"origin": ORIGIN}), service.post({}, {"origin": ORIGIN})):
        assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (ORIGIN, "Origin")


def test_pages_of_other_origins(service: Service) -> None:
    """They may not, whatever they hold."""
    for origin in ("https://evil.example.com", "null", f"{ORIGIN}.evil.com"):
        asked = preflight(service, origin)
        answer = service.post(up(), {"origin": origin})
        assert (asked.status_code, answer.status_code, problems(answer)) == (403, 403, ["feedback.origin"])
        for one in (asked, answer):
            assert "access-control-allow-origin" not in one.headers
            assert one.headers["vary"] == "Origin"


def test_a_page_of_the_same_host(service: Service) -> None:
    """Behind one Envoy page and service are one origin, and need no setting."""
    assert service.post(up(), {"origin": f"http://127.0.0.1:{service.port}"}).status_code == 202


# --------------------------------------------------------------------------------------------------------------------- bad bodies
def test_bodies_that_are_refused(service: Service) -> None:
    """413, 415, 422, each with its Problem; and 404, 405."""
    for body, headers, status, identity in (
        (b"[" + b" " * 70_000 + b"]", {}, 413, "feedback.size"),
        (orjson.dumps(up()), {"content-type": "text/plain"}, 415, "feedback.type"),
        (orjson.dumps(up()), {"content-encoding": "gzip"}, 415, "feedback.type"),
        (b"{", {}, 422, "feedback.body"),
        (orjson.dumps([{}] * 101), {}, 422, "feedback.body"),
        (orjson.dumps({**up(), "kind": "applause"}), {}, 422, "feedback.kind"),
    ):
        answer = service.post(body, headers)
        assert (answer.status_code, problems(answer)) == (status, [identity])
    assert httpx.get(service.url, trust_env=False, timeout=PATIENCE).json()["problems"][0]["id"] == "feedback.method"
    assert httpx.post(service.url + "/x", trust_env=False, timeout=PATIENCE).json()["problems"][0]["id"] == "feedback.path"


def test_a_body_in_chunks_without_end(service: Service) -> None:
    """Cut off at the limit, though it never said how long it is."""
    head = b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b" 413 " in service.raw(head + b"4000\r\n" + b" " * 0x4000 + b"\r\n" + (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 4)


def test_a_batch_is_judged_item_by_item(service: Service) -> None:
    """Good ones are kept, the others named."""
    batch = [up(), {"kind": "x", "token": token()}, up(id="n1"), up(token="x"), 7]
    answer = service.post(batch)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert [(one["id"], one["path"]) for one in answer.json()["refused"]] == [
        ("feedback.kind", "[1].kind"),
        ("feedback.token", "[3].token"),
        ("feedback.item", "[4]"),
    ]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.sampled_from([b"[" * 60_000, b'{"a":' * 9_000, b"\x00", b"1e999", b'"\\ud800"', b'{"kind":"rating","value":1e308}', b"[{}]" * 9])
    | st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=9), lambda one: st.lists(one) | st.dictionaries(st.text(max_size=9), one)
    ).map(lambda document: orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS) if fits(document) else b"{}"),
    st.dictionaries(
        st.sampled_from(["authorization", "origin", "x-forwarded-for", "content-length", "content-type", "expect", "x"]),
        st.binary(max_size=40).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\0")),
        max_size=3,
    ),
)
def test_hostile_posts_never_meet_a_defect(service: Service, body: bytes, headers: dict[str, bytes]) -> None:
    """Any body, any headers: an answer of the 400s, or the connection ends; never a 500, and the service goes on."""
    given = {"content-type": b"application/json", "content-length": str(len(body)).encode()} | headers
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in given.items())
    said = service.raw(b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + lines + b"\r\n" + body)
    assert said[9:10] in (b"4", b"") or said.startswith(b"HTTP/1.1 100 ")
    assert service.ask(b"report") == b"serves"


def fits(document: Any) -> bool:
    try:
        orjson.dumps(document)
    except TypeError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------------------------- limits
def test_a_client_that_posts_too_much(tmp_path: Path) -> None:
    """429 with the seconds to wait; another client, by the address that our proxy appended, goes on; so does one with a key."""
    limits = Limits(address=Bucket(100, 0.005))
    with serving(tmp_path, limits=limits, trusted_hops=1) as service:
        first, second = {"x-forwarded-for": "9.9.9.9, 1.1.1.1"}, {"x-forwarded-for": "1.1.1.1, 2.2.2.2"}
        assert service.post([up() for _ in range(100)], first).json()["accepted"] == 100
        answer = service.post(up(), first)
        assert (answer.status_code, problems(answer)) == (429, ["feedback.rate"])
        assert 100 <= int(answer.headers["retry-after"]) <= 200
        assert service.post(up(), second).status_code == 202
        assert service.post(up(), first | key_header()).status_code == 202


def test_an_answer_that_is_spoken_of_too_much(tmp_path: Path) -> None:
    """Whoever speaks, one answer has a limit of its own."""
    limits = Limits(Bucket(1000, 1000), answer=Bucket(3, 0.005))
    with serving(tmp_path, limits=limits) as service:
        one = token(7)
        answer = service.post([{**UP, "id": f"n{number}", "token": one} for number in range(5)] + [up()])
        assert (answer.json()["accepted"], [problem["path"] for problem in answer.json()["refused"]]) == (4, ["[3]", "[4]"])
        answer = service.post({**UP, "token": one})
        assert (answer.status_code, problems(answer)) == (429, ["feedback.rate"])
        assert 100 <= int(answer.headers["retry-after"]) <= 200


# -------------------------------------------------------------------------------------------------------------------- many, at once
class Poster:
    """A connection that is kept, spoken over as fast as answers come."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Poster:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, document: object, headers: bytes = b"") -> tuple[int, dict[str, Any]]:
        body = orjson.dumps(document)
        head = b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
        self._writer.write(head % (headers, len(body)) + body)
        said = await self._reader.readuntil(b"\r\n\r\n")
        length = int(said.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return int(said[9:12]), orjson.loads(await self._reader.readexactly(length))


def test_thousands_at_once(tmp_path: Path) -> None:
    """3,000 posts over 100 connections, a third of them of answers that somebody else speaks of: none is lost, none is there twice."""
    tokens = [token(number, start=time.time()) for number in range(2_000)]
    work = iter([*tokens, *tokens[::2]])
    sums = {"accepted": 0, "duplicates": 0}

    async def one(port: int) -> None:
        async with Poster(port) as poster:
            for shown in work:
                status, said = await poster.post({**UP, "token": shown})
                assert status == 202
                for name in sums:
                    sums[name] += said[name]

    async def all_of_them(port: int) -> None:
        await asyncio.gather(*(one(port) for _ in range(100)))

    with serving(tmp_path) as service:
        asyncio.run(all_of_them(service.port))
        assert sums == {"accepted": 2_000, "duplicates": 1_000}
        log = service.log()
        assert sorted(int(line.token.unit, 16) for _, line in log if line.token is not None) == list(range(2_000))
        assert [sequence for sequence, _ in log] == list(range(log[0][0], log[0][0] + 2_000))
        assert service.metric('extproc_feedback_total{kind="thumbs_up",result="accepted"}') == 2_000
        assert service.metric('extproc_feedback_total{kind="thumbs_up",result="duplicate"}') == 1_000
        assert service.metric('extproc_feedback_requests_total{status="202"}') == 3_000
        assert service.metric("extproc_feedback_commit_seconds_count") < 3_000, "many waited for one commit"
        assert service.metric("extproc_feedback_waiting") == 0


def test_a_flood_has_bounded_memory(tmp_path: Path) -> None:
    """Posts of ever new addresses about ever new answers, much of it nonsense: the process does not grow with them."""

    async def flood(port: int, posts: int) -> None:
        async def one() -> None:
            async with Poster(port) as poster:
                for number in range(posts // 20):
                    where = b"x-forwarded-for: %d.%d.%d.%d\r\n" % tuple(os.urandom(4))
                    bad = {"kind": "x" * 20_000, "token": "y" * 20_000} if number % 5 == 0 else up()
                    await poster.post(bad, where)

        await asyncio.gather(*(one() for _ in range(20)))

    with serving(tmp_path, trusted_hops=1) as service:
        asyncio.run(flood(service.port, 1_000))
        before = memory(service)
        asyncio.run(flood(service.port, 3_000))
        assert memory(service) < before + 8_000, "KiB"


def memory(service: Service) -> int:
    """KiB of the process."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_slow_clients_hold_up_nobody(tmp_path: Path) -> None:
    """300 connections that send a head or a body byte by byte, or nothing: others are answered; the slow ones are closed in time."""
    body = b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n["
    with serving(tmp_path) as service, ExitStack() as stack:
        slow = []
        begun = time.monotonic()
        for number in range(300):
            made = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            made.sendall((b"POST /v1/fee", body, b"")[number % 3])
            made.setblocking(False)
            slow.append(made)
        left, answered_in = list(slow), []
        while left:
            assert time.monotonic() - begun < max(HEAD, BODY_TAKES) + PATIENCE
            asked = time.monotonic()
            assert service.post(up()).status_code == 202
            answered_in.append(time.monotonic() - asked)
            left = [one for one in left if not ended(one)]
            time.sleep(0.2)
        assert sorted(answered_in)[len(answered_in) // 2] < 1.0
        assert time.monotonic() - begun > min(HEAD, BODY_TAKES) - 1


def ended(made: socket.socket) -> bool:
    """Sends one byte more, where it sends at all; True where the other side has closed."""
    try:
        while True:
            if not made.recv(65536):
                return True
    except BlockingIOError:
        pass
    except OSError:
        return True
    try:
        made.send(b" ")
    except OSError:
        return True
    return False


# ------------------------------------------------------------------------------------------------------------------ what goes wrong
def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """503 with Retry-After, and nothing of the disk in the answer; it goes on by itself."""
    if not can_make_immutable(tmp_path):
        pytest.skip("needs root and a file system with attributes")
    with serving(tmp_path) as service:
        assert service.post(up()).status_code == 202
        with immutable(service.path, Path(f"{service.path}-wal")):
            answer = service.post(up())
            assert (answer.status_code, problems(answer), answer.headers["retry-after"]) == (503, ["feedback.unwritten"], "5")
            assert str(tmp_path) not in answer.text
        assert service.post(up()).status_code == 202
        assert len(service.log()) == 2
        assert service.metric('extproc_feedback_total{kind="thumbs_up",result="unwritten"}') == 1
        said = [line for line in service.said() if line["level"] == "error"]
        assert [line["problem"] for line in said] == ["feedback.read-only"]


def test_a_damaged_file(tmp_path: Path) -> None:
    """One 503 at most, then a new file; the damaged one is beside it."""
    with serving(tmp_path) as service:
        service.post([up() for _ in range(100)])
        service.stop()
        service.path.write_bytes(service.path.read_bytes()[:4096] + b"\x55" * 40_000)
        service.start()
        until(lambda: service.post(up()).status_code == 202)
        assert len(service.log()) == 1
        assert len(list(tmp_path.glob("x.db.feedback.damaged-*"))) >= 1


def test_it_ends_in_order(tmp_path: Path) -> None:
    """With its input: what was posted is answered and kept, and SQLite's log is in the file."""
    with serving(tmp_path) as service:
        service.post(up())
        assert service.stop() == 0
        assert not Path(f"{service.path}-wal").exists()
        assert len(service.log()) == 1


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of who started it is its own end: nobody is left who posts into a log that nobody reads."""
    program = (
        "import sys, time; from pathlib import Path; from tests.support.feedback import Service\n"
        f"made = Service(Path({str(tmp_path)!r})); made.start(); print(made.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    with parent, closing(parent.stdout) as said:  # type: ignore[type-var]
        child = int(said.readline())
        parent.kill()
        parent.wait(PATIENCE)
        until(lambda: not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text())


def test_the_controllers_keeper_keeps_it(tmp_path: Path) -> None:
    """As its API process: killed, it is replaced; whoever posts meanwhile waits on the inherited socket, and is not refused."""

    async def kept(made: Service) -> None:
        child = Child("the feedback service", command(), made.settings.write(), files=(made.listener.fileno(),))
        keeping = asyncio.create_task(child.keep())
        while await child.ask(QUESTION, ASK_TIMEOUT) is None:
            await asyncio.sleep(0.05)
        assert (await asyncio.to_thread(made.post, up())).status_code == 202
        assert child._process is not None
        child._process.kill()
        assert (await asyncio.to_thread(made.post, up())).status_code == 202
        assert child.restarts == {"died": 1, "hung": 0}
        await child.stop(PATIENCE)
        await keeping

    with closing(Service(tmp_path)) as made:
        asyncio.run(kept(made))
        assert len(made.log()) == 2


def test_it_answers_a_line_for_a_line(service: Service) -> None:
    """A sign of life, whatever it is asked; and it takes the brain's cursor."""
    for question in (b"report", b"read 7", b"read x", b"", b"\xff"):
        assert service.ask(question) == b"serves"


def test_settings_that_do_not_fit_are_said(tmp_path: Path) -> None:
    """It ends, and its last words say why."""
    made = Service(tmp_path, origins=("*",), window=-1.0)
    with closing(made):
        made.begin()
        assert made.line() == b""
        assert [line["problem"] for line in made.said()] == ["feedback.origin", "feedback.settings"]


def test_nothing_of_anybody_is_logged(tmp_path: Path) -> None:
    """No token, id, key or address, whatever happens to them."""
    secret, request = token(), str(uuid.uuid4())
    with serving(tmp_path) as service:
        service.post({**UP, "token": secret, "id": "own-id-of-a-client"})
        service.post({**UP, "request_id": request}, key_header("wrong-key-that-nobody-may-read-0123"))
        service.post({**UP, "request_id": request}, key_header())
        service.raw(
            b"POST /v1/feedback HTTP/1.1\r\nauthorization: Bearer " + FEEDBACK_KEY.encode() + b"\r\n\x00: " + secret.encode() + b"\r\n\r\n"
        )
        service.stop()
        said = (tmp_path / "err").read_text()
    for text in (secret, request, "own-id", "wrong-key", FEEDBACK_KEY, "127.0.0.1"):
        assert text not in said
    assert asdict(service.settings)["signing_keys"][0] not in said
