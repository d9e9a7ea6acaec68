"""The router's supervisor on real processes: hung workers are replaced, a drain loses nothing, endpoints never vanish."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from extproc import contract
from extproc.pb.ext_proc_pb2 import ProcessingResponse
from extproc.router.settings import RouterSettings
from extproc.router.supervisor import Supervisor
from extproc.runtime import child as child_room
from extproc.transport import TransportName
from tests.integration.test_router import EXAMPLE, SERVING, children, cluster, decide, llm_request, running, scrape
from tests.support.lateness import lateness

NOT_SERVING = b"\x08\x02"
KILLS = 20


def until(what: Callable[[], bool], seconds: float) -> float:
    """Wait until it is so; returns after how many seconds it was."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - begin


def restarts(metrics: str, worker: int, reason: str) -> float:
    wanted = f'{contract.METRIC_WORKER_RESTARTS}{{reason="{reason}",worker="{worker}"}} '
    (line,) = [line for line in scrape(metrics).splitlines() if line.startswith(wanted)]
    return float(line.removeprefix(wanted))


@pytest.mark.parametrize("transport", list(TransportName))
def test_a_hung_worker_is_found_and_replaced(transport: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SIGSTOP of one of two: killed within 3 questions and their second, restarted; the other one is left alone and decides meanwhile."""
    arguments = ("--listen", f"unix:{tmp_path}/r.sock", "--workers", "2", "--phase", "50%", "--transport", transport)
    with running(*arguments) as (process, (first, second), metrics):
        frozen, other = (pid for _, pid in sorted((_endpoint_of(pid, tmp_path), pid) for pid in children(process.pid)))
        with lateness() as machine:
            os.kill(frozen, signal.SIGSTOP)
            seconds = until(lambda: not Path(f"/proc/{frozen}").exists(), 60.0)
        assert 2.0 < seconds < 6.0 + machine.total
        assert cluster(decide(second, llm_request(x_user_id="u")))
        until(lambda: 'state="serving"} 2.0' in scrape(metrics), 60.0)
        assert cluster(decide(first, llm_request(x_user_id="u"))) == cluster(decide(second, llm_request(x_user_id="u")))
        assert other in children(process.pid)
        assert (restarts(metrics, 0, "hung"), restarts(metrics, 0, "died"), restarts(metrics, 1, "hung")) == (1.0, 0.0, 0.0)
    assert "worker 0 (process " in (told := capfd.readouterr().err)
    assert "did not answer 3 questions in a row" in told


def _endpoint_of(pid: int, directory: Path) -> str:
    """The socket a worker listens on: the one that its file descriptors and the kernel's table agree on."""
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if len(words) == 8 and str(directory) in words[7] and f"socket:[{words[6]}]" in inodes:
            return words[7]
    raise AssertionError(f"process {pid} listens on nothing in {directory}")


@pytest.fixture(params=list(TransportName))
def router(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One worker of a transport."""
    with running("--listen", f"unix:{tmp_path}/r.sock", "--workers", "1", "--phase", "50%", "--transport", request.param) as started:
        yield started[0], started[1][0]


def test_a_drain_answers_every_stream_that_was_begun(router: tuple[subprocess.Popen[str], str]) -> None:
    """SIGTERM under load. Streams that are open, before and after GOAWAY, get their answer; and until health says NOT_SERVING so does
    every new one, as Envoy would open it."""
    process, endpoint = router
    message = llm_request(x_user_id="u").SerializeToString()
    go = {seconds: threading.Event() for seconds in (0.4, 1.4)}
    answered: Counter[str] = Counter()

    def late(event: threading.Event) -> Iterator[bytes]:
        event.wait(60)
        yield message

    with grpc.insecure_channel(endpoint) as channel, ThreadPoolExecutor(4) as pool:
        method = channel.stream_stream(contract.PROCESS_METHOD)
        health = channel.unary_unary(contract.HEALTH_CHECK_METHOD)
        assert health(b"", timeout=60) == SERVING
        begun = [method(late(event), timeout=60) for event in go.values() for _ in range(20)]
        time.sleep(0.3)

        def load() -> None:
            while health(b"", timeout=60) == SERVING:
                for _ in range(5):
                    (reply,) = list(method(iter([message]), timeout=60))
                    assert cluster(ProcessingResponse.FromString(reply))
                    answered["new"] += 1

        loads = [pool.submit(load) for _ in range(3)]
        time.sleep(0.2)
        process.terminate()
        told = time.monotonic()
        for seconds, event in go.items():
            time.sleep(max(0.0, told + seconds - time.monotonic()))
            event.set()
        for stream in begun:
            (reply,) = list(stream)
            assert cluster(ProcessingResponse.FromString(reply))
            answered["begun"] += 1
        for one in loads:
            one.result(60)
    assert process.wait(60) == 0
    assert answered["begun"] == 40
    assert answered["new"] > 50


@pytest.mark.parametrize("transport", list(TransportName))
def test_an_endpoint_never_vanishes_while_its_worker_dies_again_and_again(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9, 20 times, while a client connects all the time: it may be refused, but the path is always there. A clean stop takes it
    away, and leaves nothing."""
    monkeypatch.setattr(child_room, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(child_room, "LONGEST_DELAY", 0.01)
    settings = RouterSettings(str(EXAMPLE), f"unix:{tmp_path}/r.sock", 1, transport, "50%", metrics_port=0)
    seen: Counter[str] = Counter()
    ended = threading.Event()

    def knock() -> None:
        while not ended.is_set():
            with socket.socket(socket.AF_UNIX) as made:
                try:
                    made.connect(f"{tmp_path}/r-0.sock")
                    seen["connected"] += 1
                except OSError as error:
                    seen[type(error).__name__] += 1
            time.sleep(0.001)

    async def run() -> None:
        supervisor, stop = Supervisor(settings), asyncio.Event()
        serving = asyncio.create_task(supervisor.run(stop))
        (worker,) = await _ready(supervisor, 0)
        client = asyncio.create_task(asyncio.to_thread(knock))
        for number in range(KILLS):
            os.kill(worker, signal.SIGKILL)
            (worker,) = await _ready(supervisor, number + 1)
        ended.set()
        await client
        reply = await asyncio.to_thread(decide, supervisor.endpoints[0], llm_request(x_user_id="u"))
        assert cluster(reply)
        stop.set()
        await serving

    asyncio.run(run())
    assert set(seen) <= {"connected", "ConnectionRefusedError"}, seen
    assert seen["connected"] > KILLS
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


async def _ready(supervisor: Supervisor, restarts: int) -> list[int]:
    """The workers' processes, when they answer after so many restarts."""
    async with asyncio.timeout(60):
        while True:
            (view,) = await supervisor.views()
            if view.report is not None and view.restarts["died"] == restarts:
                return children(os.getpid())
            await asyncio.sleep(0.01)
