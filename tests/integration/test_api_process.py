"""The API process beside the evaluate loop, in a real `extproc serve`: frozen, killed, looked at by people who are slow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from extproc import contract
from extproc.controller import talk
from extproc.controller.ask import FRESH
from extproc.controller.talk import Act, Ask, LateError, Question
from extproc.demo.processes import free_port
from extproc.store import open_store
from tests.support.lateness import lateness

ROLLOUT = "gpt-5-mini"
PATIENCE = 60.0
EXTPROC = [sys.executable, "-m", "extproc"]
LOOKERS = 100


@dataclass
class Served:
    """One `extproc serve`, and how to reach it."""

    directory: Path
    process: subprocess.Popen[bytes]
    port: int

    @property
    def store(self) -> str:
        return f"sqlite:{self.directory}/x.db"

    @property
    def token(self) -> str:
        return (self.directory / "x.db.token").read_text().strip()

    @property
    def controller(self) -> int:
        (pid,) = _children(self.process.pid, b"--tied")
        return pid

    @property
    def api(self) -> int:
        (pid,) = _children(self.controller, b"extproc.controller.api_process")
        return pid

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Over a connection of its own."""
        headers = {"authorization": f"Bearer {self.token}"}
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, headers=headers, trust_env=False, timeout=PATIENCE, **arguments)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", "/v1/status").json()
        return document

    def journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.ask("GET", "/v1/journal").json()["entries"]
        return entries

    def act(self, action: str, request: str = "") -> httpx.Response:
        body = {"why": f"test of {action}", "actor": "ann", "request": request}
        return self.ask("POST", f"/v1/rollouts/{ROLLOUT}/{action}", json=body)

    def metric(self, series: str) -> float | None:
        """One series of /metrics, None where it is not shown."""
        lines = self.ask("GET", "/metrics").text.splitlines()
        found = [float(line.removeprefix(series)) for line in lines if line.startswith(f"{series} ")]
        return found[0] if found else None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As people type it."""
        reach = ["--api", f"http://127.0.0.1:{self.port}", "--token-file", f"{self.directory}/x.db.token"]
        return subprocess.run([*EXTPROC, *words, *reach], capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"})

    def heartbeat(self) -> int:
        """As a router reads it, without asking anybody."""
        with closing(open_store(self.store)) as store:
            found = store.read_heartbeat()
        assert found is not None
        return found.number


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """It waits for a person to start the rollout. At its end everything that any of its processes has said was JSON."""
    directory = tmp_path_factory.mktemp("api")
    spec = directory / "r.yaml"
    subprocess.run([*EXTPROC, "init", str(spec)], check=True, capture_output=True)
    spec.write_text(spec.read_text().replace("    stable: ", "    start: manual\n    stable: ", 1))
    port = free_port()
    flags = ["--spec", spec, "--store", f"sqlite:{directory}/x.db", "--listen", f"unix:{directory}/r.sock", "--workers", 1]
    flags += ["--collector", f"unix:{directory}/c.sock", "--api-port", port, "--metrics-port", 0, "--log-format", "json"]
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen([*EXTPROC, "serve", *map(str, flags)], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        try:
            until(lambda: b"controller ready" in (directory / "out").read_bytes())
            yield Served(directory, process, port)
        finally:
            process.terminate()
            assert process.wait(30) == 0
    logged(directory)


def logged(directory: Path) -> list[dict[str, Any]]:
    """What was said on standard error; fails where that is anything else than whole lines of JSON."""
    return [orjson.loads(line) for line in (directory / "err").read_bytes().split(b"\n")[:-1]]


def until(what: Callable[[], object]) -> None:
    """Wait until it is so."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < PATIENCE, "it did not happen in time"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """False where it has ended, collected or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int, word: bytes) -> list[int]:
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word in words:
            found.append(child)
    return found


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """It stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# ---------------------------------------------------------------------------------------------------------------------- lookers
def _deaf(served: Served) -> socket.socket:
    """Somebody who asks for much, again and again, and reads nothing of it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", served.port))
    made.setblocking(False)
    one = f"GET /v1/status HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {served.token}\r\n\r\n"
    made.send(one.encode() * 50)
    return made


def test_a_hundred_slow_lookers_do_not_delay_the_evaluate_loop(served: Served) -> None:
    """Its lag is what it was; it is asked as often as one looker would ask it; and whoever reads is answered."""
    time.sleep(3.0)
    before = served.status()["loop"]
    with lateness() as machine, ExitStack() as open_ones:
        asked = served.metric(f'{contract.METRIC_QUESTIONS}{{ask="status"}}')
        assert asked is not None
        begun = time.monotonic()
        for _ in range(LOOKERS):
            open_ones.enter_context(_deaf(served))
        while time.monotonic() - begun < 4.0:
            assert served.status()["stale"] <= machine.worst * 2
        loop = served.status()["loop"]
        now_asked = served.metric(f'{contract.METRIC_QUESTIONS}{{ask="status"}}')
        took = time.monotonic() - begun
    assert now_asked is not None
    assert 1 <= now_asked - asked <= took / FRESH + 2
    # A machine that stands still makes everybody late, and whole ticks are left out.
    assert loop["ticks"] - before["ticks"] >= 2 - int(machine.total)
    assert loop["missed_ticks"] - before["missed_ticks"] <= int(machine.total)
    # The worst of a minute: of all the time since the start, before the lookers came and with them.
    assert loop["worst_lag"] < before["worst_lag"] + 0.5 + machine.worst


def test_what_is_no_http_is_told_by_the_api_process_in_the_common_log(served: Served) -> None:
    """As JSON, with its name; nothing of what was sent."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as client:
        client.sendall(b"s3cr3t\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    until(lambda: [line for line in logged(served.directory) if line["process"] == "api"])
    (line,) = [line for line in logged(served.directory) if line["process"] == "api"]
    assert line["level"] == "warning"
    assert b"s3cr3t" not in (served.directory / "err").read_bytes()


def test_a_controller_alone_says_nothing_but_json(served: Served, tmp_path: Path) -> None:
    """Neither does gRPC, which would talk of copies of the process when the API process is started."""
    words = ["--spec", served.directory / "r.yaml", "--store", f"sqlite:{tmp_path}/x.db", "--collector", f"unix:{tmp_path}/c.sock"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GRPC_", "EXTPROC_"))}
    with (tmp_path / "err").open("wb") as err:
        command = [*EXTPROC, "controller", *map(str, words), "--api-port", "0", "--log-level", "debug"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, stdin=subprocess.DEVNULL, env=clean)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"controller ready: API on http://127.0.0.1:")
            (api,) = _children(process.pid, b"extproc.controller.api_process")
            os.kill(api, signal.SIGKILL)
            until(lambda: set(_children(process.pid, b"extproc.controller.api_process")) - {api})
            process.terminate()
            assert process.wait(30) == 0
    assert [line for line in logged(tmp_path) if "the API process was killed" in line["message"]]


# ----------------------------------------------------------------------------------------------------------------- frozen brain
def test_a_frozen_controller_is_shown_as_such_and_does_nothing_afterwards(served: Served) -> None:
    """Status is the last one and says for how long; Journal as ever; metrics, health and the command say it. What was asked for in the
    meantime was answered as not carried out, and is not; asked again under its name, it is, once."""
    assert served.act("start").status_code == 200
    until(lambda: served.status()["rollouts"][ROLLOUT]["now"] != "has not been evaluated yet")
    served.metric(contract.METRIC_GENERATION)
    before = served.journal()
    with frozen(served.controller):
        until(lambda: served.status()["stale"])
        status = served.status()
        assert status["rollouts"][ROLLOUT]["status"] == "progressing"
        until(lambda: served.status()["stale"] > status["stale"])
        assert served.journal() == before
        shown = served.command("status")
        assert shown.returncode == 0, shown.stderr
        assert "the controller has not answered for" in shown.stdout
        assert "test of start" in shown.stdout, "the Journal"
        assert served.metric(contract.METRIC_CONTROLLER_UP) == 0.0
        assert served.metric(contract.METRIC_GENERATION) is None
        age = served.metric(contract.METRIC_ANSWER_AGE)
        assert age is not None
        assert age > status["stale"]
        health = served.ask("GET", "/healthz")
        assert (health.status_code, "has not answered" in health.text) == (503, True)
        answer = served.act("rollback", "17")
        assert answer.status_code == 503
        assert answer.json()["problems"][0]["message"].endswith("rollback was not carried out")
        typed = served.command("pause", ROLLOUT, "--why", "test")
        assert (typed.returncode, "Traceback" in typed.stderr) == (1, False)
        assert "pause was not carried out" in " ".join(typed.stderr.split())
        assert "runtime_modify" in typed.stderr
        # An act that was on its way when it froze: it lies there, and is met when its time is over.
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(contract.brain_path(served.store))
            act = Act(ROLLOUT, "rollback", "ann", "because", "")
            waiting.sendall(Question(Ask.ACT, time.monotonic() + 0.5, act).write())
            time.sleep(0.6)
            os.kill(served.controller, signal.SIGCONT)
            waiting.settimeout(PATIENCE)
            with pytest.raises(LateError), waiting.makefile("rb") as lines:
                talk.heard(lines.readline())
    until(lambda: served.status()["stale"] == 0)
    ticks = served.status()["loop"]["ticks"]
    until(lambda: served.status()["loop"]["ticks"] > ticks + 1)
    assert served.journal() == before
    until(lambda: served.metric(contract.METRIC_CONTROLLER_UP) == 1.0)
    assert served.metric(contract.METRIC_GENERATION) is not None
    assert served.status()["loop"]["worst_lag"] > 1.0, "the loop itself says that it stood still"
    until(lambda: served.ask("GET", "/healthz").status_code == 200)
    first, again = served.act("rollback", "17"), served.act("rollback", "17")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == {**first.json(), "repeated": True}
    assert [entry["action"] for entry in served.journal()] == ["roll_back", *(entry["action"] for entry in before)]


# ------------------------------------------------------------------------------------------------------------------------ kills
def test_a_killed_api_process_is_replaced_behind_the_same_port(served: Served) -> None:
    """Whoever connects meanwhile waits and is answered; the loop's ticks go on; the restart is counted."""
    before, old = served.status(), served.api
    restarted = served.metric(f'{contract.METRIC_API_RESTARTS}{{reason="died"}}')
    assert restarted is not None
    os.kill(old, signal.SIGKILL)
    until(lambda: not runs(old))
    until(lambda: served.status()["stale"] == 0)
    after = served.status()
    assert served.api != old
    assert served.metric(f'{contract.METRIC_API_RESTARTS}{{reason="died"}}') == restarted + 1
    ticks = after["loop"]["ticks"] + after["loop"]["missed_ticks"] - before["loop"]["ticks"] - before["loop"]["missed_ticks"]
    assert ticks >= int(after["at"] - before["at"]) - 1
    until(lambda: served.status()["watch"]["heartbeat"] > before["watch"]["heartbeat"])


def test_a_hung_api_process_is_replaced_and_the_loop_does_not_notice(served: Served) -> None:
    """SIGSTOP: heartbeats go on while nobody can look; it is killed after three questions, and the port answers again."""
    old, beats = served.api, served.heartbeat()
    hung = served.metric(f'{contract.METRIC_API_RESTARTS}{{reason="hung"}}')
    assert hung is not None
    os.kill(old, signal.SIGSTOP)
    until(lambda: served.heartbeat() >= beats + 2)
    until(lambda: not runs(old))
    until(lambda: served.status()["stale"] == 0)
    assert served.metric(f'{contract.METRIC_API_RESTARTS}{{reason="hung"}}') == hung + 1


def test_a_killed_controller_takes_its_api_process_with_it(served: Served) -> None:
    """Nothing is left that would answer for it; the next controller and its API are there on the same port, and nothing is forgotten."""
    journal, status = served.journal(), served.status()
    controller, api = served.controller, served.api
    os.kill(controller, signal.SIGKILL)
    until(lambda: not runs(api) and not runs(controller))

    def back() -> bool:
        try:
            return bool(served.status()["stale"] == 0)
        except httpx.TransportError:
            return False

    until(back)
    assert served.controller != controller
    assert served.api != api
    assert served.journal() == journal
    assert served.status()["generation"] == status["generation"]
