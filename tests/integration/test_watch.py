"""No watcher, no canary; no outcomes, no canary: a real `extproc serve` behind the real Envoy, under a steady stream of requests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc import contract
from extproc.demo.envoy import Envoy
from tests.support.standing import Standing, standing
from tests.support.stream import Stream, eventually

ROLLOUT = "gpt-5-mini"
STABLE, CANARY = "gpt-5", "gpt-5-mini"
LEASE = 3.0


def _half(document: dict[str, Any]) -> None:
    """A person moves it; the shortest lease."""
    document["application"]["watch_lease"] = f"{LEASE:g}s"
    document["rollouts"][ROLLOUT]["start"] = "manual"


@pytest.fixture(scope="module")
def served() -> Iterator[Standing]:
    """At 50 %, paused by a person."""
    with standing(_half) as made:
        act(made, "start")
        for _ in range(3):
            act(made, "promote")
        act(made, "pause")
        yield made


def act(served: Standing, action: str) -> None:
    served.api("POST", f"/v1/rollouts/{ROLLOUT}/{action}", json={"why": f"test of {action}"})


def status(served: Standing) -> dict[str, Any]:
    found: dict[str, Any] = served.api("GET", "/v1/status")
    return found


def processes(served: Standing, what: str) -> list[int]:
    """Processes of the stand whose command line has `what` in it."""
    found = []
    groups = {child.process.pid for child in served.processes._children}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                group = os.getpgid(int(entry.name))
            except (OSError, ProcessLookupError):
                continue
            if what in line and group in groups:
                found.append(int(entry.name))
    return found


def metrics(served: Standing, name: str) -> list[str]:
    """The router's lines of one metric."""
    text = httpx.get(f"http://127.0.0.1:{served.ports.metrics}/metrics", trust_env=False, timeout=60).text
    return [line for line in text.splitlines() if line.startswith(name)]


def on_canary(stream: Stream) -> bool:
    share = stream.share(CANARY)
    return share is not None and 0.2 < share < 0.8


def on_stable(stream: Stream) -> bool:
    return stream.share(CANARY, 0.5) == 0.0


def test_a_frozen_controller_sends_the_canarys_share_to_stable_for_as_long_as_it_is_frozen(served: Standing) -> None:
    """Within one lease, without an error, told by router and status; back by itself."""
    (controller,) = processes(served, "extproc controller")
    with Stream(served).running() as stream:
        eventually(lambda: on_canary(stream))
        os.kill(controller, signal.SIGSTOP)
        try:
            took = eventually(lambda: on_stable(stream))
            assert took > LEASE - 1.5, "not before the lease is over"
            # The stream may have met one of the two workers alone.
            eventually(
                lambda: (
                    metrics(served, f'{contract.METRIC_WITHDRAWN}{{rollout="{ROLLOUT}"}}')
                    == [f'{contract.METRIC_WITHDRAWN}{{rollout="{ROLLOUT}"}} 2.0']
                )
            )
            assert all(float(line.split()[-1]) >= LEASE for line in metrics(served, contract.METRIC_HEARTBEAT_AGE + "{"))
        finally:
            os.kill(controller, signal.SIGCONT)
        eventually(lambda: on_canary(stream))
        assert {one.status for one in stream.seen} == {200}
    eventually(lambda: metrics(served, contract.METRIC_WITHDRAWN + "{") == [])
    assert status(served)["rollouts"][ROLLOUT]["status"] == "paused"


def test_a_lost_access_log_blinds_and_canary_traffic_waits_on_stable(served: Standing) -> None:
    """Somebody rolls out an Envoy configuration without the access log: nobody can watch, so nobody is exposed; mended, it goes on."""
    config = served.directory / "envoy.yaml"
    text = config.read_text()
    with Stream(served).running() as stream:
        eventually(lambda: on_canary(stream))
        eventually(lambda: status(served)["routers"] and not status(served)["watch"]["blind"])
        _restart_envoy(served, text.replace("collector.sock", "nowhere.sock"))
        eventually(lambda: ROLLOUT in status(served)["watch"]["blind"])
        eventually(lambda: on_stable(stream))
        seen = status(served)
        assert ROLLOUT in seen["watch"]["blind"]
        assert "were heard of in the access log" in seen["watch"]["blind"][ROLLOUT]
        assert seen["rollouts"][ROLLOUT]["page"]
        api = httpx.get(f"http://127.0.0.1:{served.ports.api}/metrics", trust_env=False, timeout=60).text
        assert f'{contract.METRIC_BLIND}{{rollout="{ROLLOUT}"}} 1.0' in api
        _restart_envoy(served, text)
        eventually(lambda: on_canary(stream))
        # Status may be a moment old, or the last one known where the controller is late with its answer: the traffic is what counts.
        eventually(lambda: status(served)["watch"]["blind"] == {})
        eventually(lambda: on_canary(stream))


def _restart_envoy(served: Standing, text: str) -> None:
    config = served.directory / "envoy.yaml"
    config.write_text(text)
    served.run(served.processes.stop(served.envoy.child))
    served.envoy = served.run(Envoy.start(served.processes, config, served.ports.admin))


def test_status_shows_every_router(served: Standing) -> None:
    """Workers, generation, ages, rate; a worker that is restarted is counted."""
    with Stream(served).running() as stream:
        eventually(lambda: on_canary(stream))
        eventually(lambda: status(served)["routers"][0]["decisions_per_second"] > 10)
        eventually(lambda: status(served)["routers"][0]["withdrawn"] == [])
        (router,) = status(served)["routers"]
        assert (router["workers"], router["serving"], router["silent"]) == (2, 2, None)
        assert router["generations"] == [status(served)["generation"]]
        assert router["age"] < 15
        assert abs(router["skew"]) < 15
        restarts = router["restarts"]["died"]
        os.kill(processes(served, "extproc.router.worker")[0], signal.SIGKILL)
        eventually(lambda: status(served)["routers"][0]["restarts"]["died"] == restarts + 1)
        eventually(lambda: status(served)["routers"][0]["serving"] == 2)
        assert {one.status for one in stream.seen} == {200}


def test_after_completion_nobody_goes_back_to_a_pool_that_may_be_too_small(served: Standing) -> None:
    """COMPLETED needs no watcher. All routers dead: Envoy's own default decides, and `status` had said what to do before stable shrinks."""
    act(served, "resume")
    act(served, "promote")
    act(served, "promote")
    advice = status(served)["rollouts"][ROLLOUT]["advice"]
    key = contract.RUNTIME_COMPLETED.format(rollout=ROLLOUT)
    assert "stable must keep its full capacity" in advice
    assert key in advice
    with Stream(served).running() as stream:
        eventually(lambda: stream.share(CANARY) == 1.0)
        (controller,) = processes(served, "extproc controller")
        os.kill(controller, signal.SIGSTOP)
        time.sleep(LEASE + 1.0)
        assert stream.share(CANARY, 1.0) == 1.0, "the canary is the default: no lease takes it away"
        os.kill(controller, signal.SIGCONT)
        admin = f"http://127.0.0.1:{served.ports.admin}"
        assert httpx.post(f"{admin}/runtime_modify", params={key: "100"}, trust_env=False, timeout=60).status_code == 200
        killed = time.monotonic()
        for what in ("extproc serve", "extproc.router.worker"):
            for process in processes(served, what):
                os.kill(process, signal.SIGKILL)
        time.sleep(2.0)
        eventually(lambda: len(stream.since(killed)) > 20)
        after = stream.since(killed)
        assert {(one.status, one.model.startswith(CANARY)) for one in after} == {(200, True)}
        # Whoever has not moved Envoy's default meets stable: that is what the advice is about.
        assert httpx.post(f"{admin}/runtime_modify", params={key: "0"}, trust_env=False, timeout=60).status_code == 200
        eventually(lambda: on_stable(stream))
        assert {one.status for one in stream.seen} == {200}
