"""flagd's document and the key of a flag -> Flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from extproc.flags.flag import Attributes, Flag, FlagAnswer, FlagError
from extproc.flags.flagd.document import Definition, find, read
from extproc.flags.flagd.expression import Run
from extproc.flags.flagd.logic import compiled
from extproc.flags.flagd.names import FLAGD
from extproc.flags.flagd.rule import Place, Rule, shown

CLIENTS_DEFAULT: Final = FlagAnswer(False, "", None)
"""Where flagd gives no value (disabled, no default variant, a failed evaluation) a client gets the default that it passed."""

Evaluate = Callable[[Attributes, float], FlagAnswer]


def compile_flag(document: Mapping[str, Any], key: str) -> Flag:
    """The flag `key` of a parsed flagd document. FlagError with all that is wrong with it, or that we cannot answer as flagd would.

    The answer is that of a client which asks for the type that the variant's value has; asked for another type, flagd gives the client
    its own default. What `needs` names are first parts of dotted paths: `user` for `user.tier`.
    """
    rule, place = Rule(key), Place(f"flags.{key}")
    definition = read(rule, document, find(document, key), place)
    run: Run | None = None
    if definition is not None and definition.targeting:
        run = _targeting(rule, definition.targeting, place.at(".targeting"))
    if rule.problems:
        raise FlagError(rule.problems)
    assert definition is not None, "without a definition there is a problem"
    if not definition.enabled:
        return Flag(key, _always(CLIENTS_DEFAULT), frozenset(), False)
    answers = _answers(definition)
    default = answers.get(definition.default, CLIENTS_DEFAULT)
    if run is None:
        return Flag(key, _always(default), frozenset(), False)
    evaluate = _evaluator(run, answers, default)
    return Flag(key, _with_time(evaluate, key) if rule.needs_time else evaluate, frozenset(rule.needs), rule.needs_time)


def _targeting(rule: Rule, targeting: Any, place: Place) -> Run:
    if not isinstance(targeting, dict):
        rule.refuse(place, "malformed", f"targeting is {shown(targeting)}", "write an operation, or leave targeting out")
        return lambda _: None
    return compiled(rule, targeting, place).run


def _answers(definition: Definition) -> dict[str, FlagAnswer]:
    # To flagd, a variant without a name or with the value null is no answer.
    return {name: FlagAnswer(bool(value), name, value) for name, value in definition.variants.items() if name and value is not None}


def _always(answer: FlagAnswer) -> Evaluate:
    return lambda _attributes, _now: answer


def _evaluator(run: Run, answers: Mapping[str, FlagAnswer], default: FlagAnswer) -> Evaluate:
    def evaluate(attributes: Attributes, _: float) -> FlagAnswer:
        try:
            found = run(attributes)
            if type(found) is not str:
                if found is None:
                    return default
                found = str(found).lower() if isinstance(found, bool) else str(found)
        except Exception:
            # Division by 0, a number too large: flagd's evaluation fails in the same places, and the client gets its default.
            return CLIENTS_DEFAULT
        return answers.get(found, CLIENTS_DEFAULT)

    return evaluate


def _with_time(evaluate: Evaluate, key: str) -> Evaluate:
    def evaluate_at(attributes: Attributes, now: float) -> FlagAnswer:
        return evaluate({**attributes, FLAGD: {"flagKey": key, "timestamp": int(now)}}, now)

    return evaluate_at
