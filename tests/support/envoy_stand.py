"""A small whole: recording models, a real router, the real Envoy with a rendered configuration. Synchronous, loopback only.

The models of `extproc.demo` simulate load; these record every byte that arrives, which is what a promise about headers needs.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from extproc import contract, spec
from extproc.demo.envoy import find_envoy
from extproc.demo.population import COUNTRY_NETWORKS
from extproc.demo.processes import free_port
from extproc.render import EnvoySettings, Profile, RouterTls, envoy_snippet, envoy_yaml
from extproc.transport import TransportName
from loadtest.geography import write_country_database
from tests.support.certificates import Files

ROOT = Path(__file__).parents[2]
OLD_ENVOY = ROOT / ".venv" / "envoy-1.36.4" / "envoy" / "_bin" / "envoy"
"""Installed by `make setup`; its absence fails the tests that need it."""
PAUSE = 0.15
"""Seconds between two chunks of a streamed answer."""
PATIENCE = 60.0
"""Seconds for what comes at once on a machine at rest."""
PATIENT_MESSAGE, PATIENT_HEALTH, PATIENT_CONNECT = 2.0, 10.0, 10.0
"""Seconds that Envoy waits for a router: for a decision, a sign of life, a connection. In production so little that a machine which stands
still for a moment would look like a wrong answer."""
ADDRESSES = {country: str(network.network_address + 9) for country, network in COUNTRY_NETWORKS.items()}
"""One client address per country of the test database."""
Document = dict[str, Any]


# --------------------------------------------------------------------------------------------------------------------- models
@dataclass(frozen=True)
class Arrived:
    """One request as a model got it."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The one value of a header; fails where it came twice."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        """Header names, lower case."""
        return {key for key, _ in self.headers}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext | None = None
    model: Model

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake belongs to the connection's thread: an idle connection must not keep others waiting.
        with suppress(OSError):
            if self.context is None:
                super().finish_request(request, client_address)
            else:
                with self.context.wrap_socket(request, server_side=True) as wrapped:
                    super().finish_request(wrapped, client_address)

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):
            super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self._body()
        model = self.server.model
        model.requests.append(Arrived(self.path, [(key.lower(), value) for key, value in self.headers.items()], body))
        if b'"stream":true' in body:
            self._stream(model.name, PAUSE * 3 if b'"long":true' in body else PAUSE)
            return
        usage = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}
        answer = orjson.dumps({"object": "chat.completion", "model": model.name, "choices": [], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _stream(self, name: str, pause: float) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        usage = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}
        chunks = [{"object": "chat.completion.chunk", "model": name, "choices": [], "usage": found} for found in (None, None, usage)]
        for event in (*map(orjson.dumps, chunks), b"[DONE]"):
            data = b"data: " + event + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
            time.sleep(pause)
        self.wfile.write(b"0\r\n\r\n")


class Model:
    """A recording model on a port of loopback, by default a free one; says its name in every answer."""

    def __init__(self, name: str, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.name = name
        self.requests: list[Arrived] = []
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.model = self
        self._server.context = context
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> Document:
        """As a Spec names it."""
        return {"host": "127.0.0.1", "port": self.port}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


# ------------------------------------------------------------------------------------------------------------------ processes
@contextmanager
def running(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that has ended afterwards, frozen or not."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})},
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            # Nothing here has anything to save; frozen processes die as well.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running_router(spec_path: Path, listen: str, phase: str, more: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """`extproc router` that has said it is ready; one worker."""
    log = spec_path.parent / "router.log"
    command = [sys.executable, "-m", "extproc", "router", "--spec", str(spec_path), "--listen", listen]
    with running([*command, *more, "--workers", "1", "--phase", phase, "--metrics-port", "0"], log) as process:
        wait_for(lambda: b"router ready: " in log.read_bytes(), process, log)
        yield process


@contextmanager
def running_envoy(
    config: Path, admin_port: int, envoy: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The real Envoy, ready."""
    log = config.with_suffix(".log")
    words = [envoy or find_envoy(), "--config-path", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with running(words, log, environment) as process:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            wait_for(lambda: _ready(client, admin_port), process, log)
        yield process


def _ready(client: httpx.Client, port: int) -> bool:
    with suppress(httpx.TransportError):
        return client.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    return False


def wait_for(condition: Any, process: subprocess.Popen[bytes], log: Path, patience: float = PATIENCE) -> None:
    """Until the condition holds; fails with the process's log if it ends or time is over."""
    deadline = time.monotonic() + patience
    while not condition():
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------------------- stand
@dataclass
class Stand:
    """Envoy with a router behind it, and a client in front."""

    models: dict[str, Model]
    client: httpx.Client
    admin: httpx.Client
    router: subprocess.Popen[bytes]
    directory: Path

    def ask(self, path: str = "/v1/chat", body: Document | bytes | None = None, **headers: str) -> httpx.Response:
        """POST a JSON body; `x_user_id` stands for the header x-user-id."""
        content = body if isinstance(body, bytes) else orjson.dumps(body if body is not None else {"model": "old"})
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        sent = {key: value for key, value in {"content-type": "application/json", **named}.items() if value}
        return self.client.post(path, content=content, headers=sent)

    def answered(self, path: str = "/v1/chat", body: Document | bytes | None = None, **headers: str) -> str:
        """The name of the model that answered; fails on anything but 200."""
        answer = self.ask(path, body, **headers)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return str(answer.json()["model"])

    def last(self, model: str) -> Arrived:
        """The last request that a model got."""
        return self.models[model].requests[-1]

    @contextmanager
    def runtime(self, key: str, value: int) -> Iterator[None]:
        """A runtime key has this value, set as an operator would; afterwards it has its default again."""
        self._set(key, str(value))
        try:
            yield
        finally:
            self._set(key, "")

    def _set(self, key: str, value: str) -> None:
        answer = self.admin.post("/runtime_modify", params={key: value})
        assert answer.status_code == 200, answer.text

    def workers(self) -> list[int]:
        """Process ids of the router's children."""
        return [int(pid) for pid in Path(f"/proc/{self.router.pid}/task/{self.router.pid}/children").read_text().split()]

    def stat(self, name: str) -> int:
        """The sum of all counters and gauges whose names end like this."""
        lines = self.admin.get("/stats", params={"filter": name}).text.splitlines()
        return sum(int(line.rsplit(": ", 1)[1]) for line in lines if line.rsplit(": ", 1)[0].endswith(name))


@contextmanager
def standing(
    document: Document,
    models: dict[str, Model],
    directory: Path,
    *,
    profile: Profile = Profile.FULL,
    envoy: Path | None = None,
    environment: Mapping[str, str] | None = None,
    host: Document | None = None,
    message_timeout: float = PATIENT_MESSAGE,
    files: Files | None = None,
    transport: TransportName = TransportName.NATIVE,
) -> Iterator[Stand]:
    """Everything up; the rollouts stand at the phase `now`. `host` is a foreign Envoy configuration to merge the snippet into.

    With `files`, Envoy and router speak mutual TLS over TCP, otherwise over a Unix socket.
    The decision may take longer than in production: a busy machine must not look like a wrong answer.
    """
    port, admin_port = free_port(), free_port()
    document["listener"] |= {"address": "127.0.0.1", "port": port, "admin_port": admin_port}
    path = directory / "release.yaml"
    # JSON is YAML, without aliases (which a Spec refuses).
    path.write_bytes(orjson.dumps(document))
    loaded = spec.read(str(path))
    listen = f"unix:{directory}/r.sock" if files is None else f"127.0.0.1:{free_port()}"
    tls = RouterTls(str(files.ca), "localhost", str(files.client), str(files.client_key)) if files is not None else None
    settings = EnvoySettings(
        contract.endpoints(listen, 1),
        f"unix:{directory}/c.sock",
        profile,
        message_timeout=message_timeout,
        health_timeout=PATIENT_HEALTH,
        router_tls=tls,
        sampler=f"unix:{directory}/s.sock",
    )
    config = directory / "envoy.yaml"
    if host is None:
        config.write_text(patient(envoy_yaml(loaded, settings, "a test")))
    else:
        snippet = yaml.safe_load(envoy_snippet(loaded, settings, "a test"))
        config.write_text(patient(yaml.safe_dump(merged(host, snippet, port, admin_port))))
    more = ["--transport", transport.value]
    if files is not None:
        more += ["--tls-cert", str(files.server), "--tls-key", str(files.server_key), "--tls-client-ca", str(files.ca)]
    with ExitStack() as stack:
        for model in models.values():
            stack.callback(model.close)
        router = stack.enter_context(running_router(path, listen, "now", more))
        stack.enter_context(running_envoy(config, admin_port, envoy, environment))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE))
        admin = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{admin_port}", trust_env=False, timeout=PATIENCE))
        stand = Stand(models, client, admin, router, directory)
        deadline = time.monotonic() + PATIENCE
        while stand.stat(f"{contract.ROUTER_CLUSTER}.membership_healthy") < 1:
            assert time.monotonic() < deadline, "Envoy does not find the router healthy"
            time.sleep(0.02)
        yield stand


def patient(config: str, message_timeout: float | None = None) -> str:
    """The same Envoy configuration, but that it waits longer for its router: for a connection and a sign of life, and for a decision where
    that is said."""
    document = yaml.safe_load(config)
    (router,) = [one for one in document["static_resources"]["clusters"] if one["name"] == contract.ROUTER_CLUSTER]
    router["connect_timeout"] = f"{PATIENT_CONNECT:g}s"
    for check in router["health_checks"]:
        check["timeout"] = f"{PATIENT_HEALTH:g}s"
    if message_timeout is not None:
        for filter_ in document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]:
            if filter_["name"] == "envoy.filters.http.ext_proc":
                filter_["typed_config"]["message_timeout"] = f"{message_timeout:g}s"
    return yaml.safe_dump(document)


def merged(host: Document, snippet: Document, port: int, admin_port: int) -> Document:
    """A foreign Envoy configuration with the snippet's parts put where its comments say."""
    host["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}}
    listener = host["static_resources"]["listeners"][0]
    listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager.update(snippet["http_connection_manager"])
    manager["http_filters"] = [*snippet["http_filters"], *manager["http_filters"]]
    virtual_host = manager["route_config"]["virtual_hosts"][0]
    virtual_host.update(snippet["virtual_host"])
    virtual_host["routes"] = [*snippet["routes"], *virtual_host["routes"]]
    host["static_resources"]["clusters"] += snippet["clusters"]
    host["static_resources"]["secrets"] = snippet.get("secrets", [])
    host["static_resources"]["listeners"] += snippet.get("listeners", [])
    if "bootstrap_extensions" in snippet:
        host["bootstrap_extensions"] = snippet["bootstrap_extensions"]
    host["layered_runtime"] = snippet["layered_runtime"]
    return host


# ---------------------------------------------------------------------------------------------------------------------- Specs
def document(listener: Document, models: Document, rollouts: Document) -> Document:
    """A Spec with the parts that routing is about."""
    return {
        "version": 1,
        "application": {
            "name": "chat",
            "type": "chatbot",
            "daily_requests": 1_000_000,
            "daily_units": 50_000,
            "sla": {"latency_p99": "8s", "ttft": "2s", "uptime": "99.9%"},
            "infrastructure": "vm",
        },
        "listener": listener,
        "models": models,
        "rollouts": rollouts,
    }


def a_rollout(share: str, match: Document, cohorts: list[Document] | None = None, **changes: Any) -> Document:
    """old -> new with this share at the phase `now`; users by header, API key, cookie."""
    dwell = {"min_dwell": "1m", "max_dwell": "1h", "min_units": 50}
    phases = [{"name": "now", "share": share, **dwell}]
    if share != "100%":
        phases.append({"name": "all", "share": "100%", **dwell})
    plain = {
        "match": match,
        "stable": "old",
        "canary": "new",
        "unit": {"sources": [{"header": "x-user-id"}, {"api_key": "authorization"}, {"cookie": "llm_uid"}]},
        "cohorts": cohorts or [{"name": "everyone"}],
        "phases": phases,
    }
    return plain | changes


def user_on(stand: Stand, model: str, path: str = "/v1/chat") -> str:
    """A user whose requests this model answers."""
    for number in range(200):
        if stand.answered(path, x_user_id=f"user-{number}") == model:
            return f"user-{number}"
    raise AssertionError(f"nobody of 200 users meets {model}")


@contextmanager
def routing_stand(
    directory: Path, profile: Profile, envoy: Path | None = None, message_timeout: float = PATIENT_MESSAGE
) -> Iterator[Stand]:
    """An edge with geoip; only the user id is set by somebody in front."""
    models = {name: Model(name) for name in ("old", "new", "other", "other-new")}
    blocks = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    blocks["new"]["send_model"] = 'new "100%" é'
    germany, staff = [{"name": "germany", "country": ["DE"]}], [{"name": "staff", "tier": ["internal"]}]
    rollouts = {
        "chat": a_rollout("50%", {"paths": ["/v1/", "/v2/"], "models": ["old", "older"]}),
        "other": a_rollout("100%", {"paths": ["/v1/"], "models": ["other"]}, stable="other", canary="other-new"),
        "geo": a_rollout("100%", {"paths": ["/geo/"]}, germany),
        "tier": a_rollout("100%", {"paths": ["/tier/"]}, staff),
        "host": a_rollout("100%", {"hosts": ["Llm.Example"], "paths": ["/host/"]}),
    }
    listener = {
        "kind": "edge",
        "trusted_hops": 1,
        "geoip": {"database": str(write_country_database(directory / "country.mmdb"))},
        "set_by": {"x-user-id": "the test"},
    }
    with standing(
        document(listener, blocks, rollouts), models, directory, profile=profile, envoy=envoy, message_timeout=message_timeout
    ) as stand:
        yield stand
