"""LaunchDarkly's flags: what is refused and with which words, and the quirks that are worth a name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from extproc.flags import FlagAnswer, FlagError
from extproc.flags.launchdarkly import compile_flag

NOBODY = FlagAnswer(False, "", None)
TYPE_HINT = "export the flag again: this is not the form in which LaunchDarkly gives it"


def flag(**changes: Any) -> dict[str, Any]:
    """A flag that is on and serves its first variation, unless a change says otherwise."""
    return {
        "key": "f",
        "version": 1,
        "on": True,
        "offVariation": 1,
        "variations": ["new", ""],
        "fallthrough": {"variation": 0},
        "salt": "salt",
    } | changes


def asking(clause: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A flag with one rule of one clause: 'new' where it is met, '' elsewhere."""
    return flag(rules=[{"clauses": [clause], "variation": 0}], fallthrough={"variation": 1}, **changes)


def segment(key: str = "s", **changes: Any) -> dict[str, Any]:
    return {"key": key, "version": 1} | changes


def refused(*flags: dict[str, Any], segments: tuple[dict[str, Any], ...] = (), key: str = "f") -> list[str]:
    """Each Problem as it is shown."""
    document = {"flags": {one["key"]: one for one in flags}, "segments": {one["key"]: one for one in segments}}
    with pytest.raises(FlagError) as caught:
        compile_flag(document, key)
    return [str(problem) for problem in caught.value.problems]


def answer(given: dict[str, Any], attributes: dict[str, Any], *others: dict[str, Any], **segments: dict[str, Any]) -> FlagAnswer:
    flags = {one["key"]: one for one in (given, *others)}
    return compile_flag({"flags": flags, "segments": segments}, given["key"]).evaluate(attributes, 0.0)


def value(given: dict[str, Any], **attributes: Any) -> Any:
    return answer(given, {"key": "u"} | attributes).value


SEGMENT_CLAUSE = {"attribute": "", "op": "segmentMatch", "values": ["s"]}

REFUSALS = {
    "operator": (
        [asking({"attribute": "plan", "op": "soundsLike", "values": ["pro"]})],
        [],
        "flags.f.rules[0].clauses[0].op: the operator 'soundsLike' is not known [flag.unsupported-operator]\n    known: after, before, "
        "contains, endsWith, greaterThan, greaterThanOrEqual, in, lessThan, lessThanOrEqual, matches, segmentMatch, semVerEqual, "
        "semVerGreaterThan, semVerLessThan, startsWith",
    ),
    "regex": (
        [asking({"attribute": "plan", "op": "matches", "values": ["pro", "(free"]})],
        [],
        "flags.f.rules[0].clauses[0].values[1]: matches cannot use '(free': missing ), unterminated subpattern at position 0 "
        "[flag.bad-value]\n    matches compares a regular expression of Python; LaunchDarkly's SDK would never match this value: mend or "
        "remove it",
    ),
    "number as text": (
        [asking({"attribute": "age", "op": "lessThan", "values": ["18"]})],
        [],
        "flags.f.rules[0].clauses[0].values[0]: lessThan cannot use '18': it is no number [flag.bad-value]\n    lessThan compares a "
        "number; LaunchDarkly's SDK would never match this value: mend or remove it",
    ),
    "text operator": (
        [asking({"attribute": "plan", "op": "startsWith", "values": [5]})],
        [],
        "flags.f.rules[0].clauses[0].values[0]: startsWith cannot use 5: it is no string [flag.bad-value]\n    startsWith compares a "
        "string; LaunchDarkly's SDK would never match this value: mend or remove it",
    ),
    "infinite": (
        [asking({"attribute": "age", "op": "greaterThan", "values": [float("inf")]})],
        [],
        "flags.f.rules[0].clauses[0].values[0]: greaterThan cannot use inf: it is not finite [flag.bad-value]\n    greaterThan compares a "
        "number; LaunchDarkly's SDK would never match this value: mend or remove it",
    ),
    "time without offset": (
        [asking({"attribute": "since", "op": "before", "values": ["2024-01-01T00:00:00"]})],
        [],
        "flags.f.rules[0].clauses[0].values[0]: before cannot use '2024-01-01T00:00:00': it is no time with an offset [flag.bad-value]\n"
        "    before compares a time (RFC 3339, or milliseconds since 1970); LaunchDarkly's SDK would never match this value: mend or "
        "remove it",
    ),
    "version": (
        [asking({"attribute": "version", "op": "semVerEqual", "values": ["v1"]})],
        [],
        "flags.f.rules[0].clauses[0].values[0]: semVerEqual cannot use 'v1': it is no semantic version [flag.bad-value]\n    semVerEqual "
        "compares a semantic version; LaunchDarkly's SDK would never match this value: mend or remove it",
    ),
    "no attribute": (
        [asking({"attribute": "", "op": "in", "values": ["a"]})],
        [],
        "flags.f.rules[0].clauses[0].attribute: '' names no attribute [flag.bad-attribute]\n    name the attribute that the rule looks at",
    ),
    "double slash": (
        [asking({"attribute": "/a//b", "contextKind": "user", "op": "in", "values": ["a"]})],
        [],
        "flags.f.rules[0].clauses[0].attribute: '/a//b' has an empty part [flag.bad-attribute]\n    write one slash between two names and "
        "none at the end",
    ),
    "escape": (
        [flag(fallthrough={"rollout": {"contextKind": "user", "bucketBy": "/a~2", "variations": [{"variation": 0, "weight": 1}]}})],
        [],
        "flags.f.fallthrough.rollout.bucketBy: '/a~2' has a ~ without 0 or 1 behind it [flag.bad-attribute]\n    write ~0 for a tilde and "
        "~1 for a slash",
    ),
    "variation": (
        [flag(offVariation=2)],
        [],
        "flags.f.offVariation: there is no variation 2 [flag.bad-variation]\n    the flag has 2 variations, counted from 0",
    ),
    "boolean for a number": (
        [flag(fallthrough={"variation": True})],
        [],
        f"flags.f.fallthrough.variation: must be a whole number, not True [flag.malformed]\n    {TYPE_HINT}",
    ),
    "nothing served": (
        [flag(rules=[{"clauses": []}])],
        [],
        f"flags.f.rules[0]: it serves neither a variation nor a rollout [flag.malformed]\n    {TYPE_HINT}",
    ),
    "empty rollout": (
        [flag(fallthrough={"rollout": {"variations": []}})],
        [],
        f"flags.f.fallthrough.rollout.variations: a rollout needs at least one share [flag.malformed]\n    {TYPE_HINT}",
    ),
    "weight": (
        [flag(fallthrough={"rollout": {"variations": [{"variation": 0, "weight": 100_001}]}})],
        [],
        f"flags.f.fallthrough.rollout.variations[0].weight: must lie between 0 and 100000, not 100001 [flag.malformed]\n    {TYPE_HINT}",
    ),
    "kind of rollout": (
        [flag(fallthrough={"rollout": {"kind": "bandit", "variations": [{"variation": 0, "weight": 1}]}})],
        [],
        "flags.f.fallthrough.rollout.kind: the kind of rollout 'bandit' is not known [flag.unsupported-rollout]\n    known: experiment, "
        "rollout",
    ),
    "salt": (
        [flag(salt="\udcff", fallthrough={"rollout": {"variations": [{"variation": 0, "weight": 1}]}})],
        [],
        f"flags.f.fallthrough.rollout: it is hashed with 'f.\\udcff', which is no Unicode text [flag.malformed]\n    {TYPE_HINT}",
    ),
    "no fallthrough": (
        [flag(fallthrough=None)],
        [],
        f"flags.f.fallthrough: must be an object and is missing [flag.malformed]\n    {TYPE_HINT}",
    ),
    "list": (
        [flag(targets={"u": 1})],
        [],
        f"flags.f.targets: must be a list, not {{'u': 1}} [flag.malformed]\n    {TYPE_HINT}",
    ),
    "list of objects": (
        [flag(rules=["all"])],
        [],
        f"flags.f.rules[0]: must be an object, not 'all' [flag.malformed]\n    {TYPE_HINT}",
    ),
    "list of strings": (
        [flag(targets=[{"variation": 0, "values": [5]}])],
        [],
        f"flags.f.targets[0].values[0]: must be a string, not 5 [flag.malformed]\n    {TYPE_HINT}",
    ),
    "on": ([flag(on="yes")], [], f"flags.f.on: must be true or false, not 'yes' [flag.malformed]\n    {TYPE_HINT}"),
    "prerequisite": (
        [flag(prerequisites=[{"key": "g", "variation": 0}])],
        [],
        "flags.f.prerequisites[0].key: there is no flag 'g' [flag.unknown-prerequisite]\n    export all flags together, so that the "
        "document holds everything that its rules ask for",
    ),
    "circle of flags": (
        [flag(prerequisites=[{"key": "g", "variation": 0}]), flag(key="g", prerequisites=[{"key": "f", "variation": 0}])],
        [],
        "flags.g.prerequisites[0].key: flags are each other's prerequisites in a circle: f -> g -> f [flag.cycle]\n    remove one of these "
        "prerequisites",
    ),
    "segment": (
        [asking(SEGMENT_CLAUSE)],
        [],
        "flags.f.rules[0].clauses[0].values[0]: there is no segment 's' [flag.unknown-segment]\n    export flags and segments together, so "
        "that the document holds everything that its rules ask for",
    ),
    "circle of segments": (
        [asking(SEGMENT_CLAUSE)],
        [segment(rules=[{"clauses": [SEGMENT_CLAUSE]}])],
        "segments.s.rules[0].clauses[0].values[0]: segments ask for each other in a circle: s -> s [flag.cycle]\n    take one of them out "
        "of the other's rules",
    ),
    "big segment": (
        [asking(SEGMENT_CLAUSE)],
        [segment(unbounded=True, generation=2)],
        "segments.s.unbounded: big segments are not supported [flag.big-segment]\n    its members are kept outside of the document: use a "
        "segment of rules or of a list in this flag",
    ),
}


@pytest.mark.parametrize(("flags", "segments", "said"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_wrong_is_refused_and_named(flags: list[dict[str, Any]], segments: list[dict[str, Any]], said: str) -> None:
    """One fault, one Problem: where, what, and what to do."""
    assert refused(*flags, segments=tuple(segments)) == [said]


def test_an_unknown_flag_is_said_with_a_guess() -> None:
    """A slip of the pen is answered with the name that was meant."""
    known = [flag(key="new-model"), flag(key="other")]
    assert refused(*known, key="new-modle") == [
        "flags.new-modle: there is no flag 'new-modle' [flag.unknown]\n    did you mean 'new-model'?"
    ]
    assert refused(*known, key="xyz") == ["flags.xyz: there is no flag 'xyz' [flag.unknown]\n    the document has 2 flags"]


def test_a_deleted_flag_is_no_flag() -> None:
    """A tombstone holds nothing to evaluate."""
    with pytest.raises(FlagError) as caught:
        compile_flag({"flags": {"f": {"version": 7, "deleted": True}}}, "f")
    assert str(caught.value) == (
        "flags.f: the flag 'f' was deleted [flag.unknown]\n    LaunchDarkly keeps only its grave: name another flag"
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, f"flags: the document has no flags [flag.malformed]\n    {TYPE_HINT}"),
        ({"flags": []}, f"flags: must be an object, not [] [flag.malformed]\n    {TYPE_HINT}"),
        ({"flags": {"f": "on"}}, f"flags.f: must be an object, not 'on' [flag.malformed]\n    {TYPE_HINT}"),
        ({"flags": {"f": flag(key="g")}}, f"flags.f.key: must be 'f', as it is filed, not 'g' [flag.malformed]\n    {TYPE_HINT}"),
    ],
)
def test_a_document_of_another_form_is_refused(document: dict[str, Any], said: str) -> None:
    """A file of something else is not a flag that is off."""
    with pytest.raises(FlagError) as caught:
        compile_flag(document, "f")
    assert str(caught.value) == said


def test_every_problem_is_said_at_once() -> None:
    """Of the flag, its prerequisites and its segments; of each once, however often it is asked for."""
    bad = {"attribute": "age", "op": "lessThan", "values": ["x", "y"]}
    given = asking(SEGMENT_CLAUSE, prerequisites=[{"key": "g", "variation": 5}, {"key": "g", "variation": 0}], offVariation=9)
    given["rules"].append({"clauses": [SEGMENT_CLAUSE, {"attribute": "a", "op": "near", "values": []}], "variation": 0})
    said = refused(given, asking(bad, key="g"), segments=(segment(unbounded=True),))
    assert [line.partition(":")[0] for line in said] == [
        "flags.g.rules[0].clauses[0].values[0]",
        "flags.g.rules[0].clauses[0].values[1]",
        "flags.f.prerequisites[0].variation",
        "flags.f.offVariation",
        "segments.s.unbounded",
        "flags.f.rules[1].clauses[1].op",
    ]


def test_only_what_the_flag_depends_on_is_read() -> None:
    """Another flag may be as wrong as it likes."""
    assert answer(flag(), {"key": "u"}, flag(key="g", on="perhaps", rules=7)).value == "new"


def test_a_flag_that_is_off_is_read_to_the_end() -> None:
    """Turning it on changes neither what it needs nor whether it is refused."""
    off = asking({"attribute": "plan", "op": "in", "values": ["pro"]}, on=False)
    compiled = compile_flag({"flags": {"f": off}}, "f")
    assert compiled.needs == {"key", "kind", "plan"}
    assert compiled.evaluate({"key": "u", "plan": "pro"}, 0.0) == (False, "1", "")
    assert refused(asking({"attribute": "plan", "op": "near", "values": []}, on=False))


def test_an_answer_is_the_variation() -> None:
    """on is the value's truth, variant its index; no off variation is the caller's default."""
    assert answer(flag(), {"key": "u"}) == (True, "0", "new")
    assert answer(flag(on=False), {"key": "u"}) == (False, "1", "")
    assert answer(flag(on=False, offVariation=None), {"key": "u"}) == NOBODY


@pytest.mark.parametrize(
    "attributes", [{}, {"key": ""}, {"key": None}, {"key": 5}, {"key": "u", "kind": "multi"}, {"key": "u", "kind": "a b"}]
)
def test_without_a_valid_context_there_is_no_answer(attributes: dict[str, Any]) -> None:
    """Not even of a flag that gives everybody the same."""
    assert answer(flag(), attributes) == NOBODY


def test_needs_name_attributes_and_not_paths() -> None:
    """Of the flag, its prerequisites and its segments; what a context can never hold is not among them."""
    clauses = [
        {"attribute": "/address/city", "contextKind": "user", "op": "in", "values": []},
        {"attribute": "_meta", "op": "in", "values": []},
        SEGMENT_CLAUSE,
    ]
    given = flag(rules=[{"clauses": clauses, "variation": 0}], prerequisites=[{"key": "g", "variation": 0}])
    other = flag(key="g", fallthrough={"rollout": {"bucketBy": "tenant", "variations": [{"variation": 0, "weight": 1}]}})
    of_rule = segment(rules=[{"clauses": [{"attribute": "plan", "op": "in", "values": []}]}])
    compiled = compile_flag({"flags": {"f": given, "g": other}, "segments": {"s": of_rule}}, "f")
    assert compiled.needs == {"key", "kind", "address", "plan", "tenant"}
    assert not compiled.needs_time


def test_negate_does_not_turn_a_missing_attribute_into_a_match() -> None:
    """'Not in Germany' is not met by somebody from nowhere; nor by a context of another kind."""
    given = asking({"attribute": "country", "op": "in", "values": ["DE"], "negate": True})
    assert value(given, country="FR") == "new"
    assert value(given) == ""
    assert value(given, country="FR", kind="org") == ""


def test_a_boolean_is_no_number_and_a_text_is_neither() -> None:
    """1, 1.0 and True are one value to Python, and two to LaunchDarkly; '1' is a third."""
    given = asking({"attribute": "beta", "op": "in", "values": [1]})
    assert [value(given, beta=beta) for beta in (1, 1.0, True, "1")] == ["new", "new", "", ""]
    assert [value(asking({"attribute": "age", "op": "lessThan", "values": [18]}), age=age) for age in (17, "17", False)] == ["new", "", ""]


def test_a_list_matches_with_any_of_its_elements() -> None:
    """And negated with none of them; an empty list is there and matches nothing."""
    given = asking({"attribute": "groups", "op": "in", "values": ["beta"]})
    negated = asking({"attribute": "groups", "op": "in", "values": ["beta"], "negate": True})
    assert [value(given, groups=groups) for groups in (["a", "beta"], ["a"], [])] == ["new", "", ""]
    assert [value(negated, groups=groups) for groups in (["a", "beta"], ["a"], [])] == ["", "new", "new"]


def test_a_slash_is_a_path_only_with_a_context_kind() -> None:
    """Rules from before there were kinds name the attribute itself, slashes included."""
    clause = {"attribute": "/address/city", "op": "in", "values": ["Köln"]}
    nested, flat = {"address": {"city": "Köln"}}, {"/address/city": "Köln"}
    assert [value(asking(clause), **one) for one in (nested, flat)] == ["", "new"]
    assert [value(asking(clause | {"contextKind": "user"}), **one) for one in (nested, flat)] == ["new", ""]


def test_anonymous_is_always_there() -> None:
    """A rule about it matches False where nothing is said, and takes no text for a boolean."""
    given = asking({"attribute": "anonymous", "op": "in", "values": [False]})
    assert [value(given), value(given, anonymous=True), value(given, anonymous="true")] == ["new", "", "new"]


def test_a_rollout_about_another_kind_gives_its_first_share() -> None:
    """Even one of weight 0; so does a segment's rule with a weight."""
    shares = [{"variation": 1, "weight": 0}, {"variation": 0, "weight": 100_000}]
    given = flag(fallthrough={"rollout": {"contextKind": "org", "variations": shares}})
    assert [answer(given, {"key": "u", "kind": kind}).variant for kind in ("user", "org")] == ["1", "0"]
    of_weight = segment(rules=[{"clauses": [], "weight": 0, "rolloutContextKind": "org"}])
    assert [answer(asking(SEGMENT_CLAUSE), {"key": "u", "kind": kind}, s=of_weight).value for kind in ("user", "org")] == ["new", ""]


def test_nothing_to_hash_is_the_first_share_that_is_not_empty() -> None:
    """No such attribute, a boolean, a fraction, a list: bucket 0."""
    shares = [{"variation": 1, "weight": 0}, {"variation": 0, "weight": 1}, {"variation": 1, "weight": 99_999}]
    given = flag(fallthrough={"rollout": {"bucketBy": "tenant", "variations": shares}})
    for tenant in ({}, {"tenant": True}, {"tenant": 1.5}, {"tenant": ["a"]}):
        assert answer(given, {"key": "u"} | tenant).variant == "0"
    assert answer(given, {"key": "u", "tenant": "a"}).variant == answer(given, {"key": "v", "tenant": "a"}).variant == "1"
    assert answer(given, {"key": "u", "tenant": 7}) == answer(given, {"key": "u", "tenant": "7"})


def test_an_experiment_hashes_the_key_whatever_bucket_by_says() -> None:
    """Its bucketBy is not even needed."""
    rollout = {"bucketBy": "tenant", "variations": [{"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}]}
    given = flag(fallthrough={"rollout": rollout | {"kind": "experiment"}})
    compiled = compile_flag({"flags": {"f": given}}, "f")
    assert compiled.needs == {"key", "kind"}
    assert {compiled.evaluate({"key": f"u{n}", "tenant": "a"}, 0.0).variant for n in range(20)} == {"0", "1"}


def test_who_lies_beyond_all_weights_gets_the_last_share() -> None:
    """Weights need not sum to all."""
    shares = [{"variation": 1, "weight": 0}, {"variation": 0, "weight": 0}]
    assert answer(flag(fallthrough={"rollout": {"variations": shares}}), {"key": "u"}).variant == "0"


def test_context_targets_stand_for_the_first_user_targets_of_their_variation() -> None:
    """Keys in an entry for users are not looked at, and a user target without such an entry is never asked."""
    users = [{"variation": 1, "values": ["a"]}, {"variation": 1, "values": ["b"]}, {"variation": 0, "values": ["c"]}]
    given = flag(targets=users, contextTargets=[{"variation": 1, "values": ["d"]}, {"contextKind": "org", "variation": 1, "values": ["o"]}])
    assert [answer(given, {"key": key}).variant for key in "abcdo"] == ["1", "0", "0", "0", "0"]
    assert answer(given, {"key": "o", "kind": "org"}).variant == "1"


def test_a_prerequisite_that_is_off_or_gone_is_not_fulfilled() -> None:
    """Though its off variation were the one asked for."""
    given = flag(prerequisites=[{"key": "g", "variation": 1}])
    off = flag(key="g", on=False, offVariation=1)
    assert answer(given, {"key": "u"}, off).variant == "1"
    assert answer(given, {"key": "u"}, flag(key="g", fallthrough={"variation": 1})).variant == "0"
    document = {"flags": {"f": given, "g": {"version": 2, "deleted": True}}}
    assert compile_flag(document, "f").evaluate({"key": "u"}, 0.0).variant == "1"


def test_included_wins_over_excluded_and_a_grave_holds_nobody() -> None:
    """Of every kind; a deleted segment is not a missing one."""
    both = segment(included=["a"], excluded=["a", "b"], rules=[{"clauses": []}])
    found = [answer(asking(SEGMENT_CLAUSE), {"key": key}, s=both).value for key in "abc"]
    assert found == ["new", "", "new"]
    assert answer(asking(SEGMENT_CLAUSE), {"key": "a"}, s={"version": 3, "deleted": True}).value == ""


def test_what_the_sdk_cannot_evaluate_is_the_default() -> None:
    """Its client catches its own exceptions: text that is no Unicode in a hash, a whole number beyond any float."""
    rollout = {"variations": [{"variation": 0, "weight": 100_000}]}
    assert answer(flag(fallthrough={"rollout": rollout}), {"key": "\udcff"}) == NOBODY
    assert answer(asking({"attribute": "age", "op": "lessThan", "values": [18]}), {"key": "u", "age": 10**400}) == NOBODY
    assert answer(asking({"attribute": "key", "op": "in", "values": ["x"]}), {"key": "\udcff"}).variant == "1"


def test_short_versions_and_numbers_for_times() -> None:
    """1 is 1.0.0; a time may be given in milliseconds, and without an offset it is none."""
    assert value(asking({"attribute": "v", "op": "semVerEqual", "values": ["1"]}), v="1.0") == "new"
    after = asking({"attribute": "since", "op": "after", "values": ["2024-01-01T00:00:00Z"]})
    assert [value(after, since=since) for since in (1_704_067_200_001, "2024-01-01T01:00:00", "2024-01-01T01:00:00Z")] == ["new", "", "new"]


def test_the_document_may_come_from_any_json_reader() -> None:
    """Values are given back as they were read."""
    given = json.loads(json.dumps({"flags": {"f": flag(variations=[{"model": "gpt"}, None])}}))
    assert compile_flag(given, "f").evaluate({"key": "u"}, 0.0) == (True, "0", {"model": "gpt"})
