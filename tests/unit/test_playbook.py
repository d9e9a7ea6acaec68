"""PLAYBOOK.md and the template of a post-mortem, of several Specs: complete, without slots, with links that lead somewhere, and with
commands that a shell understands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mermaidx
import pytest
import yaml

from extproc import contract
from extproc import spec as spec_room
from extproc.demo.stand import template as demo
from extproc.domain import FeedbackTerms, Infrastructure, Model, Spec
from extproc.plan.monitoring.alerts import names
from extproc.plan.playbook import files
from extproc.plan.playbook.place import OVERLAYS, Place
from extproc.store import open_store
from tests.support.specs import cohort, conversation, model, rollout
from tests.support.specs import spec as spec_of

ROOT = Path(__file__).parents[2]
SLOT = re.compile(r"TODO|FIXME|CHANGEME|REPLACE|[Yy]our-|example\.com|<[^>\n]*>|\{\{|\$\{")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _loaded(document: dict[str, Any]) -> Spec:
    return spec_room.load(yaml.safe_dump(document))


def _judged() -> Spec:
    document = demo()
    judge = {"url": "http://127.0.0.1:1/v1", "model": "gpt-5", "prices": {"input": "$1", "output": "$10"}}
    document["judge"] = {"judges": [judge], "sample": "10%"}
    document["rollouts"]["gpt-5-mini"]["conversation"] = {"header": "x-conversation-token", "on_quality_rollback": "drain"}
    for phase in document["rollouts"]["gpt-5-mini"]["phases"][:-1]:
        phase["gates"] = {"errors": {}, "cost": {}, "judge": {}}
    return _loaded(document)


def _layers() -> Spec:
    """Two rollouts that choose models, one of a pool; and one that chooses a prompt."""
    pool = model("pool", "pool-a.b", "pool-c", weights=(1.0, 2.0))
    one, two = rollout("first", canary="pool"), rollout("second", stable="third", canary="new", cohorts=(cohort("only"),))
    three = rollout("prompt-7", layer="prompt", stable="plain", canary="terse", conversation=conversation())
    models = {name: model(name) for name in ("old", "new", "third")} | {"pool": pool}
    return spec_of(one, two, three, models=models)


def _on(given: Spec, where: Infrastructure) -> Spec:
    return replace(given, application=replace(given.application, infrastructure=where))


SPECS: dict[str, Spec] = {
    "kubernetes": spec_room.read(str(ROOT / "envoy" / "release.yaml")),
    "vm": _loaded(demo()),
    "cohorts": _loaded(demo("cohorts.yaml")),
    "judged": _judged(),
    "layers": _layers(),
    "layers-kubernetes": _on(_layers(), Infrastructure.KUBERNETES),
    "cloud-run": _on(_judged(), Infrastructure.CLOUD_RUN),
}


@pytest.fixture(params=SPECS, name="given")
def _given(request: pytest.FixtureRequest) -> Spec:
    return SPECS[request.param]


def page(given: Spec) -> str:
    return files(given)["PLAYBOOK.md"]


def anchors(text: str) -> list[str]:
    """What can be linked to: each heading but the first has its name above it."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r'^<a id="(.*)"></a>\n\n##+ ', outside, re.MULTILINE)
    assert len(named) == len(re.findall("^##+ ", outside, re.MULTILINE)) > 0
    return named


# ------------------------------------------------------------------------------------------------------------------------- texts
def test_two_files_and_always_the_same(given: Spec) -> None:
    """The same Spec gives the same bytes."""
    made = files(given)
    assert list(made) == ["PLAYBOOK.md", "postmortem-template.md"]
    assert made == files(given)


def test_nothing_is_left_to_fill_in(given: Spec) -> None:
    """No slot, no word that stands for another one."""
    for name, text in files(given).items():
        shown = re.sub(r'<a id="[a-z0-9-]+"></a>', "", text)
        assert SLOT.search(shown) is None, (name, SLOT.search(shown))


def test_every_link_leads_somewhere(given: Spec) -> None:
    """Inside of the page, and to the file beside it; no anchor is there twice."""
    made = files(given)
    text, there = made["PLAYBOOK.md"], anchors(made["PLAYBOOK.md"])
    assert len(there) == len(set(there))
    links = re.findall(r"\]\((.*?)\)", text)
    assert links
    for one in links:
        assert one.removeprefix("#") in there if one.startswith("#") else one in made, one


def test_everything_of_the_spec_is_there(given: Spec) -> None:
    """Every rollout is taken back, each of its cohorts and phases by itself; every model and every measure of a gate is named."""
    text, template = page(given), files(given)["postmortem-template.md"]
    for name, one in given.rollouts.items():
        assert f"extproc rollback {name} --why" in text
        assert f"extproc start {name} --retry" in text
        assert f"extproc postmortem {name}" in text
        assert f"`{one.stable}`" in text
        assert f"`{one.canary}`" in text
        for group in one.cohorts:
            assert f"`{group.name}`" in text
            assert (f"extproc rollback {name} --cohort {group.name} " in text) == (len(one.cohorts) > 1)
        for phase in one.phases[:-1]:
            assert f"extproc return {name} --to {phase.name} " in text
        for phase in one.phases:
            assert all(gate.measure in template for gate in phase.gates)


def test_envoys_switch_is_there_for_rollouts_that_choose_a_model(given: Spec) -> None:
    """A variant is read by the application: Envoy cannot take it back, and the page says what does."""
    text = page(given)
    for name, one in given.rollouts.items():
        switched = f"runtime_modify?{contract.RUNTIME_CANARY.format(rollout=name)}=0" in text
        assert switched == (one.layer == contract.MODEL_LAYER)
        assert switched or f"`{contract.VARIANT_PREFIX}{one.layer}`" in text


def test_every_alert_has_its_section(given: Spec) -> None:
    """At the anchor that the alert's link has."""
    there = anchors(page(given))
    for name in names(given):
        assert re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() in there
        assert f"`{name}`" in page(given)
    assert "\n### Rollout needs somebody\n" in page(given)
    assert "\n### SLA error budget burns fast\n" in page(given)


def test_numbers_are_the_specs_own() -> None:
    """20 million requests a day at 99.5 % may lose 100,000; at 25 %, 5,000 of 20,000 users meet it: its total failure may last 28.8 min."""
    text = page(SPECS["vm"])
    assert "99.5% uptime allows 100,000 failed requests a day" in text
    assert "| 25% | 25% | 25% | 25% | 5,000 | 5,000,000 | 28 min 48 s |" in text
    assert "at 25%: at most 5,000 of 20,000 users a day, 5,000,000 of their requests" in text
    assert "takes $1.25 for a million tokens read" in files(SPECS["vm"])["postmortem-template.md"]


def test_who_is_not_met_is_not_counted() -> None:
    """All staff meet it from the first phase on, so everybody might; a cohort before its phase has 0 %."""
    assert "| 1% | 100% | 0% | 0% | 0% | 20,000 |" in page(SPECS["cohorts"])


def test_what_the_spec_lacks_is_not_spoken_of() -> None:
    """Draining needs conversations, forgetting needs samples or feedback."""
    assert "--drain" not in page(SPECS["vm"])
    assert "--drain" in page(SPECS["judged"])
    assert "extproc forget" not in page(SPECS["vm"])
    assert "extproc forget" in page(SPECS["judged"])
    assert "runtime_modify?extproc.sample=0" in page(SPECS["judged"])
    rated = page(replace(SPECS["vm"], feedback=FeedbackTerms(1800.0, (), "", False, True)))
    assert "extproc forget" in rated
    assert "Nothing of what was said is kept" not in rated
    assert "extproc.sample=0" not in rated
    assert "request id alone" not in rated
    assert "request id alone" in page(replace(SPECS["vm"], feedback=FeedbackTerms(1800.0, (), "/keys", False, True)))


def test_the_same_model_in_two_rollouts_is_said() -> None:
    """A count that others add to would not stand still."""
    three = rollout("third-one", stable="new", canary="third", match=replace(rollout().match, paths=("/v2/",)))
    text = page(spec_of(rollout(), three))
    assert "Requests of `third-one` count here, too" in text


# ------------------------------------------------------------------------------------------------------------------- decision tree
def test_the_picture_and_the_text_ask_the_same(given: Spec) -> None:
    """Every node is defined once and used, both answers of each question go somewhere, and every question is in the text."""
    text = page(given)
    picture = re.search(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert picture is not None
    head, *lines = picture[1].splitlines()
    assert head == "flowchart TD"
    nodes = dict(re.findall(r"^ {4}(\w+)[\[{]+\"(.*)\"[\]}]+$", picture[1], re.MULTILINE))
    edges = re.findall(r"^ {4}(\w+) -- (yes|no) --> (\w+)$", picture[1], re.MULTILINE)
    assert len(nodes) + len(edges) == len(lines)
    asked = [name for name in nodes if name.startswith("q")]
    assert {(start, answer) for start, answer, _ in edges} == {(name, answer) for name in asked for answer in ("yes", "no")}
    assert {end for *_, end in edges} == set(nodes) - {"q1"}
    for number, name in enumerate(asked, 1):
        assert f"{number}. {nodes[name]} " in text
    assert not any(mark in "".join(nodes.values()) for mark in '"[]{}')


def test_mermaid_itself_draws_the_decision_tree() -> None:
    """The real Mermaid, with every question in its picture."""
    text = page(spec_of(rollout()))
    picture = re.search(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert picture is not None
    drawn = "".join("".join(ElementTree.fromstring(mermaidx.render(picture[1]).svg()).itertext()).split())
    nodes = re.findall(r"^ {4}\w+[\[{]+\"(.*)\"[\]}]+$", picture[1], re.MULTILINE)
    assert len(nodes) > 5
    for node in nodes:
        assert "".join(re.sub(r"<br/?>", "", node).split()) in drawn


# ---------------------------------------------------------------------------------------------------------------------- commands
def test_every_command_is_understood_by_the_shell(given: Spec) -> None:
    """`bash -n` reads all of them."""
    whole = "\n".join(block for text in files(given).values() for block in BLOCK.findall(text))
    done = subprocess.run(["bash", "-n"], input=whole, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


class _Admin(BaseHTTPRequestHandler):
    """Answers as Envoy's admin interface does, and remembers what it was asked."""

    asked: list[str]

    def do_POST(self) -> None:
        self._say("OK\n")

    def do_GET(self) -> None:
        self._say("cluster.new.upstream_rq_total: 7\n")

    def _say(self, text: str) -> None:
        type(self).asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing: standard error is looked at."""


@contextmanager
def admin() -> Iterator[tuple[int, list[str]]]:
    """(port, what was asked)."""

    class Handler(_Admin):
        asked: list[str] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], Handler.asked
        finally:
            server.shutdown()
            thread.join()


def shell(command: str, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, env={**os.environ, "no_proxy": "*", **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KUBECTL = """#!{python}
import sys, subprocess, http.server, urllib.request
words = sys.argv[1:]
if "get" in words:
    print("pod/one")
    print("pod/two")
elif "port-forward" in words:
    pod, (local, remote) = words[-2], words[-1].split(":")
    class Relay(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            path = f"http://127.0.0.1:{{remote}}{{self.path}}"
            asked = urllib.request.Request(path, method=self.command, headers={{"x-pod": pod}})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(urllib.request.urlopen(asked).read())
        do_GET = do_POST
        def log_message(self, *_): pass
    http.server.HTTPServer(("127.0.0.1", int(local)), Relay).serve_forever()
"""
"""A stand-in for kubectl and a cluster with two pods: a forwarded port leads to the same admin interface."""


def test_in_kubernetes_every_pods_envoy_is_asked(tmp_path: Path) -> None:
    """Each by a port of its own, forwarded for the while; both keys are set in both pods."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable))
    kubectl.chmod(0o755)
    with admin() as (port, asked):
        place = replace(Place.of(_on(spec_of(), Infrastructure.KUBERNETES)), admin_port=port)
        said = shell(place.switch("a.canary=0", "a.completed=0").text, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert said.split() == ["OK"] * 4
    assert sorted(asked) == ["POST /runtime_modify?a.canary=0"] * 2 + ["POST /runtime_modify?a.completed=0"] * 2


def test_on_cloud_run_python_asks_envoy() -> None:
    """The image has no curl."""
    with admin() as (port, asked):
        place = replace(Place.of(_on(spec_of(), Infrastructure.CLOUD_RUN)), admin_port=port)
        here = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        assert shell(place.switch("a.canary=0").text, PATH=here).strip() == "OK"
        pool: Model = model("pool", "pool-a.b", "pool-c")
        looked = re.sub("sleep [0-9]", "sleep 0", place.counted(pool).text)
        assert shell(looked, PATH=here).splitlines() == ["cluster.new.upstream_rq_total: 7"] * 2
    assert asked[0] == "POST /runtime_modify?a.canary=0"
    assert asked[1:] == [r"GET /stats?filter=^cluster\.(pool-a\.b|pool-c)\.upstream_rq_total$"] * 2


def test_forgetting_is_done_for_each_id(tmp_path: Path) -> None:
    """The command as it stands in the page, on a store with a key: every id of the file, once."""
    store = f"sqlite:{tmp_path / 'x.db'}"
    open_store(store, writer=True).close()
    shim = tmp_path / "extproc"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m extproc "$@"\n')
    shim.chmod(0o755)
    (tmp_path / "forget.txt").write_text("user-1\nuser-2\n")
    command = next(block for block in BLOCK.findall(page(SPECS["judged"])) if "forget" in block)
    said = shell(f"cd {tmp_path}\n{command}", PATH=f"{tmp_path}:{os.environ['PATH']}", EXTPROC_STORE=store)
    assert len(re.findall(r"^0 samples and 0 scores, and 0 lines of feedback, of unit [0-9a-f]{16} are deleted", said, re.MULTILINE)) == 2


def test_each_way_to_run_it_in_kubernetes_has_its_names() -> None:
    """The controller's container is entered where it is; a gateway that names its own pods is found by label."""
    base = Place.of(SPECS["kubernetes"])
    entered = {name: replace(base, overlay=name).extproc("status") for name in OVERLAYS}
    assert "deploy/chat-edge " in entered["edge"]
    assert "deploy/chat-app " in entered["sidecar"]
    assert "deploy/chat-brain " in entered["scaled"]
    assert "component=gateway --output name | head -n 1)" in entered["envoy-gateway"]
