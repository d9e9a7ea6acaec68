"""Reading a Spec's file: the one place of this room that touches the file system."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from extproc.domain import Spec
from extproc.errors import Problem, SettingsError, SpecError
from extproc.spec.bundle import MOST, bundled, named_files
from extproc.spec.load import load
from extproc.spec.yamltext import parse

_NAMES_FILES: Final = re.compile(r"file[\"']?\s*:")
"""Most Specs name no file, and are not parsed twice."""


def read_text(path: str) -> str:
    """The text of a Spec's file, bundled with the files that it names; raises SettingsError where the Spec's own cannot be read.

    A file that is not there is left out: `load` says so, with the line. Raises SpecError where the text is no YAML.
    """
    text = _read(path)
    files: dict[str, str] = {}
    for name in _names(text):
        try:
            content = (Path(path).parent / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        if len(content) <= MOST:
            files[name] = content
    return bundled(text, files)


def beside(path: str) -> tuple[str, ...]:
    """Paths of the files that a Spec names, as far as it can be read: whoever follows the Spec follows them too."""
    try:
        return tuple(str(Path(path).parent / name) for name in _names(_read(path)))
    except (SettingsError, SpecError):
        return ()


def _names(text: str) -> list[str]:
    return sorted({name for _, name in named_files(parse(text)[0])}) if _NAMES_FILES.search(text) else []


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(Problem("settings.spec-file", path, f"cannot be read: {error}", "give the path of a Spec")) from error


def read(path: str) -> Spec:
    """The Spec in a file; raises SpecError with every problem, SettingsError where the file cannot be read."""
    return load(read_text(path))
