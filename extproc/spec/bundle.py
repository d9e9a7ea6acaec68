"""A Spec and the files that it names, as one text: what is published, told to workers and kept under a digest.

The text is the Spec's YAML; the files follow in one comment line at its end. So a Spec without files is just its YAML, and a bundle can
still be read by people and by every YAML parser. Files are id lists, flag definitions and rubrics; their paths are as written in the Spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from extproc.errors import Problem, SpecError

_MARK: Final = "\n# extproc files: "
_NOT_IN_YAML: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
MOST: Final = 64 * 1024 * 1024
"""Characters of a file: a million ids are 37 MB."""


def bundled(text: str, files: Mapping[str, str]) -> str:
    """One text of a Spec and its files."""
    if not files:
        return text
    return text.rstrip("\n") + _MARK + _in_one_line(orjson.dumps(dict(files), option=orjson.OPT_SORT_KEYS).decode())


def _in_one_line(written: str) -> str:
    """JSON escapes what ends a line for itself; for YAML other characters do as well, and some may be nowhere in a text."""
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def parted(bundle: str) -> tuple[str, dict[str, str]]:
    """The Spec's YAML, and its files by path; raises SpecError where the comment line is not what `bundled` writes."""
    text, mark, written = bundle.rpartition(_MARK)
    if not mark:
        return bundle, {}
    try:
        files = orjson.loads(written)
        if not isinstance(files, dict) or not all(isinstance(content, str) for content in files.values()):
            raise ValueError("they are no mapping of texts")
    except ValueError as error:
        raise SpecError(
            Problem("spec.bundle", "spec", f"its files cannot be read: {error}", "load the Spec from its file again")
        ) from error
    return text + "\n", files


def named_files(values: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(path in the document, file) of every file that a Spec names; tolerates whatever shape."""
    document = values if isinstance(values, dict) else {}
    for name, source in _items(document.get("flags")):
        if isinstance(source, dict) and isinstance(source.get("file"), str):
            yield ("flags", name, "file"), source["file"]
    judge = document.get("judge")
    if isinstance(judge, dict) and isinstance(judge.get("rubric_file"), str):
        yield ("judge", "rubric_file"), judge["rubric_file"]
    for name, rollout in _items(document.get("rollouts")):
        for key, where in _items(rollout.get("overrides") if isinstance(rollout, dict) else None):
            if key in ("stable_file", "canary_file") and isinstance(where, str):
                yield ("rollouts", name, "overrides", key), where
        yield from _id_files(rollout.get("cohorts") if isinstance(rollout, dict) else None, ("rollouts", name, "cohorts"))


def _id_files(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    children = enumerate(value) if isinstance(value, list) else _items(value)
    for key, child in children:
        if key == "ids_file" and isinstance(child, str):
            yield (*path, key), child
        elif isinstance(child, dict | list):
            yield from _id_files(child, (*path, key))


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def ids_in(content: str) -> list[str]:
    """Ids of a list, one a line; blanks around them and lines that begin with # do not count."""
    return [line for line in map(str.strip, content.splitlines()) if line and not line.startswith("#")]
