"""var, missing, missing_some: the operations that name attributes. What they name is a flag's `needs`.

At the root of a rule every name must be written out, because the proxy has to know which attributes to collect; inside of map, filter,
reduce, all, some and none, names may be computed: the item is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from extproc.flags.flagd.coerce import to_number
from extproc.flags.flagd.expression import NOTHING, Expression, Run, after, constant
from extproc.flags.flagd.operators import given
from extproc.flags.flagd.rule import Place, Rule, shown
from extproc.flags.flagd.variables import Step, at_number, look_up, steps, walk

FLAGD: Final = "$flagd"
"""flagd's own properties; they hide an attribute of that name."""
TARGETING_KEY: Final = "targetingKey"
WHOLE: Final = True
"""Stands for the whole context, where only its presence matters."""
Find = Callable[[Any, Any], Any]
"""(data, name) -> value or None."""


def variable(rule: Rule, arguments: Sequence[Expression], place: Place) -> Expression:
    """var: a name and a default."""
    if len(arguments) > 2:
        return rule.refuse(place, "arguments", f"var takes a name and a default, not {len(arguments)} arguments", "remove the others")
    name, default = given(arguments, 0), given(arguments, 1)
    if not place.root:
        return Expression(_of_item(name, default))
    if not name.known:
        return rule.refuse(place, "computed-name", "the name of this variable is computed", "choose between several var with if")
    if name.value is None or name.value == "":
        return rule.refuse(place, "whole-context", "this variable is the whole context", "name the attribute that is meant")
    if not isinstance(name.value, str):
        # Attributes have texts for names: a number finds none.
        return default
    return _or_default(attribute(rule, name.value), default)


def attribute(rule: Rule, name: str) -> Expression:
    """What a dotted name at the root answers; nothing where it is not there."""
    first, *rest = steps(name)
    if first.name == FLAGD:
        return _flagd(rule, rest)
    rule.needs.add(first.name)
    key = first.name
    if not rest:
        # OpenFeature's client makes no difference between an empty targetingKey and none.
        return Expression(lambda data: data.get(TARGETING_KEY) or None) if key == TARGETING_KEY else Expression(lambda data: data.get(key))
    if key == TARGETING_KEY:
        return Expression(lambda data: walk(data.get(TARGETING_KEY) or None, rest, None))
    return Expression(lambda data: walk(data.get(key), rest, None))


def _flagd(rule: Rule, rest: Sequence[Step]) -> Expression:
    if rest and rest[0].name == "flagKey":
        return constant(walk(rule.key, rest[1:], None))
    if rest and rest[0].name != "timestamp":
        return NOTHING
    rule.needs_time = True
    return Expression(lambda data: walk(data[FLAGD], rest, None))


def _or_default(found: Expression, default: Expression) -> Expression:
    run, otherwise = found.run, default.run
    if default.known:
        value = default.value
        if found.known:
            return constant(value if found.value is None else found.value)
        if value is None:
            return found

        def run_or_value(data: Any) -> Any:
            answer = run(data)
            return value if answer is None else answer

        return Expression(run_or_value)

    def run_or_default(data: Any) -> Any:
        # The default is evaluated first and always: it can fail.
        fallback, answer = otherwise(data), run(data)
        return fallback if answer is None else answer

    return Expression(run_or_default)


def _of_item(name: Expression, default: Expression) -> Run:
    otherwise = default.run
    if not name.known:
        computed = name.run
        return lambda item: look_up(item, computed(item), otherwise(item))
    key = name.value
    if key is None or key == "":
        return after([default], lambda item: item)
    if isinstance(key, str):
        path = steps(key)
        return lambda item: walk(item, path, otherwise(item))
    return lambda item: at_number(item, key, otherwise(item))


def missing(rule: Rule, raw: Sequence[Any], arguments: Sequence[Expression], place: Place) -> Expression:
    """missing: those of the names whose value is null, empty or not there. A list as first argument is all of the names."""
    find = _finder(rule, [(argument, index == 0) for index, argument in enumerate(raw)], place)
    runs = tuple(argument.run for argument in arguments)

    def names_missing(data: Any) -> list[Any]:
        values = [run(data) for run in runs]
        return _absent(find, data, values[0] if values and isinstance(values[0], list) else values)

    return Expression(names_missing)


def missing_some(rule: Rule, raw: Sequence[Any], arguments: Sequence[Expression], place: Place) -> Expression:
    """missing_some: nothing where at least so many of the names are there, else the missing ones."""
    find = _finder(rule, [(argument, True) for argument in raw[1:2]], place)
    least, names = given(arguments, 0).run, given(arguments, 1).run

    def names_missing(data: Any) -> list[Any]:
        wanted, keys = least(data), names(data)
        if not isinstance(keys, list):
            return []
        enough, absent = to_number(wanted), _absent(find, data, keys)
        return [] if len(keys) - len(absent) >= enough else absent

    return Expression(after(arguments[2:], names_missing))


def _absent(find: Find, data: Any, keys: Iterable[Any]) -> list[Any]:
    absent = []
    for key in keys:
        value = find(data, key)
        if value is None or value == "":
            absent.append(key)
    return absent


def _finder(rule: Rule, raw: Iterable[tuple[Any, bool]], place: Place) -> Find:
    if not place.root:
        return lambda item, key: look_up(item, key, None)
    names = {name for argument, as_list in raw for name in _names(rule, argument, as_list, place)}
    found: Mapping[str, Run] = {name: attribute(rule, name).run if name else lambda _: WHOLE for name in names}

    def find(data: Any, key: Any) -> Any:
        if isinstance(key, str):
            return found[key](data)
        return WHOLE if key is None else None

    return find


def _names(rule: Rule, raw: Any, as_list: bool, place: Place) -> set[str]:
    """Names that an argument of missing can be: written out, merged, or chosen by if."""
    if isinstance(raw, str):
        return {raw}
    if raw is None or isinstance(raw, int | float):
        return set()
    parts, nested = (raw, False) if isinstance(raw, list) and as_list else (_choices(raw, as_list), as_list)
    if parts is None:
        rule.refuse(place, "computed-name", f"a name that may be missing is computed: {shown(raw)}", "write the names out")
        return set()
    return {name for part in parts for name in _names(rule, part, nested, place)}


def _choices(raw: Any, as_list: bool) -> Sequence[Any] | None:
    if not isinstance(raw, dict) or len(raw) != 1:
        return None
    ((operation, inner),) = raw.items()
    among = inner if isinstance(inner, list) else [inner]
    if operation in ("if", "?:"):
        return [*among[1::2], *(among[-1:] if len(among) % 2 else [])]
    return among if operation == "merge" and as_list else None
