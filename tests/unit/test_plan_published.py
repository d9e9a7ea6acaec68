"""What is made for other tools, against the schemas that their projects publish: custom resources, dashboards, and prometheus.yml."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from extproc import spec
from extproc.plan import folder
from tests.support.custom_schemas import SCHEMAS
from tests.support.published import PACKAGES, faults, is_published, prometheus_schema

ROOT = Path(__file__).parents[2]
SPECS = [*sorted((ROOT / "tests" / "examples").glob("*.yaml")), ROOT / "envoy" / "release.yaml", ROOT / "tests" / "support" / "shop.yaml"]
Document = dict[str, Any]
INTERVAL = ("auto", "auto_min", "auto_count")
QUERY = ("expr", "step", "titleFormat", "textFormat", "tagKeys", "useValueForTime")


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, str]]:
    """Spec -> its folder."""
    return {path.stem: folder.files(spec.read(str(path))) for path in SPECS}


def documents(made: dict[str, dict[str, str]]) -> list[tuple[str, Document]]:
    """Every object of Kubernetes in the folders, with the file that it is in."""
    found = []
    for name, files in made.items():
        for path, text in files.items():
            # Others have tags of their own, as GitLab's pipeline.
            if path.endswith((".yaml", ".yml")) and "apiVersion:" in text:
                found += [(f"{name}: {path}", one) for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if "kind" in one]
    return found


def dashboards(made: dict[str, dict[str, str]]) -> list[tuple[str, Document]]:
    """Every dashboard; without what Grafana's types leave to data sources and to kinds of variables."""
    found = []
    for name, files in made.items():
        for path, text in files.items():
            if path.startswith("monitoring/grafana/"):
                board = json.loads(text)
                for one in board["templating"]["list"]:
                    for key in INTERVAL:
                        one.pop(key, None)
                for one in board["annotations"]["list"]:
                    for key in QUERY:
                        one.pop(key, None)
                found.append((f"{name}: {path}", board))
    return found


def changed(document: Document, *place: str | int, **values: Any) -> Document:
    """The object with other values at a place."""
    made = copy.deepcopy(document)
    inner: Any = made
    for key in place:
        inner = inner[key]
    inner.update(values)
    return made


def test_what_is_made_for_others_fits_the_schemas_of_their_projects(made: dict[str, dict[str, str]]) -> None:
    """Custom resources of Istio, Gateway API, Argo and Knative, and dashboards of Grafana, in every folder; an unknown field, a wrong word,
    a wrong type and a lack are found. One process of node for all of them."""
    found = [(path, one) for path, one in documents(made) if is_published(one)]
    boards = dashboards(made)
    assert len(boards) > len(SPECS)
    first = {one["kind"]: one for _, one in reversed(found)}
    assert set(first) == {"EnvoyFilter", "Gateway", "VirtualService", "HTTPRoute", "AnalysisTemplate", "Service"}
    wrong = [
        (changed(first["EnvoyFilter"], "spec", "configPatches", 0, applyTo="HTTP_FILTERS"), "HTTP_FILTERS|allowed values"),
        (changed(first["EnvoyFilter"], "spec", "configPatches", 0, "patch", valeu={}), "valeu"),
        (changed(first["HTTPRoute"], "spec", hostnames=["*.*.acme.test"]), "pattern"),
        (changed(first["HTTPRoute"], "spec", "rules", 0, filter=[]), "'\"filter\"'"),
        (changed(first["VirtualService"], "spec", "http", 0, "directResponse", status="404"), "integer"),
        (changed(first["AnalysisTemplate"], "spec", "metrics", 0, provider={"webs": {}}), "webs"),
        (changed(first["AnalysisTemplate"], "spec", metrics=[{"name": "guard"}]), "provider"),
        (changed(first["Service"], "spec", "template", "spec", "containers", 0, imagee="x"), "imagee"),
        (changed(boards[0][1], "panels", 1, "gridPos", x="1"), "'number'"),
        (changed(boards[0][1], refreshh="1m"), "refreshh"),
    ]
    found += boards
    said = faults([*(one for _, one in found), *(one for one, _ in wrong)])
    assert {path: one for (path, _), one in zip(found, said, strict=False) if one} == {}
    for (_, word), one in zip(wrong, said[len(found) :], strict=True):
        assert any(part in " ".join(one) for part in word.split("|")), (word, one)


def test_what_nobody_publishes_is_known_by_name(made: dict[str, dict[str, str]]) -> None:
    """Everything else that is no kind of Kubernetes' own has a schema here; nothing is left without one."""
    others = {(one["apiVersion"], one["kind"]) for _, one in documents(made) if "." in one["apiVersion"] and not is_published(one)}
    theirs = {kind for kind in others if not kind[0].partition("/")[0].endswith(".k8s.io") or kind[0].startswith("kustomize.")}
    assert theirs <= set(SCHEMAS)
    assert {group for group, _, _ in (kind[0].partition("/") for kind in SCHEMAS if kind[0].partition("/")[0] not in PACKAGES)} == {
        "gateway.envoyproxy.io",
        "flagger.app",
        "kustomize.config.k8s.io",
    }


def test_prometheus_configuration_fits_its_schema(made: dict[str, dict[str, str]]) -> None:
    """SchemaStore's, which knows service discovery in Kubernetes, as Debian's promtool does not; wrong words and keys are found."""
    configs = {name: yaml.safe_load(files["monitoring/prometheus/scrape.yaml"]) for name, files in made.items()}
    checker = jsonschema.Draft7Validator(prometheus_schema())
    for config in configs.values():
        checker.validate(config)
    pods = next(one for one in configs.values() if "kubernetes_sd_configs" in one["scrape_configs"][0])
    for place, values in (
        (("scrape_configs", 0, "kubernetes_sd_configs", 0), {"role": "pods"}),
        (("scrape_configs", 0, "kubernetes_sd_configs", 0), {"roles": "pod"}),
        (("scrape_configs", 0, "relabel_configs", 0), {"action": "keeps"}),
        (("scrape_configs", 0), {"metric_path": "/metrics"}),
    ):
        assert not checker.is_valid(changed(pods, *place, **values)), values
