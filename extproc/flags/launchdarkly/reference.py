"""Attribute references: `plan`, or a path into an object, `/address/city`.

A reference is a path only where the rule names a context kind. Without one (data from before there were kinds) the whole text is the name
of one attribute, slashes included. Inside a path `~1` is a slash and `~0` a tilde.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from extproc.flags.flag import Attributes
from extproc.flags.launchdarkly.reading import Node

DEFAULT_KIND: Final = "user"
"""Kind of a context, and of a rule, that names none."""

Getter = Callable[[Attributes, str], Any]
"""(attributes, kind of the context) -> value, or None where there is none. The attributes hold a key."""

_BAD_ESCAPE: Final = re.compile("~(?![01])")


def getter(node: Node, name: str, text: str, is_path: bool) -> Getter | None:
    """How to read the attribute that a rule refers to; None (and a Problem) if the reference is not valid.

    Names that the context cannot hold (`_meta`, the empty one) are never there; they are not among the flag's needs.
    """
    parts = _parts(node, name, text, is_path)
    if not parts:
        return None
    first = _top(parts[0])
    if first is _never:
        return _never
    node.found.needs.add(parts[0])
    return first if len(parts) == 1 else _nested(first, parts[1:])


def is_kind(text: str, is_path: bool) -> bool:
    """Whether a reference means the context's kind, which clauses treat apart."""
    return text == "kind" or (is_path and text == "/kind")


def _parts(node: Node, name: str, text: str, is_path: bool) -> tuple[str, ...]:
    if text in (("", "/") if is_path else ("",)):
        node.refuse("bad-attribute", name, f"{text!r} names no attribute", "name the attribute that the rule looks at")
        return ()
    if not is_path or not text.startswith("/"):
        return (text,)
    parts = text[1:].split("/")
    if "" in parts:
        node.refuse("bad-attribute", name, f"{text!r} has an empty part", "write one slash between two names and none at the end")
        return ()
    if _BAD_ESCAPE.search(text):
        node.refuse("bad-attribute", name, f"{text!r} has a ~ without 0 or 1 behind it", "write ~0 for a tilde and ~1 for a slash")
        return ()
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _top(name: str) -> Getter:
    known = _BUILT_IN.get(name)
    return known if known is not None else lambda attributes, _kind: attributes.get(name)


def _nested(first: Getter, parts: tuple[str, ...]) -> Getter:
    def get(attributes: Attributes, kind: str) -> Any:
        value = first(attributes, kind)
        for part in parts:
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    return get


def _never(_attributes: Attributes, _kind: str) -> Any:
    return None


def _name(attributes: Attributes, _kind: str) -> Any:
    value = attributes.get("name")
    return value if isinstance(value, str) else None


def _anonymous(attributes: Attributes, _kind: str) -> Any:
    # Always a boolean: False where it is not given, so that a rule about it always has something to look at.
    return attributes.get("anonymous") is True


_BUILT_IN: Final[dict[str, Getter]] = {
    "key": lambda attributes, _kind: attributes["key"],
    "kind": lambda _attributes, kind: kind,
    "name": _name,
    "anonymous": _anonymous,
    "_meta": _never,
    "": _never,
}
