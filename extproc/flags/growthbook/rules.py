"""One rule of a feature, compiled: attributes in, an answer out, or None where the next rule decides.

The vendor's order: prerequisites, condition, filters; then a forced value with its coverage or range, or else an experiment. A rule that
has neither value nor variations decides nothing, but its prerequisites still may close the whole feature (`gate`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from extproc.flags.flag import Attributes, FlagAnswer
from extproc.flags.growthbook.conditions import Conditions, Place, all_of
from extproc.flags.growthbook.hashing import bucket_of, identity, span
from extproc.flags.growthbook.reading import Fields, is_finite
from extproc.flags.growthbook.values import Test, truthy

Step = Callable[[Attributes], FlagAnswer | None]

ON_ALL: Final = ("key", "condition", "filters", "namespace", "parentConditions", "disableStickyBucketing")
ON_UNITS: Final = ("hashAttribute", "fallbackAttribute", "hashVersion", "seed", "coverage", "range", "ranges")
ON_VALUES: Final = ("force", "variations", "weights", "meta")
WITHOUT_EFFECT: Final = ("id", "name", "phase", "bucketVersion", "minBucketVersion", "tracks", "metadata")
"""Reporting, and sticky buckets, which a stateless answer does not have."""
REFUSED: Final = {
    "contextualBanditRef": "contextual bandits",
    "contextualVariations": "contextual bandits",
    "url": "URL targeting",
    "urlPatterns": "URL targeting",
    "urlRedirect": "URL redirects",
    "persistQueryString": "URL redirects",
}
"""Field -> what it asks for."""
DEFAULT_IDENTITY: Final = "id"
"""Attribute that is hashed where a rule names none."""
WEIGHTS_FROM: Final = 0.99
WEIGHTS_TO: Final = 1.01
"""A sum of weights outside is no sum of 1: the vendor then splits equally."""


def nothing(_attributes: Attributes) -> None:
    """Decides nothing."""


def answer(value: Any, variant: str = "") -> FlagAnswer:
    """A value as the vendor reports it."""
    return FlagAnswer(truthy(value), variant, value)


def compile_rule(fields: Fields, feature: str, conditions: Conditions, needs: set[str]) -> Step:
    """What a rule decides, without its prerequisites."""
    _known(fields)
    guards: list[Test] = []
    condition = fields.fields.get("condition")
    if condition is not None and condition != {}:
        guards.append(conditions.condition(condition, Place(f"{fields.path}.condition", root=True)))
    filters = fields.objects("filters")
    guards.extend(_filter(one, needs) for one in filters)
    if fields.fields.get("force") is not None:
        step = _force(fields, feature, needs)
    elif fields.fields.get("variations") is not None:
        step = _experiment(fields, feature, bool(filters), needs)
    else:
        return nothing
    return step if not guards else _guarded(all_of(guards), step)


def _guarded(test: Test, step: Step) -> Step:
    return lambda attributes: step(attributes) if test(attributes) else None


def _known(fields: Fields) -> None:
    for key, what in REFUSED.items():
        if fields.fields.get(key) is not None:
            hint = "The edge decides by attributes alone: use another kind of rule in GrowthBook."
            fields.problems.add("flag.unsupported", f"{fields.path}.{key}", f"rules with {what} are not supported", hint)
    fields.known((*ON_ALL, *ON_UNITS, *ON_VALUES, *WITHOUT_EFFECT, *REFUSED))


def _filter(fields: Fields, needs: set[str]) -> Test:
    """The unit's bucket under the filter's own seed lies in one of its ranges; nobody passes without an id."""
    fields.known(("seed", "ranges", "hashVersion", "attribute"))
    fields.given("seed", "ranges", "hashVersion")
    if "ranges" not in fields.fields:
        fields.problems.malformed(f"{fields.path}.ranges", "a list of ranges", None)
    version = fields.version(2)
    attribute = fields.text("attribute", DEFAULT_IDENTITY)
    needs.add(attribute)
    spans = tuple(span(low, high, version) for low, high in fields.pairs("ranges"))
    who, bucket = identity(attribute), bucket_of(fields.text("seed", ""), version)

    def test(attributes: Attributes) -> bool:
        text = who(attributes)
        if not text:
            return False
        number = bucket(text)
        return any(low <= number < high for low, high in spans)

    return test


def _force(fields: Fields, feature: str, needs: set[str]) -> Step:
    """One value, for everybody or for the share that coverage or range includes."""
    forced = answer(fields.fields["force"])
    version = fields.version(1)
    seed = fields.text("seed", "") or feature
    attribute = fields.text("hashAttribute", DEFAULT_IDENTITY)
    fallback = "" if fields.flag("disableStickyBucketing") else fields.text("fallbackAttribute", "")
    coverage, limits = fields.number("coverage"), fields.pair("range")
    if limits is None:
        if coverage is None:
            return lambda _attributes: forced
        limits = (0.0, coverage)
    needs.update((attribute, fallback) if fallback else (attribute,))
    low, high = span(*limits, version)
    who, bucket = identity(attribute, fallback), bucket_of(seed, version)

    def step(attributes: Attributes) -> FlagAnswer | None:
        text = who(attributes)
        return forced if text and low <= bucket(text) < high else None

    return step


def _experiment(fields: Fields, feature: str, filtered: bool, needs: set[str]) -> Step:
    """A variation by the unit's bucket. Fewer than two variations are no experiment, as the vendor has it."""
    answers = _variations(fields)
    version = fields.version(1)
    key = fields.text("key", "") or feature
    seed = fields.text("seed", "") or key
    attribute = fields.text("hashAttribute", DEFAULT_IDENTITY)
    spans = _spans(fields, answers, version)
    namespace = _namespace(fields)
    if len(answers) < 2:
        return nothing
    needs.add(attribute)
    who, bucket = identity(attribute), bucket_of(seed, version)

    def step(attributes: Attributes) -> FlagAnswer | None:
        text = who(attributes)
        if not text:
            return None
        number = bucket(text)
        for low, high, variation in spans:
            if low <= number < high:
                return variation
        return None

    # The vendor looks at the old namespace only where there are no filters, which replaced it.
    if namespace is None or filtered:
        return step
    name, limits = namespace
    (first, last), place = span(*limits, 1), bucket_of("__" + name, 1)
    return _guarded(lambda attributes: first <= place(who(attributes)) < last, step)


def _variations(fields: Fields) -> list[FlagAnswer | None]:
    """Each variation's answer; None where its meta says that the next rule decides (`passthrough`)."""
    metas = {}
    for number, value in enumerate(fields.items("meta")):
        # null and an empty object are the same as no meta.
        if value is not None and not isinstance(value, dict):
            fields.problems.malformed(f"{fields.path}.meta[{number}]", "an object", value)
        elif value:
            meta = metas[number] = Fields(fields.problems, f"{fields.path}.meta[{number}]", value)
            meta.known(("key", "name", "passthrough"))
            meta.given("key")
    found: list[FlagAnswer | None] = []
    for number, value in enumerate(fields.items("variations")):
        about = metas.get(number)
        if about is not None and about.flag("passthrough"):
            found.append(None)
        else:
            found.append(answer(value, about.text("key", str(number)) if about is not None else str(number)))
    return found


def _spans(fields: Fields, answers: list[FlagAnswer | None], version: int) -> tuple[tuple[int, int, FlagAnswer | None], ...]:
    """Buckets of each variation: explicit ranges, or else by weights and coverage. A range without variation decides nothing."""
    limits = fields.pairs("ranges")
    coverage, weights = fields.number("coverage"), _weights(fields, len(answers))
    if not limits:
        limits = _weighted(1.0 if coverage is None else min(max(coverage, 0.0), 1.0), weights)
    padded = [*answers, *[None] * len(limits)]
    return tuple((*span(low, high, version), variation) for (low, high), variation in zip(limits, padded, strict=False))


def _weights(fields: Fields, count: int) -> list[float]:
    """The weights that the vendor uses: equal ones where those given are not one for each variation with a sum of 1."""
    given = fields.items("weights")
    if not all(map(is_finite, given)):
        fields.problems.malformed(f"{fields.path}.weights", "a list of numbers", given)
        return []
    if len(given) == count and all(weight >= 0 for weight in given) and WEIGHTS_FROM <= sum(given) <= WEIGHTS_TO:
        return given
    return [1 / count] * count if count else []


def _weighted(coverage: float, weights: list[float]) -> list[tuple[float, float]]:
    """Each variation starts where all weights before it end, and takes the covered part of its own: raising coverage moves nobody."""
    starts = [0.0]
    for weight in weights:
        starts.append(starts[-1] + weight)
    return [(start, start + coverage * weight) for (start, _), weight in zip(pairwise(starts), weights, strict=True)]


def _namespace(fields: Fields) -> tuple[str, tuple[float, float]] | None:
    """[id, low, high] of the old way to keep experiments apart."""
    value: Any = fields.fields.get("namespace")
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str) and all(map(is_finite, value[1:])):
        return value[0], (float(value[1]), float(value[2]))
    fields.problems.malformed(f"{fields.path}.namespace", "a name and two numbers", value)
    return None
