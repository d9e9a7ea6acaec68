"""Generated flagd rules, flags and contexts, and what flagd's own Python provider says of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.tools.flagd.core.targeting.targeting import targeting
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from extproc.flags import FlagAnswer

FAILED = "the evaluation failed"
CLIENTS_DEFAULT = FlagAnswer(False, "", None)
TEXTS = ["free", "pro", "équipe", "漢字-7", "😀", "", " ", "pro@firma.de", "é@firma.de", "Zoë", "null", "true", "True", "pro,free"]
NUMERIC_TEXTS = ["0", "1", "5", "05", "1.0", " 5 ", "1e3", "-2.5", "nan", "inf", "Infinity", "1_000", "٣", "0x10", "5abc"]
NUMBERS = [0, 1, -1, 5, 3, 1000, -7, 2**53 + 1, 2**70, 0.0, 1.0, -2.5, 0.1, 5.5, 1e300, 1e-7, 123456789.123456789]
VERSIONS = [
    "1.2.3",
    "1.2.4",
    "1.3.0",
    "2.0.0",
    "v1.2.3",
    "V2",
    "1",
    "1.2",
    "1.2.3-rc.1",
    "1.2.3-rc.2",
    "1.2.3+b7",
    "01.2.3",
    "x.y.z",
    "",
    "1.2.3.4",
]
SCALARS = [*TEXTS, *NUMERIC_TEXTS, *NUMBERS, True, False]
LISTS: list[Any] = [[], [1], ["1"], ["free", "pro"], [1, 2, 3], ["équipe", "", 5], [[1]], [None], [0, False], ["5"], [3, "漢字-7", 1.5]]
PEOPLE = [{"name": "Zoë", "age": 31, "plan": "pro"}, {"name": "Li", "age": "17", "plan": "free"}, {"name": "", "tags": ["a", "b"]}]
NAMES = ["plan", "level", "n", "m", "email", "version", "tags", "people", "user", "absent", "targetingKey", "", "a.b"]
PATHS = ["plan", "plan", "level", "n", "m", "email", "tags", "tags.0", "tags.length", "plan.length", "plan.0", "user.plan", "user.tags.1"]
PATHS += [
    "user.absent.deeper",
    "n.x",
    "absent",
    "targetingKey",
    "targetingKey.length",
    "$flagd.flagKey",
    "$flagd.other",
    "people.1.name",
    ".x",
    "level",
]
UNITS = ["user-1", "user-2", "é", "漢字-7", "😀😀", "a" * 30, "b" * 300, "\udcff", "", "user/3#x", "0"]


def context(random: Random) -> dict[str, Any]:
    """Attributes of one request; any of them may be missing or empty."""
    found: dict[str, Any] = {
        "plan": random.choice(TEXTS[:6]),
        "level": random.choice(SCALARS),
        "n": random.choice([*NUMBERS, *NUMERIC_TEXTS, True]),
        "m": random.choice(NUMBERS),
        "email": random.choice(["a@firma.de", "é@firma.de", "b@other.io", "firma.de", ""]),
        "version": random.choice([*VERSIONS, 1, 1.2]),
        "tags": random.choice(LISTS),
        "people": random.choice([PEOPLE, PEOPLE[:1], [], "no list"]),
        "user": random.choice([{"plan": "pro", "tags": ["x", "y"]}, {"plan": None}, "text", 7]),
        "targetingKey": random.choice(UNITS) if random.random() < 0.5 else f"unit-{random.random()}",
        "$flagd": {"flagKey": "hidden", "other": 1},
    }
    return {name: value for name, value in found.items() if random.random() < 0.88}


def written_version(random: Random) -> str:
    """A text that is a version, or nearly one."""
    if random.random() < 0.8:
        numbers = ".".join(random.choice("0012") for _ in range(random.choice([1, 2, 3, 3])))
        return numbers + random.choice(["", "", "-1", "-2", "-10", "-rc", "-rc.1", "-rc.1.0", "-rc.10", "-0a", "-a-b", "-1e3", "+b"])
    numbers = ".".join(random.choice(["0", "1", "10", "01", "", "a"]) for _ in range(random.choice([1, 2, 3, 4])))
    return random.choice(["", "v", "V", "vv", " "]) + numbers + random.choice(["", "-01", "-", "-é", "-rc..1", "+", "+01.a", "-1+", "+b-1"])


class Rules:
    """Random JSON logic. `operation` makes the one asked for, with arguments of the kinds that it is made for, and some others."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._made: dict[str, Callable[[int], Any]] = {
            "var": self._var,
            "missing": self._missing,
            "missing_some": lambda _: [self.random.choice([0, 1, 2, "1", self.expression(0)]), self._names()],
            "in": self._in,
            "sem_ver": self._sem_ver,
            "fractional": self._fractional,
            "starts_with": lambda depth: [self._text(depth), self.random.choice(["", "p", "f", "é", "漢", self._text(0)])],
            "ends_with": lambda depth: [self._text(depth), self.random.choice(["", "e", "@firma.de", "o", self._text(0)])],
            "substr": lambda depth: [self._text(depth), *self._numbers(depth, self.random.choice([1, 2, 2]))],
            "reduce": self._reduce,
        }
        self._inner = 0

    def operation(self, name: str, depth: int = 2) -> Any:
        """An operation by its name."""
        if name in self._made:
            return {name: self._made[name](depth)}
        if name in ("filter", "map", "all", "some", "none"):
            return {name: [self._list(depth), self._of_item(depth)]}
        if name in ("+", "*", "-", "/", "%", "min", "max"):
            return {name: self._numbers(depth, self.random.choice([1, 2, 2, 2, 3]))}
        if name in ("<", "<=", ">", ">="):
            return {name: self._numbers(depth, self.random.choice([2, 2, 2, 3]))}
        if name in ("!", "!!"):
            return {name: self.random.choice([[self.expression(depth - 1)], self.expression(0)])}
        if name in ("==", "!=", "===", "!=="):
            return {name: self._compared(depth)}
        least = 1 if name in ("if", "?:") else 0
        return {name: [self.expression(depth - 1) for _ in range(self.random.randint(least, 4))]}

    def expression(self, depth: int) -> Any:
        """An operation, a variable or a value."""
        if depth <= 0 or self.random.random() < 0.25:
            return {"var": self._name()} if self.random.random() < 0.6 else self._value()
        return self.operation(self.random.choice(OPERATIONS), depth - 1)

    def _value(self) -> Any:
        return self.random.choice([*SCALARS, None, *LISTS])

    def _name(self) -> Any:
        if self._inner:
            return self.random.choice(["", "current", "accumulator", "age", "name", "0", 0, 1, 1.5, "length", "plan", "current.age"])
        return self.random.choice(PATHS)

    def _var(self, depth: int) -> Any:
        form = self.random.random()
        if form < 0.3:
            return self._name()
        if form < 0.6:
            return [self._name()]
        return [self._name(), self.expression(depth - 1)]

    def _names(self) -> list[Any]:
        return self.random.sample([*NAMES, 5], self.random.randint(0, 4))

    def _missing(self, _: int) -> Any:
        form = self.random.random()
        if form < 0.4:
            return self._names()
        if form < 0.6:
            return [self._names()]
        if form < 0.7:
            return self.random.choice(NAMES)
        return {"merge": [self.random.choice(NAMES), {"if": [self.expression(1), self._names(), []]}]}

    def _text(self, depth: int) -> Any:
        return self.random.choice(
            [{"var": self._name()}, {"var": "plan"}, {"var": "email"}, self.random.choice(TEXTS), self._deeper("cat", depth)]
        )

    def _deeper(self, name: str, depth: int) -> Any:
        return self.operation(name, depth - 1) if depth > 0 else {"var": "email"}

    def _numbers(self, depth: int, many: int) -> list[Any]:
        choices = [{"var": "n"}, {"var": "m"}, {"var": "level"}, *NUMBERS[:8], self.random.choice(SCALARS)]
        return [self.expression(depth - 1) if self.random.random() < 0.2 else self.random.choice(choices) for _ in range(many)]

    def _compared(self, depth: int) -> list[Any]:
        random = self.random
        return random.choice(
            [
                [{"var": "plan"}, random.choice(TEXTS[:6])],
                [random.choice(TEXTS[:6]), {"var": "plan"}],
                [{"var": "level"}, random.choice(SCALARS)],
                [{"var": "n"}, random.choice([*NUMBERS, *NUMERIC_TEXTS, None, True, False])],
                [{"var": "tags"}, {"var": "tags"}],
                [{"var": "absent"}, random.choice([0, False, None, "null"])],
                [self.expression(depth - 1) for _ in range(random.randint(0, 3))],
            ]
        )

    def _in(self, depth: int) -> list[Any]:
        needle = self.random.choice([{"var": "plan"}, {"var": "level"}, {"var": "n"}, self.expression(depth - 1)])
        among = self.random.sample(SCALARS, 5) + TEXTS[: self.random.randint(0, 5)]
        return [
            needle,
            self.random.choice([among, {"var": "tags"}, {"var": "email"}, "pro, free", [*among, {"var": "n"}], self.expression(depth - 1)]),
        ]

    def _list(self, depth: int) -> Any:
        random = self.random
        return random.choice(
            [{"var": "tags"}, {"var": "people"}, random.choice(LISTS), [1, {"var": "n"}, "x"], self._deeper("merge", depth)]
        )

    def _of_item(self, depth: int) -> Any:
        self._inner += 1
        try:
            if self.random.random() < 0.5:
                return {
                    self.random.choice([">", "==", "<=", "!="]): [{"var": self._name()}, self.random.choice([0, 1, "1", 18, "Li", None])]
                }
            return self.expression(depth - 1)
        finally:
            self._inner -= 1

    def _reduce(self, depth: int) -> list[Any]:
        start = self.random.choice([0, 1, "", None, [], 10])
        pair = [{"var": "accumulator"}, {"var": self.random.choice(["current", "current.age", "current.0"])}]
        combine = {self.random.choice(["+", "*", "max", "cat", "merge", "-"]): pair} if self.random.random() < 0.7 else self._of_item(depth)
        return [self._list(depth), combine, start][: self.random.choice([2, 3, 3, 3])]

    def _sem_ver(self, _: int) -> list[Any]:
        how = self.random.choice(["=", "!=", ">", "<", ">=", "<=", "^", "~"])
        return [self.random.choice([{"var": "version"}, {"var": "version"}, {"var": "level"}]), how, self.random.choice(VERSIONS[:11])]

    def _fractional(self, depth: int) -> list[Any]:
        random = self.random
        shares: list[list[Any]] = [
            [name, random.choice([0, 1, 5, 25, 50, 100, -3])] for name in ("on", "off", True, None)[: random.randint(1, 4)]
        ]
        shares.append(["rest", random.choice([1, 10, 75])])
        if random.random() < 0.3:
            shares = [[name] for name, _ in shares]
        if depth > 0 and random.random() < 0.3:
            shares[0] = [self.expression(depth - 1), {"+": [1, {"var": "m"}]}]
        bucket = random.choice(
            [{"var": "email"}, {"var": "level"}, {"cat": [{"var": "$flagd.flagKey"}, {"var": "plan"}]}, {"var": "user"}, "x", 5.0]
        )
        return shares if random.random() < 0.5 else [bucket, *shares]


OPERATIONS = ["var", "missing", "missing_some", "if", "?:", "==", "===", "!=", "!==", "!", "!!", "or", "and", ">", ">=", "<", "<="]
OPERATIONS += ["max", "min", "+", "-", "*", "/", "%", "in", "cat", "substr", "map", "filter", "reduce", "all", "none", "some", "merge"]
OPERATIONS += ["fractional", "starts_with", "ends_with", "sem_ver"]
"""All that we support; log is left out."""


def split(attributes: Mapping[str, Any]) -> EvaluationContext:
    """Our attributes as OpenFeature takes them."""
    rest = {name: value for name, value in attributes.items() if name != "targetingKey"}
    return EvaluationContext(attributes.get("targetingKey"), rest)


def reference_value(key: str, logic: Any, attributes: Mapping[str, Any]) -> Any:
    """What the core's evaluator makes of a rule. The client hands it no empty targetingKey: there it becomes None."""
    asked = split(attributes)
    asked.targeting_key = asked.targeting_key or None
    try:
        return targeting(key, logic, asked)
    except Exception:
        return FAILED


def in_one_second(ask: Callable[[], Any]) -> tuple[Any, float]:
    """An answer of the SDK, which reads the clock itself, and the time at which it was asked; asked again if the second changed."""
    while True:
        now = time.time()
        answer = ask()
        if int(time.time()) == int(now):
            return answer, now


class Client:
    """OpenFeature's own client."""

    def __init__(self, domain: str) -> None:
        client = api.get_client(domain)
        self._details = {
            bool: (client.get_boolean_details, False),
            str: (client.get_string_details, "the client's own"),
            int: (client.get_integer_details, -77),
            float: (client.get_float_details, -77.5),
            dict: (client.get_object_details, {"the client's": "own"}),
            list: (client.get_object_details, ["the client's own"]),
        }

    def answer(self, key: str, variants: Mapping[str, Any], attributes: Mapping[str, Any]) -> FlagAnswer:
        """The answer to a client that asks for the type of the value. Types are tried as the variants have them."""
        for kind in {type(value): None for value in variants.values() if value is not None}:
            ask, default = self._details[kind]
            details = ask(key, default, split(attributes))
            if details.error_code is ErrorCode.TYPE_MISMATCH or (
                details.error_code is None and details.variant and type(details.value) is not kind
            ):
                continue
            if details.error_code is not None or details.variant is None:
                assert details.value == default, "no answer: the client keeps its own"
                return CLIENTS_DEFAULT
            # The float of an integer variant is the same number; only the type asked for tells them apart.
            if kind is float and type(variants[details.variant]) is int:
                continue
            return FlagAnswer(bool(details.value), details.variant, details.value)
        return CLIENTS_DEFAULT


_domains = count()


@contextmanager
def client_of(document: Mapping[str, Any], folder: Path) -> Iterator[Client]:
    """A client whose provider reads a document from a file: no network."""
    path = folder / "flags.json"
    path.write_text(json.dumps(document))
    domain = f"flags-{next(_domains)}"
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=60_000)
    api.set_provider_and_wait(provider, domain)
    try:
        yield Client(domain)
    finally:
        provider.shutdown()


EVALUATORS: dict[str, Any] = {
    "staff": {"or": [{"ends_with": [{"var": "email"}, "@firma.de"]}, {"$ref": "big spender"}]},
    "big spender": {"and": [{"==": [{"var": "plan"}, "pro"]}, {">": [{"var": "m"}, 0]}]},
    "quoted": {"in": [{"var": "plan"}, ["pro", 'a "quoted" plan']]},
}
"""Evaluators of the generated document: one refers to another below it."""
Feature = Callable[[Random], tuple[dict[str, Any], Any]]
"""(variants, targeting) of a flag that uses a feature; the variants yes and no tell its outcomes."""


def asked(condition: Callable[[Random], Any]) -> Feature:
    """A flag that says yes where a condition holds."""
    return lambda random: ({"yes": True, "no": False}, {"if": [condition(random), "yes", "no"]})


def _operation(name: str) -> Feature:
    return asked(lambda random: Rules(random).operation(name))


def _version(how: str) -> Feature:
    return asked(lambda random: {"sem_ver": [{"var": "version"}, how, random.choice(["1.0.0", *VERSIONS[:5]])]})


def _between(how: str) -> Feature:
    def condition(random: Random) -> Any:
        low, high = random.choice([(-10, 1000), ("1", 6), (0, "5abc"), ("a", "z"), (None, 3)])
        return {how: [low, {"var": random.choice(["n", "m", "level", "email"])}, high] if "<" in how else [high, {"var": "m"}, low]}

    return asked(condition)


def _valued(yes: Any, no: Any) -> Feature:
    return lambda random: ({"yes": yes, "no": no}, _operation("==")(random)[1])


def _shares(*bucket: Any) -> Feature:
    def flag(random: Random) -> tuple[dict[str, Any], Any]:
        share = random.choice([20, 50, 80])
        return {"yes": True, "no": False}, {"fractional": [*bucket, ["yes", share], ["no", 100 - share]]}

    return flag


def _nested_shares(random: Random) -> tuple[dict[str, Any], Any]:
    inner = {"fractional": [{"var": "email"}, ["yes", 1], ["no", 1]]}
    computed = {"+": [1, {"if": [{"==": [{"var": "plan"}, "pro"]}, 2, 0]}]}
    return {"yes": True, "no": False}, {"fractional": [[inner, computed], [{"if": [{"var": "m"}, "yes", "no"]}, random.choice([1, 3])]]}


def _by_time(random: Random) -> Any:
    now = {"var": "$flagd.timestamp"}
    return random.choice(
        [{">": [now, random.choice([0, 4e9])]}, {"<": [{"%": [now, 2]}, random.choice([1, 2])]}, {"in": ["7", {"cat": now}]}]
    )


FEATURES: dict[str, Feature] = {
    **{f"{name}": _operation(name) for name in OPERATIONS},
    **{f"sem_ver {how}": _version(how) for how in ("=", "!=", ">", "<", ">=", "<=", "^", "~")},
    **{f"between {how}": _between(how) for how in ("<", "<=", ">", ">=")},
    "fractional, default bucketing": _shares(),
    "fractional, explicit bucketBy": _shares({"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]}),
    "fractional, bucketBy a number": _shares({"+": [{"var": "m"}, 0.0]}),
    "fractional, without weights": lambda _: ({"yes": True, "no": False}, {"fractional": [["yes"], ["no"]]}),
    "fractional, computed and nested": _nested_shares,
    "var with a default": asked(lambda random: {"==": [{"var": [random.choice(["plan", "absent"]), "pro"]}, "pro"]}),
    "var with a dotted path": asked(lambda random: {"==": [{"var": random.choice(["user.plan", "people.0.plan"])}, "pro"]}),
    "$flagd.flagKey": asked(lambda random: {"in": [random.choice("11123"), {"var": "$flagd.flagKey"}]}),
    "$flagd.timestamp": asked(_by_time),
    "targetingKey": asked(lambda random: {"in": [random.choice(["unit", "é", "漢", "1"]), {"var": "targetingKey"}]}),
    "empty or missing targetingKey": asked(lambda _: {"!": {"var": "targetingKey"}}),
    "$ref": asked(lambda random: {"$ref": random.choice([*EVALUATORS])}),
    "variants bool": lambda random: ({"true": True, "false": False, "yes": True}, _operation("and")(random)[1]["if"][0]),
    "variants text": _valued("gpt-canary", ""),
    "variants integer": _valued(3, 0),
    "variants float": _valued(0.5, 0.0),
    "variants object": _valued({"model": "canary", "$ref": "no evaluator"}, {}),
    "variants list": _valued(["a", 1], []),
    "variants null": _valued(None, "text"),
    "variants of many types": _valued("text", 0),
    "a variant that is not there": lambda random: ({"yes": True}, _operation("!!")(random)[1]),
    "no targeting": lambda random: ({"yes": True, "no": False}, random.choice([None, {}])),
    "DISABLED": _operation("=="),
    "no default variant": lambda random: ({"yes": True}, {"if": [_operation("!!")(random)[1]["if"][0], "yes"]}),
}
ONE_OUTCOME = {"DISABLED", "no targeting", "variants bool", "variants null", "a variant that is not there", "no default variant"}
"""Features that have no yes and no."""


def flag(feature: str, random: Random) -> dict[str, Any]:
    """A flag that uses a feature."""
    variants, rule = FEATURES[feature](random)
    made: dict[str, Any] = {"state": "DISABLED" if feature == "DISABLED" else "ENABLED", "variants": variants}
    if feature != "no default variant":
        made["defaultVariant"] = random.choice([*variants])
    if feature == "variants bool":
        made["defaultVariant"] = random.choice([True, False, "", None])
    if rule is not None:
        made["targeting"] = rule
    return made
