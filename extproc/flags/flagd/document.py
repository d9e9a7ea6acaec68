"""A flag as it stands in flagd's document: found, checked, its $ref put in. Other flags are not looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from extproc.errors import Problem
from extproc.flags.flag import FlagError
from extproc.flags.flagd.rule import Place, Rule, shown

KNOWN: Final = frozenset({"state", "variants", "defaultVariant", "targeting", "metadata", "source", "selector"})
"""Keys of a flag; with any other, flagd's provider rejects the whole document."""
STATES: Final = ("ENABLED", "DISABLED")
LARGEST: Final = 100_000
"""Values in a flag after its $ref are put in: evaluators that refer to others twice grow beyond any memory."""
DEEPEST: Final = 200
"""Values inside of each other; far from Python's limit of calls."""
ESCAPED: Final = re.compile(r'\\[^"]')
"""What flagd's provider cannot put in: it replaces a $ref in the JSON text by a pattern, in which a backslash has another meaning."""


class Definition(NamedTuple):
    """What a flag says."""

    enabled: bool
    variants: Mapping[str, Any]
    default: str
    """Empty: none, and the client's own default holds."""
    targeting: Any


def find(document: Mapping[str, Any], key: str) -> Any:
    """The flag as written. FlagError if it is not there."""
    flags = document.get("flags", {})
    if not isinstance(flags, Mapping):
        raise FlagError(Problem("flag.malformed", "flags", f"flags is {shown(flags)}", "write an object: key -> flag"))
    if key not in flags:
        near = get_close_matches(key, map(str, flags), 1)
        hint = f"did you mean {near[0]}?" if near else f"the document has {len(flags)} flags"
        raise FlagError(Problem("flag.unknown", "flags", f"there is no flag {shown(key)}", hint))
    if any("\ud800" <= character <= "\udfff" for character in key):
        raise FlagError(Problem("flag.malformed", "flags", f"the key {key!r} is no UTF-8", "rename the flag: flagd cannot hash its key"))
    return flags[key]


class References:
    """$ref into $evaluators, as flagd's provider puts them in: evaluator by evaluator in their order, each once. So one evaluator can
    refer to those below it only."""

    def __init__(self, rule: Rule, document: Mapping[str, Any], place: Place) -> None:
        self.stopped = False
        evaluators = document.get("$evaluators") or {}
        self._rule, self._place, self._left = rule, place, LARGEST
        if not isinstance(evaluators, Mapping):
            rule.refuse(Place("$evaluators"), "malformed", f"$evaluators is {shown(evaluators)}", "write an object: name -> rule")
            evaluators = {}
        # A name that JSON writes in another way is never found in the text.
        self._evaluators = {name: rule for name, rule in evaluators.items() if json.dumps(name) == f'"{name}"'}
        self._order = {name: index for index, name in enumerate(self._evaluators)}
        self._refused: set[str] = set()
        rule.evaluators = tuple(self._evaluators)

    def put_in(self, value: Any, below: int = -1, depth: int = 0) -> Any:
        """A value with the evaluators that stand below the given one in place of their $ref."""
        self._left -= 1
        if self._left <= 0 or depth > DEEPEST:
            self._stop()
        if self.stopped:
            return None
        if isinstance(value, list):
            return [self.put_in(item, below, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        name = value.get("$ref") if len(value) == 1 else None
        if isinstance(name, str) and self._order.get(name, -1) > below:
            self._check(name)
            return self.put_in(self._evaluators[name], self._order[name], depth + 1)
        return {key: self.put_in(item, below, depth + 1) for key, item in value.items()}

    def _stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            message = f"the flag has more than {LARGEST} values, or more than {DEEPEST} inside of each other"
            self._rule.refuse(self._place, "too-large", message, "split it, and use $ref less often")

    def _check(self, name: str) -> None:
        if name not in self._refused and ESCAPED.search(json.dumps(self._evaluators[name])):
            self._refused.add(name)
            hint = "flagd's Python provider cannot put such a text in for a $ref: write the rule into the flag"
            message = "the evaluator has a text with a backslash, a control character or a character beyond ASCII"
            self._rule.refuse(Place(f"$evaluators.{name}"), "ref-text", message, hint)


def read(rule: Rule, document: Mapping[str, Any], written: Any, place: Place) -> Definition | None:
    """A flag, checked as flagd's provider does when it loads a document; None where there is no telling what it says."""
    references = References(rule, document, place)
    flag = references.put_in(written)
    if references.stopped:
        return None
    if not isinstance(flag, dict):
        rule.refuse(place, "malformed", f"the flag is {shown(flag)}", "write an object with state and variants")
        return None
    for key in sorted(map(str, flag.keys() - KNOWN)):
        near = get_close_matches(key, KNOWN, 1)
        hint = f"did you mean {near[0]}?" if near else "flagd's provider rejects a document with it: remove it"
        rule.refuse(place.at(f".{key}"), "unknown-key", f"a flag has no key {shown(key)}", hint)
    if flag.get("state") not in STATES:
        rule.refuse(place.at(".state"), "state", f"the state is {shown(flag.get('state'))}", "write ENABLED or DISABLED")
    variants = flag.get("variants")
    if not isinstance(variants, dict) or not variants:
        rule.refuse(place.at(".variants"), "variants", f"variants is {shown(variants)}", "write an object with at least one: name -> value")
        variants = {}
    _check_metadata(rule, flag.get("metadata"), place.at(".metadata"))
    default = _default(rule, flag.get("defaultVariant"), variants, place.at(".defaultVariant"))
    return Definition(flag.get("state") == "ENABLED", variants, default, flag.get("targeting"))


def _default(rule: Rule, written: Any, variants: Mapping[str, Any], place: Place) -> str:
    if isinstance(written, bool):
        written = str(written).lower()
    if written is None or written == "":
        return ""
    if not isinstance(written, str):
        rule.refuse(place, "default-variant", f"the default variant is {shown(written)}", "write the name of a variant")
        return ""
    if variants and written not in variants:
        near = get_close_matches(written, map(str, variants), 1)
        hint = f"did you mean {near[0]}?" if near else f"the variants are {', '.join(map(str, variants))}"
        rule.refuse(place, "default-variant", f"there is no variant {shown(written)}", hint)
    return written


def _check_metadata(rule: Rule, metadata: Any, place: Place) -> None:
    if not metadata:
        return
    if not isinstance(metadata, dict):
        rule.refuse(place, "metadata", f"metadata is {shown(metadata)}", "write an object: name -> text, number or bool")
        return
    for name, value in metadata.items():
        if not name or not isinstance(value, str | int | float):
            hint = "flagd's provider rejects a document with it: write a name and a text, number or bool"
            rule.refuse(place.at(f".{name}"), "metadata", f"{shown(name)} is {shown(value)}", hint)
