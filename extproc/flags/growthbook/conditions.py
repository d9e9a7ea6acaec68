"""GrowthBook's condition language as closures: attributes, dotted paths, $and $or $nor $not, nested operators and saved groups.

Everything that could make the vendor's SDK fail or fall back in the middle of a condition (where it lets the whole condition fail) is
refused here at load, so a compiled condition is always plainly true or false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from extproc.flags.growthbook.operators import OPERATORS, always, member, negated, never
from extproc.flags.growthbook.reading import Problems, is_plain, meant, shown
from extproc.flags.growthbook.values import Test, equals, reader

ON_CONDITIONS: Final = ("$or", "$nor", "$and", "$not", "$savedGroup")
"""Operators that stand where an attribute's name could stand."""
NESTED: Final = ("$not", "$elemMatch", "$size", "$all", "$alli", "$inGroup", "$notInGroup")
"""Operators on a value that look into conditions or saved groups; the others are in OPERATORS."""
DEEPEST: Final = 64
"""Keys and list items above a condition; an editor makes ten. Evaluation recurses, and must never meet Python's limit."""
UNROLLED: Final = 3
"""Up to this many tests are called in pairs without a loop; a long list would recurse too deeply."""

UNSUPPORTED: Final = "The GrowthBook SDK 4.0.0 does not know it here either: rewrite the condition in GrowthBook."


class Place(NamedTuple):
    """Where a condition stands in the document, and what it looks at."""

    path: str
    root: bool
    """It reads the request's attributes; else a prerequisite's value or an element of a list."""
    depth: int = 0
    groups: tuple[str, ...] = ()
    """Saved groups that led here."""

    def at(self, suffix: str) -> Place:
        return self._replace(path=self.path + suffix, depth=self.depth + 1)


def all_of(tests: list[Test]) -> Test:
    """Every test passes; always so for none."""
    if len(tests) > UNROLLED:
        every = tuple(tests)
        return lambda value: all(test(value) for test in every)
    if not tests:
        return always
    combined = tests[0]
    for test in tests[1:]:
        combined = _both(combined, test)
    return combined


def any_of(tests: list[Test]) -> Test:
    """Some test passes; by the vendor's rule also where there is none."""
    if len(tests) > UNROLLED:
        every = tuple(tests)
        return lambda value: any(test(value) for test in every)
    if not tests:
        return always
    combined = tests[0]
    for test in tests[1:]:
        combined = _either(combined, test)
    return combined


def _both(one: Test, other: Test) -> Test:
    return lambda value: one(value) and other(value)


def _either(one: Test, other: Test) -> Test:
    return lambda value: one(value) or other(value)


def is_operators(value: Any) -> bool:
    """An object whose keys all begin with $ holds operators; with one other key the vendor takes the whole as a literal."""
    return isinstance(value, dict) and all(isinstance(key, str) and key.startswith("$") for key in value)


class Conditions:
    """Compiles conditions of one document; collects Problems and the attributes that are read."""

    def __init__(self, groups: Mapping[str, Any], problems: Problems, needs: set[str]) -> None:
        self._groups = groups
        self._problems = problems
        self._needs = needs
        self._compiled: dict[tuple[str, bool, int], Test] = {}

    def condition(self, condition: Any, place: Place) -> Test:
        """A whole condition; it is called with the attributes, or with what `place` says."""
        if self._too_deep(place) or not self._is_object(condition, place):
            return never
        return all_of([self._entry(str(key), value, place.at(f".{key}")) for key, value in condition.items()])

    def _too_deep(self, place: Place) -> bool:
        if place.depth <= DEEPEST:
            return False
        self._problems.add(
            "flag.too-deep", place.path, f"conditions nest more than {DEEPEST} levels", "Flatten the condition, or use a saved group less."
        )
        return True

    def _is_object(self, value: Any, place: Place) -> bool:
        if isinstance(value, dict):
            return True
        self._problems.malformed(place.path, "an object", value)
        return False

    def _entry(self, key: str, value: Any, place: Place) -> Test:
        if key == "$not":
            return negated(self.condition(value, place))
        if key == "$savedGroup":
            return self._saved_group(value, place)
        if key in ON_CONDITIONS:
            return self._list_of_conditions(key, value, place)
        if key.startswith("$"):
            hint = meant(key, ON_CONDITIONS) + "Operators on a value stand below an attribute's name. " + UNSUPPORTED
            self._problems.add("flag.unsupported-operator", place.path, f"operator {shown(key)} is not supported here", hint)
            return never
        if place.root:
            self._needs.add(key.split(".")[0])
        read, test = reader(key, place.root), self.value(value, place)
        if place.root and "." not in key:
            return lambda attributes: test(attributes.get(key))
        return lambda value: test(read(value))

    def _list_of_conditions(self, key: str, value: Any, place: Place) -> Test:
        if not isinstance(value, list):
            self._problems.malformed(place.path, "a list of conditions", value)
            return never
        tests = [self.condition(item, place.at(f"[{number}]")) for number, item in enumerate(value)]
        if key == "$and":
            return all_of(tests)
        return any_of(tests) if key == "$or" else negated(any_of(tests))

    def value(self, wanted: Any, place: Place, insensitive: bool = False) -> Test:
        """A condition on one value: operators, or a literal that must be equal."""
        if self._too_deep(place):
            return never
        if is_operators(wanted):
            return all_of([self._operator(key, operand, place.at(f".{key}")) for key, operand in wanted.items()])
        if not is_plain(wanted):
            self._problems.malformed(place.path, "a value of JSON", wanted)
            return never
        if insensitive and isinstance(wanted, str):
            lower = wanted.lower()
            return lambda value: isinstance(value, str) and value.lower() == lower
        return equals(wanted)

    def _operator(self, name: str, operand: Any, place: Place) -> Test:
        if name in NESTED:
            return self._nested(name, operand, place)
        build = OPERATORS.get(name)
        if build is None:
            if name in ON_CONDITIONS:
                hint = "Put it above the attribute's name: below it the vendor never matches."
            else:
                hint = meant(name, (*OPERATORS, *NESTED)) + UNSUPPORTED
            self._problems.add("flag.unsupported-operator", place.path, f"operator {shown(name)} is not supported here", hint)
            return never
        try:
            return build(operand)
        except ValueError as error:
            self._problems.add("flag.bad-operand", place.path, f"{name} {error}", "Correct the condition in GrowthBook.")
            return never

    def _nested(self, name: str, operand: Any, place: Place) -> Test:
        if name == "$not":
            return negated(self.value(operand, place))
        if name == "$size":
            inner = self.value(operand, place)
            return lambda value: isinstance(value, list) and inner(len(value))
        if name == "$elemMatch":
            return self._elem_match(operand, place)
        if name in ("$all", "$alli"):
            return self._all(operand, place, name == "$alli")
        listed = member(self._group_values(operand, place))
        return listed if name == "$inGroup" else negated(listed)

    def _elem_match(self, operand: Any, place: Place) -> Test:
        """Operators test each element itself, other conditions its fields; null elements are passed over."""
        if not self._is_object(operand, place):
            return never
        on_value = is_operators(operand) and not any(key in operand for key in ("$or", "$nor", "$and", "$savedGroup"))
        inner = self.value(operand, place) if on_value else self.condition(operand, place._replace(root=False))

        def test(value: Any) -> bool:
            return isinstance(value, list) and any(item is not None and inner(item) for item in value)

        return test

    def _all(self, operand: Any, place: Place, insensitive: bool) -> Test:
        if not isinstance(operand, list):
            self._problems.malformed(place.path, "a list", operand)
            return never
        wanted = tuple(self.value(item, place.at(f"[{number}]"), insensitive) for number, item in enumerate(operand))

        def test(value: Any) -> bool:
            return isinstance(value, list) and all(any(map(one, value)) for one in wanted)

        return test

    def _group_values(self, name: Any, place: Place) -> list[Any]:
        """Values of a list group: a bare list, or an object of type `list`."""
        entry = self._group(name, place)
        if entry is None:
            return []
        values = entry.get("values") if isinstance(entry, dict) and entry.get("type") == "list" else entry
        if isinstance(values, list) and all(map(is_plain, values)):
            return values
        self._problems.add(
            "flag.unsupported-group", f"savedGroups.{name}", "this group is no list of values", "Only $savedGroup can use other groups."
        )
        return []

    def _group(self, name: Any, place: Place) -> Any:
        if not isinstance(name, str):
            self._problems.malformed(place.path, "the id of a saved group", name)
            return None
        if name not in self._groups:
            hint = meant(name, self._groups) + "Fetch the payload with its savedGroups."
            self._problems.add("flag.unknown-group", place.path, f"there is no saved group {shown(name)}", hint)
            return None
        return self._groups[name]

    def _saved_group(self, reference: Any, place: Place) -> Test:
        if not self._is_object(reference, place):
            return never
        name = reference.get("id")
        entry = self._group(name, place)
        if entry is None:
            return never
        kind = entry.get("type") if isinstance(entry, dict) else "bare list"
        if kind == "list":
            return self._list_group(name, reference.get("attributeKey", entry.get("attributeKey")), place)
        if kind == "condition":
            return self._condition_group(name, entry, place)
        message = f"$savedGroup cannot use a group of type {shown(kind)}"
        hint = "The types are `list` and `condition`; $inGroup reads a bare list."
        self._problems.add("flag.unsupported-group", f"savedGroups.{name}", message, hint)
        return never

    def _list_group(self, name: str, attribute: Any, place: Place) -> Test:
        listed = member(self._group_values(name, place))
        if not isinstance(attribute, str):
            self._problems.malformed(f"{place.path}.attributeKey", "the name of an attribute", attribute)
            return never
        if place.root:
            self._needs.add(attribute.split(".")[0])
        read = reader(attribute, place.root)
        return lambda value: listed(read(value))

    def _condition_group(self, name: str, entry: dict[str, Any], place: Place) -> Test:
        if name in place.groups:
            circle = " -> ".join((*place.groups[place.groups.index(name) :], name))
            self._problems.add("flag.cycle", place.path, f"saved groups go in a circle: {circle}", "Let one of them stand alone.")
            return never
        key = (name, place.root, place.depth)
        known = self._compiled.get(key)
        if known is not None:
            return known
        inside = Place(f"savedGroups.{name}.condition", place.root, place.depth + 1, (*place.groups, name))
        test = self.condition(entry.get("condition"), inside)
        self._compiled[key] = test
        return test
