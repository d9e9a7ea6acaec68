"""The manifest of a release folder: of which Spec it was made, and a hash for each file as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
"""Version of this document."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was written."""

    spec: str
    """Digest of the Spec."""
    files: Mapping[str, str]
    """Path inside the folder -> SHA-256 of its bytes, in hex."""


def hashed(text: str) -> str:
    """SHA-256 of a file's bytes; those that are no UTF-8 are kept as surrogates by whoever read them."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def written(spec: str, files: Mapping[str, str]) -> str:
    """The manifest's text, for these files of the Spec with this digest."""
    document = {"format": FORMAT, "spec": spec, "files": {path: hashed(files[path]) for path in sorted(files)}}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def read(text: str) -> Manifest | None:
    """What a text says; None where it is no manifest of this format. Paths that lead out of the folder make it none: files are deleted
    by what a manifest says."""
    try:
        document: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return None
    spec, files = document.get("spec"), document.get("files")
    if not isinstance(spec, str) or not isinstance(files, dict):
        return None
    if not all(isinstance(value, str) and is_inside(path) for path, value in files.items()):
        return None
    return Manifest(spec, files)


def is_inside(path: str) -> bool:
    """True for a plain relative path: no root, no empty part, no `.` and no `..`."""
    return "\\" not in path and "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))
