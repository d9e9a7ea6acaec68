"""YAML text -> plain values, and the line on which each of them stands. Duplicate keys, aliases and strange tags are refused."""

from __future__ import annotations

from typing import Any

import yaml

from extproc.errors import Problem, SpecError

MAX_CHARACTERS = 1 << 20
"""A Spec is written by people: more than 1 MiB is a mistake."""
MAX_DEPTH = 32

Path = tuple[str | int, ...]


class Lines:
    """Where each path of the document stands."""

    def __init__(self) -> None:
        self._lines: dict[Path, int] = {}

    def put(self, path: Path, line: int) -> None:
        self._lines[path] = line

    def of(self, path: Path) -> int:
        """Line of a path, or of the nearest block around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def parse(text: str) -> tuple[Any, Lines]:
    """The document and its lines; raises SpecError with every problem of the text."""
    if len(text) > MAX_CHARACTERS:
        raise SpecError(Problem("spec.too-large", "spec", f"{len(text)} characters", f"a Spec has at most {MAX_CHARACTERS}"))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else 0
        raise SpecError(
            Problem("spec.yaml", "spec", error.problem or "is no YAML", error.context or "check indentation and quotes", line)
        ) from error
    except yaml.YAMLError as error:
        raise SpecError(Problem("spec.yaml", "spec", str(error).splitlines()[0], "the file must be UTF-8 text")) from error
    if root is None:
        raise SpecError(Problem("spec.empty", "spec", "the file is empty", "`extproc init` writes a Spec to start from"))
    builder = _Builder()
    document = builder.build(root, ())
    if builder.problems:
        raise SpecError(builder.problems)
    return document, builder.lines


class _Builder:
    """Walks the node tree once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines = Lines()
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.put(path, line)
        if not isinstance(node, yaml.ScalarNode):
            # An alias brings the same node again; without this a few lines could describe billions of values.
            if id(node) in self._seen:
                return self._problem("spec.alias", path, "is an alias of another block", "write the block out", line)
            self._seen.add(id(node))
            if len(path) > MAX_DEPTH:
                return self._problem("spec.too-deep", path, f"is nested more than {MAX_DEPTH} deep", "a Spec is flat", line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, path, line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or key == "<<":
                self._problem("spec.key", path, "has a key that is no plain text", "keys are words", line)
                continue
            if key in values:
                self._problem("spec.duplicate-key", (*path, key), "is written twice", "keep one of them", line)
                continue
            values[key] = self.build(value_node, (*path, key))
            self.lines.put((*path, key), line)
        return values

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        if node.tag.startswith("tag:yaml.org,2002:") and node.tag.rpartition(":")[2] in ("str", "int", "float", "bool", "null"):
            try:
                return self._scalars.construct_object(node)
            except (ValueError, yaml.YAMLError):
                pass
        # Dates and other implicit types are words here: 2024-05-13 may well be part of a model's name.
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        return self._problem("spec.tag", path, f"has the type {node.tag}", "write plain text, a number, true or false", line)

    def _problem(self, identity: str, path: Path, message: str, hint: str, line: int) -> None:
        self.problems.append(Problem(identity, show(path), message, hint, line))


def show(path: Path) -> str:
    """`rollouts.gpt-5-mini.phases[2].share`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "spec"
