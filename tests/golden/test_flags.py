"""The files in flags/ are what the command writes; the OpenFeature program among them runs, and says what the edge says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from typer.testing import CliRunner

from extproc import cli, spec
from extproc.assign import Snapshot, assign
from extproc.cli import render
from extproc.domain import Arm, FlagVendor
from extproc.render.flags import openfeature_example
from extproc.router.source import fixed_snapshot
from tests.support import flag_specs
from tests.support.flag_specs import Person

FOLDER = Path(__file__).parent / "flags"
EXAMPLE = FOLDER / "release.yaml"
ROLLOUT = "gpt-5-mini"
PHASE = "25%"
NAMES = [f"{ROLLOUT}.{vendor.value}.json" for vendor in FlagVendor] + [f"{ROLLOUT}.openfeature.py"]


def test_files_are_what_the_command_writes(tmp_path: Path) -> None:
    """Every file, and no other; run the command again after a change, and read the difference."""
    render.register(cli.app)
    arguments = ["render", "flags", str(EXAMPLE), "--rollout", ROLLOUT, "--phase", PHASE, "-o", str(tmp_path / "new" / "folder")]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text() for path in (tmp_path / "new" / "folder").iterdir()}
    assert sorted(written) == sorted(NAMES)
    for name in NAMES:
        assert written[name] == (FOLDER / name).read_text(), f"extproc render flags {EXAMPLE} --phase {PHASE} -o {FOLDER}"
    assert [line.partition(": ")[2] for line in done.output.splitlines()[1:6]] == [
        *["the same shares of other people: the rollout's bucket is flagd"] * 3,
        "the same people as at the edge",
        f"asks {ROLLOUT}.flagd.json",
    ]


def people() -> list[Person]:
    """Everybody whom the example tells apart."""
    random = Random(5)
    found = []
    for number in range(300):
        facts = {
            "tier": random.choice(("internal", "gold")),
            "country": random.choice(("DE", "AT", "FR")),
            "region": random.choice(("BY", "BE")),
            "x_plan": random.choice(("pro", "enterprise", "free")),
            "claim_org_team": random.choice(("platform", "sales")),
        }
        unit = random.choice(("big-customer-7", "qa-1")) if number % 20 == 0 else f"user-{number}"
        found.append(Person(unit, {name: value for name, value in facts.items() if random.random() < 0.8}))
    return found


def at_the_edge(who: Person, snapshot: Snapshot) -> str:
    """`canary` or `stable`, at the phase of the files."""
    answer = assign(snapshot.layers[0], {**who.subject(), ":path": b"/v1/chat/completions"}, b"request", 0.0)
    assert answer is not None
    return "canary" if answer.choice.assignment.arm is Arm.CANARY else "stable"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return fixed_snapshot(spec.read(str(EXAMPLE)), PHASE)


def program() -> ModuleType:
    """The example as a module."""
    found = importlib.util.spec_from_file_location("openfeature_example", FOLDER / f"{ROLLOUT}.openfeature.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_openfeature_program_runs_as_it_is(snapshot: Snapshot) -> None:
    """As its first lines say: the document, an id and attributes; from any folder, the very first answer included."""
    for who in people()[:4]:
        given = [f"{name}={value}" for name, value in who.facts.items()]
        command = [sys.executable, str(FOLDER / f"{ROLLOUT}.openfeature.py"), str(FOLDER / f"{ROLLOUT}.flagd.json"), who.unit, *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert (done.stdout.strip(), done.stderr) == (at_the_edge(who, snapshot), "")


def test_the_openfeature_program_says_what_the_edge_says(snapshot: Snapshot) -> None:
    """Its function, for everybody whom the example tells apart."""
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(FOLDER / f"{ROLLOUT}.flagd.json"))
    api.set_provider_and_wait(provider)
    asked = program()
    try:
        said = {who.unit: (asked.variant(who.unit, who.facts), at_the_edge(who, snapshot)) for who in people()}
    finally:
        api.shutdown()
    assert {unit: both for unit, both in said.items() if both[0] != both[1]} == {}
    assert {both[0] for both in said.values()} == {"canary", "stable"}


@pytest.mark.parametrize("salt", ["s", "a.b-c_d", "0"])
def test_the_program_is_python_whatever_the_names(salt: str) -> None:
    """It compiles, and asks the flag by its key."""
    made = flag_specs.spec({"r.1-x": {**flag_specs.rollout(Random(1), FlagVendor.FLAGD, salt)}})
    text = openfeature_example(made, made.rollouts["r.1-x"], 0)
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(text, "example", "exec"), names)
    assert names["FLAG"] == salt
