"""Every Envoy configuration of the manifests in the real Envoy: validated as it is for each example, and one request of each arm sent
through it, past the real router and controller with the manifests' own flags."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml

from extproc import contract, spec
from extproc.demo.envoy import find_envoy
from extproc.demo.processes import free_port
from extproc.domain import Overlay
from extproc.plan import kubernetes
from extproc.plan.kubernetes.mounts import keys_of
from extproc.store import open_store
from tests.support.certificates import Files
from tests.support.certificates import write as make_files
from tests.support.envoy_stand import OLD_ENVOY, PATIENT_CONNECT, PATIENT_HEALTH, PATIENT_MESSAGE, Model, running, running_envoy, wait_for
from tests.support.manifests import EXAMPLES, Document, documents, files, loaded, templates
from tests.support.patched import patched

CLOUD_RUN = "cloud-run"
SECRET = "a-key-of-a-test"
"""What the environment variables of keys hold here."""


def environment(name: str) -> dict[str, str]:
    """Every key that the example's Envoy reads."""
    return dict.fromkeys(keys_of(loaded(name), "envoy"), SECRET)


def keys_files(made: dict[str, str], overlay: str, directory: Path) -> list[Path]:
    """The files through which an overlay's Envoy finds keys, written."""
    found = []
    for path, text in made.items():
        if path.startswith(f"kubernetes/overlays/{overlay}/keys/"):
            found.append(directory / path.rpartition("/")[2])
            found[-1].write_text(text)
    return found


def configurations() -> list[tuple[str, str]]:
    """(example, path of a configuration, or the overlay whose patches make one)."""
    found = []
    for name in EXAMPLES:
        for path, text in files(name).items():
            if path.endswith((".yaml",)) and "\nstatic_resources:" in text:
                found.append((name, path))
        found += [
            (name, overlay) for overlay in ("istio", "envoy-gateway") if f"kubernetes/overlays/{overlay}/kustomization.yaml" in files(name)
        ]
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Authorities, and a certificate for each side."""
    return make_files(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(("name", "which"), configurations())
def test_envoy_accepts_it(name: str, which: str, tmp_path: Path, certificates: Files) -> None:
    """`envoy --mode validate`, with the files that volumes would bring; patches are for Envoy 1.36, and looked at by that one."""
    made, core = files(name), "/" not in which
    text = yaml.safe_dump(patched(made, which, loaded(name))) if core else made[which]
    mounted = {
        "/etc/extproc-tls/ca.crt": certificates.ca,
        "/etc/extproc-tls/tls.crt": certificates.client,
        "/etc/extproc-tls/tls.key": certificates.client_key,
    }
    mounted |= {f"/etc/extproc-keys/{path.name}": path for path in keys_files(made, which, tmp_path)}
    folder = which.rpartition("/")[0]
    for path in made:
        if path.rpartition("/")[0] == folder and Path(path).name.startswith(("tls.", "extproc_")):
            mounted[f"/etc/envoy/{Path(path).name}"] = tmp_path / Path(path).name
            (tmp_path / Path(path).name).write_text(made[path].replace("/etc/extproc-tls", str(certificates.directory)))
    for inside, outside in mounted.items():
        text = text.replace(inside, str(outside))
    config = tmp_path / "envoy.yaml"
    config.write_text(text)
    words = [OLD_ENVOY if core else find_envoy(), "--mode", "validate", "--config-path", config, "--log-level", "warning"]
    answer = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=150, check=False, env={**os.environ, **environment(name)}
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "deprecated" not in answer.stdout + answer.stderr


# ------------------------------------------------------------------------------------------------------------------------- requests
@dataclass
class Running:
    """An overlay that runs on this machine."""

    client: httpx.Client
    models: dict[str, Model]
    series: str
    api: str
    router: subprocess.Popen[bytes]

    def answered(self, said: str = "", **headers: str) -> str:
        """Who answers."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        answer = self.client.post("/v1/chat/completions", json={"model": "gpt-4o", "user": said}, headers=named)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return str(answer.json()["model"])


def release(models: dict[str, Model], infrastructure: str) -> Any:
    """The chatbot's Spec for this machine: its models here, without a judge, everything in front internal and the canary for everybody in
    one country."""
    values = yaml.safe_load(EXAMPLES["chatbot"].read_text(encoding="utf-8"))
    del values["judge"]
    values["listener"] = {"kind": "internal", "port": free_port(), "admin_port": free_port()}
    for name, model in models.items():
        values["models"][name]["endpoint"] = model.endpoint
    values["application"]["infrastructure"] = infrastructure
    values["deploy"] |= {
        "overlays": ["edge", "sidecar", "scaled", "istio", "envoy-gateway"],
        "router_tls": "router-tls",
        "backup_bucket": "copies",
    }
    rollout = values["rollouts"]["gpt-5-mini"]
    rollout |= {"cohorts": [{"name": "germany", "country": ["DE"]}], "phases": rollout["phases"][-1:], "windows": []}
    del rollout["approval_above"]
    return values


def flags_of(made: dict[str, str], overlay: str, path: str, role: str) -> list[str]:
    """The arguments of a role's container in a manifest."""
    if overlay == CLOUD_RUN:
        containers = documents(made[path])[0]["spec"]["template"]["spec"]["containers"]
        args = next(one["args"] for one in containers if one["name"] == role)
        return list(args) if len(args) > 1 else shlex.split(args[0].partition("exec extproc ")[2])
    for document in documents(made[f"kubernetes/overlays/{overlay}/{path}"]):
        proxy = document["spec"].get("provider", {}).get("kubernetes", {}).get("envoyDeployment", {}).get("patch", {}).get("value")
        pod = (proxy or document)["spec"].get("template", {}).get("spec", {})
        for container in pod.get("containers", ()):
            if container["name"] == role:
                return list(container["args"])
    raise AssertionError(f"no {role} in {path}")


@contextmanager
def running_overlay(overlay: str, path: str, directory: Path, certificates: Files) -> Iterator[Running]:
    """Router, controller and Envoy as the manifests say, paths and ports of a pod replaced by some of this machine."""
    models = {name: Model(name) for name in ("gpt-4o", "gpt-5-mini")}
    values = release(models, "cloud_run" if overlay == CLOUD_RUN else "kubernetes")
    one = spec.load(orjson.dumps(values).decode())
    made = kubernetes.files(one)
    host = f"{one.application.name}-brain.{one.deploy.namespace}.svc" if one.deploy is not None else ""
    ports = {port: str(free_port()) for port in ("9090", "9091", "9100", "9972", "9970", "9971", "9464", "10080")}
    (directory / "spec").mkdir()
    (directory / "spec" / "release.yaml").write_bytes(orjson.dumps(values))
    for name in ("run", "store", "keys"):
        (directory / name).mkdir()
    places = {
        "/run/extproc": f"{directory}/run",
        "/var/lib/extproc": f"{directory}/store",
        "/spec/": f"{directory}/spec/",
        "/etc/extproc-keys": f"{directory}/keys",
        "/etc/envoy/extproc_": f"{directory}/extproc_",
        "path: /etc/extproc-tls\n": f"path: {certificates.directory}\n",
    }

    def here(text: str, side: str) -> str:
        """A text of the manifests, for this machine."""
        certificate = {"client": (certificates.client, certificates.client_key), "server": (certificates.server, certificates.server_key)}[
            side
        ]
        tls = dict(zip(("ca.crt", "tls.crt", "tls.key"), (certificates.ca, *certificate), strict=True))
        for before, after in {**places, **{f"/etc/extproc-tls/{key}": str(path) for key, path in tls.items()}}.items():
            text = text.replace(before, after)
        for before, after in ports.items():
            for form in ("port_value: {}\n", ":{}"):
                text = text.replace(form.format(before), form.format(after))
        # The certificates of these tests name localhost.
        return text.replace(f"address: {host}", "address: 127.0.0.1").replace(f"sni: {host}", "sni: localhost")

    if overlay in ("istio", "envoy-gateway"):
        config = yaml.safe_load(here(yaml.safe_dump(patched(made, overlay, one)), "client"))
        config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": one.listener.admin_port}}}
        keys_files(made, overlay, directory / "keys")
        envoy: Path | None = OLD_ENVOY
    else:
        folder = {CLOUD_RUN: CLOUD_RUN, Overlay.SCALED: "kubernetes/overlays/scaled/config"}.get(overlay, f"kubernetes/overlays/{overlay}")
        config, envoy = yaml.safe_load(here(made[f"{folder}/envoy.yaml"], "client")), None
        for name in made:
            if name.startswith(f"{folder}/extproc_"):
                (directory / Path(name).name).write_text(here(made[name], "client"))
    _patient(config)
    written = directory / "envoy.yaml"
    written.write_text(yaml.safe_dump(config))
    roles = {role: [here(word, "server") for word in flags_of(made, overlay, path, role)] for role in ("router", "controller")}
    # One worker is enough here, and ports follow each other.
    roles["router"][roles["router"].index("--workers") + 1] = "1"
    roles["router"] += ["--metrics-port", ports["9971"]]  # the last one counts
    roles["controller"] += ["--api-port", ports["9970"]]
    with ExitStack() as stack:
        for model in models.values():
            stack.callback(model.close)
        for role, ready in (("controller", b"controller ready"), ("router", b"router ready: ")):
            log = directory / f"{role}.log"
            process = stack.enter_context(running([sys.executable, "-m", "extproc", *roles[role]], log))
            wait_for(lambda log=log, ready=ready: ready in log.read_bytes(), process, log)
        # The last one that was started.
        router = process
        keys = dict.fromkeys(("OPENAI_API_KEY", "OPENAI_CANARY_API_KEY"), SECRET)
        stack.enter_context(running_envoy(written, one.listener.admin_port, envoy, keys))
        port = config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
        asked = {"base_url": f"http://127.0.0.1:{port}", "headers": {"host": one.deploy.domain if one.deploy is not None else ""}}
        client = stack.enter_context(httpx.Client(**asked, trust_env=False, timeout=60.0))
        yield Running(client, models, f"http://127.0.0.1:{ports['9464']}", f"http://127.0.0.1:{ports['9970']}", router)


def _patient(config: Document) -> None:
    """A busy machine must not look like a wrong answer; and there is one worker."""
    router = next(one for one in config["static_resources"]["clusters"] if one["name"].endswith((contract.ROUTER_CLUSTER, "/extproc/0")))
    endpoints = router["load_assignment"]["endpoints"][0]
    endpoints["lb_endpoints"] = endpoints["lb_endpoints"][:1]
    router["health_checks"][0]["timeout"] = f"{PATIENT_HEALTH:g}s"
    router["connect_timeout"] = f"{PATIENT_CONNECT:g}s"
    chain = config["static_resources"]["listeners"][0]
    chain = chain.get("default_filter_chain") or chain["filter_chains"][0]
    for one in chain["filters"][0]["typed_config"]["http_filters"]:
        if one["name"].startswith("envoy.filters.http.ext_proc"):
            one["typed_config"]["message_timeout"] = f"{PATIENT_MESSAGE:g}s"


PLACES = {
    CLOUD_RUN: "cloud-run/service.yaml",
    Overlay.EDGE: "deployment.yaml",
    Overlay.SIDECAR: "deployment.yaml",
    Overlay.SCALED: "brain.yaml",
    Overlay.ISTIO: "deployment.yaml",
    Overlay.ENVOY_GATEWAY: "gateway.yaml",
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("overlay", PLACES)
def test_requests_find_their_model(overlay: str, tmp_path: Path, certificates: Files) -> None:
    """The cohort meets the canary, with the canary's name and key; everybody else, and everybody without a router, stable with its key;
    what is said of routes from outside is not heard; the controller is told of it."""
    with running_overlay(overlay, PLACES[overlay], tmp_path, certificates) as stand:
        deadline = time.monotonic() + 150
        # The canary is met as soon as the controller has begun the rollout and Envoy has found the worker.
        while stand.answered(x_user_id="u1", x_geo_country="DE") != "gpt-5-mini":
            assert time.monotonic() < deadline, (tmp_path / "router.log").read_text()
            time.sleep(0.1)
        met = stand.models["gpt-5-mini"].requests[-1]
        assert met.header("authorization") == f"Bearer {SECRET}"
        assert b'"gpt-5-mini"' in met.body
        assert not {"x-user-id", "x-geo-country", "x-llm-cluster"} & met.names
        # Gateways hold 32 KiB of a body by themselves; the model's name is read and rewritten in longer ones.
        assert stand.answered("long " * 60_000, x_user_id="u1", x_geo_country="DE") == "gpt-5-mini"
        assert stand.answered(x_user_id="u1", x_geo_country="FR", x_llm_cluster="gpt-5-mini") == "gpt-4o"
        assert stand.models["gpt-4o"].requests[-1].header("authorization") == f"Bearer {SECRET}"
        assert stand.client.get("/extproc/healthz").text == "ok"
        assert stand.client.get("/elsewhere").status_code == 404
        _told(f"{stand.api}/metrics", deadline)
        if overlay == Overlay.EDGE:
            _series_are_shown(stand, deadline)
        os.killpg(stand.router.pid, signal.SIGKILL)
        stand.router.wait()
        assert stand.answered(x_user_id="u1", x_geo_country="DE") == "gpt-4o"


def _told(url: str, deadline: float) -> None:
    """The controller has heard of requests."""
    while "extproc_outcomes_total{" not in httpx.get(url, trust_env=False, timeout=60).text:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _series_are_shown(stand: Running, deadline: float) -> None:
    with httpx.Client(base_url=stand.series, trust_env=False, timeout=60.0) as client:
        _told(f"{stand.series}/metrics/controller", deadline)
        assert "extproc_decisions_total" in client.get("/metrics/router").text
        assert "envoy_cluster_upstream_rq" in client.get("/metrics/envoy").text
        assert client.post("/metrics/controller").status_code == 404
        assert client.get("/v1/status").status_code == 404


# ----------------------------------------------------------------------------------------------------------------------------- copies
def test_the_copy_of_the_store_comes_back(tmp_path: Path) -> None:
    """Cloud Run's own scripts: the copy is made while the store is in use, the container ends when told, and the next instance begins with
    the copy, but never writes it over a store that is there."""
    service = documents(files("search")["cloud-run/service.yaml"])[0]
    containers = {one["name"]: one for one in service["spec"]["template"]["spec"]["containers"]}
    places = {"/var/lib/extproc": "store", "/backup": "bucket", "/tmp/extproc.db": "scratch/extproc.db"}
    scripts = {name: containers[name]["args"][0] for name in ("backup", "controller")}
    for inside, outside in places.items():
        (tmp_path / outside.partition("/")[0]).mkdir()
        scripts = {name: script.replace(inside, str(tmp_path / outside)) for name, script in scripts.items()}
    store, copy = tmp_path / "store" / "extproc.db", tmp_path / "bucket" / "extproc.db"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    log = tmp_path / "backup.log"
    writer = open_store(f"sqlite:{store}", writer=True)
    try:
        script = scripts["backup"].replace("sleep 60", "sleep 0.1")
        with running(["/bin/sh", "-c", script], log, {"PATH": path}) as process:
            wait_for(copy.exists, process, log)
            process.terminate()
            assert process.wait(timeout=60) == 0
    finally:
        writer.close()
    restore = scripts["controller"].partition("exec ")[0]
    for left in (store, *store.parent.glob("extproc.db-*")):
        left.unlink(missing_ok=True)
    subprocess.run(["/bin/sh", "-c", restore], check=True, timeout=60)
    assert store.read_bytes() == copy.read_bytes()
    open_store(f"sqlite:{store}", writer=True).close()
    store.write_bytes(b"of a container that was started again")
    subprocess.run(["/bin/sh", "-c", restore], check=True, timeout=60)
    assert store.read_bytes() == b"of a container that was started again"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_script_is_one(name: str) -> None:
    """The shell reads each of them."""
    for template in (one for text in files(name).values() if "kind:" in text for one in templates(documents(text))):
        for container in template["spec"]["containers"]:
            words = [*container.get("command", ()), *container.get("args", ())]
            if words[:2] == ["/bin/sh", "-c"]:
                subprocess.run(["/bin/sh", "-n", "-c", words[2]], check=True, timeout=60)
