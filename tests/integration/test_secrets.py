"""Nothing of a request gets into a log: recognisable secrets in every place that a request has, through real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson
import pytest

from extproc import contract
from extproc.demo.processes import free_port
from extproc.logs import Format
from extproc.pb.access_log_pb2 import StreamAccessLogsMessage
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.transport import TransportName

SECRET = "s3cr3t"
"""In everything that is sent; followed by where it was."""
WHY = "incident 4711"
ROLLOUT = "gpt-5-mini"
PATIENCE = 60.0


@dataclass
class Running:
    """One `extproc serve`, with everything it says."""

    process: subprocess.Popen[bytes]
    directory: Path
    api: str
    token: str

    @property
    def said(self) -> bytes:
        return (self.directory / "out").read_bytes() + (self.directory / "err").read_bytes()

    @property
    def sockets(self) -> list[str]:
        """Both workers' and the collector's."""
        return [str(self.directory / name) for name in ("r-0.sock", "r-1.sock", "c.sock")]


@contextmanager
def serving(directory: Path, form: Format, transport: TransportName) -> Iterator[Running]:
    """It waits for a person to start the rollout."""
    extproc = [sys.executable, "-m", "extproc"]
    subprocess.run([*extproc, "init", str(directory / "r.yaml")], check=True, capture_output=True)
    spec = directory / "r.yaml"
    spec.write_text(spec.read_text().replace("    stable: ", "    start: manual\n    stable: ", 1))
    port = free_port()
    flags = ["--spec", spec, "--store", f"sqlite:{directory}/x.db", "--listen", f"unix:{directory}/r.sock"]
    flags += ["--collector", f"unix:{directory}/c.sock", "--api-port", port, "--metrics-port", 0]
    flags += ["--transport", transport, "--log-format", form, "--log-level", "debug"]
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen([*extproc, "serve", *map(str, flags)], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        try:
            _until(lambda: all(word in (directory / "out").read_bytes() for word in (b"router ready", b"controller ready")))
            yield Running(process, directory, f"127.0.0.1:{port}", (directory / "x.db.token").read_text().strip())
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _raw(address: str, *parts: bytes) -> None:
    """Bytes to a socket; what comes back is of no interest."""
    family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
    where: Any = address if family is socket.AF_UNIX else (address.partition(":")[0], int(address.partition(":")[2]))
    with socket.socket(family) as client, suppress(OSError):
        client.settimeout(0.3)
        client.connect(where)
        for part in parts:
            client.sendall(part)
            time.sleep(0.05)
        client.recv(1 << 16)


def _call(path: str, method: str, *messages: bytes) -> None:
    metadata = (("x-user", f"{SECRET}-metadata"), ("authorization", f"Bearer {SECRET}-metadata"), ("key-bin", f"{SECRET}".encode()))
    with grpc.insecure_channel(f"unix:{path}") as channel, suppress(grpc.RpcError):
        list(channel.stream_stream(method)(iter(messages), timeout=3, metadata=metadata))


def _decision_messages() -> Iterator[bytes]:
    good = ProcessingRequest()
    names = ("x-user-id", "authorization", "cookie", ":path", ":authority", "x-geo-country", "x-user-tier", "x-request-id", "x-any")
    for name in names:
        good.request_headers.headers.headers.add(key=name, raw_value=f"{SECRET}-{name}".encode())
    good.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: f"{SECRET}-model"})
    prompt = f"{SECRET} prompt".encode()
    body = bytes((0x22, len(prompt) + 2, 0x0A, len(prompt))) + prompt  # request_body, of which we know no field
    whole = good.SerializeToString()
    # Whole, cut, not UTF-8 where it should be, of a wrong type, and no message at all.
    return iter([whole, body, whole[:-7], whole.replace(b"x-any", b"\xff\xfeany"), b"\x10" + whole, f"\xff{SECRET}".encode()])


def _outcome_messages() -> Iterator[bytes]:
    for field, value in (("arm", f"{SECRET}-arm"), ("generation", float("inf")), ("generation", float("nan")), ("rollout", f"{SECRET}-r")):
        message = StreamAccessLogsMessage()
        entry = message.http_logs.log_entry.add()
        path = f"/{SECRET}-path".encode()
        entry.request.MergeFromString(bytes((0x22, len(path))) + path)  # `path`, of which we know nothing
        entry.common_properties.custom_tags["authorization"] = f"Bearer {SECRET}"
        entry.common_properties.stream_id = f"{SECRET}-stream"
        assignment: dict[str, Any] = {"rollout": ROLLOUT, "generation": 1, "phase": "1%", "cohort": SECRET, "arm": "canary", "unit": SECRET}
        entry.common_properties.metadata.filter_metadata[contract.assignment_namespace("model")].update(assignment | {field: value})
        yield message.SerializeToString()
    # Tokens that are no number.
    message = StreamAccessLogsMessage()
    common = message.http_logs.log_entry.add().common_properties
    common.metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].update({"input": float("nan"), "model": f"{SECRET}-model"})
    yield message.SerializeToString()
    yield f"\xff\xff{SECRET}".encode()


def _provoke_sockets(running: Running) -> None:
    request = f"POST /{SECRET}-path?q={SECRET} HTTP/1.1\r\nhost: {SECRET}\r\ncookie: a={SECRET}\r\nauthorization: {SECRET}\r\n"
    garbage = f"{SECRET} garbage\r\n\r\n".encode() * 20
    for address in [*running.sockets, running.api]:
        _raw(address, request.encode() + b"content-length: 20\r\n\r\n{" + SECRET.encode())
        _raw(address, request.encode() + f"transfer-encoding: chunked\r\n\r\n{SECRET}\r\n".encode())
        _raw(address, garbage)
        _raw(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0", garbage)
    for path in running.sockets:
        _call(path, f"/{SECRET}/Method", b"")
        for message in (*_decision_messages(), *_outcome_messages()):
            _call(path, contract.ACCESS_LOG_METHOD if path.endswith("c.sock") else contract.PROCESS_METHOD, message)


def _provoke_api(running: Running) -> None:
    with httpx.Client(base_url=f"http://{running.api}", trust_env=False, timeout=PATIENCE) as client:
        for token in (SECRET, running.token):
            headers = {"authorization": f"Bearer {token}", "cookie": f"a={SECRET}", "x-any": SECRET}
            client.get(f"/{SECRET}", headers=headers)
            client.get("/v1/journal", params={"limit": SECRET, "rollout": SECRET}, headers=headers)
            client.post(f"/v1/rollouts/{SECRET}/{SECRET}", headers=headers, json={"why": SECRET})
            client.post(f"/v1/rollouts/{SECRET}/start", headers=headers, json={"why": SECRET, "actor": SECRET})
            for body in (f"{{{SECRET}", f'{{"{SECRET}": 1}}', f'["{SECRET}"]', f'"{SECRET}' + "\\ud800" + '"', SECRET * 4000):
                client.post(f"/v1/rollouts/{ROLLOUT}/start", headers=headers, content=body)
            # Refused in the present state: the reason is of no consequence, and not logged.
            refused = client.post(
                f"/v1/rollouts/{ROLLOUT}/resume", headers=headers, json={"why": f"{SECRET}-why", "actor": f"{SECRET}-actor"}
            )
            assert refused.status_code in (401, 409, 503), "503: a controller that was late"
        whole = (
            f"POST /v1/rollouts/{ROLLOUT}/start HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {running.token}\r\ncontent-length: 99\r\n\r\n"
        )
        _raw(running.api, whole.encode() + f'{{"why": "{SECRET}'.encode())
        _until(lambda: _started(client, headers))


def _started(client: httpx.Client, headers: dict[str, str]) -> bool:
    """A controller that was late is asked again under the same name."""
    done = client.post(f"/v1/rollouts/{ROLLOUT}/start", headers=headers, json={"why": WHY, "actor": "ann", "request": "1"})
    assert done.status_code in (200, 503, 504), done.text
    return done.status_code == 200


@pytest.mark.parametrize(("form", "transport"), [(Format.JSON, TransportName.NATIVE), (Format.CONSOLE, TransportName.GRPCIO)])
def test_no_secret_of_a_request_is_in_any_log(form: Format, transport: TransportName, tmp_path: Path) -> None:
    """Headers, paths, bodies, cookies, keys, metadata, whole and malformed, refused and crashing; at the level debug.

    What a person gives as the reason of an act that was committed is in the log: it is written for those who read it.
    """
    with serving(tmp_path, form, transport) as running:
        _provoke_sockets(running)
        _provoke_api(running)
        (worker, *_) = _workers(running.process.pid)
        os.kill(worker, signal.SIGKILL)
        _until(lambda: b"was killed" in running.said and b"by ann" in running.said)
        with httpx.Client(base_url=f"http://{running.api}", trust_env=False, timeout=PATIENCE) as client:
            headers = {"authorization": f"Bearer {running.token}"}
            # Every bad message of the collector was met, and cost itself alone.
            _until(lambda: client.get("/v1/status", headers=headers).json()["collector"]["bad_messages"] >= 4)
    said = running.said
    assert SECRET.encode() not in said, [line for line in said.splitlines() if SECRET.encode() in line]
    assert running.token.encode() not in said
    assert f"{ROLLOUT}: start by ann: {WHY}".encode() in said
    for word in (b"access-log message", b"DecodeError", b"`extproc doctor`"):
        assert word in said
    lines = (tmp_path / "err").read_text().splitlines()
    if form is Format.JSON:
        assert {"supervisor", "controller"} <= {orjson.loads(line)["process"] for line in lines}
    else:
        assert all(line.startswith(("2", "    ")) for line in lines)


def _workers(pid: int) -> list[int]:
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if b"extproc.router.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]
