"""YAML text -> plain values, and the line on which each of them stands. Duplicate keys, aliases and strange tags are refused."""

from __future__ import annotations

import re
from typing import Any

import yaml

from extproc.errors import Problem, SpecError

MAX_CHARACTERS = 1 << 20
"""A Spec is written by people: more than 1 MiB is a mistake."""
MAX_DEPTH = 32

_NO_CHARACTER = re.compile(r"\\U(?!000|0010)")
"""Where PyYAML's scanner ends with a plain ValueError."""

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
    root = _composed(text)
    if root is None:
        raise SpecError(Problem("spec.empty", "spec", "the file is empty", "`extproc init` writes a Spec to start from"))
    builder = _Builder()
    document = builder.build(root, ())
    if builder.problems:
        raise SpecError(builder.problems)
    return document, builder.lines


def _composed(text: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        return root
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        message = ", ".join(part for part in (error.context, error.problem) if part)
        problem = Problem("spec.yaml", "spec", message, "check indentation, brackets and quotes here and on the line above", line)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem("spec.yaml", "spec", f"holds the character {chr(error.character)!r}", "YAML is printable text: delete it", line)
    except RecursionError:
        problem = _too_deep("spec", 0)
    except (ValueError, OverflowError):
        found = _NO_CHARACTER.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found is not None else 0
        problem = Problem("spec.yaml", "spec", "holds an escape \\U... that is no character", "write the character itself", line)
    raise SpecError(problem)


def _too_deep(path: str, line: int) -> Problem:
    return Problem("spec.too-deep", path, f"is nested more than {MAX_DEPTH} deep", "a Spec needs far fewer: check the brackets", line)


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
                return self._problem("spec.alias", path, "is an alias of another block", "write the block out again here", line)
            self._seen.add(id(node))
            if len(path) > MAX_DEPTH:
                return self.problems.append(_too_deep(show(path), line))
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
            if not isinstance(key, str) or key == "<<" or not key.isprintable():
                what = f"has the key {key!r}" if isinstance(key, str) else "has a block or a list as a key"
                self._problem("spec.key", path, what, "keys are plain words; YAML's merge key << is not supported", line)
                continue
            if key in values:
                first = self.lines.of((*path, key))
                self._problem("spec.duplicate-key", (*path, key), f"is there already, on line {first}", "keep one of the two", line)
                continue
            values[key] = self.build(value_node, (*path, key))
            self.lines.put((*path, key), line)
        return values

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        # Dates are words here: 2024-05-13 may well be part of a model's name. And so are times: YAML 1.1 reads 17:00 as 1020.
        if kind == "timestamp" or (kind in ("int", "float") and ":" in node.value):
            return node.value
        if kind in ("str", "int", "float", "bool", "null"):
            try:
                if kind == "str":
                    node.value.encode()
                value = self._scalars.construct_object(node)
                if isinstance(value, int):
                    str(value)  # beyond 4300 digits Python itself refuses: hexadecimal digits come here unseen
                return value
            except UnicodeEncodeError:  # nothing downstream could write such a text
                return self._problem("spec.scalar", path, "holds half a character (a surrogate)", "write the whole character", line)
            except (ValueError, LookupError, ArithmeticError, yaml.YAMLError):
                # PyYAML itself stumbles over `!!int ""`, `!!bool maybe` and numbers of thousands of digits.
                return self._problem("spec.scalar", path, f"cannot be read as {kind}", "write plain text, a number, true or false", line)
        return self._problem("spec.tag", path, f"has the YAML type {kind}", "put it in quotes if it is text, and write no !tags", line)

    def _problem(self, identity: str, path: Path, message: str, hint: str, line: int) -> None:
        self.problems.append(Problem(identity, show(path), message, hint, line))


def show(path: Path) -> str:
    """`rollouts.gpt-5-mini.phases[2].share`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "spec"
