"""The real Envoy, a whole extproc and its API by mutual TLS: certificates and authorities are replaced under load, and nothing is lost.

Connections are short-lived here (a second), so that every replacement is met by many new ones. A busy machine must not look like a refused
certificate: whatever waits, waits long.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trustme
import yaml
from cryptography import x509

from extproc import contract, spec
from extproc.controller.access import digest
from extproc.demo.processes import free_port
from extproc.render import EnvoySettings, RouterTls, envoy_yaml, secret_files
from tests.support.certificates import Files, Turning, serial, write
from tests.support.envoy_stand import Model, a_rollout, document, running, running_envoy, wait_for

PATIENCE = 120.0
TOKEN = "a-token-of-the-viewer-of-this-test"
PAUSE = 0.02
"""Seconds between two requests of the load."""


@dataclass
class Stand:
    """Envoy with an `extproc serve` behind it, and whatever is needed to look at both."""

    files: Turning
    directory: Path
    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    client: httpx.Client
    admin: httpx.Client

    def context(self, files: Files | None = None, key: bool = True) -> ssl.SSLContext:
        """What a person's client believes and shows, as the files are now."""
        now = self.files.now
        context = ssl.create_default_context(cafile=now / "ca.pem")
        if key:
            own = (files.client, files.client_key) if files is not None else (now / "person.pem", now / "person.key")
            context.load_cert_chain(*own)
        return context

    def ask(self, path: str, context: ssl.SSLContext | None = None, method: str = "GET", **arguments: Any) -> httpx.Response:
        """The API on its open port, over a connection of its own."""
        url = f"https://localhost:{self.ports['api']}{path}"
        with httpx.Client(verify=context or self.context(), trust_env=False, timeout=PATIENCE) as client:
            return client.request(method, url, **arguments)

    def shown_at(self, port: str) -> int:
        """Serial number of the certificate that a new connection meets there."""
        context = self.context()
        plain = socket.create_connection(("127.0.0.1", self.ports[port]), PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            der = connection.getpeercert(True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def stat(self, name: str) -> int:
        """The sum of Envoy's counters and gauges whose names end like this."""
        lines = self.admin.get("/stats", params={"filter": name}).text.splitlines()
        return sum(int(line.rsplit(": ", 1)[1]) for line in lines if line.rsplit(": ", 1)[0].endswith(name))

    def ended(self) -> float:
        """Requests whose end the controller has heard of."""
        lines = httpx.get(f"http://127.0.0.1:{self.ports['home']}/metrics", trust_env=False, timeout=PATIENCE).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(contract.METRIC_OUTCOMES + "{"))


def until(what: Callable[[], object], told: Callable[[], object] = str) -> None:
    """Wait until it is so; `told`: what to say where it does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    directory = tmp_path_factory.mktemp("tls")
    files, authority = Turning(directory / "files"), trustme.CA()
    files.turn(authority, [authority])
    models = {name: Model(name) for name in ("old", "new")}
    ports = {name: free_port() for name in ("envoy", "admin", "router", "collector", "api", "home", "metrics")}
    values = document(
        {"kind": "edge", "set_by": {"x-user-id": "the test"}, "address": "127.0.0.1", "port": ports["envoy"], "admin_port": ports["admin"]},
        {name: {"endpoint": model.endpoint} for name, model in models.items()},
        {"chat": a_rollout("50%", {"paths": ["/v1/"]})},
    )
    path, access = directory / "release.yaml", directory / "access.yaml"
    path.write_bytes(orjson.dumps(values))
    person = f'  ann: {{role: operator, certificate: ann.people}}\n  vera: {{role: viewer, token_sha256: "{digest(TOKEN).hex()}"}}\n'
    access.write_text(f"people:\n{person}")
    tls = RouterTls(str(files.ca), "localhost", str(files.client), str(files.client_key))
    settings = EnvoySettings(
        (f"127.0.0.1:{ports['router']}",),
        f"controller.localhost:{ports['collector']}",
        message_timeout=30.0,
        health_timeout=30.0,
        router_tls=tls,
        controller_tls=tls,
        secrets=str(directory),
    )
    config = yaml.safe_load(envoy_yaml(spec.read(str(path)), settings, "a test"))
    for cluster in config["static_resources"]["clusters"]:
        if cluster["name"] == contract.ROUTER_CLUSTER:
            (options,) = cluster["typed_extension_protocol_options"].values()
            options["common_http_protocol_options"] = {"max_connection_duration": "1s"}
            cluster["connect_timeout"] = "30s"
    (directory / "envoy.yaml").write_text(yaml.safe_dump(config))
    for name, text in secret_files(settings, "a test").items():
        (directory / name).write_text(text)
    flags = ["--spec", path, "--store", f"sqlite:{directory}/x.db", "--listen", f"127.0.0.1:{ports['router']}", "--workers", 1]
    flags += ["--collector", f"0.0.0.0:{ports['collector']}", "--sampler", f"unix:{directory}/s.sock", "--metrics-port", ports["metrics"]]
    flags += ["--api-port", ports["home"], "--api-listen", f"127.0.0.1:{ports['api']}", "--access", access]
    flags += ["--tls-cert", files.server, "--tls-key", files.server_key, "--tls-client-ca", files.ca]
    with ExitStack() as stack:
        for model in models.values():
            stack.callback(model.close)
        log = directory / "serve.log"
        process = stack.enter_context(running([sys.executable, "-m", "extproc", "serve", *map(str, flags)], log))
        wait_for(lambda: b"controller ready" in log.read_bytes() and b"router ready" in log.read_bytes(), process, log, PATIENCE)
        stack.enter_context(running_envoy(directory / "envoy.yaml", ports["admin"]))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{ports['envoy']}", trust_env=False, timeout=PATIENCE))
        admin = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{ports['admin']}", trust_env=False, timeout=PATIENCE))
        one = Stand(files, directory, process, ports, client, admin)
        until(lambda: one.stat(f"{contract.ROUTER_CLUSTER}.membership_healthy") == 1)
        yield one


class Load(threading.Thread):
    """Requests through Envoy, one after the other, and questions to the API, each over a connection of its own."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(daemon=True)
        self._stand, self._end = stand, threading.Event()
        self.requests = self.questions = 0
        self.failed: list[str] = []
        self.models: set[str] = set()

    def run(self) -> None:
        while not self._end.wait(PAUSE):
            try:
                self._once()
            except (httpx.HTTPError, OSError, KeyError) as error:
                self.failed.append(repr(error))

    def _once(self) -> None:
        user = f"user-{self.requests % 20}"
        self.requests += 1
        answer = self._stand.client.post("/v1/chat", json={"model": "old"}, headers={"x-user-id": user})
        if answer.status_code != 200:
            self.failed.append(f"a request: {answer.status_code}")
        self.models.add(answer.json()["model"])
        if self.requests % 10 == 0:
            self.questions += 1
            asked = self._stand.ask("/v1/status")
            if asked.status_code != 200:
                self.failed.append(f"the API: {asked.status_code}")

    def stop(self) -> None:
        self._end.set()
        self.join(PATIENCE)
        assert not self.is_alive()


def test_certificates_and_authorities_are_replaced_under_load(stand: Stand) -> None:
    """New certificates, then a new authority with an overlap: no request fails or stays undecided, none of their ends is lost, and new
    connections of everybody, Envoy included, show what is new."""
    files, first, second = stand.files, stand.files.issuer, trustme.CA()
    heard = stand.ended()
    load = Load(stand)
    load.start()

    def turned(issuer: trustme.CA, trusted: list[trustme.CA]) -> None:
        """Everybody has taken it, and Envoy has made new connections with it."""
        files.turn(issuer, trusted)
        until(lambda: {stand.shown_at(port) for port in ("router", "collector", "api")} == {serial(files.server)})
        shown = f"{serial(files.client):x}"
        until(lambda: shown in stand.admin.get("/certs").text.lower())
        handshakes = stand.stat(f"{contract.ROUTER_CLUSTER}.ssl.handshake")
        until(lambda: stand.stat(f"{contract.ROUTER_CLUSTER}.ssl.handshake") > handshakes + 1)
        asked = load.requests
        until(lambda: load.requests > asked + 20)

    try:
        turned(first, [first])
        turned(first, [first, second])
        turned(second, [first, second])
        turned(second, [second])
    finally:
        load.stop()
    assert load.failed == []
    assert load.models == {"old", "new"}
    assert load.questions >= 5
    # An undecided request is answered by stable; Envoy counts it.
    for counter in (
        "ssl.fail_verify_error",
        "ssl.fail_verify_san",
        "ssl.connection_error",
        "ext_proc.failure_mode_allowed",
        "logs_dropped",
    ):
        assert stand.stat(counter) == 0, counter
    until(lambda: stand.ended() - heard == load.requests, lambda: (heard, stand.ended(), load.requests))
    # Envoy comes back with its certificate of today to a controller that is another process.
    (controller,) = _controllers(stand.process.pid)
    os.kill(controller, signal.SIGKILL)
    until(lambda: _controllers(stand.process.pid) not in ([], [controller]))
    sent = 0

    def heard_again() -> bool:
        nonlocal sent
        sent += 1
        stand.client.post("/v1/chat", json={"model": "old"}, headers={"x-user-id": "u"})
        try:
            return stand.ended() > 0
        except httpx.TransportError:
            return False

    until(heard_again)
    assert stand.stat(f"{contract.COLLECTOR_CLUSTER}.ssl.handshake") >= 2


def _controllers(pid: int) -> list[int]:
    """The controller is the child that has its flag."""
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(OSError):  # it is gone
            if b"--tied" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(child)
    return found


# ----------------------------------------------------------------------------------------------------------------- the API's port
def test_the_open_port_wants_tls_and_a_certificate_of_its_authority(stand: Stand, tmp_path: Path) -> None:
    """In the clear, without a certificate, with a foreign one and with one that is over nobody gets an answer."""
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{stand.ports['api']}/healthz", trust_env=False)
    foreign = write(tmp_path / "foreign")
    over = Files(tmp_path / "over")
    over.directory.mkdir()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    made = stand.files.issuer.issue_cert("ann.people", not_before=yesterday - timedelta(days=1), not_after=yesterday)
    over.client.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    over.client_key.write_bytes(made.private_key_pem.bytes())
    for context in (stand.context(key=False), stand.context(foreign), stand.context(over)):
        with pytest.raises(httpx.TransportError):
            stand.ask("/healthz", context)
    assert stand.ask("/healthz").status_code == 200


def test_a_person_is_known_by_certificate_or_token_and_envoy_is_nobody(stand: Stand) -> None:
    """Roles are the same as on loopback; and at an address of the machine, where one may look on loopback, nobody looks unknown."""
    envoys, bearer = stand.context(stand.files), {"authorization": f"Bearer {TOKEN}"}
    assert stand.ask("/v1/status").status_code == 200
    assert stand.ask("/v1/exposures?rollout=chat").status_code == 403
    assert stand.ask("/v1/status", envoys).status_code == 401
    assert stand.ask("/v1/status", envoys, headers=bearer).status_code == 200
    assert stand.ask("/console/v1/journal", envoys).status_code == 401
    assert stand.ask("/console/v1/journal", envoys, headers={"host": "127.0.0.1"}).status_code == 401
    assert stand.ask("/console/v1/session").json()["name"] == "ann"
    home = f"http://127.0.0.1:{stand.ports['home']}"
    assert httpx.get(f"{home}/console/v1/journal", trust_env=False).status_code == 200
    refused = stand.ask("/v1/rollouts/chat/pause", envoys, "POST", json={"why": "x"}, headers=bearer)
    assert (refused.status_code, refused.json()["problems"][0]["id"]) == (403, "api.role")
    log = (stand.directory / "serve.log").read_text()
    assert "refused: vera (viewer) may not POST /v1/rollouts/chat/pause, which is for operator" in log
    assert TOKEN not in log


def test_the_command_acts_under_the_name_of_its_certificate(stand: Stand) -> None:
    """`--api https://...` with --ca, --cert and --key, from flags or the environment; no token is needed."""
    reach = ["--api", f"https://localhost:{stand.ports['api']}"]
    files = [str(stand.files.ca), str(stand.files.person), str(stand.files.person_key)]
    flags = [word for pair in zip(("--ca", "--cert", "--key"), files, strict=True) for word in pair]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EXTPROC_")}

    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "extproc", *words, *reach], capture_output=True, text=True, timeout=PATIENCE, env={**clean, **more}
        )

    done = command("pause", "chat", "--why", "a test", *flags, EXTPROC_ACTOR="mallory")
    assert done.returncode == 0, done.stderr
    names = (contract.API_CA_ENVIRONMENT, contract.API_CERT_ENVIRONMENT, contract.API_KEY_ENVIRONMENT)
    told = command("journal", "chat", "--json", **dict(zip(names, files, strict=True)))
    assert told.returncode == 0, told.stderr
    assert orjson.loads(told.stdout)[0]["actor"] == "ann"
    half = command("status", "--ca", files[0], "--cert", files[1])
    assert (half.returncode, "--key" in half.stderr) == (1, True)
