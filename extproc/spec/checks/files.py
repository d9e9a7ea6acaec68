"""The files that a Spec names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.spec.bundle import ids_in, named_files
from extproc.spec.checks.tools import Found


def check(values: Any, contents: Mapping[str, str]) -> Iterator[Found]:
    """Each is there, and an id list is not empty."""
    for path, name in named_files(values):
        if name not in contents:
            yield "spec.file", path, f"file {name!r} is not there, or cannot be read", "paths are relative to the Spec's own folder"
        elif path[0] == "rollouts" and not ids_in(contents[name]):
            yield "spec.no-ids", path, f"file {name!r} holds no id", "write an id a line; # begins a comment"
