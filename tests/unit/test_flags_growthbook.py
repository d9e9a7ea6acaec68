"""GrowthBook flags: what is refused, with its exact text, and the vendor's habits that surprise."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from extproc.domain import RING
from extproc.flags import FlagAnswer, FlagError
from extproc.flags.growthbook import compile_flag, point_of
from extproc.flags.growthbook.values import number_text, version_text

CORRECT = "Correct it in GrowthBook, or fetch the payload again from the SDK endpoint."
CONDITION = "Correct the condition in GrowthBook."
UNKNOWN = "The GrowthBook SDK 4.0.0 does not know it here either: rewrite the condition in GrowthBook."
ELSEWHERE = "The payload holds the features of its own environment and projects only."
GROUPS = {
    "plan": ["pro", "team"],
    "egg": {"type": "condition", "condition": {"$savedGroup": {"id": "hen"}}},
    "hen": {"type": "condition", "condition": {"$savedGroup": {"id": "egg"}}},
    "sql": {"type": "query"},
}


def document(*rules: dict[str, Any], default: Any = False, **others: Any) -> dict[str, Any]:
    return {"features": {"f": {"defaultValue": default, "rules": list(rules)}, **others}, "savedGroups": GROUPS}


def refused(given: dict[str, Any], key: str = "f") -> list[tuple[str, str, str, str]]:
    with pytest.raises(FlagError) as raised:
        compile_flag(given, key)
    return [(one.id, one.path, one.message, one.hint) for one in raised.value.problems]


def ask(condition: dict[str, Any], **attributes: Any) -> bool:
    return compile_flag(document({"condition": condition, "force": True}), "f").evaluate(attributes, 0.0).on


R0 = "flags.f.rules[0]"
C0 = f"{R0}.condition"
VECTORS = [2821793513, 1817630160]
"""Hash versions 1 and 2: buckets 657 of 1,000 and 4232 of 10,000, as the SDK's `gbhash` says."""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, ("flag.malformed", "features", "the document has no features", "Give the whole SDK payload: {'features': {...}}.")),
        ({"features": []}, ("flag.malformed", "features", "this wants an object, not []", CORRECT)),
        ({"features": {"f": 1}}, ("flag.malformed", "flags.f", "this wants an object, not 1", CORRECT)),
        (
            {"encryptedFeatures": "x"},
            (
                "flag.unsupported",
                "encryptedFeatures",
                "an encrypted payload is not supported",
                "Use an SDK connection without encryption, or decrypt the payload first.",
            ),
        ),
        ({"features": {"ff": {}}}, ("flag.unknown", "flags.f", "there is no feature 'f'", f"Did you mean 'ff'? {ELSEWHERE}")),
        ({"features": {"zzz": {}}}, ("flag.unknown", "flags.f", "there is no feature 'f'", ELSEWHERE)),
        (
            {"features": {"f": {"default": 1}}},
            (
                "flag.unknown-key",
                "flags.f.default",
                "'default' is not known",
                "Did you mean 'defaultValue'? This is no field of an SDK payload as of GrowthBook SDK 4.0.0.",
            ),
        ),
    ],
)
def test_a_document_without_the_flag_is_refused(given: dict[str, Any], problem: tuple[str, str, str, str]) -> None:
    """The text says where the flag may be."""
    assert refused(given) == [problem]


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ([1], ("flag.malformed", C0, "this wants an object, not [1]", CORRECT)),
        (
            {"age": {"$gtt": 5}},
            ("flag.unsupported-operator", f"{C0}.age.$gtt", "operator '$gtt' is not supported here", f"Did you mean '$gt'? {UNKNOWN}"),
        ),
        (
            {"age": {"$or": []}},
            (
                "flag.unsupported-operator",
                f"{C0}.age.$or",
                "operator '$or' is not supported here",
                "Put it above the attribute's name: below it the vendor never matches.",
            ),
        ),
        (
            {"$gt": 5},
            (
                "flag.unsupported-operator",
                f"{C0}.$gt",
                "operator '$gt' is not supported here",
                f"Operators on a value stand below an attribute's name. {UNKNOWN}",
            ),
        ),
        ({"a": {"$in": "x"}}, ("flag.bad-operand", f"{C0}.a.$in", "$in wants a list, not 'x'", CONDITION)),
        ({"a": {"$lt": None}}, ("flag.bad-operand", f"{C0}.a.$lt", "$lt wants a number or a text, not None", CONDITION)),
        ({"a": {"$gte": True}}, ("flag.bad-operand", f"{C0}.a.$gte", "$gte wants a number or a text, not True", CONDITION)),
        ({"a": {"$vgt": []}}, ("flag.bad-operand", f"{C0}.a.$vgt", "$vgt wants a version as text or a number, not []", CONDITION)),
        ({"a": {"$eq": float("nan")}}, ("flag.bad-operand", f"{C0}.a.$eq", "$eq wants a value of JSON, not nan", CONDITION)),
        ({"a": {"$exists": 1}}, ("flag.bad-operand", f"{C0}.a.$exists", "$exists wants true or false, not 1", CONDITION)),
        (
            {"a": {"$type": "int"}},
            (
                "flag.bad-operand",
                f"{C0}.a.$type",
                "$type wants one of null, boolean, number, string, array, object, unknown, undefined, not 'int'",
                CONDITION,
            ),
        ),
        ({"a": {"$regex": 5}}, ("flag.bad-operand", f"{C0}.a.$regex", "$regex wants a pattern as text, not 5", CONDITION)),
        (
            {"a": {"$notRegexi": "("}},
            (
                "flag.bad-operand",
                f"{C0}.a.$notRegexi",
                "$notRegexi has a pattern that Python cannot read: '(' (missing ), unterminated subpattern at position 0)",
                CONDITION,
            ),
        ),
        ({"a": [float("inf")]}, ("flag.malformed", f"{C0}.a", "this wants a value of JSON, not [inf]", CORRECT)),
        ({"$or": {}}, ("flag.malformed", f"{C0}.$or", "this wants a list of conditions, not {}", CORRECT)),
        ({"$nor": [1]}, ("flag.malformed", f"{C0}.$nor[0]", "this wants an object, not 1", CORRECT)),
        ({"$not": 1}, ("flag.malformed", f"{C0}.$not", "this wants an object, not 1", CORRECT)),
        ({"a": {"$all": 1}}, ("flag.malformed", f"{C0}.a.$all", "this wants a list, not 1", CORRECT)),
        ({"a": {"$elemMatch": 1}}, ("flag.malformed", f"{C0}.a.$elemMatch", "this wants an object, not 1", CORRECT)),
        (
            {"a": {"$inGroup": "plans"}},
            (
                "flag.unknown-group",
                f"{C0}.a.$inGroup",
                "there is no saved group 'plans'",
                "Did you mean 'plan'? Fetch the payload with its savedGroups.",
            ),
        ),
        ({"a": {"$notInGroup": 7}}, ("flag.malformed", f"{C0}.a.$notInGroup", "this wants the id of a saved group, not 7", CORRECT)),
        (
            {"a": {"$inGroup": "egg"}},
            ("flag.unsupported-group", "savedGroups.egg", "this group is no list of values", "Only $savedGroup can use other groups."),
        ),
        (
            {"$savedGroup": {"id": "sql"}},
            (
                "flag.unsupported-group",
                "savedGroups.sql",
                "$savedGroup cannot use a group of type 'query'",
                "The types are `list` and `condition`; $inGroup reads a bare list.",
            ),
        ),
        (
            {"$savedGroup": {"id": "egg"}},
            (
                "flag.cycle",
                "savedGroups.hen.condition.$savedGroup",
                "saved groups go in a circle: egg -> hen -> egg",
                "Let one of them stand alone.",
            ),
        ),
    ],
)
def test_a_condition_that_would_silently_never_match_is_refused(condition: Any, problem: tuple[str, str, str, str]) -> None:
    """The vendor's SDK would answer it with the same word for everybody."""
    assert refused(document({"condition": condition, "force": True})) == [problem]


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({"force": 1, "coverage": "50%"}, "coverage", "this wants a number, not '50%'"),
        ({"force": 1, "coverage": True}, "coverage", "this wants a number, not True"),
        ({"force": 1, "range": [0]}, "range", "this wants two numbers, not [0]"),
        ({"force": 1, "hashVersion": 3}, "hashVersion", "this wants 1 or 2, not 3"),
        ({"force": 1, "seed": 5}, "seed", "this wants a text, not 5"),
        ({"force": 1, "hashAttribute": 5, "coverage": 1}, "hashAttribute", "this wants a text, not 5"),
        ({"force": 1, "filters": {}}, "filters", "this wants a list, not {}"),
        ({"force": 1, "filters": [1]}, "filters[0]", "this wants an object, not 1"),
        ({"force": 1, "filters": [{}]}, "filters[0].ranges", "this wants a list of ranges, not None"),
        ({"force": 1, "filters": [{"ranges": [], "seed": None}]}, "filters[0].seed", "this wants a value, not None"),
        ({"variations": {}}, "variations", "this wants a list, not {}"),
        ({"variations": [1, 2], "weights": ["a", 1]}, "weights", "this wants a list of numbers, not ['a', 1]"),
        ({"variations": [1, 2], "ranges": [[0, 1], ["a", 1]]}, "ranges[1]", "this wants two numbers, not ['a', 1]"),
        ({"variations": [1, 2], "meta": [1]}, "meta[0]", "this wants an object, not 1"),
        ({"variations": [1, 2], "meta": [{"key": 1}]}, "meta[0].key", "this wants a text, not 1"),
        ({"variations": [1, 2], "meta": [{"passthrough": 1}]}, "meta[0].passthrough", "this wants true or false, not 1"),
        ({"variations": [1, 2], "namespace": ["n", 0]}, "namespace", "this wants a name and two numbers, not ['n', 0]"),
        ({"parentConditions": [{}]}, "parentConditions[0].id", "this wants a feature's key, not None"),
    ],
)
def test_a_malformed_field_is_refused(rule: dict[str, Any], path: str, message: str) -> None:
    """Where the vendor's SDK would fail, or take everybody or nobody."""
    assert refused(document(rule)) == [("flag.malformed", f"{R0}.{path}", message, CORRECT)]


def test_what_the_edge_cannot_do_is_refused_and_told_all_at_once() -> None:
    """One Problem each, in two rules."""
    hint = "The edge decides by attributes alone: use another kind of rule in GrowthBook."
    assert refused(document({"urlPatterns": [], "urlRedirect": "x"}, {"contextualBanditRef": "b", "zzz": True})) == [
        ("flag.unsupported", f"{R0}.urlPatterns", "rules with URL targeting are not supported", hint),
        ("flag.unsupported", f"{R0}.urlRedirect", "rules with URL redirects are not supported", hint),
        ("flag.unsupported", "flags.f.rules[1].contextualBanditRef", "rules with contextual bandits are not supported", hint),
        (
            "flag.unknown-key",
            "flags.f.rules[1].zzz",
            "'zzz' is not known",
            "This is no field of an SDK payload as of GrowthBook SDK 4.0.0.",
        ),
    ]


def test_prerequisites_must_be_there_and_go_in_no_circle() -> None:
    """A missing one is null to the vendor; a circle is null too. Both are mistakes."""
    gone = document({"force": 1, "parentConditions": [{"id": "gone", "condition": {}}]})
    assert refused(gone) == [("flag.unknown", f"{R0}.parentConditions[0]", "there is no feature 'gone'", ELSEWHERE)]
    back = {"rules": [{"parentConditions": [{"id": "f"}]}]}
    assert refused(document({"force": 1, "parentConditions": [{"id": "b"}]}, b=back)) == [
        (
            "flag.cycle",
            "flags.b.rules[0].parentConditions[0]",
            "prerequisites go in a circle: f -> b -> f",
            "Remove one of these prerequisites in GrowthBook.",
        )
    ]


def chain(length: int, first: str) -> dict[str, Any]:
    """f0 needs f1 needs f2 ...; `first` asks for some of them in turn."""
    features: dict[str, Any] = {
        f"f{number}": {"defaultValue": 1, "rules": [{"force": 2, "parentConditions": [{"id": f"f{number + 1}", "condition": {}}]}]}
        for number in range(length)
    }
    features[f"f{length}"] = {"defaultValue": 1}
    order = range(length, -1, -1) if first == "last" else [0]
    parents = [{"id": f"f{number}", "condition": {}} for number in order]
    return document({"force": 1, "parentConditions": parents}, **features)


@pytest.mark.parametrize("first", ["first", "last"])
def test_a_chain_of_prerequisites_ends(first: str) -> None:
    """Evaluation recurses along it, in whatever order it was compiled."""
    assert compile_flag(chain(31, first), "f").evaluate({}, 0.0).value == 1
    (problem,) = refused(chain(32, first))
    assert problem[0] == "flag.too-deep"
    assert problem[2:] == ("a chain of more than 32 prerequisites is not supported", "Shorten it in GrowthBook.")


def test_a_condition_does_not_nest_without_end() -> None:
    """Thirty levels are read, and a hundred refused without recursing into them."""
    nested: dict[str, Any] = {"a": 1}
    for _ in range(30):
        nested = {"$not": nested}
    assert ask(nested, a=1)
    for _ in range(100):
        nested = {"$not": nested}
    ((identity, _, message, _),) = refused(document({"condition": nested, "force": 1}))
    assert (identity, message) == ("flag.too-deep", "conditions nest more than 64 levels")


def test_a_thousand_alternatives_are_no_depth() -> None:
    """A long $or is a loop, not a chain of calls."""
    condition = {"$or": [{"a": number} for number in range(2_000)]}
    assert ask(condition, a=1_999)
    assert not ask(condition, a=2_000)


def test_only_what_the_flag_depends_on_is_looked_at() -> None:
    """Another team's broken flag or group breaks nothing here."""
    given = document({"force": True}, broken={"rules": [{"contextualBanditRef": "b"}]})
    assert compile_flag(given, "f").evaluate({}, 0.0) == FlagAnswer(True, "", True)


def test_needs_names_the_attributes_and_no_more() -> None:
    """Paths count by their first name; a prerequisite's attributes count, its value does not; hashing counts where something is hashed."""
    parent = {"rules": [{"condition": {"$savedGroup": {"id": "plan-group"}}, "force": 1}]}
    given = document(
        {"condition": {"geo.country": "DE", "tags": {"$elemMatch": {"name": "x"}}}, "force": 1},
        {"force": 2, "coverage": 0.5, "hashAttribute": "user", "fallbackAttribute": "device"},
        {"variations": [1, 2], "hashAttribute": "company", "fallbackAttribute": "never"},
        {"force": 1, "parentConditions": [{"id": "p", "condition": {"value": 1}}], "filters": [{"ranges": [[0, 1]]}]},
        p=parent,
    )
    given["savedGroups"] = {"plan-group": {"type": "list", "attributeKey": "plan", "values": ["pro"]}}
    compiled = compile_flag(given, "f")
    assert compiled.needs == {"geo", "tags", "user", "device", "company", "plan", "id"}
    assert not compiled.needs_time
    assert compile_flag(document({"force": 1, "hashAttribute": "x"}), "f").needs == frozenset()


def test_types_never_mix() -> None:
    """JavaScript's ===: true is not 1, "1" is not 1, but 1.0 is 1; a missing attribute is null."""
    assert not ask({"a": 1}, a=True)
    assert not ask({"a": {"$eq": 1}}, a="1")
    assert not ask({"a": {"$gt": 0}}, a=True)
    assert not ask({"a": {"$gt": 0}}, a="5")
    assert ask({"a": {"$in": [1]}}, a=1.0)
    assert ask({"a": None})
    assert ask({"a": {"$ne": "x"}})
    assert ask({"a": {"$nin": ["x"]}})
    assert ask({"a": {"$in": [None]}})


def test_an_empty_or_passes_and_so_do_empty_operators() -> None:
    """The vendor's $or of nothing is true, and {} asks nothing."""
    assert ask({"$or": []})
    assert not ask({"$nor": []})
    assert ask({"a": {}})


def test_one_ordinary_key_makes_an_object_a_literal() -> None:
    """{"$gt": 1, "k": 2} is compared as a whole."""
    assert not ask({"a": {"$gt": 1, "k": 2}}, a=5)
    assert ask({"a": {"$gt": 1, "k": 2}}, a={"$gt": 1, "k": 2})


def test_containers_are_equal_as_literals_and_never_under_eq() -> None:
    """JavaScript compares references there, and JSON texts elsewhere: the order of keys counts, and NaN inside is null."""
    assert ask({"a": [1, 2]}, a=[1, 2])
    assert not ask({"a": {"$eq": [1, 2]}}, a=[1, 2])
    assert ask({"a": {"$ne": [1, 2]}}, a=[1, 2])
    assert not ask({"a": {"x": 1, "y": 2}}, a={"y": 2, "x": 1})
    assert ask({"a": OrderedDict(x=1)}, a={"x": 1.0})
    assert ask({"a": [None]}, a=[float("nan")])
    assert not ask({"a": None}, a=float("nan"))


def test_a_dot_is_a_path_in_conditions_and_a_letter_in_hash_attributes() -> None:
    """The vendor hashes `user.id` only if the attribute is called so."""
    assert ask({"user.id": 5}, user={"id": 5})
    assert not ask({"user.id": 5}, **{"user.id": 5})
    hashed = compile_flag(document({"force": True, "coverage": 1, "hashAttribute": "user.id"}), "f").evaluate
    assert not hashed({"user": {"id": "x"}}, 0.0).on
    assert hashed({"user.id": "x"}, 0.0).on


def test_full_coverage_still_wants_an_id() -> None:
    """Without coverage everybody is in; with 100 % only those who can be hashed. 0 and false cannot."""
    everybody = compile_flag(document({"force": True}), "f").evaluate
    units = compile_flag(document({"force": True, "coverage": 1}), "f").evaluate
    assert everybody({}, 0.0).on
    for nobody in ({}, {"id": ""}, {"id": 0}, {"id": False}, {"id": None}, {"id": ["x"]}, {"id": float("inf")}):
        assert not units(nobody, 0.0).on
    assert units({"id": 7}, 0.0).on
    assert units({"id": "0"}, 0.0).on


def test_numbers_are_hashed_as_javascript_writes_them() -> None:
    """5.0 is "5", and an exponent begins at 1e21 and below 1e-6."""
    written = {5.0: "5", -7: "-7", 1e16: "10000000000000000", 1e21: "1e+21", 1.5e-7: "1.5e-7", 1e-6: "0.000001", 0.1: "0.1", -0.0: "0"}
    assert {number: number_text(number) for number in written} == written
    assert number_text(2**53 + 1) == "9007199254740992"
    assert [number_text(number) for number in (10**400, -(10**400), float("nan"))] == ["Infinity", "-Infinity", "NaN"]


def test_versions_are_padded_texts() -> None:
    """A release is above its pre-releases, build information counts nothing, and more than five digits are compared as text."""
    assert version_text("v1.10.0+build.7") == "    1-   10-    0-~"
    assert ask({"v": {"$vgt": "1.9.0"}}, v="1.10.0")
    assert ask({"v": {"$vlt": "1.0.0"}}, v="1.0.0-rc.1")
    assert ask({"v": {"$veq": "1.0.0+a"}}, v="v1.0.0+b")
    assert ask({"v": {"$vlt": "99999.0.0"}}, v="99998.0.0")
    assert ask({"v": {"$vgt": "999999.0.0"}}, v="9999999.0.0")
    assert ask({"v": {"$vlt": "9.0.0"}}, v="100000.0.0") is False
    assert ask({"v": {"$vne": "1.0.0"}})


def test_an_experiment_names_its_variation() -> None:
    """By the key in its meta, or else by its number; a forced value names none."""
    everybody = [[0, 0], [0, 1]]
    rule = {"variations": [{"m": 1}, {"m": 2}], "ranges": everybody}
    named = {**rule, "meta": [{}, {"key": "canary"}]}
    assert compile_flag(document(rule), "f").evaluate({"id": "u"}, 0.0) == FlagAnswer(True, "1", {"m": 2})
    assert compile_flag(document(named), "f").evaluate({"id": "u"}, 0.0) == FlagAnswer(True, "canary", {"m": 2})
    assert compile_flag(document({"force": 0}), "f").evaluate({}, 0.0) == FlagAnswer(False, "", 0)


def test_a_gate_closes_the_flag_and_a_prerequisite_only_its_rule() -> None:
    """The value is then null, not the default."""
    parent = {"p": {"defaultValue": False}}
    wanted = {"id": "p", "condition": {"value": True}}
    rule = compile_flag(document({"force": 1, "parentConditions": [wanted]}, default="d", **parent), "f")
    gate = compile_flag(document({"parentConditions": [{**wanted, "gate": True}]}, default="d", **parent), "f")
    assert rule.evaluate({}, 0.0) == FlagAnswer(True, "", "d")
    assert gate.evaluate({}, 0.0) == FlagAnswer(False, "", None)


def test_a_group_is_what_it_is_read_against() -> None:
    """The same group of conditions under the attributes and under elements of a list."""
    given = document({"condition": {"$savedGroup": {"id": "big"}, "l": {"$elemMatch": {"$savedGroup": {"id": "big"}}}}, "force": True})
    given["savedGroups"] = {"big": {"type": "condition", "condition": {"n": {"$gt": 1}}}}
    evaluate = compile_flag(given, "f").evaluate
    assert evaluate({"n": 2, "l": [{"n": 1}, {"n": 3}]}, 0.0).on
    assert not evaluate({"n": 2, "l": [{"n": 1}]}, 0.0).on
    assert not evaluate({"n": 1, "l": [{"n": 3}]}, 0.0).on


def test_points_are_reproducible() -> None:
    """Fixed vectors of both hash versions: FNV-1a is a promise to running rollouts."""
    assert [point_of("seed", version)(b"user-1") for version in (1, 2)] == VECTORS
    assert point_of("seed")(b"user-1") == VECTORS[1]
    assert point_of("seed")(b"") == RING
    with pytest.raises(ValueError, match="GrowthBook has hash versions 1 and 2, not 3"):
        point_of("seed", 3)
