"""`extproc doctor` on a whole that runs: nothing wrong where nothing is, and each fault made on purpose found, with its next step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import orjson
import pytest
import yaml

from extproc.cli.doctor.checks import examine
from extproc.cli.doctor.findings import Finding, Mark
from extproc.cli.doctor.gather import gather
from extproc.cli.doctor.seen import Asked
from extproc.demo.processes import free_port
from extproc.render.settings import CA_BUNDLE
from tests.support.envoy_stand import running_envoy
from tests.support.standing import Standing, in_time, standing

ROLLOUT = "gpt-5-mini"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def served() -> Iterator[Standing]:
    """Progressing at 1 %, and well."""
    with standing(rendered=True) as made:
        well_again(made)
        yield made


def asked(served: Standing) -> Asked:
    return Asked(
        served.directory / "release.yaml",
        f"http://127.0.0.1:{served.ports.admin}",
        f"http://127.0.0.1:{served.ports.api}",
        served.directory / "extproc.db.token",
        served.ports.router,
        2,
        served.ports.collector,
        f"sqlite:{served.directory}/extproc.db",
        served.ports.metrics,
        CA_BUNDLE,
        0.3,
    )


def wrong(where: Asked) -> dict[str, Finding]:
    """What the doctor finds wrong, by id (the last of several)."""
    return {one.id: one for one in examine(gather(where)) if one.mark is Mark.WRONG}


def exactly(where: Asked, *ids: str) -> dict[str, Finding]:
    """What is wrong, as soon as it is this and nothing else: where the machine stands still for a moment, more is wrong for a moment."""
    return in_time(lambda: wrong(where), lambda found: set(found) == set(ids))


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def traffic(port: int) -> Iterator[None]:
    """Requests, one after the other, as long as the block lasts; the first has been answered when it begins."""
    stop, answered = threading.Event(), threading.Event()

    def run() -> None:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            number = 0
            while not stop.is_set():
                number += 1
                body = {"model": "gpt-5", "messages": [{"role": "user", "content": "why?"}]}
                client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, headers={"x-user-id": f"u{number}"})
                answered.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert answered.wait(PATIENCE)
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def processes(word: str) -> list[int]:
    """Descendants of ours with this word in their command line."""
    return [pid for pid in _descendants(os.getpid()) if word.encode() in _words(pid)]


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


def _healthy(served: Standing) -> int:
    """Router endpoints that Envoy finds healthy."""
    name = "cluster.extproc_router.membership_healthy"
    text = httpx.get(f"http://127.0.0.1:{served.ports.admin}/stats", params={"filter": name}, trust_env=False, timeout=PATIENCE).text
    return int(text.removeprefix(f"{name}: "))


def well_again(served: Standing) -> None:
    """Every worker answers, and Envoy knows it. The doctor's own questions are decisions that no access log tells of: others are asked."""
    with traffic(served.ports.listener):
        until(lambda: not wrong(asked(served)))


# ---------------------------------------------------------------------------------------------------------------------- well
def test_nothing_is_wrong_where_nothing_is(served: Standing) -> None:
    """Every topic has been looked at; exit code 0, the picture for people and the document for scripts say the same."""
    given = asked(served)
    flags = ["--spec", str(given.spec), "--envoy-admin", str(given.envoy_admin), "--api", given.api, "--token-file", str(given.token_file)]
    flags += ["--listen", given.listen, "--collector", given.collector, "--store", given.store, "--metrics-port", str(given.metrics_port)]
    command = [sys.executable, "-m", "extproc", "doctor", *flags]
    with traffic(served.ports.listener):
        # Where the machine stands still for a moment, something is wrong for a moment.
        shown, told = (
            in_time(
                lambda more=more: subprocess.run([*command, *more, "--sample", "1"], capture_output=True, text=True, timeout=120),
                lambda done: done.returncode == 0,
            )
            for more in ((), ("--json",))
        )
    assert "✘" not in shown.stdout
    assert "✔ nothing is wrong" in shown.stdout
    document = orjson.loads(told.stdout)
    assert document["well"] is True
    assert {one["mark"] for one in document["findings"]} <= {"well", "note"}
    topics = {one["topic"] for one in document["findings"]}
    assert {"Spec", "Envoy", "Configuration", "Sockets", "Controller", "Watch path", "Access log", "Clock", "Store", "Rollouts"} == topics
    assert {"drift.none", "envoy.decisions", "store.writer", "watch.generation"} <= {one["id"] for one in document["findings"]}


def test_without_an_envoy_it_says_what_it_did_not_see(served: Standing) -> None:
    """On the controller's machine there may be none: that is no fault."""
    findings = in_time(
        lambda: examine(gather(replace(asked(served), envoy_admin=""))),
        lambda seen: not [one for one in seen if one.mark is Mark.WRONG and one.id != "outcomes.no-stream"],
    )
    assert {"envoy.not-asked", "drift.no-envoy"} == {one.id for one in findings if one.mark is Mark.UNSEEN}


def test_the_spec_is_the_one_that_the_controller_names(served: Standing) -> None:
    """Without --spec."""
    ids = {one.id for one in examine(gather(replace(asked(served), spec=None)))}
    assert {"spec.valid", "spec.in-force", "drift.none"} <= ids


# --------------------------------------------------------------------------------------------------------------------- faults
def test_envoy_down(served: Standing) -> None:
    """Nobody listens, or somebody does and is stopped: two next steps."""
    found = wrong(replace(asked(served), envoy_admin=f"http://127.0.0.1:{free_port()}"))
    assert "is Envoy running?" in found["envoy.unreachable"].do
    with frozen(served.envoy.child.process.pid):
        assert "is the process stopped?" in wrong(asked(served))["envoy.unreachable"].do
    well_again(served)


def test_another_configuration_and_the_access_log_cut(served: Standing, tmp_path: Path) -> None:
    """A second Envoy with its configuration changed by hand: each change is named with path, expected and seen; outcomes are missed."""
    config = yaml.safe_load((served.directory / "envoy.yaml").read_text())
    admin, port = free_port(), free_port()
    config["admin"]["address"]["socket_address"]["port_value"] = admin
    resources = config["static_resources"]
    listener = resources["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = port
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (ext_proc,) = [one for one in manager["http_filters"] if one["name"] == "envoy.filters.http.ext_proc"]
    ext_proc["typed_config"]["failure_mode_allow"] = False
    ext_proc["typed_config"]["message_timeout"] = "5s"
    del manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"][0]
    clusters = {one["name"]: one for one in resources["clusters"]}
    del clusters["extproc_router"]["common_lb_config"]
    clusters["extproc_router"]["circuit_breakers"]["thresholds"][0]["max_requests"] = 10
    endpoint = clusters["extproc_collector"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["pipe"]["path"] = f"{tmp_path}/nobody.sock"
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    with running_envoy(path, admin), traffic(port):
        findings = examine(gather(replace(asked(served), envoy_admin=f"http://127.0.0.1:{admin}", sample=2.0)))
    drift = [one for one in findings if one.id == "drift.different"]
    for part in (
        "ext_proc.typed_config.failure_mode_allow: True -> nothing",
        "ext_proc.typed_config.message_timeout: 0.05s -> 5s",
        "early_header_mutation_extensions: {'remove_on_match': {'key_matcher': {'prefix': 'x-llm-'}}} -> nothing",
        "clusters.extproc_router.common_lb_config: ",
        "circuit_breakers.thresholds[0].max_requests: 256 -> 10",
        "nobody.sock",
    ):
        assert any(part in one.seen for one in drift), (part, drift)
    assert len(drift) == 6
    missing = [one for one in findings if one.id == "outcomes.missing"]
    assert "loses entries silently" in missing[0].do


def test_dead_workers(served: Standing) -> None:
    """Killed while their supervisor is stopped: the sockets they left are stale, Envoy's health checks and fail-open share say it too."""
    (supervisor,) = processes("serve")
    workers = processes("extproc.router.worker")
    assert len(workers) == 2
    with frozen(supervisor):
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        with traffic(served.ports.listener):
            until(lambda: _healthy(served) == 0)
            dead = {"socket.stale", "envoy.endpoint", "envoy.fail-open", "watch.no-router"}
            found = in_time(lambda: wrong(replace(asked(served), sample=1.0)), lambda seen: dead <= set(seen))
    assert "start the process again" in found["socket.stale"].do
    assert "the supervisor stopped" in found["watch.no-router"].do
    well_again(served)


def test_a_worker_that_was_never_started(served: Standing) -> None:
    """The flags say three, the router has two."""
    found = wrong(replace(asked(served), workers=3))
    assert "router-2.sock" in found["socket.missing"].seen
    assert "render Envoy's configuration" in found["envoy.other-endpoints"].do


def test_a_store_that_cannot_be_written(served: Standing) -> None:
    """Nothing would move, and nobody would notice before it has to."""
    file = served.directory / "extproc.db"
    file.chmod(0o444)
    try:
        found = exactly(asked(served), "store.read-only")
    finally:
        file.chmod(0o600)
    assert "nothing can move" in found["store.read-only"].do


def test_a_frozen_controller(served: Standing) -> None:
    """It listens and does not answer."""
    (controller,) = processes("--tied")
    with frozen(controller):
        found = wrong(asked(served))
    assert {"controller.frozen", "socket.silent"} <= set(found)
    assert "kill -CONT" in found["controller.frozen"].do
    well_again(served)


def test_no_controller_and_a_wrong_token(served: Standing, tmp_path: Path) -> None:
    """Told apart."""
    assert "controller.unreachable" in wrong(replace(asked(served), api=f"http://127.0.0.1:{free_port()}"))
    token = tmp_path / "token"
    token.write_text("another\n")
    assert "--token-file" in wrong(replace(asked(served), token_file=token))["controller.token"].do


def test_another_spec(served: Standing, tmp_path: Path) -> None:
    """What it would render and what Envoy runs; what is in force and what is not; and one that is not valid."""
    document = yaml.safe_load((served.directory / "release.yaml").read_text())
    document["rollouts"][ROLLOUT]["match"] = {"paths": ["/v2/"]}
    path = tmp_path / "release.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    findings = examine(gather(replace(asked(served), spec=path)))
    drift = [one.seen for one in findings if one.id == "drift.different"]
    assert any(one.startswith(f"routes.{ROLLOUT}/canary.match.prefix: /v2/ -> ") for one in drift), drift
    assert "spec.other" in {one.id for one in findings}
    path.write_text("version: 7\n")
    found = wrong(replace(asked(served), spec=path))
    assert str(path) in found["spec.invalid"].seen


def test_envoys_own_switch_against_state(served: Standing) -> None:
    """A rollback in Envoy alone starves the rollout of evidence."""
    key = f"extproc.{ROLLOUT}.canary"
    with httpx.Client(base_url=f"http://127.0.0.1:{served.ports.admin}", trust_env=False, timeout=PATIENCE) as admin:
        assert admin.post("/runtime_modify", params={key: "0"}).status_code == 200
        found = wrong(asked(served))
        assert f"{key}=100" in found["rollout.switch"].do
        assert admin.post("/runtime_modify", params={key: ""}).status_code == 200
    well_again(served)


def test_completed_and_envoys_default_has_not_moved(served: Standing) -> None:
    """Stable must keep its capacity; the command that moves the default is the next step, and after it nothing is wrong."""
    phases = len(served.api("GET", "/v1/status")["rollouts"][ROLLOUT]["phases"])
    for _ in range(phases):
        served.api("POST", f"/v1/rollouts/{ROLLOUT}/promote", json={"why": "test"})
    until(lambda: served.api("GET", "/v1/status")["rollouts"][ROLLOUT]["status"] == "completed")
    until(lambda: "watch.router-behind" not in wrong(asked(served)))
    found = exactly(asked(served), "rollout.default")
    step = found["rollout.default"].do.split("'")[1]
    assert httpx.post(step, trust_env=False, timeout=PATIENCE).status_code == 200
    well_again(served)
