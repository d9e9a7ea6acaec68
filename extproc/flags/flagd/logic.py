"""JSON logic -> closures: one function for each part of a rule, chosen at load. Nothing of the document is looked at per request.

An object with one key is an operation; a list is a list of answers; anything else answers itself. All arguments of an operation are
evaluated, except where this module says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from extproc.flags.flagd import names, shares
from extproc.flags.flagd.coerce import to_bool
from extproc.flags.flagd.expression import NOTHING, Expression, Run, constant, folded, listed
from extproc.flags.flagd.operators import BUILDERS
from extproc.flags.flagd.rule import Place, Rule, shown

DEEPEST: Final = 64
"""Operations and lists inside of each other; flagd's evaluator fails a little above 300, at a depth that depends on who calls it."""

Special = Callable[[Rule, Sequence[Any], Sequence[Expression], Place], Expression]
Lazy = Callable[[Rule, Sequence[Any], Callable[[int], Place]], Expression]
"""(rule, arguments as written, place of each) -> operation: some arguments may not be evaluated, or for each item."""

SPECIAL: Final[Mapping[str, Special]] = {
    "var": lambda rule, _, arguments, place: names.variable(rule, arguments, place),
    "missing": names.missing,
    "missing_some": names.missing_some,
    "fractional": shares.fractional,
    "starts_with": shares.ends("starts_with", str.startswith),
    "ends_with": shares.ends("ends_with", str.endswith),
    "sem_ver": shares.sem_ver,
}


def compiled(rule: Rule, logic: Any, place: Place) -> Expression:
    """Any part of a rule."""
    if place.depth > DEEPEST:
        return rule.refuse(place, "too-deep", f"more than {DEEPEST} operations are inside of each other", "split the rule")
    if isinstance(logic, list):
        return listed([compiled(rule, item, place.at(f"[{index}]")) for index, item in enumerate(logic)])
    if logic is None or isinstance(logic, str | int | float):
        return constant(logic) if logic == logic else Expression(lambda _: logic)
    if not isinstance(logic, dict) or len(logic) != 1:
        return rule.refuse(place, "not-an-operation", f"{shown(logic)} is no operation", "an operation is an object with exactly one key")
    ((name, inner),) = logic.items()
    here = place.at(f".{name}")

    def at(index: int) -> Place:
        return here.at(f"[{index}]") if isinstance(inner, list) else here

    arguments = inner if isinstance(inner, list) else [inner]
    if name in LAZY:
        return LAZY[name](rule, arguments, at)
    if name not in SPECIAL and name not in BUILDERS:
        return _unknown(rule, name, inner, place)
    evaluated = [compiled(rule, argument, at(index)) for index, argument in enumerate(arguments)]
    if name in SPECIAL:
        return SPECIAL[name](rule, arguments, evaluated, here)
    return folded(BUILDERS[name](evaluated), evaluated)


def _unknown(rule: Rule, name: str, inner: Any, place: Place) -> Expression:
    if name == "$ref":
        return _unknown_ref(rule, inner, place)
    if name == "log":
        hint = "remove it: a request's attributes are not logged"
        return rule.refuse(place, "unsupported-operator", "the operation log is not supported", hint)
    near = get_close_matches(name, [*LAZY, *SPECIAL, *BUILDERS], 1)
    hint = f"did you mean {near[0]}?" if near else "flagd does not know it either: the evaluation would fail"
    return rule.refuse(place, "unsupported-operator", f"the operation {shown(name)} is not known", hint)


def _unknown_ref(rule: Rule, name: Any, place: Place) -> Expression:
    if isinstance(name, str) and name in rule.evaluators:
        hint = "flagd puts evaluators in once, in their order: one may only refer to others further down, never in a circle"
        return rule.refuse(place, "ref-order", f"$evaluators.{name} stands before, or is, the evaluator that refers to it", hint)
    near = get_close_matches(name, rule.evaluators, 1) if isinstance(name, str) else []
    hint = f"did you mean {near[0]}?" if near else "define it under $evaluators"
    return rule.refuse(place, "unknown-ref", f"there is no evaluator {shown(name)}", hint)


def _choice(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> Expression:
    """if: condition, answer, condition, answer, ... and what is left. Only the conditions up to the first true one are evaluated."""
    parts = [compiled(rule, argument, at(index)) for index, argument in enumerate(arguments)]
    pairs = tuple((parts[index].run, parts[index + 1].run) for index in range(0, len(parts) - 1, 2))
    otherwise = parts[-1].run if len(parts) % 2 else NOTHING.run

    def choose(data: Any) -> Any:
        for condition, answer in pairs:
            value = condition(data)
            if value is True or (value is not False and to_bool(value)):
                return answer(data)
        return otherwise(data)

    return folded(choose, parts)


def _until(wanted: bool) -> Lazy:
    """and, or: the first answer that is false, or true, else the last one."""

    def build(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> Expression:
        parts = [compiled(rule, argument, at(index)) for index, argument in enumerate(arguments)]
        runs = tuple(part.run for part in parts)

        def first(data: Any) -> Any:
            value = None
            for run in runs:
                value = run(data)
                if value is wanted or to_bool(value) is wanted:
                    return value
            return value

        return folded(first, parts)

    return build


def _items(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> tuple[Run, Run]:
    """The list and what is asked of each item, which then is the data."""
    items = compiled(rule, arguments[0], at(0)).run
    return items, compiled(rule, arguments[1], at(1).inside()).run if len(arguments) > 1 else NOTHING.run


def _filter(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> Expression:
    if len(arguments) < 2:
        return Expression(lambda _: [])
    items, keep = _items(rule, arguments, at)

    def kept(data: Any) -> list[Any]:
        among = items(data)
        return [item for item in among if to_bool(keep(item))] if isinstance(among, list) else []

    return Expression(kept)


def _map(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> Expression:
    if not arguments:
        return Expression(lambda _: [])
    items, change = _items(rule, arguments, at)

    def changed(data: Any) -> list[Any]:
        among = items(data)
        return [change(item) for item in among] if isinstance(among, list) else []

    return Expression(changed)


def _reduce(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> Expression:
    """reduce: list, operation on {"current", "accumulator"}, first accumulator. The last is never evaluated, whatever it looks like."""
    if not arguments:
        return NOTHING
    items, combine = _items(rule, arguments, at)
    start = arguments[2] if len(arguments) > 2 else None
    if isinstance(start, dict):
        hint = "write a value: flagd does not evaluate the first accumulator"
        return rule.refuse(at(2), "arguments", f"reduce starts from the operation {shown(start)}", hint)

    def reduced(data: Any) -> Any:
        among = items(data)
        if not isinstance(among, list):
            return start
        context = {"accumulator": start}
        for item in among:
            context["current"] = item
            context["accumulator"] = combine(context)
        return context["accumulator"]

    return Expression(reduced)


def _quantified(holds: Callable[[Run, list[Any]], bool], without: bool) -> Lazy:
    """all, some, none; `without` is the answer where there is no list."""

    def build(rule: Rule, arguments: Sequence[Any], at: Callable[[int], Place]) -> Expression:
        if len(arguments) < 2:
            return constant(without)
        items, wanted = _items(rule, arguments, at)

        def quantified(data: Any) -> bool:
            among = items(data)
            return holds(wanted, among) if isinstance(among, list) else without

        return Expression(quantified)

    return build


def _all(wanted: Run, among: list[Any]) -> bool:
    # JSON logic: of nothing, all is false.
    return bool(among) and all(to_bool(wanted(item)) for item in among)


def _some(wanted: Run, among: list[Any]) -> bool:
    return any(to_bool(wanted(item)) for item in among)


LAZY: Final[Mapping[str, Lazy]] = {
    "if": _choice,
    "?:": _choice,
    "and": _until(False),
    "or": _until(True),
    "filter": _filter,
    "map": _map,
    "reduce": _reduce,
    "all": _quantified(_all, without=False),
    "some": _quantified(_some, without=False),
    "none": _quantified(lambda wanted, among: not _some(wanted, among), without=True),
}
