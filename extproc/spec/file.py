"""Reading a Spec's file: the one place of this room that touches the file system."""

from __future__ import annotations

from pathlib import Path

from extproc.domain import Spec
from extproc.errors import Problem, SettingsError
from extproc.spec.load import load


def read_text(path: str) -> str:
    """The text of a Spec's file; raises SettingsError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(Problem("settings.spec-file", path, f"cannot be read: {error}", "give the path of a Spec")) from error


def read(path: str) -> Spec:
    """The Spec in a file; raises SpecError with every problem, SettingsError where the file cannot be read."""
    return load(read_text(path))
