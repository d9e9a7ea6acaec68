"""Where flagd's JSON logic finds a variable: dotted paths into attributes and items. HOT.

The rules of panzi-json-logic 1.0.1:
* a path is split at dots; each part is a key of an object, an index of a list or text, or `length` of those (whatever follows it);
* what is not found, or is null, is the default; an attribute whose own name has a dot is never found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from extproc.flags.flagd.coerce import to_string


class Step(NamedTuple):
    """One part of a path."""

    name: str
    position: int
    """The part as an index; -1 where it is none (`01`, `+1` and `-1` are none)."""


def steps(path: str) -> tuple[Step, ...]:
    """A path, split."""
    return tuple(Step(name, _position(name)) for name in path.split("."))


def _position(name: str) -> int:
    # ASCII digits only, no leading zero: the library compares the part with the index written out again.
    return int(name) if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0") and len(name) < 19 else -1


def walk(data: Any, path: Iterable[Step], default: Any) -> Any:
    """What lies at a path."""
    for name, position in path:
        if isinstance(data, dict):
            data = data.get(name)
        elif isinstance(data, list | str):
            if name == "length":
                return len(data)
            if not 0 <= position < len(data):
                return default
            data = data[position]
        else:
            return default
    return default if data is None else data


def look_up(data: Any, key: Any, default: Any) -> Any:
    """The variable of a name that is known only now (inside map, filter, reduce); nothing and "" name the data itself."""
    if key is None or key == "":
        return data
    if isinstance(key, int | float):
        return at_number(data, key, default)
    return walk(data, steps(to_string(key)), default)


def at_number(data: Any, key: int | float, default: Any) -> Any:
    """A variable named by a number: an item of a list or text. Keys of JSON objects are texts: none is ever found."""
    if not isinstance(data, list | str):
        return default
    # Only int() of NaN is a default to the library; of infinity it is an error, and the whole evaluation fails.
    index = int(key) if key == key else -1
    if index != key or not 0 <= index < len(data):
        return default
    return data[index]
