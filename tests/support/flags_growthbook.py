"""Random GrowthBook payloads and attributes, one family a feature of the vendor's language, so aimed that both outcomes are frequent.

Everything comes from the Random that is passed in. A payload's flag is `flag`; an answer that is `on` is a family's "yes".
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

MISSING = object()
KEY = "flag"
CONTEXTS = 25
"""Attributes that are tried on each flag."""

TEXTS = ["", "a", "A", "b", "ab", "Ab", "zz", "1", "01", "1.0", "5", "true", "null", "id-7", "straße", "STRASSE", "Straße", "ΣΑΣ", "İ"]
TEXTS += ["\ue000", "日本", "e\u0301", "é", "😀", "😀a", "\uffff", "\ud800", "\udfff\ud83d", "ﬀ", "a\nb", " a", "١", "²", "x" * 40]
NON_ASCII = ["é", "\ue000", "\uffff", "😀", "\ud800", "\ud83d", "日本", "z"]
"""Code points and UTF-16 code units order these differently."""
VERSIONS = ["1.2.3", "v1.2.3", "1.2.3+build.5", "1.2.3-rc.1", "1.2.3-rc.10", "1.10.0", "1.9.9", "2", "2.0", "2.0.0", "123456.0.1"]
VERSIONS += ["99999.0.0", "10000.0.0", "9999.0.0", "999.9.9", "1.2.3.4"]
VERSIONS += ["", "v", "1..2", "1.x.3", "0", "-1", "1.2.3\n", "v1.2.3+b\nc", "1.²"]
NUMBERS = [0, 1, -1, 2, 5, 5.0, 1.5, -2.5, -0.0, 0.1, 1e16, 1e21, 1.5e21, 1e-6, 1.5e-7, 123456789012345680000, 2**53 + 1]
ODD_NUMBERS = [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), 5e-324, 1.7976931348623157e308]
SCALARS: list[Any] = [*TEXTS, *NUMBERS, True, False, None]
PLAIN_LISTS: list[Any] = [[], ["a"], ["a", "b"], ["A", "B", "zz"], [1, 2, 5], [True], [0], [1, True], [None], [None, "a"], [[1], 2]]
PLAIN_LISTS += [[{"k": 1}, "a"], ["straße", "日本"], [False, 1.5], [0, 1, "x"]]
PLAIN_OBJECTS: list[Any] = [{}, {"k": 1}, {"k": "a", "n": 2}, {"n": 2, "k": "a"}, {"2": 1, "10": 2}, {"10": 2, "2": 1}, {"k": None}]
PLAIN_OBJECTS += [{"k": {"k": [1, {"k": "a"}]}}, {"k": True}, {"k": 1.0}]
LISTS = [*PLAIN_LISTS, [float("nan"), float("inf")]]
OBJECTS = [*PLAIN_OBJECTS, {"k": float("nan")}]
"""With numbers that attributes may hold and a payload may not."""
ODD_WEIGHTS = [[1, 0], [0.5, 0.5], [0.2, 0.2], [0.3, 0.7], [1.2, -0.2], [], [1], [0.9, 0.05, 0.05], [0.9, 0.11], [0.9, 0.09]]
PATTERNS = ["^a", "b$", "[0-9]+", "^$", "", "(?i)AB", "ß", "^.$", "日|z", "a.b", r"^\w+$", "[A-Z]", "ss"]
TYPES = ["null", "boolean", "number", "string", "array", "object", "unknown", "undefined"]
GROUPS: dict[str, Any] = {
    "bare": ["a", "b", 1, True, None, "日本", "id-7", {"k": 1}],
    "typed": {"type": "list", "attributeKey": "a", "values": ["A", "zz", 5, False, "straße", 1.5]},
    "adults": {"type": "condition", "condition": {"n": {"$gte": 2}}},
    "nested": {"type": "condition", "condition": {"$or": [{"$savedGroup": {"id": "adults"}}, {"$savedGroup": {"id": "typed"}}]}},
}
IDS: list[Any] = ["", "u", "user-1", "用户", "😀", "ünï", "\ud800", "5", 5, 5.0, 0, -7, 1.5, 1e21, 1e-7]
IDS += [True, False, None, MISSING, ["u"], 10**400]


class Case(NamedTuple):
    document: dict[str, Any]
    contexts: list[dict[str, Any]]


def flag(rules: list[dict[str, Any]], default: Any = False, **others: Any) -> dict[str, Any]:
    """A payload with one flag, and whatever it leans on."""
    return {"features": {KEY: {"defaultValue": default, "rules": rules}, **others}, "savedGroups": GROUPS}


def forced(condition: Any) -> dict[str, Any]:
    return flag([{"condition": condition, "force": True}])


def unit_id(random: Random) -> Any:
    return random.choice(IDS) if random.random() < 0.4 else f"user-{random.randrange(10**9)}"


def near(random: Random, value: Any) -> Any:
    """The operand itself, or something that is almost it."""
    if isinstance(value, bool):
        return random.choice([value, int(value), str(value).lower(), not value])
    if isinstance(value, int | float):
        return random.choice([value, value + 1, value - 1, str(value), float(value) if abs(value) < 1e300 else 0])
    if isinstance(value, str):
        sibling = random.choice(VERSIONS if value in VERSIONS else NON_ASCII if not value.isascii() else TEXTS)
        return random.choice([value, value.upper(), value.lower(), value + "a", value[:-1], [value], sibling, sibling])
    if isinstance(value, list) and value:
        no_number = [float("nan") if item is None else item for item in value]
        return random.choice([value, random.choice(value), list(reversed(value)), value[:1], no_number])
    if isinstance(value, dict) and value:
        no_number = {key: float("-inf") if item is None else item for key, item in value.items()}
        return random.choice([value, dict(reversed(value.items())), no_number, {**value, "z": 1}])
    return value


def any_value(random: Random) -> Any:
    return random.choice(random.choice([SCALARS, SCALARS, LISTS, OBJECTS, ODD_NUMBERS, VERSIONS, [MISSING]]))


def context(random: Random, **given: Any) -> dict[str, Any]:
    """Attributes with what is given; MISSING leaves one out."""
    made = {"id": unit_id(random), "n": random.choice([0, 1, 2, 3, 5.5, "2", True, MISSING]), "company": unit_id(random), **given}
    return {key: value for key, value in made.items() if value is not MISSING}


def about(random: Random, operand: Any) -> list[dict[str, Any]]:
    """Contexts whose attribute `a` is often near the operand."""
    values = [near(random, operand) if random.random() < 0.6 else any_value(random) for _ in range(CONTEXTS)]
    return [context(random, a=value) for value in values]


def some(random: Random, pool: list[Any], most: int = 5) -> list[Any]:
    return [random.choice(pool) for _ in range(random.randint(0, most))]


def operator(name: str, pool: Callable[[Random], Any]) -> Callable[[Random], Case]:
    """One operator on attribute `a`."""

    def family(random: Random) -> Case:
        operand = pool(random)
        return Case(forced({"a": {name: operand}}), about(random, operand))

    return family


def from_pool(*pools: list[Any]) -> Callable[[Random], Any]:
    return lambda random: random.choice(random.choice(pools))


def many(*pools: list[Any]) -> Callable[[Random], Any]:
    """A list of operands; null and nested values are among them."""
    return lambda random: [*some(random, random.choice(pools)), random.choice(TEXTS), random.choice(NUMBERS)]


def regex(name: str) -> Callable[[Random], Case]:
    def family(random: Random) -> Case:
        values = [random.choice(TEXTS) if random.random() < 0.8 else any_value(random) for _ in range(CONTEXTS)]
        return Case(forced({"a": {name: random.choice(PATTERNS)}}), [context(random, a=value) for value in values])

    return family


def typed(random: Random) -> Case:
    samples = {"null": [None, MISSING], "boolean": [True, False], "number": NUMBERS, "string": TEXTS, "array": LISTS, "object": OBJECTS}
    wanted = random.choice(TYPES)
    values = [random.choice(samples[wanted]) if wanted in samples and random.random() < 0.5 else any_value(random) for _ in range(CONTEXTS)]
    return Case(forced({"a": {"$type": wanted}}), [context(random, a=value) for value in values])


def leaf(random: Random) -> Any:
    """A condition on one value."""
    return random.choice(
        [
            lambda: {"$gt": random.choice([0, 1, 2, 1.5, "a"])},
            lambda: {"$in": some(random, SCALARS)},
            lambda: {"$exists": random.random() < 0.7},
            lambda: {"$ne": random.choice(SCALARS)},
            lambda: {"$regex": random.choice(PATTERNS)},
            lambda: {"$not": {"$lt": 3}},
            lambda: {"$type": random.choice(TYPES[:4])},
            lambda: {"$gte": 1, "$lt": 5},
            lambda: random.choice(SCALARS),
            dict,
            lambda: {"$inGroup": random.choice(["bare", "typed"])},
            lambda: {"$vgte": random.choice(VERSIONS)},
        ]
    )()


def condition(random: Random, depth: int = 3) -> dict[str, Any]:
    """A condition of several levels."""
    if depth == 0 or random.random() < 0.4:
        return {random.choice(["a", "n", "o.k", "l.0", "l.length", "id", "o.k.k"]): leaf(random) for _ in range(random.randint(0, 2))}
    name = random.choice(["$or", "$nor", "$and", "$not", "$savedGroup"])
    if name == "$savedGroup":
        return {name: {"id": random.choice(["typed", "adults", "nested"])}, **condition(random, 0)}
    if name == "$not":
        return {name: condition(random, depth - 1)}
    return {name: [condition(random, depth - 1) for _ in range(random.randint(0, 5))], **condition(random, 0)}


def rich_context(random: Random) -> dict[str, Any]:
    return context(random, a=any_value(random), o=random.choice([*OBJECTS, MISSING]), l=random.choice([*LISTS, MISSING, "l"]))


def rich(random: Random) -> list[dict[str, Any]]:
    return [rich_context(random) for _ in range(CONTEXTS)]


def logical(name: str) -> Callable[[Random], Case]:
    """$or, $nor, $and or $not at the top, over what is often true."""

    def family(random: Random) -> Case:
        most = 2 if name == "$and" else 5
        items = [{"a": leaf(random)} if random.random() < 0.5 else {"n": leaf(random)} for _ in range(random.randint(0, most))]
        return Case(forced({name: {"a": leaf(random)} if name == "$not" else items}), rich(random))

    return family


def literal(random: Random) -> Case:
    """Equality without an operator: scalars, lists, objects, and an object in which only one key looks like an operator."""
    odd = {"$gt": 1, "k": 2}
    wanted = random.choice(random.choice([SCALARS, PLAIN_LISTS, PLAIN_OBJECTS, PLAIN_OBJECTS, [odd]]))
    values = [random.choice([near(random, wanted), wanted, any_value(random)]) for _ in range(CONTEXTS)]
    return Case(forced({"a": wanted}), [context(random, a=value) for value in values])


def null(random: Random) -> Case:
    values = [random.choice([None, MISSING, any_value(random)]) for _ in range(CONTEXTS)]
    return Case(forced({"a": None}), [context(random, a=value) for value in values])


def dotted(random: Random) -> Case:
    path = random.choice(["o.k", "o.k.k", "o.k.k.1.k", "l.0", "l.1", "l.length", "l.01", "o.10", "o.", "l.0.k", "l.00000000000"])
    return Case(forced({path: random.choice([{"$exists": True}, {"$gte": 1}, "a", {"$in": [1, 2, "a"]}])}), rich(random))


def elem_match(random: Random) -> Case:
    on_value = random.choice([{"$gt": 1}, {"$eq": "a"}, {"$not": {"$eq": 1}}, {"$in": ["a", 1]}, {}, {"$elemMatch": {"$eq": 1}}])
    on_fields = random.choice(
        [{"k": {"$exists": True}}, {"$or": [{"k": 1}, {"0": 1}]}, {"$savedGroup": {"id": "typed", "attributeKey": "k"}}, {"length": 1}]
    )
    pool = [*LISTS, [{"k": "A"}, None], [{"k": 5}], [1, [1]], [False, 0, ""]]
    values = [random.choice([*pool, *pool, any_value(random)]) for _ in range(CONTEXTS)]
    return Case(forced({"a": {"$elemMatch": random.choice([on_value, on_fields])}}), [context(random, a=value) for value in values])


def on_lists(name: str, pool: Callable[[Random], Any]) -> Callable[[Random], Case]:
    def family(random: Random) -> Case:
        values = [random.choice(LISTS) if random.random() < 0.8 else any_value(random) for _ in range(CONTEXTS)]
        return Case(forced({"a": {name: pool(random)}}), [context(random, a=value) for value in values])

    return family


def group(name: str) -> Callable[[Random], Case]:
    def family(random: Random) -> Case:
        pool = [*GROUPS["bare"], *GROUPS["typed"]["values"]]
        values = [random.choice([*pool, [random.choice(pool)], any_value(random), any_value(random)]) for _ in range(CONTEXTS)]
        return Case(forced({"a": {name: random.choice(["bare", "typed"])}}), [context(random, a=value) for value in values])

    return family


def saved_group(random: Random) -> Case:
    reference = random.choice([{"id": "typed"}, {"id": "typed", "attributeKey": "n"}, {"id": "adults"}, {"id": "nested"}])
    values = [random.choice([*GROUPS["typed"]["values"], any_value(random)]) for _ in range(CONTEXTS)]
    return Case(forced({"$savedGroup": reference}), [context(random, a=value) for value in values])


def seed(random: Random) -> str:
    return random.choice(["", "s", "größe", "😀", "seed-1", "a b"])


def share(random: Random) -> float:
    return random.choice([0, 0.001, 0.01, 0.05, 0.25, 0.333, 0.5, 0.9, 1, 1.0, 2, -1, random.random(), random.randrange(10_000) / 10_000])


def limits(random: Random) -> list[float]:
    low, high = sorted((share(random), share(random)))
    return [low, high] if random.random() < 0.9 else [high, low]


def units(random: Random) -> list[dict[str, Any]]:
    return [context(random) for _ in range(CONTEXTS)]


def with_version(random: Random, rule: dict[str, Any]) -> dict[str, Any]:
    version = random.choice([None, 1, 2])
    return rule if version is None else {**rule, "hashVersion": version}


def coverage(random: Random) -> Case:
    rule = {"force": random.choice([True, "x", 5, {"a": 1}]), "coverage": share(random), "seed": seed(random), "namespace": ["n", 0, 0]}
    return Case(flag([with_version(random, rule)]), units(random))


def force_range(random: Random) -> Case:
    rule = {"force": True, "range": limits(random), "coverage": random.choice([None, 0, 0.5]), "seed": seed(random)}
    return Case(flag([with_version(random, rule)]), units(random))


def fallback(random: Random) -> Case:
    rule = {"force": True, "coverage": random.choice([0.5, 0.9, 1]), "hashAttribute": random.choice(["id", "", "o.k", None])}
    rule |= {"fallbackAttribute": "company", "disableStickyBucketing": random.random() < 0.2}
    return Case(flag([with_version(random, rule)]), units(random))


def filters(random: Random) -> Case:
    made = []
    for _ in range(random.randint(1, 2)):
        one: dict[str, Any] = {"ranges": [limits(random) for _ in range(random.randint(0, 3))], "seed": seed(random)}
        if random.random() < 0.3:
            one["attribute"] = random.choice(["company", None])
        made.append(with_version(random, one))
    return Case(flag([{"force": True, "filters": made}]), units(random))


def experiment(random: Random, **given: Any) -> dict[str, Any]:
    """An experiment rule whose variations are all truthy."""
    count = random.randint(2, 4)
    weights = [random.random() + 0.1 for _ in range(count)]
    rule: dict[str, Any] = {"variations": [f"v{number}" for number in range(count)], "key": random.choice(["", "exp", "größe"])}
    rule |= {"weights": [weight / sum(weights) for weight in weights]} if random.random() < 0.7 else {}
    rule |= {"coverage": share(random)} if random.random() < 0.5 else {}
    rule |= {"seed": seed(random)} if random.random() < 0.5 else {}
    rule |= {"meta": [{"key": f"key-{number}", "name": "n"} for number in range(random.randint(0, count))]} if random.random() < 0.5 else {}
    rule |= {"phase": "1", "minBucketVersion": 1, "bucketVersion": 2, "fallbackAttribute": "company", "name": "N", "id": "r"}
    return with_version(random, {**rule, **given})


def weights(random: Random) -> Case:
    """Also weights that are not one a variation with a sum of 1: the vendor splits equally."""
    odd = random.choice(ODD_WEIGHTS)
    count = len(odd) if len(odd) > 1 and random.random() < 0.7 else random.randint(2, 4)
    return Case(flag([experiment(random, weights=odd, coverage=1, variations=["v0", "v1", "v2", "v3"][:count])]), units(random))


def ranges(random: Random) -> Case:
    return Case(flag([experiment(random, ranges=[limits(random) for _ in range(random.randint(0, 5))])]), units(random))


def passthrough(random: Random) -> Case:
    meta = [{"passthrough": random.random() < 0.5, "key": "k"}, None, {}, {"passthrough": True}]
    return Case(flag([experiment(random, meta=meta), experiment(random, coverage=0.5)]), units(random))


def namespace(random: Random) -> Case:
    given: dict[str, Any] = {"namespace": [seed(random), *limits(random)]}
    if random.random() < 0.3:
        given["filters"] = [{"ranges": [[0, 0.7]], "seed": "f"}]
    return Case(flag([experiment(random, coverage=1, **given)]), units(random))


def few_variations(random: Random) -> Case:
    """No experiment at all, then one."""
    return Case(flag([{"variations": ["only"]}, {"variations": []}, {}, experiment(random)]), units(random))


def values(random: Random) -> Case:
    """What counts as on: 0, "" and null do not, an empty list and object do."""
    pool = [0, 1, "", "x", [], {}, None, True, False, 0.0, -0.0, 1.5, [0]]
    rules = [{"condition": {"n": {"$gte": 3}}, "force": random.choice(pool)}, {"variations": [random.choice(pool), random.choice(pool)]}]
    return Case(flag(rules, random.choice(pool)), units(random))


def prerequisite(gate: bool) -> Callable[[Random], Case]:
    """A flag that is on unless its prerequisite fails; the prerequisite may itself be closed by its own."""

    def family(random: Random) -> Case:
        base = {"defaultValue": random.choice([False, None, "x"]), "rules": [{"force": True, "coverage": 0.7}]}
        middle = {"defaultValue": random.choice([0, "v", {"k": [1]}]), "rules": [experiment(random)]}
        middle["rules"].insert(0, {"parentConditions": [{"id": "base", "condition": {"value": True}, "gate": random.random() < 0.5}]})
        wanted = [
            {"value": {"$regex": "^v"}},
            {"value": {"$exists": True}},
            {"value": {"$in": ["v0", "v1"]}},
            {"value.k.0": 1},
            {},
            {"value": None},
        ]
        parents = [{"id": "base", "condition": {"value": {"$ne": None}}, "gate": gate}, {"id": "base"}]
        parents.append({"id": "middle", "condition": random.choice(wanted), "gate": gate})
        if gate:
            return Case(flag([{"parentConditions": parents}], "open", base=base, middle=middle), units(random))
        return Case(flag([{"parentConditions": parents, "force": "open"}], base=base, middle=middle), units(random))

    return family


def mixed(random: Random) -> Case:
    """Several rules of every kind."""
    rules = []
    for _ in range(random.randint(1, 4)):
        kind = random.random()
        rule = experiment(random) if kind < 0.4 else {"force": random.choice([True, "f", 0, None]), "coverage": share(random)}
        rule |= {"condition": condition(random)} if random.random() < 0.7 else {}
        rule |= {"filters": [{"ranges": [limits(random)], "seed": seed(random)}]} if random.random() < 0.2 else {}
        if random.random() < 0.3:
            rule["parentConditions"] = [{"id": "other", "condition": {"value": leaf(random)}, "gate": random.random() < 0.3}]
        rules.append(with_version(random, rule))
    other = {"defaultValue": random.choice(SCALARS), "rules": [{"condition": condition(random), "force": random.choice(SCALARS)}]}
    return Case(flag(rules, random.choice([False, "d", None]), other=other), rich(random))


ORDERED = from_pool(TEXTS, NUMBERS)
FAMILIES: dict[str, Callable[[Random], Case]] = {
    **{name: operator(name, from_pool(SCALARS, SCALARS, SCALARS, PLAIN_LISTS)) for name in ("$eq", "$ne")},
    **{name: operator(name, ORDERED) for name in ("$lt", "$lte", "$gt", "$gte")},
    **{name: operator(name, from_pool(VERSIONS, VERSIONS, NUMBERS)) for name in ("$veq", "$vne", "$vlt", "$vlte", "$vgt", "$vgte")},
    **{name: operator(name, many(SCALARS, TEXTS, [*SCALARS, *PLAIN_LISTS])) for name in ("$in", "$nin", "$ini", "$nini")},
    **{name: regex(name) for name in ("$regex", "$regexi", "$notRegex", "$notRegexi")},
    "$exists": operator("$exists", from_pool([True, False])),
    "$type": typed,
    "$not on a value": operator("$not", leaf),
    "$elemMatch": elem_match,
    "$size": on_lists("$size", from_pool([0, 1, 2, {"$gt": 1}, {"$in": [2, 3]}, {"$not": {"$eq": 2}}])),
    "$all": on_lists("$all", from_pool([["a"], ["a", "b"], [1], [], [{"$gt": 0}], [True], [None], ["日本"]])),
    "$alli": on_lists("$alli", from_pool([["A"], ["a", "B"], ["STRASSE"], ["zZ"], [{"$eq": "A"}], [1], ["Straße"]])),
    "$inGroup": group("$inGroup"),
    "$notInGroup": group("$notInGroup"),
    "$savedGroup": saved_group,
    **{f"{name} of conditions": logical(name) for name in ("$or", "$nor", "$and", "$not")},
    "literal": literal,
    "null": null,
    "dotted path": dotted,
    "force with coverage": coverage,
    "force with range": force_range,
    "fallbackAttribute": fallback,
    "filters": filters,
    "experiment": lambda random: Case(flag([experiment(random)]), units(random)),
    "weights": weights,
    "ranges": ranges,
    "passthrough": passthrough,
    "namespace": namespace,
    "few variations": few_variations,
    "values": values,
    "prerequisite": prerequisite(gate=False),
    "prerequisite, gate": prerequisite(gate=True),
    "mixed": mixed,
}
"""Feature of the vendor's language -> maker of a payload and of attributes to ask it with."""
