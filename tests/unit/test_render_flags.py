"""render.flags: what no flag can say, what one vendor cannot say, names that cannot be confused; and the command that writes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from extproc import cli
from extproc import spec as specs
from extproc.cli import render
from extproc.domain import FlagVendor, Spec
from extproc.errors import Problem, SettingsError
from extproc.flags import compile_flag, seed_of
from extproc.render import RenderError
from extproc.render.flags import flag_document, flag_key, unseen
from extproc.spec.bundle import bundled
from tests.support import flag_specs

FILES = ["r.flagd.json", "r.growthbook.json", "r.launchdarkly.json", "r.openfeature.py", "r.unleash.json"]


def rollout(*cohorts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Cohorts at 10, 50, 100 %."""
    phases = [{"share": "10%"}, {"share": "50%"}, {"share": "100%"}]
    written = [{"name": f"c{number}", **cohort} for number, cohort in enumerate(cohorts)]
    return {"stable": "old", "canary": "new", "unit": "user", "cohorts": written or [{"name": "all"}], "phases": phases, **changes}


def spec(*cohorts: dict[str, Any], **changes: Any) -> Spec:
    return flag_specs.spec({"r": rollout(*cohorts, **changes)})


def problems(given: Spec, vendor: FlagVendor = FlagVendor.LAUNCHDARKLY, phase: int = 0) -> list[Problem]:
    with pytest.raises(RenderError) as caught:
        flag_document(given, given.rollouts["r"], phase, vendor)
    return list(caught.value.problems)


# ------------------------------------------------------------------------------------------------------------------ what cannot be said
def test_what_no_flag_can_say_is_refused_with_its_path_all_at_once() -> None:
    """A random share, another system's flag, a slot: each with the place in the Spec; the vendor does not matter."""
    cohorts = [{"random": "5%"}, {"not": {"flag": {"source": "f", "key": "on"}}}, {"exclude": {"random": "1%"}}]
    document = {"flags": {"on": {"state": "ENABLED", "variants": {"a": True}, "defaultVariant": "a"}}}
    written = flag_specs.text(
        {"r": rollout(*cohorts, slot="first")},
        layers={"model": {"slots": {"first": "50%"}}},
        flags={"f": {"vendor": "flagd", "file": "f.json"}},
    )
    given = specs.load(bundled(written, {"f.json": orjson.dumps(document).decode()}))
    for vendor in FlagVendor:
        assert [(one.id, one.path) for one in problems(given, vendor)] == [
            ("render.flag-slot", "rollouts.r.slot"),
            ("render.flag-cannot", "rollouts.r.cohorts[0]"),
            ("render.flag-cannot", "rollouts.r.cohorts[1]"),
            ("render.flag-cannot", "rollouts.r.cohorts[2].exclude"),
        ]


@pytest.mark.parametrize(
    ("vendor", "share", "step"),
    [
        (FlagVendor.UNLEASH, "12.5%", "1%"),
        (FlagVendor.LAUNCHDARKLY, "0.0005%", "0.001%"),
        (FlagVendor.GROWTHBOOK, "0.005%", "0.01%"),
        (FlagVendor.FLAGD, "0.333%", "0.01%"),
    ],
)
def test_a_share_between_two_steps_is_refused_not_rounded(vendor: FlagVendor, share: str, step: str) -> None:
    """Rounded, it would be other people; every such cohort is named, by all but those vendors that can say it."""
    given = spec({"tier": ["a"], "share": share}, {"tier": ["b"], "share": share}, {})
    assert [(one.id, one.message) for one in problems(given, vendor)] == [
        ("render.flag-share", f"cohort c{number} has a share of {share}, and {vendor.value} knows steps of {step}") for number in (0, 1)
    ]


@pytest.mark.parametrize(("key", "many"), [("all", 9), ("any", 300)])
def test_a_flag_that_nobody_could_read_is_refused_at_once(key: str, many: int) -> None:
    """Alternatives multiply: nine times four of them would be 262,144. It is said in a moment, not after a minute."""
    four = {"any": [{"header": {f"x-{name}": ["v"]}} for name in "abcd"]}
    parts = [{"header": {f"x-{number}": ["v"]}, **four} for number in range(many)]
    if key == "all":
        parts = [{"any": [{"header": {f"x-{number}-{name}": ["v"]}} for name in "abcd"]} for number in range(many)]
    given, begin = spec({key: parts}), time.process_time()
    (problem,) = problems(given)
    assert (problem.id, problem.path) == ("render.flag-size", "rollouts.r.cohorts[0]")
    assert time.process_time() - begin < 10.0


def test_a_value_that_the_vendor_cannot_read_is_refused_for_that_vendor_alone() -> None:
    """Unleash's engine switches a flag off that holds a text with a backslash at its end."""
    given = spec({"tier": ["c:\\"]})
    (problem,) = problems(given, FlagVendor.UNLEASH)
    assert (problem.id, problem.path) == ("render.flag-cannot", "rollouts.r")
    assert "backslash" in problem.message
    for vendor in (FlagVendor.LAUNCHDARKLY, FlagVendor.GROWTHBOOK, FlagVendor.FLAGD):
        assert flag_document(given, given.rollouts["r"], 0, vendor)


def test_unleash_needs_no_strategy_more_where_an_earlier_share_is_as_large() -> None:
    """Five cohorts with three conditions each would exclude each other 3^4-fold; with equal shares nobody has to be excluded."""
    cohorts = [{"tier": [f"t{number}"], "country": ["DE"], "header": {"x-plan": [f"p{number}"]}} for number in range(5)]
    given = spec(*cohorts, {})
    strategies = flag_document(given, given.rollouts["r"], 0, FlagVendor.UNLEASH)["features"][0]["strategies"]
    assert [len(one["constraints"]) for one in strategies] == [3, 3, 3, 3, 3, 0]


def test_unleash_with_nobody_yet_is_on_for_nobody() -> None:
    """A feature without strategies would be on for everybody."""
    given = spec({"from": "50%"})
    document = flag_document(given, given.rollouts["r"], 0, FlagVendor.UNLEASH)
    answer = compile_flag(FlagVendor.UNLEASH, document, "r").evaluate
    assert not any(answer({"userId": f"u{number}"}, 0.0).on for number in range(300))
    assert not answer({"userId": ""}, 0.0).on


# ---------------------------------------------------------------------------------------------------------------------------- names
def attributes(given: Spec, vendor: FlagVendor = FlagVendor.FLAGD) -> set[str]:
    """What the flag looks at, the unit's id apart."""
    found = compile_flag(vendor, flag_document(given, given.rollouts["r"], 0, vendor), flag_key(given.rollouts["r"], vendor)).needs
    return set(found) - {"targetingKey"}


def test_facts_have_names_that_no_vendor_takes_for_something_else() -> None:
    """A header called id, key, kind or tier is not the unit's id, the kind of a context, or the user's tier."""
    headers = ("id", "key", "kind", "anonymous", "environment", "tier", "path", "x-plan")
    given = spec({"tier": ["gold"], "header": {name: ["v"] for name in headers}, "cookie": {"id": ["v"]}, "claim": {"a.b": ["v"]}})
    named = {"header_id", "header_key", "header_kind", "header_anonymous", "header_environment", "header_tier", "header_path", "x_plan"}
    assert attributes(given) == named | {"tier", "cookie_id", "claim_a_b"}


@pytest.mark.parametrize(
    "two",
    [
        {"header": {"x-plan": ["v"], "x_plan": ["v"]}},
        {"header": {"cookie-beta": ["v"]}, "cookie": {"beta": ["v"]}},
        {"claim": {"a.b": ["v"], "a_b": ["v"]}},
        {"header": {"header-id": ["v"], "id": ["v"]}},
    ],
)
def test_two_facts_with_one_name_are_refused(two: dict[str, Any]) -> None:
    """Else the flag would take one for the other."""
    (problem,) = problems(spec(two))
    assert (problem.id, problem.path) == ("render.flag-name", "rollouts.r")


def test_what_the_edge_knows_besides_is_told() -> None:
    """Each thing that no flag sees has its line; a rollout without any has none."""
    sources = [{"header": "x-user-id"}]
    assert list(unseen(spec(unit={"kind": "user", "sources": sources}).rollouts["r"])) == []
    given = spec(
        {"claim": {"team": ["a"]}},
        match={"models": ["gpt-4o"]},
        conversation={},
        overrides={"qa": {"secret": {"env": "QA"}}},
    )
    said = [line.partition(":")[0] for line in unseen(given.rollouts["r"])]
    assert said == ["match", "unit", "unit", "conversation", "overrides.qa", "claim"]


def test_a_salt_that_is_no_number_for_launchdarkly_becomes_one() -> None:
    """007 is hashed as 7 by LaunchDarkly, and a seed beyond 32 bits by no SDK for sure."""
    assert [seed_of(FlagVendor.LAUNCHDARKLY, salt) for salt in ("7", "0", "2147483647")] == ["7", "0", "2147483647"]
    for salt in ("007", "2147483648", "9" * 60, "gpt"):
        seed = seed_of(FlagVendor.LAUNCHDARKLY, salt)
        assert seed != salt
        assert seed == str(int(seed))
        assert int(seed) < 1 << 31
    assert seed_of(FlagVendor.UNLEASH, "007") == "007"


# -------------------------------------------------------------------------------------------------------------------- the command
def invoke(tmp_path: Path, *cohorts: dict[str, Any], options: tuple[str, ...] = ()) -> Any:
    path = tmp_path / "release.yaml"
    path.write_text(flag_specs.text({"r": rollout(*cohorts), "other": rollout(layer="prompt")}))
    render.register(cli.app)
    return CliRunner().invoke(cli.app, ["render", "flags", str(path), "-o", str(tmp_path / "out"), *options])


def test_what_one_vendor_cannot_say_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    """Exit code 1, the Problem once, and which file it is about."""
    done = invoke(tmp_path, {"tier": ["a"], "share": "12.5%"}, options=("--rollout", "r"))
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES[:-1]
    assert "not written: r.unleash.json" in done.output
    assert "cohort c0 has a share of 12.5%, and unleash knows steps of 1%" in done.output


def test_what_no_flag_can_say_is_told_once(tmp_path: Path) -> None:
    """Not once for each vendor; and the other rollout is written."""
    done = invoke(tmp_path, {"random": "5%"})
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [name.replace("r.", "other.", 1) for name in FILES]
    assert done.output.count("render.flag-cannot") == 1


@pytest.mark.parametrize(("options", "identity"), [(("--rollout", "x"), "settings.rollout"), (("--phase", "26%"), "settings.phase")])
def test_names_that_are_not_there_are_told_with_those_that_are(tmp_path: Path, options: tuple[str, ...], identity: str) -> None:
    """Nothing is written then."""
    done = invoke(tmp_path, options=options)
    assert isinstance(done.exception, SettingsError)
    (problem,) = done.exception.problems
    assert problem.id == identity
    assert ("r, other" if identity == "settings.rollout" else "10%, 50%, 100%") in problem.hint
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "out").write_text("")
    done = invoke(tmp_path)
    assert isinstance(done.exception, SettingsError)
    assert done.exception.problems[0].id == "settings.write"
