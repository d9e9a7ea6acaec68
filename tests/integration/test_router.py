"""The router process as Envoy meets it: a real gRPC client on its sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from extproc import contract
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.transport import TransportName
from tests.unit.test_wire import request as envoy_request

EXAMPLE = Path(__file__).parents[2] / "envoy" / "release.yaml"
SERVING = b"\x08\x01"


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """A router process that said it is ready: (process, its endpoints, its metrics address)."""
    command = [sys.executable, "-m", "extproc", "router", "--spec", str(EXAMPLE), "--metrics-port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("router ready: "), ready
            endpoints, metrics = ready.removeprefix("router ready: ").strip().split(", metrics on ")
            yield process, endpoints.split(), metrics
        finally:
            process.terminate()
            process.wait(60)


def decide(endpoint: str, message: ProcessingRequest) -> ProcessingResponse:
    """One ext_proc stream, as Envoy opens it."""
    with grpc.insecure_channel(endpoint) as channel:
        method = channel.stream_stream(contract.PROCESS_METHOD)
        (reply,) = list(method(iter([message.SerializeToString()]), timeout=60))
    return ProcessingResponse.FromString(reply)


def cluster(reply: ProcessingResponse) -> bytes:
    return reply.request_headers.response.header_mutation.set_headers[0].header.raw_value


def llm_request(**headers: str) -> ProcessingRequest:
    message = envoy_request(**headers)
    message.request_headers.headers.headers.add(key=":path", raw_value=b"/v1/chat/completions")
    message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-4o"})
    return message


@pytest.fixture(scope="module", params=list(TransportName))
def router(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """Two workers at 50 % on Unix sockets."""
    listen = f"unix:{tmp_path_factory.mktemp('router')}/r.sock"
    with running("--listen", listen, "--workers", "2", "--phase", "50%", "--transport", request.param) as started:
        yield started


def test_every_worker_has_its_endpoint_and_all_agree(router: tuple[subprocess.Popen[str], list[str], str]) -> None:
    """Sockets are there with mode 0660, and a user meets the same model on each of them."""
    _, endpoints, _ = router
    assert len(endpoints) == 2
    for endpoint in endpoints:
        assert Path(endpoint.removeprefix("unix:")).stat().st_mode & 0o777 == 0o660
    for number in range(20):
        message = llm_request(x_user_id=f"user-{number}")
        assert len({cluster(decide(endpoint, message)) for endpoint in endpoints}) == 1


def test_health_is_answered_the_way_envoy_asks(router: tuple[subprocess.Popen[str], list[str], str]) -> None:
    """grpc.health.v1 Check, and the first answer of Watch."""
    with grpc.insecure_channel(router[1][0]) as channel:
        assert channel.unary_unary(contract.HEALTH_CHECK_METHOD)(b"", timeout=60) == SERVING
        watch = channel.unary_stream(contract.HEALTH_WATCH_METHOD)(b"", timeout=60)
        assert next(iter(watch)) == SERVING
        watch.cancel()


def test_foreign_bytes_end_that_stream_alone(router: tuple[subprocess.Popen[str], list[str], str]) -> None:
    """INTERNAL for the bad one, the next is decided, and the failure is counted."""
    _, (endpoint, _), metrics = router
    with grpc.insecure_channel(endpoint) as channel:
        method = channel.stream_stream(contract.PROCESS_METHOD)
        with pytest.raises(grpc.RpcError) as caught:
            list(method(iter([b"\xff\xff\xff"]), timeout=60))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert cluster(decide(endpoint, llm_request(x_user_id="u")))
    assert 'extproc_decision_errors_total{worker="0"} 1.0' in scrape(metrics)


def scrape(metrics: str) -> str:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def test_metrics_of_all_workers_are_on_one_port(router: tuple[subprocess.Popen[str], list[str], str]) -> None:
    """Decisions add up over workers; generation and age are per worker."""
    _, endpoints, metrics = router

    def decided() -> float:
        lines = [line for line in scrape(metrics).splitlines() if line.startswith(contract.METRIC_DECISIONS + "{")]
        return sum(float(line.split()[-1]) for line in lines)

    before = decided()
    for endpoint in endpoints:
        decide(endpoint, llm_request(x_user_id="u", x_user_tier="internal"))
    assert decided() == before + 2
    text = scrape(metrics)
    assert 'cohort="staff"' in text
    assert 'extproc_workers{state="serving"} 2.0' in text
    assert f'{contract.METRIC_GENERATION}{{worker="1"}} 1.0' in text


def test_a_peer_that_breaks_the_rules_is_counted(tmp_path: Path) -> None:
    """By worker and code, so that an operator sees who knocks."""
    with running("--listen", f"unix:{tmp_path}/r.sock", "--workers", "1", "--phase", "50%") as (_, _, metrics):
        with socket.socket(socket.AF_UNIX) as browser:
            browser.connect(f"{tmp_path}/r-0.sock")
            browser.sendall(b"GET / HTTP/1.1\r\nhost: router\r\n\r\n")
            while browser.recv(4096):
                pass
        assert f'{contract.METRIC_CONNECTION_FAULTS}{{code="PROTOCOL_ERROR",worker="0"}} 1.0' in scrape(metrics)


@pytest.mark.parametrize("transport", list(TransportName))
def test_a_dead_worker_comes_back_and_none_outlives_the_supervisor(transport: str, tmp_path: Path) -> None:
    """kill -9 of a worker: the same endpoint answers again. kill -9 of the supervisor: its workers end."""
    with running("--listen", f"unix:{tmp_path}/r.sock", "--workers", "1", "--phase", "50%", "--transport", transport) as (
        process,
        (endpoint,),
        metrics,
    ):
        (worker,) = children(process.pid)
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while children(process.pid) in ([], [worker]) or 'state="serving"} 1.0' not in scrape(metrics):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert cluster(decide(endpoint, llm_request(x_user_id="u")))
        (worker,) = children(process.pid)
        process.kill()
        process.wait(60)
        while Path(f"/proc/{worker}").exists() and "Z" not in Path(f"/proc/{worker}/stat").read_text().split()[2]:
            assert time.monotonic() < deadline + 10
            time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--phase", "33%"], "settings.phase"),
        (["--listen", "nowhere"], "settings.address"),
        (["--spec", "/does/not/exist.yaml"], "settings.spec-file"),
    ],
)
def test_a_bad_flag_is_a_problem_with_a_next_step(arguments: list[str], problem: str, tmp_path: Path) -> None:
    """Said before anything is started; exit code 1, no traceback."""
    command = [sys.executable, "-m", "extproc", "router", "--spec", str(EXAMPLE), "--listen", f"unix:{tmp_path}/r.sock", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"[{problem}]" in done.stderr
    assert "Traceback" not in done.stderr
