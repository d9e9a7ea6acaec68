"""Unleash flags: what is refused and with which words, and the vendor's quirks that we keep. Agreement is proven in tests/properties."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.domain import ring_length
from extproc.flags import Flag, FlagAnswer, FlagError
from extproc.flags.unleash import compile_flag, point_of
from extproc.flags.unleash.instants import instant, instant_of, strict_instant
from extproc.flags.unleash.values import address, network, number, version

NOW = 1_767_225_600.0
OFF = FlagAnswer(False, "", False)
ON = FlagAnswer(True, "", True)
C = "flags.f.strategies[0].constraints[0]"
P = "flags.f.strategies[0].parameters"
CORRECT = "correct it in Unleash: its engine reads another condition into such a value, or switches the flag off"
EXPORT = "export the flags again: Unleash itself writes this field correctly"
AGAIN = "each request would be drawn anew"


def feature(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "enabled": True, "strategies": [{"name": "default"}], **more}


def compiled(*features: dict[str, Any], segments: Any = None, key: str = "f") -> Flag:
    return compile_flag({"version": 2, "features": list(features), "segments": segments}, key)


def constraint(operator: str, name: str = "x", **more: Any) -> dict[str, Any]:
    given = {"contextName": name, "operator": operator, **more}
    return feature(strategies=[{"name": "default", "constraints": [given]}])


def strategy(name: str, **parameters: Any) -> dict[str, Any]:
    return feature(strategies=[{"name": name, "parameters": parameters}])


def flexible(**parameters: Any) -> dict[str, Any]:
    return strategy("flexibleRollout", **parameters)


PARENT = {"feature": "g"}

REFUSED: list[tuple[dict[str, Any], str, str, str, str]] = [
    (
        constraint("NUM_BETWEEN"),
        "unsupported-operator",
        f"{C}.operator",
        "'NUM_BETWEEN' is no operator that we know",
        "did you mean 'NUM_LTE'?",
    ),
    (constraint("NUM_GT", value="1.2.3"), "malformed", f"{C}.value", "'1.2.3' is not a number", CORRECT),
    (constraint("NUM_GT", value=".5"), "malformed", f"{C}.value", "'.5' is not a number", CORRECT),
    (constraint("NUM_GT", value="1 or true"), "malformed", f"{C}.value", "'1 or true' is not a number", CORRECT),
    (
        *(constraint("DATE_AFTER", "currentTime", value="2026-01-01"), "malformed", f"{C}.value"),
        *("'2026-01-01' is not a time like 2026-01-31T12:00:00Z or 2026-01-31T12:00:00.000+01:00", CORRECT),
    ),
    (constraint("SEMVER_EQ", value="v1.2.3"), "malformed", f"{C}.value", "'v1.2.3' is not a version like 1.2.3 or 1.2.3-rc.1", CORRECT),
    (
        *(constraint("IN", "currentTime", values=["a"]), "unsupported-operator", f"{C}.operator"),
        *("IN would compare how a client spells the time", "compare currentTime by DATE_AFTER or DATE_BEFORE"),
    ),
    (
        *(constraint("IN", "properties", values=["a"]), "unsupported-context", f"{C}.contextName"),
        *("no attribute can be named 'properties'", "name the custom property itself"),
    ),
    (
        *(constraint("IN", 'a"b', values=["a"]), "malformed", f"{C}.contextName"),
        *("'a\"b' holds a quote or ends in a backslash", "choose another name: the engine cannot read this one"),
    ),
    (
        *(constraint("IN", values=["a\\"]), "malformed", f"{C}.values[0]"),
        *("'a\\\\' ends in a backslash", "the engine cannot read it and switches the flag off: drop the backslash"),
    ),
    (
        *(constraint("STR_CONTAINS", values=[]), "malformed", f"{C}.values"),
        *("STR_CONTAINS has no values", "give at least one value: the engine switches such a flag off"),
    ),
    (constraint("IN", values=["a", 1]), "malformed", f"{C}.values[1]", "1 is not a text", EXPORT),
    (constraint("IN", values=["a"], inverted=None), "malformed", f"{C}.inverted", "nothing is not true or false", EXPORT),
    (
        *(constraint("IN_CIDR", values=["10.0.0.0/33"]), "malformed", f"{C}.values[0]"),
        *("'10.0.0.0/33' is not an address or a network like 10.0.0.0/8 or 2001:db8::/32", CORRECT),
    ),
    (constraint("IN_CIDR"), "malformed", f"{C}.values", "IN_CIDR has no values", "give at least one: the engine switches such a flag off"),
    (
        *(constraint("REGEX", value="a(?=b)"), "unsupported-pattern", f"{C}.value", "'a(?=b)': (? at character 2"),
        "only (?: ) and a leading (?i) are taken: leave names, flags and looking ahead out",
    ),
    (
        *(constraint("REGEX", value="\\w+"), "unsupported-pattern", f"{C}.value", "'\\\\w+': \\w at character 1"),
        "write the characters out in a class: [0-9A-Za-z_] for \\w",
    ),
    (
        *(constraint("REGEX", value="(a|b)*a(a|b){12}"), "unsupported-pattern", f"{C}.value"),
        *(
            "'(a|b)*a(a|b){12}': a pattern of too many combinations",
            "shorten repetitions like {n,m}, or split the pattern into several constraints",
        ),
    ),
    (
        *(
            constraint("REGEX", value="é", caseInsensitive=True),
            "unsupported-pattern",
            f"{C}.value",
            "'é': letters beyond ASCII without case",
        ),
        "switch case-insensitivity off, or spell both cases in a class",
    ),
    (
        *(flexible(rollout="50", stickiness="random"), "random", P, "a random 50 % of the requests"),
        f"use flexibleRollout with stickiness userId, sessionId or a custom property: {AGAIN}",
    ),
    (
        *(strategy("gradualRolloutRandom", percentage="10"), "random", P, "a random 10 % of the requests"),
        f"use flexibleRollout with stickiness userId, sessionId or a custom property: {AGAIN}",
    ),
    (flexible(rollout="101"), "malformed", f"{P}.rollout", "'101' is not a whole percent from 0 to 100, as a text", CORRECT),
    (flexible(rollout=50), "malformed", f"{P}.rollout", "50 is not a text", EXPORT),
    (flexible(), "malformed", f"{P}.rollout", "nothing is not a whole percent from 0 to 100, as a text", CORRECT),
    (
        *(flexible(rollout="50", stickiness="currentTime"), "random", f"{P}.stickiness"),
        *("a bucket by currentTime changes with every request", "choose userId, sessionId or a custom property"),
    ),
    (
        *(flexible(rollout="50", groupId='a"b'), "malformed", f"{P}.groupId"),
        *("'a\"b' holds a quote or ends in a backslash", "choose another name: the engine cannot read this one"),
    ),
    (strategy("gradualRolloutUserId", percentage="5"), "malformed", f"{P}.groupId", "nothing is not a text", EXPORT),
    (
        *(strategy("applicationHostname", hostNames="a"), "unsupported-strategy", "flags.f.strategies[0].name"),
        *("'applicationHostname' is not taken", "the host would be that of the proxy, not of the application: use a constraint"),
    ),
    (
        *(strategy("flexibleRolout"), "unsupported-strategy", "flags.f.strategies[0].name"),
        *("'flexibleRolout' is a custom strategy: only the application knows its rule", "did you mean 'flexibleRollout'?"),
    ),
    (strategy("userWithId"), "malformed", f"{P}.userIds", "nothing is not a list of ids with commas", CORRECT),
    (
        *(strategy("remoteAddress", IPs="1.2.3.4,local"), "malformed", f"{P}.IPs"),
        *("'local' is not an address or a network like 10.0.0.0/8 or 2001:db8::/32", CORRECT),
    ),
    (
        *(feature(strategies=[{"name": "default", "segments": [4]}]), "unknown-segment", "flags.f.strategies[0].segments"),
        *("there is no segment 4", "there are: none"),
    ),
    (feature(dependencies=[PARENT]), "unknown-parent", "flags.f.dependencies[0].feature", "there is no flag 'g'", "there are: f"),
    (
        *(feature(variants=[{"name": "a", "weight": 0}]), "malformed", "flags.f.variants"),
        *("the weights add up to 0", "give one variant a weight: the engine fails on this flag"),
    ),
    (feature(variants=[{"name": "a", "weight": -1}]), "malformed", "flags.f.variants[0].weight", "-1 is not a weight of 0 or more", EXPORT),
    (
        *(feature(variants=[{"name": "a", "weight": 1, "stickiness": "random"}, {"name": "b", "weight": 1}]), "random", "flags.f.variants"),
        *("variants at random", f"choose userId, sessionId or a custom property: {AGAIN}"),
    ),
    (feature(enabled=None), "malformed", "flags.f.enabled", "nothing is not true or false", EXPORT),
    (feature(strategies=[3]), "malformed", "flags.f.strategies[0]", "3 is not an object", EXPORT),
]


@pytest.mark.parametrize(("given", "kind", "path", "message", "hint"), REFUSED, ids=lambda one: one if isinstance(one, str) else "")
def test_what_cannot_be_answered_exactly_is_refused(given: dict[str, Any], kind: str, path: str, message: str, hint: str) -> None:
    """One fault, one Problem: its exact words."""
    with pytest.raises(FlagError) as refused:
        compiled(given)
    assert str(refused.value) == f"{path}: {message} [flag.{kind}]\n    {hint}"


def test_an_unknown_flag_is_named_with_its_nearest_neighbour() -> None:
    with pytest.raises(FlagError) as refused:
        compiled(feature("checkout"), key="chekout")
    assert str(refused.value) == "flags.chekout: there is no flag 'chekout' [flag.unknown]\n    did you mean 'checkout'?"


def test_dependencies_in_a_circle_are_refused_with_the_circle() -> None:
    with pytest.raises(FlagError) as refused:
        compiled(
            feature(dependencies=[PARENT]), feature("g", dependencies=[{"feature": "h"}]), feature("h", dependencies=[{"feature": "f"}])
        )
    assert str(refused.value) == (
        "flags.f.dependencies[0].feature: f -> g -> h -> f go round in a circle [flag.dependency-cycle]\n"
        "    remove one of the dependencies: Unleash never switches these flags on"
    )


def test_a_grandparent_is_refused_because_unleash_never_looks_there() -> None:
    with pytest.raises(FlagError) as refused:
        compiled(feature(dependencies=[PARENT]), feature("g", dependencies=[{"feature": "h"}]), feature("h"))
    assert str(refused.value) == (
        "flags.f.dependencies[0].feature: 'g' depends on other flags itself [flag.nested-dependency]\n"
        "    depend on the parents of 'g' instead: Unleash looks one level up and never switches this flag on"
    )


def test_all_problems_are_reported_at_once_each_once() -> None:
    """Strategies, a segment that is used twice, variants and a parent: every fault is named, the segment's with its own place."""
    segments = [{"id": 1, "constraints": [{"contextName": "x", "operator": "FOO"}]}]
    strategies = [{"name": "default", "segments": [1]}, {"name": "default", "segments": [1]}, {"name": "mine"}]
    given = feature(strategies=strategies, variants=[{"name": "", "weight": "1"}], dependencies=[PARENT])
    with pytest.raises(FlagError) as refused:
        compiled(given, feature("g", strategies=[{"name": "flexibleRollout"}]), segments=segments)
    assert [(problem.id, problem.path) for problem in refused.value.problems] == [
        ("flag.unsupported-operator", "segments[0].constraints[0].operator"),
        ("flag.unsupported-strategy", "flags.f.strategies[2].name"),
        ("flag.malformed", "flags.f.variants[0].name"),
        ("flag.malformed", "flags.f.variants[0].weight"),
        ("flag.malformed", "flags.g.strategies[0].parameters.rollout"),
    ]


def test_what_the_flag_does_not_use_is_not_looked_at() -> None:
    """Another flag or segment may hold whatever it likes."""
    broken = [{"id": 9, "constraints": [{"operator": "FOO"}]}, {"id": "x"}, 5]
    assert compiled(feature("g", strategies=[{"name": "custom"}]), {"nothing": 1}, feature(), segments=broken).evaluate({}, 0.0) == ON  # type: ignore[arg-type]


def test_whom_the_engine_would_draw_is_not_in_and_has_no_variant() -> None:
    """The one deliberate difference: without userId and sessionId the answer is the same each time. At 0 and 100 % no draw matters."""
    assert compiled(flexible(rollout="99")).evaluate({}, NOW) == OFF
    assert compiled(flexible(rollout="100")).evaluate({}, NOW) == ON
    assert compiled(flexible(rollout="100", stickiness="random")).evaluate({}, NOW) == ON
    assert compiled(flexible(rollout="0", stickiness="random")).evaluate({}, NOW) == OFF
    two = feature(variants=[{"name": "a", "weight": 1}, {"name": "b", "weight": 1}])
    assert compiled(two).evaluate({}, NOW) == ON
    assert compiled(two).evaluate({"userId": "u"}, NOW).variant in {"a", "b"}
    one = feature(variants=[{"name": "a", "weight": 1}, {"name": "b", "weight": 0}])
    assert compiled(one).evaluate({}, NOW) == FlagAnswer(True, "a", True)


def test_a_named_stickiness_that_is_missing_is_out_even_at_100_percent() -> None:
    everybody = compiled(flexible(rollout="100", stickiness="userId"))
    assert everybody.evaluate({"sessionId": "s"}, NOW) == OFF
    assert everybody.evaluate({"userId": ""}, NOW) == ON, "an empty id is an id"


def test_a_parent_without_group_is_hashed_by_the_name_of_the_child() -> None:
    """A quirk of the engine: the same rollout answers otherwise as a parent than when it is asked itself."""
    parent = feature("g", strategies=[{"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "userId"}}])
    child = compiled(feature(dependencies=[PARENT]), parent)
    point, below = point_of("f"), ring_length(0.5)
    for number_ in range(200):
        user = f"u{number_}"
        assert child.evaluate({"userId": user}, NOW).on == (point(user.encode()) < below)


def test_variants_are_those_of_the_first_strategy_that_holds() -> None:
    """Also where that one has none and a later one would have some: then the flag's own count."""
    later = {"name": "default", "variants": [{"name": "late", "weight": 1}]}
    own = [{"name": "own", "weight": 1}]
    assert compiled(feature(strategies=[{"name": "default"}, later], variants=own)).evaluate({}, NOW).variant == "own"
    assert compiled(feature(strategies=[later, {"name": "default"}], variants=own)).evaluate({}, NOW).variant == "late"


def test_inverting_turns_a_missing_attribute_round_too() -> None:
    for operator, value in (("NUM_GT", "1"), ("SEMVER_GT", "1.0.0"), ("DATE_AFTER", "2020-01-01T00:00:00Z"), ("REGEX", "a")):
        assert compiled(constraint(operator, value=value)).evaluate({}, NOW) == OFF
        assert compiled(constraint(operator, value=value, inverted=True)).evaluate({}, NOW) == ON
    assert compiled(constraint("NOT_IN", values=["a"])).evaluate({}, NOW) == ON


def test_values_are_texts_as_the_client_spells_them() -> None:
    """True is "True" and 1.0 is "1.0", as Python's client has it."""
    assert compiled(constraint("IN", values=["True", "1.0", "7"])).evaluate({"x": True}, NOW) == ON
    assert compiled(constraint("IN", values=["True", "1.0", "7"])).evaluate({"x": 1.0}, NOW) == ON
    assert compiled(constraint("IN", values=["True", "1.0", "7"])).evaluate({"x": 7}, NOW) == ON
    assert compiled(constraint("IN", values=["true", "1"])).evaluate({"x": True}, NOW) == OFF


@pytest.mark.parametrize(
    "value", ["\udc80", "a\ud800", 10**5000, float("nan"), b"\xff", object(), [], None], ids=lambda one: type(one).__name__
)
def test_evaluating_raises_nothing(value: Any) -> None:
    """A text with a lone surrogate (bytes that were no UTF-8) is off, as with the client, which cannot hand it to its engine."""
    for operator, more in (
        ("NOT_IN", {"values": ["a"]}),
        ("NUM_GT", {"value": "1"}),
        ("REGEX", {"value": "."}),
        ("IN_CIDR", {"values": ["::/0"]}),
    ):
        assert isinstance(compiled(constraint(operator, "userId", **more)).evaluate({"userId": value}, NOW), FlagAnswer)
    if isinstance(value, str):
        assert compiled(constraint("NOT_IN", values=["a"])).evaluate({"x": value}, NOW) == OFF


def test_the_clock_counts_where_current_time_is_asked_for() -> None:
    after = compiled(constraint("DATE_AFTER", "currentTime", value="2026-01-01T00:00:00Z"))
    assert after.needs_time
    assert after.needs == {"currentTime"}
    assert (after.evaluate({}, NOW).on, after.evaluate({}, NOW + 1e-6).on) == (False, True)
    assert after.evaluate({"currentTime": "2027-01-01T00:00:00Z"}, 0.0).on
    assert not after.evaluate({"currentTime": "tomorrow"}, NOW + 1).on
    assert after.evaluate({}, float("inf")) == OFF


def test_needs_names_what_the_answer_depends_on() -> None:
    given = feature(
        strategies=[
            {"name": "flexibleRollout", "parameters": {"rollout": "50"}, "constraints": [{"contextName": "plan", "operator": "IN"}]}
        ],
        variants=[{"name": "a", "weight": 1, "stickiness": "tenant"}, {"name": "b", "weight": 1}],
    )
    assert compiled(given).needs == {"userId", "sessionId", "plan", "tenant"}
    assert not compiled(given).needs_time
    assert compiled({**given, "enabled": False}).needs == frozenset()
    assert compiled({**given, "enabled": False}).evaluate({"userId": "u", "plan": "a"}, NOW) == OFF


def test_numbers_are_read_as_rust_reads_them() -> None:
    assert [number(text) for text in ("1", "+.5", "2.", "1E3", "-Inf", "infinity")] == [1.0, 0.5, 2.0, 1000.0, float("-inf"), float("inf")]
    assert [number(text) for text in ("", ".", " 1", "1_0", "١", "0x1", "1e", "infinit")] == [None] * 8


def test_versions_compare_by_precedence_and_not_by_build() -> None:
    assert version("1.2.3+a") == version("1.2.3+b") == version("1.2.3")
    ordered = ["1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-" + "9" * 30, "1.0.0-A", "1.0.0-a", "1.0.0-a.1", "1.0.0", "1.0.1", "1.10.0"]
    assert sorted(set(ordered), key=lambda text: version(text) or ()) == ordered
    assert [version(text) for text in ("v1.2.3", "1.2", "01.2.3", "1.2.3-01", "1.2.3-", "18446744073709551616.0.0", "1.2.3 ")] == [None] * 7


def test_instants_are_read_leniently_in_attributes_and_strictly_in_constraints() -> None:
    same = ("2026-01-01T00:00:00Z", "2026-1-1 0:0:0 utc", "+002026-01-01t01:00:00.000000000000+0100", " 2025-12-31T13:00:00\u221211:00")
    assert {instant(text) for text in same} == {instant_of(NOW)}
    assert [strict_instant(text) is None for text in same] == [False, True, True, True]
    leap, last, first = (instant(f"2016-12-31T{text}Z") for text in ("23:59:60", "23:59:59.999999999", "23:59:59"))
    assert leap is not None
    assert last is not None
    assert first is not None
    assert first < last < leap < first + 2_000_000_000
    for text in (
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+24:00",
        "20260-01-01T00:00:00Z",
    ):
        assert instant(text) is None, text


def test_addresses_are_read_strictly_and_families_never_meet() -> None:
    assert address("10.0.0.1") == (32, 0x0A000001)
    assert address("::ffff:10.0.0.1") == (128, 0xFFFF0A000001)
    for text in ("010.0.0.1", "10.0.0", "10.0.0.256", "fe80::1%eth0", " 10.0.0.1", "", "10.0.0.1/8", ":" * 50):
        assert address(text) is None, text
    assert network("10.1.2.3/8") == (32, 0xFF000000, 0x0A000000)
    for text in ("10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/255.0.0.0", "::/129", "x/8"):
        assert network(text) is None, text


def test_a_hostile_text_cannot_make_a_pattern_slow() -> None:
    """One look-up per character: a pattern that backtracks for ever elsewhere reads 20,000 characters and is done."""
    flag = compiled(constraint("REGEX", value="^(a*)*(a|aa)+$"))
    assert flag.evaluate({"x": "a" * 20_000 + "b"}, NOW) == OFF
    assert flag.evaluate({"x": "a" * 20_000}, NOW) == ON


def test_dollar_is_the_very_end() -> None:
    """Python's own $ would also match before a last newline."""
    assert compiled(constraint("REGEX", value="a$")).evaluate({"x": "a\n"}, NOW) == OFF
