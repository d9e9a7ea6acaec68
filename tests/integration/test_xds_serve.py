"""`extproc serve --xds` and an Envoy that starts with a bootstrap alone: what people do and see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from rich.console import Console

from extproc import contract
from extproc import spec as specs
from extproc.cli.picture import picture
from extproc.demo.processes import free_port
from extproc.render import EnvoySettings
from extproc.render.bootstrap import XdsSettings, bootstrap_yaml
from tests.support.envoy_stand import Model, a_rollout, document, running, running_envoy
from tests.support.xds_stand import until

USERS = [f"user-{number}" for number in range(16)]


@dataclass
class Whole:
    """Everything, on one machine."""

    directory: Path
    port: int
    admin_port: int
    api_port: int
    models: dict[str, Model]
    controller: ExitStack = field(default_factory=ExitStack)

    @property
    def store(self) -> str:
        return f"sqlite:{self.directory}/extproc.db"

    def serve(self) -> None:
        """`extproc serve`, answering."""
        command = [sys.executable, "-m", "extproc", "serve", "--spec", self.directory / "release.yaml", "--store", self.store]
        command += ["--listen", f"unix:{self.directory}/r.sock", "--workers", "1", "--collector", f"unix:{self.directory}/c.sock"]
        command += ["--api-port", str(self.api_port), "--metrics-port", "0", "--xds", f"unix:{self.directory}/x.sock"]
        self.controller.enter_context(running(command, self.directory / "serve.log"))
        self.status()

    def extproc(self, *words: str) -> str:
        """What a command says; fails where it fails."""
        environment = {**os.environ, contract.STORE_ENVIRONMENT: self.store, contract.API_ENVIRONMENT: f"http://127.0.0.1:{self.api_port}"}
        command = [sys.executable, "-m", "extproc", *words]
        environment[contract.ACTOR_ENVIRONMENT] = "ada"
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def seen(self) -> str:
        """What `extproc status` shows."""
        console = Console(record=True, width=160, file=StringIO())
        console.print(picture(self.status(), self.api("/v1/journal")["entries"]))
        return console.export_text()

    def api(self, path: str) -> Any:
        """A document of the API, as of now."""
        return until(lambda: self._answer(path))

    def _answer(self, path: str) -> Any:
        """Nothing while it does not answer."""
        try:
            token = (self.directory / "extproc.db.token").read_text().strip()
            answer = httpx.get(
                f"http://127.0.0.1:{self.api_port}{path}", headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=30.0
            )
        except (OSError, httpx.TransportError):
            return None
        return answer.json() if answer.status_code == 200 and not answer.json().get("stale") else None

    def status(self) -> Any:
        return self.api("/v1/status")

    def act(self, word: str) -> Any:
        """The switch, by the API."""
        token = (self.directory / "extproc.db.token").read_text().strip()
        url = f"http://127.0.0.1:{self.api_port}/v1/processor/{word}"
        headers = {"authorization": f"Bearer {token}"}
        return (
            httpx.post(url, json={"why": "again", "actor": "ada"}, headers=headers, trust_env=False, timeout=60.0).raise_for_status().json()
        )

    def answered(self) -> set[str]:
        """By whom all users are answered; a status where it is not 200."""
        found = set()
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=60.0) as client:
            for user in USERS:
                answer = client.post("/v1/chat", json={"model": "old"}, headers={"x-user-id": user})
                found.add(str(answer.json()["model"]) if answer.status_code == 200 else str(answer.status_code))
        return found

    def decided(self) -> int:
        """Requests of which Envoy has asked the router."""
        text = httpx.get(
            f"http://127.0.0.1:{self.admin_port}/stats?filter=ingress.ext_proc.streams_closed", trust_env=False, timeout=30.0
        ).text
        return int(text.rpartition(": ")[2])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Up, with both arms in use."""
    directory = tmp_path_factory.mktemp("serve")
    models = {name: Model(name) for name in ("old", "new")}
    port, admin_port, api_port = free_port(), free_port(), free_port()
    listener = {"kind": "edge", "address": "127.0.0.1", "port": port, "admin_port": admin_port, "set_by": {"x-user-id": "the test"}}
    blocks = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    blocks["new"]["probe"] = {"path": "/health", "every": "200ms"}
    spec = document(listener, blocks, {"chat": a_rollout("50%", {"paths": ["/v1/"]})})
    (directory / "release.yaml").write_bytes(orjson.dumps(spec))
    found = Whole(directory, port, admin_port, api_port, models)
    with ExitStack() as stack:
        stack.callback(lambda: [model.close() for model in found.models.values()])
        stack.enter_context(found.controller)
        found.serve()
        bootstrap = directory / "bootstrap.yaml"
        settings = EnvoySettings(contract.endpoints(f"unix:{directory}/r.sock", 1), f"unix:{directory}/c.sock", message_timeout=1.0)
        way = XdsSettings(f"unix:{directory}/x.sock", "edge-1")
        bootstrap.write_text(bootstrap_yaml(specs.read(str(directory / "release.yaml")), settings, way, "a test"))
        stack.enter_context(running_envoy(bootstrap, admin_port))
        until(lambda: port_answers(found))
        until(lambda: found.answered() == {"old", "new"})
        yield found


def port_answers(whole: Whole) -> bool:
    """True as soon as Envoy has been told its listener."""
    try:
        return httpx.get(f"http://127.0.0.1:{whole.port}{contract.HEALTH_PATH}", trust_env=False, timeout=30.0).status_code == 200
    except httpx.TransportError:
        return False


def test_status_tells_what_each_envoy_has(whole: Whole) -> None:
    """Name, protocol, Spec and versions of each kind; series of the same."""
    status = whole.status()
    (node,) = status["xds"]["nodes"]
    assert (node["node"], node["connected"], node["protocol"], node["refused"]) == ("edge-1", True, "delta", None)
    assert node["spec_digest"] == status["spec_digest"]
    assert set(node["versions"]) == {"clusters", "endpoints", "listeners", "processor", "routes"}
    series = httpx.get(f"http://127.0.0.1:{whole.api_port}/metrics", trust_env=False, timeout=30.0).text
    assert f'{contract.METRIC_XDS_CONNECTED}{{node="edge-1"}} 1.0' in series
    assert f"{contract.METRIC_PROCESSOR_OFF} 0.0" in series


def test_a_canary_without_a_healthy_endpoint_gets_no_traffic(whole: Whole) -> None:
    """It goes away: requests go to stable, the decision holds and says why; it comes back, and all goes on by itself."""
    new = whole.models["new"]
    new.close()
    until(lambda: whole.status()["readiness"]["away"])
    # Requests that fail would be evidence of harm.
    until(lambda: all(router["withdrawn"] for router in whole.status()["routers"]))
    until(lambda: whole.answered() == {"old"})
    rollout = until(lambda: (found := whole.status()["rollouts"]["chat"]) and found["page"] and found)
    assert "no healthy endpoint" in rollout["now"]
    assert rollout["status"] == "progressing"
    whole.models["new"] = Model("new", port=new.port)
    until(lambda: whole.answered() == {"old", "new"})
    until(lambda: not whole.status()["rollouts"]["chat"]["page"])


def test_a_person_switches_the_processor_off_and_on(whole: Whole) -> None:
    """Envoy asks nobody any more; it survives a killed controller, during which Envoy serves; it is in the Journal, and status shouts."""
    said = whole.extproc("processor", "off", "--why", "the router is mad")
    assert "told now: 1;" in said
    until(lambda: whole.answered() == {"old"})
    until(lambda: (asked := whole.decided()) == (whole.answered() and whole.decided()) and asked)
    shown = whole.seen()
    assert "OFF since" in shown
    assert "the router is mad" in shown
    assert "edge-1" in shown
    (entry,) = [one for one in whole.api("/v1/journal")["entries"] if one["action"] == "switch_off"]
    assert (entry["actor"], entry["why"], entry["rollout"]) == ("ada", "the router is mad", "chat")
    assert whole.act("off")["repeated"]
    versions = whole.status()["xds"]["nodes"][0]["versions"]
    whole.controller.close()
    assert whole.answered() == {"old"}
    whole.serve()
    node = until(lambda: (nodes := whole.status()["xds"]["nodes"]) and nodes[0]["spec_digest"] and nodes[0])
    assert node["versions"] == versions
    assert whole.status()["processor"]["off"]
    assert whole.answered() == {"old"}
    whole.act("on")
    until(lambda: whole.answered() == {"old", "new"})
    assert not whole.status()["processor"]["off"]
