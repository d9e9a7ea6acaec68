"""What the engine sees of a request: texts by name. The client turns every value into text before it asks; so do we, once per request."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Final

from extproc.flags.flag import Attributes
from extproc.flags.unleash.reading import Notes

Texts = dict[str, str]
Test = Callable[[Texts, float], bool]
"""(texts, now in Unix seconds) -> holds. HOT."""

CURRENT_TIME: Final = "currentTime"
PROPERTIES: Final = "properties"
"""The client's own container of custom properties: no property can bear this name."""


def readable(attributes: Attributes, names: tuple[str, ...]) -> Texts:
    """The named attributes as texts; raises ValueError for a text that has no UTF-8 form, which the engine could not even receive."""
    texts: Texts = {}
    for name in names:
        value = attributes.get(name)
        if value is not None:
            texts[name] = value if type(value) is str and value.isascii() else _text(value)
    return texts


def _text(value: Any) -> str:
    text = str(value)
    text.encode()
    return text


def usable_name(name: str, path: str, notes: Notes) -> bool:
    """Whether an attribute of this name can be asked for; the name is noted as needed.

    The engine writes names and groups into a rule text of its own, in quotes and unescaped: a quote or a last backslash would break it.
    """
    if name == PROPERTIES:
        notes.refuse("unsupported-context", path, f"no attribute can be named {PROPERTIES!r}", "name the custom property itself")
        return False
    if not quotable(name, path, notes):
        return False
    notes.needs.add(name)
    return True


def quotable(text: str, path: str, notes: Notes) -> bool:
    """Whether the engine can put a text into its rule as it is."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        wrong = "is no UTF-8"
    elif '"' in text or text.endswith("\\"):
        wrong = "holds a quote or ends in a backslash"
    else:
        return True
    notes.refuse("malformed", path, f"{text!r} {wrong}", "choose another name: the engine cannot read this one")
    return False


def usable_stickiness(name: str, path: str, notes: Notes) -> bool:
    """Whether an attribute can keep a request in its bucket."""
    if name == CURRENT_TIME:
        notes.refuse("random", path, "a bucket by currentTime changes with every request", "choose userId, sessionId or a custom property")
        return False
    return usable_name(name, path, notes)


def always(_: Texts, __: float) -> bool:
    return True


def never(_: Texts, __: float) -> bool:
    return False


def every(tests: list[Test]) -> Test:
    """All hold. Pairs of calls and no loop: a generator would cost more than the tests themselves."""
    tests = [test for test in tests if test is not always]
    return never if never in tests else reduce(_both, tests) if tests else always


def some(tests: list[Test]) -> Test:
    """At least one holds."""
    tests = [test for test in tests if test is not never]
    return always if always in tests else reduce(_either, tests) if tests else never


def inverse(test: Test) -> Test:
    """Holds where the other does not, also where the attribute is missing: that is how the engine inverts."""
    return lambda texts, now: not test(texts, now)


def _both(one: Test, other: Test) -> Test:
    return lambda texts, now: one(texts, now) and other(texts, now)


def _either(one: Test, other: Test) -> Test:
    return lambda texts, now: one(texts, now) or other(texts, now)
