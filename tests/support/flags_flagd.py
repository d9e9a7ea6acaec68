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

from extproc.assign.compat import FlagAnswer

FAILED = "the evaluation failed"
CLIENTS_DEFAULT = FlagAnswer(False, "", None)
TEXTS = ["free", "pro", "équipe", "漢字-7", "😀", "", " ", "pro@firma.de", "é@firma.de", "Zoë", "null", "true", "True", "pro,free"]
NUMERIC_TEXTS = ["0", "1", "5", "05", "1.0", " 5 ", "1e3", "-2.5", "nan", "inf", "Infinity", "1_000", "٣", "0x10", "5abc"]
NUMBERS = [0, 1, -1, 5, 3, 1000, -7, 2**53 + 1, 2**70, 0.0, 1.0, -2.5, 0.1, 5.5, 1e300, 1e-7, 123456789.123456789]
VERSIONS = ["1.2.3", "1.2.4", "1.3.0", "2.0.0", "v1.2.3", "V2", "1", "1.2", "1.2.3-rc.1", "1.2.3-rc.2", "1.2.3+b7", "01.2.3", "x.y.z", "", "1.2.3.4"]
SCALARS = [*TEXTS, *NUMERIC_TEXTS, *NUMBERS, True, False]
LISTS: list[Any] = [[], [1], ["1"], ["free", "pro"], [1, 2, 3], ["équipe", "", 5], [[1]], [None], [0, False], ["5"], [3, "漢字-7", 1.5]]
PEOPLE = [{"name": "Zoë", "age": 31, "plan": "pro"}, {"name": "Li", "age": "17", "plan": "free"}, {"name": "", "tags": ["a", "b"]}]
NAMES = ["plan", "level", "n", "m", "email", "version", "tags", "people", "user", "absent", "targetingKey", "", "a.b"]
PATHS = ["plan", "plan", "level", "n", "m", "email", "tags", "tags.0", "tags.length", "plan.length", "plan.0", "user.plan", "user.tags.1"]
PATHS += ["user.absent.deeper", "n.x", "absent", "targetingKey", "targetingKey.length", "$flagd.flagKey", "$flagd.other", "people.1.name", ".x", "level"]
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
        return self.random.choice([{"var": self._name()}, {"var": "plan"}, {"var": "email"}, self.random.choice(TEXTS), self._deeper("cat", depth)])

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
        return [needle, self.random.choice([among, {"var": "tags"}, {"var": "email"}, "pro, free", [*among, {"var": "n"}], self.expression(depth - 1)])]

    def _list(self, depth: int) -> Any:
        random = self.random
        return random.choice([{"var": "tags"}, {"var": "people"}, random.choice(LISTS), [1, {"var": "n"}, "x"], self._deeper("merge", depth)])

    def _of_item(self, depth: int) -> Any:
        self._inner += 1
        try:
            if self.random.random() < 0.5:
                return {self.random.choice([">", "==", "<=", "!="]): [{"var": self._name()}, self.random.choice([0, 1, "1", 18, "Li", None])]}
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
        shares: list[list[Any]] = [[name, random.choice([0, 1, 5, 25, 50, 100, -3])] for name in ("on", "off", True, None)[: random.randint(1, 4)]]
        shares.append(["rest", random.choice([1, 10, 75])])
        if random.random() < 0.3:
            shares = [[name] for name, _ in shares]
        if depth > 0 and random.random() < 0.3:
            shares[0] = [self.expression(depth - 1), {"+": [1, {"var": "m"}]}]
        bucket = random.choice([{"var": "email"}, {"var": "level"}, {"cat": [{"var": "$flagd.flagKey"}, {"var": "plan"}]}, {"var": "user"}, "x", 5.0])
        return shares if random.random() < 0.5 else [bucket, *shares]


OPERATIONS = "var missing missing_some if ?: == === != !== ! !! or and > >= < <= max min + - * / % in cat substr map filter reduce".split()
OPERATIONS += "all none some merge fractional starts_with ends_with sem_ver".split()


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
            if details.error_code is ErrorCode.TYPE_MISMATCH or (details.error_code is None and details.variant and type(details.value) is not kind):
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
