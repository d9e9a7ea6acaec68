"""The Spec changes under running processes: it comes into force by itself, and a bad one leaves the last good one, and is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc import contract
from extproc import spec as spec_room
from extproc.demo.processes import free_port
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.transport import TransportName
from tests.integration.test_router import EXAMPLE, children, cluster, decide, llm_request, scrape
from tests.integration.test_supervisor import until
from tests.support.lateness import lateness
from tests.support.standing import typed

TEXT = EXAMPLE.read_text()
SWAPPED = TEXT.replace("stable: gpt-4o\n    canary: gpt-5-mini", "stable: gpt-5-mini\n    canary: gpt-4o")
BAD = TEXT.replace("share: 1%", "share: 110%").replace("kind: user", "kind: a dog")
ROLLOUT = "gpt-5-mini"
NEW, OLD = b"gpt-5-mini", b"gpt-4o"


@contextmanager
def started(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that said it is ready, and that line."""
    with subprocess.Popen([sys.executable, "-m", "extproc", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            while ready and not ready.startswith("router ready"):
                ready = process.stdout.readline()
            yield process, ready.strip()
        finally:
            process.terminate()
            process.wait(60)


def put(spec: Path, text: str) -> None:
    """Another text in the file, whole at once: half of one would be a bad Spec of its own."""
    real = spec.resolve()
    new = real.with_suffix(".new")
    new.write_text(text)
    new.replace(real)


def taken(what: Callable[[], bool]) -> None:
    """Within the second of a look, and what is done with it; the machine may be late by itself."""
    with lateness() as machine:
        took = until(what, 60.0)
    assert took < 3.0 + machine.total


def health(metrics: str) -> str:
    with urllib.request.urlopen(f"http://{metrics}/healthz", timeout=60) as answer:
        return str(answer.read().decode())


# ------------------------------------------------------------------------------------------------------- router without a store
@pytest.mark.parametrize("transport", list(TransportName))
def test_a_router_follows_its_file(transport: str, tmp_path: Path) -> None:
    """A change reaches every worker by itself; a bad one is told and kept out, even from a worker that is restarted meanwhile; a moved
    symbolic link is a change; SIGHUP looks at once and ends nobody."""
    for name, text in (("one", TEXT), ("two", TEXT)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    spec = tmp_path / "spec.yaml"
    spec.symlink_to("..data/spec.yaml")
    words = ("--listen", f"unix:{tmp_path}/r.sock", "--workers", "2", "--phase", "100%", "--metrics-port", "0", "--transport", transport)
    with started("router", "--spec", str(spec), *words) as (process, ready):
        endpoints, metrics = ready.removeprefix("router ready: ").split(", metrics on ")

        def everywhere() -> set[bytes]:
            return {cluster(decide(endpoint, llm_request(x_user_id="u"))) for endpoint in endpoints.split()}

        assert everywhere() == {NEW}
        put(spec, SWAPPED)
        taken(lambda: everywhere() == {OLD})
        assert all(f'{contract.METRIC_GENERATION}{{worker="{worker}"}} 2.0' in scrape(metrics) for worker in (0, 1))
        assert health(metrics) == "2 of 2 workers\n"

        put(spec, BAD)
        until(lambda: f"{contract.METRIC_SPEC_PROBLEM} 1.0" in scrape(metrics), 60.0)
        assert f'{contract.METRIC_RELOAD_FAILURES}{{worker="supervisor"}} 1.0' in scrape(metrics)
        assert health(metrics).startswith("2 of 2 workers\n")
        assert "rollouts.gpt-5-mini.phases[0].share" in health(metrics)
        assert "rollouts.gpt-5-mini.unit.kind" in health(metrics)
        before = children(process.pid)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: before[0] not in children(process.pid) and health(metrics).startswith("2 of 2"), 60.0)
        assert everywhere() == {OLD}

        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").rename(tmp_path / "..data")
        taken(lambda: everywhere() == {NEW})
        until(lambda: f"{contract.METRIC_SPEC_PROBLEM} 0.0" in scrape(metrics), 60.0)
        before = children(process.pid)
        for pid in (process.pid, *before):
            os.kill(pid, signal.SIGHUP)
        spec.unlink()
        os.kill(process.pid, signal.SIGHUP)
        until(lambda: "settings.spec-file" in health(metrics), 60.0)
        assert children(process.pid) == before
        assert everywhere() == {NEW}


# ------------------------------------------------------------------------------------------------------------------- controller
@dataclass
class Serving:
    """`extproc serve`, without an Envoy."""

    process: subprocess.Popen[str]
    directory: Path
    api_port: int
    metrics: str

    @property
    def spec(self) -> Path:
        return self.directory / "spec.yaml"

    def api(self, method: str, path: str, **arguments: Any) -> Any:
        token = (self.directory / "x.db.token").read_text().strip()
        url = f"http://127.0.0.1:{self.api_port}{path}"
        answer = httpx.request(method, url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60.0, **arguments)
        answer.raise_for_status()
        return answer.json()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", "/v1/status")
        return found

    def problems(self) -> list[str]:
        return [problem["id"] for problem in self.status()["spec_file"]["problems"]]

    def command(self, *arguments: str) -> str:
        """The command as people type it; what it prints."""
        reach = ["--api", f"http://127.0.0.1:{self.api_port}", "--token-file", str(self.directory / "x.db.token")]
        line = [sys.executable, "-m", "extproc", *arguments, *reach]
        environment = {**os.environ, "COLUMNS": "160"}
        done = typed(lambda: subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def clusters(self, request: ProcessingRequest) -> set[bytes]:
        """What each worker answers."""
        return {cluster(decide(endpoint, request)) for endpoint in contract.endpoints(f"unix:{self.directory}/r.sock", 2)}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "spec.yaml").write_text(TEXT)
    port = free_port()
    words = ["--spec", f"{tmp_path}/spec.yaml", "--listen", f"unix:{tmp_path}/r.sock", "--store", f"sqlite:{tmp_path}/x.db"]
    words += ["--collector", f"unix:{tmp_path}/c.sock", "--api-port", str(port), "--metrics-port", "0"]
    with started("serve", *words) as (process, ready):
        made = Serving(process, tmp_path, port, ready.rpartition(" ")[2])
        until(lambda: _answers(made), 60.0)
        yield made


def _answers(made: Serving) -> bool:
    try:
        return made.status()["rollouts"][ROLLOUT]["status"] == "progressing"
    except (httpx.HTTPError, OSError):
        return False


def test_a_controller_follows_its_file_and_guards_what_runs(serving: Serving) -> None:
    """One life: a change beside the running rollout is adopted; an edit of it is refused and told until it may come into force; a bad file
    survives even the controller's death; routers follow; State names the digest that the store holds."""
    beside = TEXT.replace("$2.50", "$2.60")
    put(serving.spec, beside)
    wanted = spec_room.load(beside).digest
    taken(lambda: serving.status()["spec_digest"] == wanted)
    before = serving.status()
    assert before["rollouts"][ROLLOUT]["status"] == "progressing"
    assert serving.api("GET", "/v1/journal?limit=1")["entries"][0]["why"] == f"Spec {wanted} is in force"

    put(serving.spec, SWAPPED)
    until(lambda: serving.problems() == ["state.running-rollout-changed"], 60.0)
    shown = serving.command("status")
    assert "is not in force, the last good one stays" in shown
    assert "its salt, unit, cohorts, models, phases and gates must stay as they are" in shown
    health = httpx.get(f"http://127.0.0.1:{serving.api_port}/healthz", trust_env=False, timeout=60.0)
    assert (health.status_code, "state.running-rollout-changed" in health.text) == (200, True)
    exposition = httpx.get(f"http://127.0.0.1:{serving.api_port}/metrics", trust_env=False, timeout=60.0).text
    assert f"{contract.METRIC_SPEC_PROBLEM} 1.0" in exposition
    assert f"{contract.METRIC_RELOAD_FAILURES} 1.0" in exposition
    assert serving.status()["generation"] == before["generation"]

    (controller,) = [pid for pid in children(serving.process.pid) if b"controller" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(controller, signal.SIGKILL)
    until(lambda: controller not in children(serving.process.pid), 60.0)
    until(lambda: _answers(serving), 60.0)
    assert serving.status()["spec_digest"] == wanted
    assert serving.problems() == ["state.running-rollout-changed"]

    put(serving.spec, BAD)
    os.kill(serving.process.pid, signal.SIGHUP)
    until(lambda: len(serving.problems()) == 2, 60.0)
    put(serving.spec, SWAPPED)
    until(lambda: serving.problems() == ["state.running-rollout-changed"], 60.0)
    serving.command("rollback", ROLLOUT, "--why", "make way for the edit")
    digest = spec_room.load(SWAPPED).digest
    until(lambda: serving.status()["spec_digest"] == digest, 60.0)
    assert serving.problems() == []
    assert "is not in force" not in serving.command("status")
    # Another canary is another release: it begins by itself, at the first phase, for the staff as well.
    until(lambda: serving.status()["rollouts"][ROLLOUT]["status"] == "progressing", 60.0)
    assert serving.status()["rollouts"][ROLLOUT]["canary"] == "gpt-4o"
    until(lambda: serving.clusters(llm_request(x_user_id="u")) == {NEW}, 60.0)
    assert serving.process.poll() is None


def test_a_hangup_ends_nothing(serving: Serving) -> None:
    """SIGHUP of the whole family, as a closed terminal sends it, and of the supervisor alone: the file is read, everybody goes on."""
    family = [serving.process.pid, *children(serving.process.pid)]
    for pid in family:
        os.kill(pid, signal.SIGHUP)
    time.sleep(0.5)
    assert [serving.process.pid, *children(serving.process.pid)] == family
    failures = serving.status()["spec_file"]["failures"]
    put(serving.spec, BAD)
    until(lambda: serving.status()["spec_file"]["failures"] > failures, 60.0)
    failures = serving.status()["spec_file"]["failures"]
    os.kill(serving.process.pid, signal.SIGHUP)
    until(lambda: serving.status()["spec_file"]["failures"] > failures, 60.0)
