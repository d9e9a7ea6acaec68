"""The pipeline's files on disk, and its stage scripts as a runner calls them."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extproc import spec as spec_room
from extproc.domain import Spec
from extproc.plan import pipeline

ROOT = Path(__file__).parents[2]


def command(directory: Path) -> Path:
    """A folder for PATH in which `extproc` is this checkout's."""
    folder = directory / "bin"
    folder.mkdir(exist_ok=True)
    script = folder / "extproc"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m extproc "$@"\n')
    script.chmod(0o755)
    return folder


def written(spec: Spec, folder: Path) -> Path:
    """The pipeline's files under this folder."""
    for path, text in pipeline.files(spec).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


class Runner:
    """Calls the scripts of a release folder, as a job does."""

    def __init__(self, directory: Path, spec: Path, **environment: str) -> None:
        self.directory = directory
        self.folder = written(spec_room.read(str(spec)), directory / "release")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EXTPROC_") and "proxy" not in name.lower()}
        path = f"{command(directory)}:{kept['PATH']}"
        self._begun: list[subprocess.Popen[str]] = []
        self.environment = {**kept, "PATH": path, "EXTPROC_SPEC": str(spec), **environment}

    def stage(self, script: str, *arguments: str, timeout: float = 180, **more: str) -> subprocess.CompletedProcess[str]:
        """One script, to its end."""
        return self.run("sh", str(self.folder / "ci" / "stages" / script), *arguments, timeout=timeout, **more)

    def run(self, *words: str, timeout: float = 180, **more: str) -> subprocess.CompletedProcess[str]:
        """Any command, where the scripts run."""
        return subprocess.run(
            words, capture_output=True, text=True, timeout=timeout, cwd=self.directory, env={**self.environment, **more}, check=False
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Any command, not waited for; its lines come as it says them."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, cwd=self.directory, env=self.environment)
        self._begun.append(process)
        return process

    def begin_stage(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """One script, not waited for."""
        return self.begin("sh", str(self.folder / "ci" / "stages" / script), *arguments)

    def close(self) -> None:
        """End what a test has left running."""
        for process in self._begun:
            process.kill()
            process.communicate()


def holds(condition: str, result: Mapping[str, Any]) -> bool:
    """What Argo Rollouts makes of a condition of the form `result.KEY == true|false`; anything else is refused.

    A key that is not there is an error, as it is for Argo.
    """
    tree = ast.parse(condition.replace("true", "True").replace("false", "False"), mode="eval").body
    assert isinstance(tree, ast.Compare)
    assert isinstance(tree.left, ast.Attribute)
    assert isinstance(tree.left.value, ast.Name)
    assert tree.left.value.id == "result"
    assert isinstance(tree.ops[0], ast.Eq)
    assert isinstance(tree.comparators[0], ast.Constant)
    value = result[tree.left.attr]
    assert isinstance(value, bool)
    return value is tree.comparators[0].value
