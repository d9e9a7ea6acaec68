"""A feature with all it depends on -> a Flag. Cold: once per change.

Prerequisites are features of the same document; each is compiled once, and a circle of them is refused. What a prerequisite answers is
looked at as `{"value": ...}`, the way the vendor's conditions on it are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from extproc.flags.flag import Attributes, Flag, FlagAnswer, FlagError
from extproc.flags.growthbook.conditions import Conditions, Place
from extproc.flags.growthbook.reading import MALFORMED, Fields, Problems, meant, shown
from extproc.flags.growthbook.rules import Step, answer, compile_rule, nothing
from extproc.flags.growthbook.values import Test

Evaluate = Callable[[Attributes], FlagAnswer]
Parent = tuple[Evaluate, Test, bool]
"""A prerequisite, the condition on its value, and whether it closes the whole feature (`gate`) or only the rule."""

LONGEST_CHAIN: Final = 32
"""Prerequisites of prerequisites; evaluation recurses, and must never meet Python's limit."""
CLOSED: Final = answer(None)
"""What a feature answers while a gate keeps it shut."""


def compile_flag(document: Mapping[str, Any], key: str) -> Flag:
    """The feature `key` of an SDK payload. Raises FlagError with everything that is wrong with it or with what it depends on."""
    problems = Problems()
    features, groups = _section(document, "features", problems), _section(document, "savedGroups", problems)
    if not problems.found and "features" not in document:
        _missing_features(document, problems)
    if problems.found:
        raise FlagError(problems.found)
    needs: set[str] = set()
    evaluate = _Features(features, Conditions(groups, problems, needs), problems, needs).feature(key, f"flags.{key}", ())
    if problems.found:
        raise FlagError(problems.found)
    return Flag(key, lambda attributes, _now: evaluate(attributes), frozenset(needs), needs_time=False)


def _section(document: Mapping[str, Any], name: str, problems: Problems) -> Mapping[str, Any]:
    section = document.get(name)
    if section is None or isinstance(section, Mapping):
        return section or {}
    problems.malformed(name, "an object", section)
    return {}


def _missing_features(document: Mapping[str, Any], problems: Problems) -> None:
    if "encryptedFeatures" in document:
        hint = "Use an SDK connection without encryption, or decrypt the payload first."
        problems.add("flag.unsupported", "encryptedFeatures", "an encrypted payload is not supported", hint)
    else:
        problems.add("flag.malformed", "features", "the document has no features", "Give the whole SDK payload: {'features': {...}}.")


class _Features:
    """Compiles features of one document."""

    def __init__(self, features: Mapping[str, Any], conditions: Conditions, problems: Problems, needs: set[str]) -> None:
        self._features = features
        self._conditions = conditions
        self._problems = problems
        self._needs = needs
        self._compiled: dict[str, Evaluate] = {}
        self._heights: dict[str, int] = {}
        """Feature -> how many prerequisites lie below it, one under the other."""

    def feature(self, key: str, asked_at: str, chain: tuple[str, ...]) -> Evaluate:
        """One feature; `chain` holds those whose prerequisite it is."""
        if key in self._compiled:
            return self._compiled[key]
        if not self._can_be_asked(key, asked_at, chain):
            return lambda _attributes: CLOSED
        fields = Fields(self._problems, f"flags.{key}", self._features[key])
        fields.known(("defaultValue", "rules", "metadata"))
        steps = [step for rule in fields.objects("rules") if (step := self._rule(rule, key, (*chain, key))) is not nothing]
        evaluate = _first(tuple(steps), answer(fields.fields.get("defaultValue")))
        self._compiled[key] = evaluate
        return evaluate

    def _can_be_asked(self, key: str, asked_at: str, chain: tuple[str, ...]) -> bool:
        add = self._problems.add
        if key in chain:
            circle = " -> ".join((*chain[chain.index(key) :], key))
            add("flag.cycle", asked_at, f"prerequisites go in a circle: {circle}", "Remove one of these prerequisites in GrowthBook.")
        elif len(chain) > LONGEST_CHAIN:
            self._too_long(asked_at)
        elif key not in self._features:
            hint = meant(key, self._features) + "The payload holds the features of its own environment and projects only."
            add("flag.unknown", asked_at, f"there is no feature {shown(key)}", hint)
        elif not isinstance(self._features[key], Mapping):
            self._problems.malformed(f"flags.{key}", "an object", self._features[key])
        else:
            return True
        return False

    def _grow(self, key: str, height: int, path: str) -> None:
        """A prerequisite that was compiled already is looked into no more: its height tells how long the chain is."""
        self._heights[key] = max(height, self._heights.get(key, 0))
        if height > LONGEST_CHAIN:
            self._too_long(path)

    def _too_long(self, path: str) -> None:
        self._problems.add(
            "flag.too-deep", path, f"a chain of more than {LONGEST_CHAIN} prerequisites is not supported", "Shorten it in GrowthBook."
        )

    def _rule(self, fields: Fields, key: str, chain: tuple[str, ...]) -> Step:
        step = compile_rule(fields, key, self._conditions, self._needs)
        parents = [self._parent(parent, chain) for parent in fields.objects("parentConditions")]
        wanted = tuple(parent for parent in parents if parent is not None)
        # A prerequisite that closes nothing matters only where the rule decides something.
        if step is nothing and not any(gate for _, _, gate in wanted):
            return nothing
        return _behind(wanted, step) if wanted else step

    def _parent(self, fields: Fields, chain: tuple[str, ...]) -> Parent | None:
        """None where the prerequisite has no condition: then the vendor lets everybody pass."""
        fields.known(("id", "condition", "gate"))
        key = fields.fields.get("id")
        if not isinstance(key, str):
            self._problems.add("flag.malformed", f"{fields.path}.id", f"this wants a feature's key, not {shown(key)}", MALFORMED)
            return None
        evaluate = self.feature(key, fields.path, chain)
        if key in self._compiled:
            self._grow(chain[-1], self._heights.get(key, 0) + 1, fields.path)
        gate = fields.flag("gate")
        condition = fields.fields.get("condition")
        if condition is None:
            return None
        return evaluate, self._conditions.condition(condition, Place(f"{fields.path}.condition", root=False)), gate


def _first(steps: tuple[Step, ...], default: FlagAnswer) -> Evaluate:
    def evaluate(attributes: Attributes) -> FlagAnswer:
        for step in steps:
            found = step(attributes)
            if found is not None:
                return found
        return default

    return evaluate if steps else lambda _attributes: default


def _behind(parents: tuple[Parent, ...], step: Step) -> Step:
    """Prerequisites in their order; the first that fails says whether the feature or only the rule is closed."""

    def guarded(attributes: Attributes) -> FlagAnswer | None:
        for evaluate, passes, gate in parents:
            if not passes({"value": evaluate(attributes).value}):
                return CLOSED if gate else None
        return step(attributes)

    return guarded
