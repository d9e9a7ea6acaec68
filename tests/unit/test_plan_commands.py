"""timeline, simulate, prove: what they print, what they write, and when they end with 1."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from extproc import spec
from extproc.cli import app, plan, write
from extproc.cli.write import filled_template
from extproc.errors import SettingsError
from extproc.release import proofs
from extproc.release.simulate import Proof

plan.register(app)
write.register(app)
SMALL = ("--runs", "3", "--requests", "400", "--rate", "40", "--phase", "25%")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "release.yaml"
    path.write_text(filled_template("chat", "gpt-4o", "gpt-5-mini"), encoding="utf-8")
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, env={"COLUMNS": "160"})
    return done.exit_code, done.stdout


def test_a_timeline_says_how_long_and_what_is_found(given: Path) -> None:
    """The example succeeds; a business of forty tenants does not, and is told what would help."""
    code, said = run("timeline", given)
    assert code == 0
    assert "19 h 30 min at best" in said
    given.write_text(given.read_text().replace("daily_units: 50000", "daily_units: 40"), encoding="utf-8")
    code, said = run("timeline", given)
    assert code == 1
    assert "[plan.too-few-units]" in said
    assert "never" in said
    assert "a shadow before it" in said
    _, text = run("timeline", given, "--json")
    (made,) = orjson.loads(text).values()
    assert made["seconds"] is None
    assert {one["id"] for one in made["problems"]} >= {"plan.too-few-units", "plan.min-units"}


def test_a_timeline_goes_by_the_scores_that_the_judge_gives(given: Path) -> None:
    """What a judge's noise and the answers' spread are is measured: half as much of it takes much fewer answers."""
    judge = "judge: {judges: [{url: 'http://127.0.0.1:1/v1', model: judge, prices: {input: $1, output: $1}}]}\n"
    given.write_text(given.read_text() + judge, encoding="utf-8")
    needed = []
    for more in ((), ("--score-spread", "0.25"), ("--score-spread", "0.12")):
        _, text = run("timeline", given, "--json", *more)
        (made,) = orjson.loads(text).values()
        needed.append([gate["units"] for phase in made["phases"] for gate in phase["gates"] if gate["measure"] == "judge"])
    usual, same, calm = needed
    assert usual == same
    assert len(usual) >= 3
    assert all(few < many * 0.6 for few, many in zip(calm, usual, strict=True))


def test_simulated_releases_are_told_beside_those_of_others(given: Path) -> None:
    """A table of rules, a picture of the paths; the same seed gives the same table."""
    code, said = run("simulate", given, "--scenario", "broken", *SMALL)
    assert code == 0
    assert "the canary fails always" in said
    for rule in ("extproc", "Flagger-like", "Kayenta-like"):
        assert rule in said
    assert "limit ─" in said
    assert "E = 1" in said
    first, second = (run("simulate", given, "--scenario", "broken", "--scenario", "judge", *SMALL, "--json")[1] for _ in range(2))
    assert first == second
    rows = orjson.loads(first)
    assert {row["world"] for row in rows} == {"broken", "judge"}
    assert next(row for row in rows if (row["world"], row["rule"]) == ("broken", "extproc"))["stopped"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scenario", "nonsense"), "settings.no-scenario"),
        (("--phase", "3%"), "settings.no-phase"),
        (("--rollout", "x"), "settings.no-rollout"),
    ],
)
def test_what_is_not_there_is_told(given: Path, arguments: tuple[str, ...], said: str) -> None:
    """With what there is."""
    with pytest.raises(SettingsError) as caught:
        run("simulate", given, "--runs", "1", *arguments)
    (problem,) = caught.value.problems
    assert problem.id == said
    assert "one of" in problem.hint


def test_a_proof_is_written_beside_the_spec_and_marks_what_changes(given: Path) -> None:
    """`check` says how many gates are hopes; after `prove` none is, after an edit those are that it concerns."""
    one_phase = given.read_text()
    begin, end = one_phase.index("      - {share: 5%"), one_phase.index("      - {share: 100%")
    given.write_text(one_phase[:begin] + one_phase[end:].replace("min_units: 1000", "min_units: 500"), encoding="utf-8")
    assert "gates and ceilings have never been seen to block" in run("check", given)[1]
    code, said = run("prove", given)
    assert code == 0, said
    assert "✘" not in said
    assert given.with_name("release.proof.json").exists()
    assert "seen to block" not in run("check", given)[1]
    given.write_text(given.read_text().replace("ceilings: {errors: 5%, latency_p95: 6s}", "ceilings: {errors: 4%, latency_p95: 6s}"))
    _, said = run("check", given)
    assert "1 gates and ceilings have never been seen to block" in said
    assert "ceiling:errors has never been seen to block at 1%" in said


def test_a_gate_that_does_not_block_is_told_as_such(given: Path) -> None:
    """Proofs of another version, and what is no such file, are refused."""
    (rollout,) = spec.read(str(given)).rollouts.values()
    known = {key: Proof(name, name != "cost", 100, 2.0) for key, _, _, name in proofs.keys(rollout)}
    assert {(one.id, one.path.rpartition(".")[2]) for one in proofs.unproven(rollout, known)} == {("gate.does-not-block", "cost")}
    assert proofs.from_json(orjson.loads(orjson.dumps(proofs.to_json(known)))) == known
    given.with_name("release.proof.json").write_text('{"version": 99}')
    with pytest.raises(SettingsError, match="is no file of proofs"):
        run("check", given)
