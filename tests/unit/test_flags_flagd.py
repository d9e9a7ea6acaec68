"""flagd's flags: what is refused and in which words, what a flag needs, and the quirks that an operator may meet."""

from __future__ import annotations

from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.exception import ParseError

from extproc.flags import Flag, FlagAnswer, FlagError
from extproc.flags.flagd import compile_flag, point_of
from extproc.flags.flagd.rule import shown
from tests.support.flags_flagd import FAILED, reference_value

VARIANTS = {"on": True, "off": False}
NO_ANSWER = FlagAnswer(False, "", None)
ON = FlagAnswer(True, "on", True)
OFF = FlagAnswer(False, "off", False)


def document(targeting: Any = None, evaluators: Any = None, **changed: Any) -> dict[str, Any]:
    made = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "off", "targeting": targeting} | changed
    flag = {name: value for name, value in made.items() if value is not ...}
    return {"flags": {"new-model": flag, "other": {"state": "broken"}}} | ({} if evaluators is None else {"$evaluators": evaluators})


def flag(targeting: Any = None, evaluators: Any = None, **changed: Any) -> Flag:
    return compile_flag(document(targeting, evaluators, **changed), "new-model")


def condition(logic: Any) -> Flag:
    """A flag that is on where a condition holds."""
    return flag({"if": [logic, "on", "off"]})


def nested(depth: int) -> Any:
    return True if depth == 0 else {"!": nested(depth - 1)}


T = "flags.new-model.targeting"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"state": "ON"}, 'flags.new-model.state: the state is "ON" [flag.state]\n    write ENABLED or DISABLED'),
    ({"state": ...}, "flags.new-model.state: the state is null [flag.state]\n    write ENABLED or DISABLED"),
    ({"variants": {}}, "flags.new-model.variants: variants is {} [flag.variants]\n    write an object with at least one: name -> value"),
    (
        {"defaultVariant": "of"},
        'flags.new-model.defaultVariant: there is no variant "of" [flag.default-variant]\n    did you mean off?',
    ),
    (
        {"defaultVariant": True},
        'flags.new-model.defaultVariant: there is no variant "true" [flag.default-variant]\n    the variants are on, off',
    ),
    (
        {"defaultVariant": 1},
        "flags.new-model.defaultVariant: the default variant is 1 [flag.default-variant]\n    write the name of a variant",
    ),
    ({"targetting": {}}, 'flags.new-model.targetting: a flag has no key "targetting" [flag.unknown-key]\n    did you mean targeting?'),
    (
        {"owner": "me"},
        'flags.new-model.owner: a flag has no key "owner" [flag.unknown-key]\n    flagd\'s provider rejects a document with it: remove it',
    ),
    ({"metadata": [1]}, "flags.new-model.metadata: metadata is [1] [flag.metadata]\n    write an object: name -> text, number or bool"),
    (
        {"metadata": {"a": None}},
        'flags.new-model.metadata.a: "a" is null [flag.metadata]\n'
        "    flagd's provider rejects a document with it: write a name and a text, number or bool",
    ),
    ({"targeting": ["on"]}, f'{T}: targeting is ["on"] [flag.malformed]\n    write an operation, or leave targeting out'),
    (
        {"targeting": {"if": [True, "on"], "else": "off"}},
        f'{T}: {{"if": [true, "on"], "else": "off"}} is no operation [flag.not-an-operation]\n'
        "    an operation is an object with exactly one key",
    ),
    (
        {"targeting": {"log": "on"}},
        f"{T}: the operation log is not supported [flag.unsupported-operator]\n    remove it: a request's attributes are not logged",
    ),
    (
        {"targeting": {"start_with": ["a", "b"]}},
        f'{T}: the operation "start_with" is not known [flag.unsupported-operator]\n    did you mean starts_with?',
    ),
    (
        {"targeting": {"if": [{"§§": 1}, "on"]}},
        f'{T}.if[0]: the operation "§§" is not known [flag.unsupported-operator]\n'
        "    flagd does not know it either: the evaluation would fail",
    ),
    (
        {"targeting": {"var": ["a", 1, 2]}},
        f"{T}.var: var takes a name and a default, not 3 arguments [flag.arguments]\n    remove the others",
    ),
    ({"targeting": {"var": ""}}, f"{T}.var: this variable is the whole context [flag.whole-context]\n    name the attribute that is meant"),
    (
        {"targeting": {"var": {"cat": [{"var": "a"}, "b"]}}},
        f"{T}.var: the name of this variable is computed [flag.computed-name]\n    choose between several var with if",
    ),
    (
        {"targeting": {"missing": {"cat": ["a", "b"]}}},
        f'{T}.missing: a name that may be missing is computed: {{"cat": ["a", "b"]}} [flag.computed-name]\n    write the names out',
    ),
    (
        {"targeting": {"reduce": [[1], {"var": "current"}, {"var": "a"}]}},
        f'{T}.reduce[2]: reduce starts from the operation {{"var": "a"}} [flag.arguments]\n'
        "    write a value: flagd does not evaluate the first accumulator",
    ),
    (
        {"targeting": {"ends_with": ["a"]}},
        f"{T}.ends_with: ends_with takes 2 arguments, not 1 [flag.arguments]\n    write the text, then its end",
    ),
    (
        {"targeting": {"starts_with": [{"var": "a"}, 5]}},
        f"{T}.starts_with[1]: starts_with compares texts, not 5 [flag.arguments]\n    put it in quotes",
    ),
    (
        {"targeting": {"sem_ver": [{"var": "v"}, "1.2"]}},
        f"{T}.sem_ver: sem_ver takes 3 arguments, not 2 [flag.arguments]\n    write version, comparison, version",
    ),
    (
        {"targeting": {"sem_ver": [{"var": "v"}, "=>", "1.2"]}},
        f'{T}.sem_ver[1]: sem_ver cannot compare by "=>" [flag.version]\n    use one of = != < <= > >= ^ ~',
    ),
    (
        {"targeting": {"sem_ver": [{"var": "v"}, "^", "1.x"]}},
        f'{T}.sem_ver[2]: "1.x" is no semantic version [flag.version]\n    write it as "1.2.3" or "v1.2"',
    ),
    (
        {"targeting": {"fractional": [{"var": "email"}]}},
        f'{T}.fractional: fractional has no variants [flag.fraction]\n    write variants with weights: ["on", 5], ["off", 95]',
    ),
    (
        {"targeting": {"fractional": [["on", 0.5], ["off", 99]]}},
        f"{T}.fractional[0]: the weight 0.5 is no whole number [flag.fraction]\n    scale all weights: 0.5 and 99.5 are 1 and 199",
    ),
    (
        {"targeting": {"fractional": [["on", 1], "off"]}},
        f'{T}.fractional[1]: "off" is no variant with a weight [flag.fraction]\n    write ["variant", weight]',
    ),
    (
        {"targeting": {"fractional": [{"var": "email"}, ["on", 1, 2]]}},
        f'{T}.fractional[1]: a variant with a weight has 1 or 2 entries, not 3 [flag.fraction]\n    write ["variant", weight]',
    ),
    (
        {"targeting": {"fractional": [["on", 0], ["off", -5]]}},
        f"{T}.fractional: the weights sum up to 0 [flag.fraction]\n    flagd wants a sum from 1 to 2147483647; it answers nothing",
    ),
    (
        {"targeting": {"fractional": [["on", 2**30], ["off", 2**30]]}},
        f"{T}.fractional: the weights sum up to 2147483648 [flag.fraction]\n    flagd wants a sum from 1 to 2147483647; it answers nothing",
    ),
    (
        {"targeting": {"$ref": "stafff"}, "evaluators": {"staff": True}},
        f'{T}: there is no evaluator "stafff" [flag.unknown-ref]\n    did you mean staff?',
    ),
    ({"targeting": {"$ref": "staff"}}, f'{T}: there is no evaluator "staff" [flag.unknown-ref]\n    define it under $evaluators'),
    (
        {"targeting": {"$ref": "b"}, "evaluators": {"a": True, "b": {"!": {"$ref": "a"}}}},
        f"{T}.!: $evaluators.a stands before, or is, the evaluator that refers to it [flag.ref-order]\n"
        "    flagd puts evaluators in once, in their order: one may only refer to others further down, never in a circle",
    ),
    (
        {"targeting": {"$ref": "a"}, "evaluators": {"a": {"!": {"$ref": "a"}}}},
        f"{T}.!: $evaluators.a stands before, or is, the evaluator that refers to it [flag.ref-order]\n"
        "    flagd puts evaluators in once, in their order: one may only refer to others further down, never in a circle",
    ),
    (
        {"targeting": {"if": [{"$ref": "a"}, "on"]}, "evaluators": {"a": {"==": [{"var": "city"}, "Köln"]}}},
        "$evaluators.a: the evaluator has a text with a backslash, a control character or a character beyond ASCII [flag.ref-text]\n"
        "    flagd's Python provider cannot put such a text in for a $ref: write the rule into the flag",
    ),
    ({"evaluators": ["a"]}, '$evaluators: $evaluators is ["a"] [flag.malformed]\n    write an object: name -> rule'),
]


@pytest.mark.parametrize(("changed", "text"), REFUSED, ids=[text.split("[flag.")[1].split("]")[0] for _, text in REFUSED])
def test_what_flagd_would_answer_by_an_error_or_not_at_all_is_refused(changed: dict[str, Any], text: str) -> None:
    """One fault, one Problem, its exact words."""
    with pytest.raises(FlagError) as caught:
        flag(**changed)
    assert str(caught.value) == text


def test_a_flag_that_is_not_there() -> None:
    """The nearest name is offered; other flags are not looked at, broken or not."""
    for key, hint in [("new-modell", "did you mean new-model?"), ("§", "the document has 2 flags")]:
        with pytest.raises(FlagError) as caught:
            compile_flag(document(), key)
        assert str(caught.value) == f'flags: there is no flag "{key}" [flag.unknown]\n    {hint}'
    for flags, written in [([], "[]"), (None, "null")]:
        with pytest.raises(FlagError, match=r"^flags: flags is .* \[flag.malformed\]\n    write an object: key -> flag$") as caught:
            compile_flag({"flags": flags}, "a")
        assert f"flags is {written} " in str(caught.value)
    with pytest.raises(FlagError, match=r"^flags.a: the flag is 1 \[flag.malformed\]\n    write an object with state and variants$"):
        compile_flag({"flags": {"a": 1}}, "a")
    with pytest.raises(
        FlagError, match=r"^flags: the key 'a\\udc80' is no UTF-8 \[flag.malformed\]\n    rename the flag: flagd cannot hash"
    ):
        compile_flag({"flags": {"a\udc80": {}}}, "a\udc80")


def test_all_that_is_wrong_is_said_at_once() -> None:
    """An operator mends a flag in one go."""
    with pytest.raises(FlagError) as caught:
        flag({"or": [{"and": [{"log": 1}, {"var": []}]}, {"fractional": [["on", "5"], ["off", True]]}]}, state="enabled", owner=1)
    assert [(problem.path, problem.id) for problem in caught.value.problems] == [
        ("flags.new-model.owner", "flag.unknown-key"),
        ("flags.new-model.state", "flag.state"),
        (f"{T}.or[0].and[0]", "flag.unsupported-operator"),
        (f"{T}.or[0].and[1].var", "flag.whole-context"),
        (f"{T}.or[1].fractional[0]", "flag.fraction"),
        (f"{T}.or[1].fractional[1]", "flag.fraction"),
    ]


def test_too_deep_and_too_large() -> None:
    """A document cannot exhaust the stack or the memory."""
    with pytest.raises(FlagError, match=r"more than 64 operations are inside of each other \[flag.too-deep\]"):
        flag(nested(70))
    too_large = (
        r"^flags.new-model: the flag has more than 100000 values, or more than 200 inside of each other \[flag.too-large\]\n    split"
    )
    with pytest.raises(FlagError, match=too_large):
        flag(nested(400))
    doubling = {f"e{number}": {"and": [{"$ref": f"e{number + 1}"}, {"$ref": f"e{number + 1}"}]} for number in range(40)}
    with pytest.raises(FlagError, match=too_large):
        flag({"$ref": "e0"}, doubling)
    assert len(shown("x" * 500)) == 83


def test_needs() -> None:
    """First parts of the names at the root; not those of items, nor flagd's own."""
    inside = {"some": [{"var": "tags"}, {"==": [{"var": "name"}, {"var": ""}]}]}
    assert condition(inside).needs == {"tags"}
    assert condition({"missing": {"merge": ["a", {"if": [{"var": "b.c"}, ["d", "e.f"], []]}]}}).needs == {"a", "b", "d", "e"}
    assert condition({"missing_some": [1, ["a", "b"]]}).needs == {"a", "b"}
    assert flag({"fractional": [["on", 1], ["off", 1]]}).needs == {"targetingKey"}
    assert flag({"fractional": [{"var": "email"}, ["on", 1], ["off", 1]]}).needs == {"email"}
    assert flag({"fractional": [{"if": [{"var": "a"}, [1]]}, ["on", 1]]}).needs == {"a", "targetingKey"}
    assert condition({"==": [{"var": "$flagd.flagKey"}, "new-model"]}).evaluate({}, 0) == ON
    timed = condition({">": [{"var": "$flagd.timestamp"}, 100]})
    assert (timed.needs, timed.needs_time, condition(inside).needs_time) == (frozenset(), True, False)
    assert [timed.evaluate({"$flagd": {"timestamp": 500}}, now) for now in (100.99, 101.0)] == [OFF, ON]
    assert flag(state="DISABLED", targeting={"var": "a"}).needs == frozenset()


def test_what_a_client_gets() -> None:
    """Disabled, no default, a variant that is not there, a variant that is null, a failed evaluation: the client's own default."""
    assert flag().evaluate({}, 0) == OFF
    assert flag(targeting={}).evaluate({}, 0) == OFF
    assert flag(state="DISABLED").evaluate({}, 0) == NO_ANSWER
    assert flag(defaultVariant=...).evaluate({}, 0) == NO_ANSWER
    assert flag(defaultVariant="").evaluate({}, 0) == NO_ANSWER
    assert flag(variants={"off": None}).evaluate({}, 0) == NO_ANSWER
    assert flag({"if": [True, "onn"]}).evaluate({}, 0) == NO_ANSWER
    assert flag({"if": [False, "on"]}).evaluate({}, 0) == OFF
    assert flag({"/": [1, {"var": "n"}]}, variants={"0.5": "half"}, defaultVariant="0.5").evaluate({"n": 2}, 0).value == "half"
    assert flag({"/": [1, {"var": "n"}]}).evaluate({"n": 0}, 0) == NO_ANSWER
    assert flag({"==": [1, 1]}, variants={"true": "yes"}, defaultVariant=True).evaluate({}, 0) == FlagAnswer(True, "true", "yes")


QUIRKS: list[tuple[str, Any, dict[str, Any], Any]] = [
    ("an attribute that is not there equals 0 and false", {"==": [{"var": "n"}, 0]}, {}, True),
    ("the empty text is no number", {"==": [{"var": "n"}, 0]}, {"n": ""}, False),
    ("but the text 1_000 is one", {"==": [{"var": "n"}, 1000]}, {"n": "1_000"}, True),
    ("and so are digits of other scripts", {">": [{"var": "n"}, 2]}, {"n": "٣"}, True),
    ("two texts compare as texts", {"<": [{"var": "n"}, "9"]}, {"n": "10"}, True),
    ("a text and nothing compare as text and null", {"<": [{"var": "n"}, "z"]}, {}, True),
    ("=== is not strict: true is 1, 1 is 1.0", {"===": [{"var": "n"}, 1]}, {"n": True}, True),
    ("true is written True", {"cat": [{"var": "n"}]}, {"n": True}, "True"),
    ("% has the sign of the divisor", {"%": [{"var": "n"}, 5]}, {"n": -3}, 2),
    ("between with null at its end has no end", {"<": [1, {"var": "n"}, {"var": "m"}]}, {"n": 2}, True),
    ("length ends a path, whatever follows", {"var": "name.length.more"}, {"name": "漢字"}, 2),
    ("an attribute with a dot in its own name is never found", {"var": "a.b"}, {"a.b": 1}, None),
    ("all of nothing is false", {"all": [[], True]}, {}, False),
    ("a list is another list", {"==": [[1], [1]]}, {}, False),
    ("but equal in contents", {"===": [[1], [1]]}, {}, True),
    ("substr before the beginning starts there", {"substr": ["abc", -9, 2]}, {}, "ab"),
    ("^ looks at major alone", {"sem_ver": [{"var": "v"}, "^", "1.9.0"]}, {"v": "1.0.0"}, True),
    ("a version may be a number", {"sem_ver": [{"var": "v"}, "=", "1.2.0"]}, {"v": 1.2}, True),
    ("and what is none gives nothing", {"sem_ver": [{"var": "v"}, "!=", "1.2.0"]}, {"v": "latest"}, None),
    ("starts_with of a number gives nothing", {"starts_with": [{"var": "v"}, "1"]}, {"v": 12}, None),
    ("arguments too many are evaluated all the same", {"!": [0, {"/": [1, {"var": "n"}]}]}, {"n": 0}, FAILED),
    ("so is a default that is not used", {"var": ["n", {"/": [1, {"var": "n"}]}]}, {"n": 0}, FAILED),
    ("an item named by infinity is an error", {"map": [["ab"], {"var": {"/": [1e300, 1e-300]}}]}, {}, FAILED),
]


@pytest.mark.parametrize(("logic", "attributes", "value"), [quirk[1:] for quirk in QUIRKS], ids=[quirk[0] for quirk in QUIRKS])
def test_quirks(logic: Any, attributes: dict[str, Any], value: Any) -> None:
    """What an operator may not expect, and flagd does."""
    assert reference_value("new-model", logic, attributes) == value
    made = flag(
        logic,
        variants={str(value).lower() if isinstance(value, bool) else str(value): "expected", "default": "default"},
        defaultVariant="default",
    )
    wanted = {None: "default", FAILED: None}.get(value, "expected")
    assert made.evaluate(attributes, 0).value == wanted


def test_an_evaluator_that_flagd_cannot_put_in_breaks_its_whole_document() -> None:
    """Why `flag.ref-text` is refused: the provider does not load the document at all. Quotes are fine."""
    rule = {"==": [{"var": "city"}, "Köln"]}
    with pytest.raises(Exception, match="bad escape"):
        FlagdCore().set_flags(document({"$ref": "a"}, {"a": rule}) | {"flags": {}})
    quoted = {"if": [{"==": [{"var": "plan"}, 'the "big" one']}, "on", "off"]}
    assert flag({"$ref": "q"}, {"q": quoted}).evaluate({"plan": 'the "big" one'}, 0) == ON


def test_keys_that_we_refuse_are_refused_by_flagd() -> None:
    """Our refusals of a flag's own fields are the provider's."""
    for changed in (
        {"state": "ON"},
        {"variants": {}},
        {"defaultVariant": 1},
        {"owner": "me"},
        {"metadata": [1]},
        {"metadata": {"a": None}},
    ):
        with pytest.raises(ParseError):
            FlagdCore().set_flags({"flags": {"new-model": document(**changed)["flags"]["new-model"]}})


def test_units_that_flagd_puts_nowhere() -> None:
    """An empty id and one that is no UTF-8 get the default variant from the flag; their point is theirs alone, and nothing is raised."""
    shares = flag({"fractional": [["on", 100]]})
    assert [shares.evaluate({"targetingKey": unit}, 0) for unit in ("u", "", "\udcff")] == [ON, OFF, OFF]
    assert 0 <= point_of("new-model")(b"\xff\xfe") < 2**32


def test_vectors() -> None:
    """The hash, for other languages: murmur3 of the CBOR array [flag key, id]."""
    units = [b"user-1", "größe".encode(), b"b" * 300]
    assert [point_of("new-model")(unit) for unit in units] == [2458672818, 2771913871, 2263714125]
