"""A constraint of a strategy or segment -> a Test. Whatever the engine would read in another way than its author wrote is refused.

The engine writes constraints into a rule text and parses that, so that a value of the wrong kind changes the operator (NUM_GT with
"1.2.3" compares versions) or switches the flag off for good. Such constraints are refused here.

A missing attribute satisfies only NOT_IN; `inverted` turns every answer round, also that of a missing attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from extproc.flags.unleash.automaton import Automaton
from extproc.flags.unleash.context import CURRENT_TIME, Test, Texts, inverse, never, usable_name
from extproc.flags.unleash.instants import instant, instant_of, strict_instant
from extproc.flags.unleash.letters import lower
from extproc.flags.unleash.pattern import PatternError, parse
from extproc.flags.unleash.reading import CORRECT, Notes, did_you_mean, shown
from extproc.flags.unleash.values import NUMBER, Network, VersionKey, address, network, number, version

Compare = Callable[[Any, Any], bool]

CLOSE: Final = 2.0**-52
"""NUM_EQ: closer than this is equal (the machine epsilon, whatever the size of the numbers)."""
BLANKS: Final = " \t"
"""What the engine skips around a value in its rule."""


def _close(one: float, other: float) -> bool:
    return abs(one - other) < CLOSE


NUMBERS: Final[Mapping[str, Compare]] = {"NUM_EQ": _close, "NUM_GT": gt, "NUM_GTE": ge, "NUM_LT": lt, "NUM_LTE": le}
DATES: Final[Mapping[str, Compare]] = {"DATE_AFTER": gt, "DATE_BEFORE": lt}
VERSIONS: Final[Mapping[str, Compare]] = {"SEMVER_EQ": eq, "SEMVER_GT": gt, "SEMVER_GTE": ge, "SEMVER_LT": lt, "SEMVER_LTE": le}
TEXTS: Final = ("STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH")
OPERATORS: Final = ("IN", "NOT_IN", *TEXTS, *NUMBERS, *DATES, *VERSIONS, "REGEX", "IN_CIDR")


def constraint(given: Mapping[str, Any], path: str, notes: Notes) -> Test:
    """A constraint as a Test; Problems go to `notes`."""
    name, operator = notes.text(given, "contextName", path), notes.text(given, "operator", path)
    inverted = notes.flag(given, "inverted", path, default=False)
    ignore_case = notes.flag(given, "caseInsensitive", path, default=False)
    if operator is not None and operator not in OPERATORS:
        hint = did_you_mean(operator, list(OPERATORS))
        notes.refuse("unsupported-operator", f"{path}.operator", f"{operator!r} is no operator that we know", hint)
        return never
    if name is None or operator is None or not usable_name(name, f"{path}.contextName", notes):
        return never
    if name == CURRENT_TIME and operator not in DATES:
        hint = "compare currentTime by DATE_AFTER or DATE_BEFORE"
        notes.refuse("unsupported-operator", f"{path}.operator", f"{operator} would compare how a client spells the time", hint)
        return never
    test = _test(name, operator, ignore_case, given, path, notes)
    return inverse(test) if inverted else test


def _test(name: str, operator: str, ignore_case: bool, given: Mapping[str, Any], path: str, notes: Notes) -> Test:
    if operator in NUMBERS:
        return _number(name, NUMBERS[operator], given, path, notes)
    if operator in DATES:
        return _date(name, DATES[operator], given, path, notes)
    if operator in VERSIONS:
        return _version(name, VERSIONS[operator], given, path, notes)
    if operator == "REGEX":
        return _regex(name, ignore_case, given, path, notes)
    values = notes.texts(given, "values", path)
    if operator == "IN_CIDR":
        return _in_cidr(name, values, path, notes)
    for index, value in enumerate(values):
        if value.endswith("\\"):
            hint = "the engine cannot read it and switches the flag off: drop the backslash"
            notes.refuse("malformed", f"{path}.values[{index}]", f"{shown(value)} ends in a backslash", hint)
    if operator in TEXTS:
        return _string(name, operator, ignore_case, values, path, notes)
    wanted = frozenset(values)
    if operator == "IN":
        return lambda texts, _: texts.get(name) in wanted
    return lambda texts, _: texts.get(name) not in wanted


def _string(name: str, operator: str, ignore_case: bool, values: tuple[str, ...], path: str, notes: Notes) -> Test:
    if not values:
        hint = "give at least one value: the engine switches such a flag off"
        notes.refuse("malformed", f"{path}.values", f"{operator} has no values", hint)
        return never
    prepare = lower if ignore_case else str
    parts = tuple(map(prepare, values))
    if operator == "STR_STARTS_WITH":
        return lambda texts, _: name in texts and prepare(texts[name]).startswith(parts)
    if operator == "STR_ENDS_WITH":
        return lambda texts, _: name in texts and prepare(texts[name]).endswith(parts)

    def contains(texts: Texts, _: float) -> bool:
        if name not in texts:
            return False
        text = prepare(texts[name])
        for part in parts:  # noqa: SIM110 — a generator costs more than the search
            if part in text:
                return True
        return False

    return contains


def _number(name: str, compare: Compare, given: Mapping[str, Any], path: str, notes: Notes) -> Test:
    value = notes.text(given, "value", path)
    if value is None:
        return never
    bare = value.strip(BLANKS)
    # In a constraint a number starts with a digit and is no word: narrower than in attributes.
    if not NUMBER.fullmatch(bare) or not bare.lstrip("+-")[:1].isdigit():
        notes.malformed(f"{path}.value", value, "a number", CORRECT)
        return never
    wanted = float(bare)

    def test(texts: Texts, _: float) -> bool:
        text = texts.get(name)
        if text is None:
            return False
        found = number(text)
        return found is not None and compare(found, wanted)

    return test


def _date(name: str, compare: Compare, given: Mapping[str, Any], path: str, notes: Notes) -> Test:
    value = notes.text(given, "value", path)
    if value is None:
        return never
    wanted = strict_instant(value.strip(BLANKS))
    if wanted is None:
        notes.malformed(f"{path}.value", value, "a time like 2026-01-31T12:00:00Z or 2026-01-31T12:00:00.000+01:00", CORRECT)
        return never

    def test(texts: Texts, _: float) -> bool:
        text = texts.get(name)
        if text is None:
            return False
        found = instant(text)
        return found is not None and compare(found, wanted)

    def test_now(texts: Texts, now: float) -> bool:
        return test(texts, now) if CURRENT_TIME in texts else compare(instant_of(now), wanted)

    if name != CURRENT_TIME:
        return test
    notes.needs_time = True
    return test_now


def _version(name: str, compare: Compare, given: Mapping[str, Any], path: str, notes: Notes) -> Test:
    value = notes.text(given, "value", path)
    if value is None:
        return never
    wanted: VersionKey | None = version(value.strip(BLANKS))
    if wanted is None:
        notes.malformed(f"{path}.value", value, "a version like 1.2.3 or 1.2.3-rc.1", CORRECT)
        return never

    def test(texts: Texts, _: float) -> bool:
        text = texts.get(name)
        if text is None:
            return False
        found = version(text)
        return found is not None and compare(found, wanted)

    return test


def _regex(name: str, ignore_case: bool, given: Mapping[str, Any], path: str, notes: Notes) -> Test:
    value = notes.text(given, "value", path)
    if value is None:
        return never
    try:
        holds = Automaton(parse(value, ignore_case)).search
    except PatternError as error:
        notes.refuse("unsupported-pattern", f"{path}.value", f"{shown(value)}: {error}", error.hint)
        return never

    def test(texts: Texts, _: float) -> bool:
        text = texts.get(name)
        return text is not None and holds(text)

    return test


def _in_cidr(name: str, values: tuple[str, ...], path: str, notes: Notes) -> Test:
    if not values:
        notes.refuse("malformed", f"{path}.values", "IN_CIDR has no values", "give at least one: the engine switches such a flag off")
    networks: list[Network] = []
    for index, value in enumerate(values):
        found = network(value)
        if found is None:
            notes.malformed(f"{path}.values[{index}]", value, "an address or a network like 10.0.0.0/8 or 2001:db8::/32", CORRECT)
        else:
            networks.append(found)
    return in_networks(name, tuple(networks))


def in_networks(name: str, networks: tuple[Network, ...]) -> Test:
    """The attribute is an address in one of the networks. IPv4 and IPv6 never meet, not even as ::ffff:a.b.c.d."""

    def test(texts: Texts, _: float) -> bool:
        found = address(texts.get(name, ""))
        if found is None:
            return False
        bits, value = found
        for family, mask, base in networks:  # noqa: SIM110 — a generator costs more than the comparison
            if family == bits and value & mask == base:
                return True
        return False

    return test
