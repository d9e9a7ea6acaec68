"""`extproc serve` behind the real Envoy: a person's acts reach every router, outcomes reach the Evidence, a restart forgets nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from extproc import contract
from extproc.controller.loop import WARM_UP
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from tests.support.standing import Standing, standing, typed
from tests.unit.test_wire import request

ROLLOUT = "gpt-5-mini"


def _manual(document: dict[str, Any]) -> None:
    document["rollouts"][ROLLOUT]["start"] = "manual"


@pytest.fixture(scope="module")
def served() -> Iterator[Standing]:
    """Pending until a person starts it."""
    with standing(_manual) as made:
        yield made


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as made:
        yield made


def command(served: Standing, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as people type it."""
    reach = ["--api", f"http://127.0.0.1:{served.ports.api}", "--token-file", str(served.directory / "extproc.db.token")]
    line = [sys.executable, "-m", "extproc", *arguments, *reach]
    environment = {**os.environ, "COLUMNS": "160"}
    return typed(lambda: subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment))


def status(served: Standing) -> dict[str, Any]:
    rollout: dict[str, Any] = served.api("GET", "/v1/status")["rollouts"][ROLLOUT]
    return rollout


def eventually(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def clusters_at(served: Standing, users: int = 40) -> list[dict[str, bytes]]:
    """What each worker answers for the same users: user -> cluster."""
    answers = []
    for endpoint in contract.endpoints(served.ports.router, 2):
        with grpc.insecure_channel(endpoint) as channel:
            method = channel.stream_stream(contract.PROCESS_METHOD)
            decided = {}
            for number in range(users):
                (reply,) = list(method(iter([_message(number).SerializeToString()]), timeout=60))
                headers = ProcessingResponse.FromString(reply).request_headers.response.header_mutation.set_headers
                decided[f"user-{number}"] = headers[0].header.raw_value
        answers.append(decided)
    return answers


def _message(number: int) -> ProcessingRequest:
    message = request(x_user_id=f"user-{number}")
    message.request_headers.headers.headers.add(key=":path", raw_value=b"/v1/chat/completions")
    message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-5"})
    return message


def test_commands_move_a_rollout_and_every_worker_follows(served: Standing) -> None:
    """start, promote (three times), pause, resume, rollback; each worker agrees with the share, and the Journal with the commands."""
    assert status(served)["status"] == "pending"
    assert all(set(one.values()) == {b"gpt-5"} for one in clusters_at(served))
    for action, expected in (("start", "progressing"), ("promote", "progressing"), ("promote", "progressing"), ("promote", "progressing")):
        done = command(served, action, ROLLOUT, "--why", f"test of {action}")
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert status(served)["phase"] == "50%"
    served.followed()
    first, second = clusters_at(served, 200)
    assert first == second
    assert 60 < list(first.values()).count(b"gpt-5-mini") < 140
    for action, expected in (("pause", "paused"), ("resume", "progressing"), ("rollback", "rolled back")):
        done = command(served, action, ROLLOUT, "--why", f"test of {action}")
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    eventually(lambda: all(set(one.values()) == {b"gpt-5"} for one in clusters_at(served)))
    lines = command(served, "journal", ROLLOUT).stdout.splitlines()
    assert [word in line for word, line in zip(["roll back", "resume", "pause"], lines, strict=False)] == [True, True, True]
    assert "test of rollback" in lines[0]


def test_a_refused_command_says_what_is_possible(served: Standing) -> None:
    """Exit code 1, the Problem on standard error, nothing changed; without a reason it is not even asked."""
    generation = served.api("GET", "/v1/status")["generation"]
    done = command(served, "resume", ROLLOUT, "--why", "because")
    assert (done.returncode, "act.refused" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert command(served, "pause", ROLLOUT).returncode == 2
    assert served.api("GET", "/v1/status")["generation"] == generation


def test_the_picture_shows_where_it_stands(served: Standing) -> None:
    """`extproc status` for people, `--json` for scripts."""
    shown = command(served, "status").stdout
    assert "gpt-5 → gpt-5-mini" in shown
    assert "Journal" in shown
    assert '"spec_digest"' in command(served, "status", "--json").stdout


def test_a_rollback_can_be_tried_again(served: Standing) -> None:
    """By a person: another attempt."""
    served.api("POST", f"/v1/rollouts/{ROLLOUT}/start", json={"why": "again"})
    for _ in range(3):
        served.api("POST", f"/v1/rollouts/{ROLLOUT}/promote", json={"why": "again"})
    assert status(served)["attempt"] == 2


@pytest.fixture
def unasked() -> Iterator[Standing]:
    """At 50 %. Nobody has asked its workers directly: decisions that no access log tells of make extproc blind."""
    with standing(_manual) as made:
        for action in ("start", "promote", "promote", "promote"):
            made.api("POST", f"/v1/rollouts/{ROLLOUT}/{action}", json={"why": "go"})
        # What begins in the controller's warm-up is nobody's evidence, on a machine that starts it late too.
        time.sleep(WARM_UP + 1)
        yield made


def test_outcomes_become_evidence(unasked: Standing, client: httpx.Client) -> None:
    """Requests through Envoy are counted in their arm, with tokens and the time to the first token."""
    served = unasked
    for number in range(60):
        answer = served.ask(client, x_user_id=f"person-{number}", stream=number % 3 == 0)
        assert answer.status_code == 200

    def counted() -> bool:
        # Where the machine is busy a decision may come later than Envoy waits: then stable answers, and that is counted too.
        whole = served.api("GET", "/v1/status")
        arms = whole["rollouts"][ROLLOUT]["arms"]
        return bool(arms["canary"]["requests"] + arms["stable"]["requests"] + whole["collector"]["undecided"] == 60)

    eventually(counted)
    rollout = status(served)
    canary, stable = rollout["arms"]["canary"], rollout["arms"]["stable"]
    assert canary["requests"] == rollout["canary_units"]
    assert min(canary["requests"], stable["requests"]) > 10
    for arm in (canary, stable):
        assert arm["failures"] == 0
        assert arm["output_tokens"] > 0
        assert 0.001 < arm["ttft_p50"] < arm["p95"] + 1
    eventually(lambda: served.api("GET", "/v1/status")["rollouts"][ROLLOUT]["findings"][0]["canary_samples"] > 10)


def test_the_anonymous_keep_their_model(served: Standing) -> None:
    """The first answer sets the cookie, no later one does, and the model stays the same."""
    for _ in range(8):
        with httpx.Client(trust_env=False, timeout=60) as browser:
            first = served.ask(browser)
            cookie = first.headers["set-cookie"]
            assert cookie.startswith("llm_uid=")
            assert "HttpOnly" in cookie
            assert "Secure" in cookie
            sent = {"cookie": cookie.partition(";")[0]}
            for _ in range(4):
                again = served.ask(browser, **sent)
                assert "set-cookie" not in again.headers
                assert again.json()["model"] == first.json()["model"]


def test_the_controller_dies_and_nothing_is_forgotten(served: Standing, client: httpx.Client) -> None:
    """kill -9: clients notice nothing, the supervisor restarts it, State and Journal are those of before."""
    before = served.api("GET", "/v1/status")
    entries = served.api("GET", "/v1/journal")["entries"]
    (controller,) = [pid for pid in _descendants(os.getpid()) if b"controller" in _words(pid) and b"--tied" in _words(pid)]
    os.kill(controller, signal.SIGKILL)
    for number in range(20):
        assert served.ask(client, x_user_id=f"person-{number}").status_code == 200

    def back() -> bool:
        try:
            return bool(served.api("GET", "/v1/status")["generation"] == before["generation"])
        except httpx.TransportError:
            return False

    eventually(back)
    assert served.api("GET", "/v1/journal")["entries"] == entries
    assert status(served)["status"] == "progressing"


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread, or the process, has just ended
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found
