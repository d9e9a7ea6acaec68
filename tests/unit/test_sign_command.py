"""sign: QA headers ready for curl; and the recipes in docs/overrides.md give the same signature."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from extproc import spec as spec_room
from extproc.assign import Fate, sign_qa
from extproc.assign.tokens import LONGEST_QA, read_qa
from extproc.cli import app, explain
from extproc.cli.signing import signed
from extproc.domain import Arm
from extproc.errors import SettingsError
from tests.unit.test_explain import TEXT, run

SECRET = "a secret of the tests, with ' and ü"
NOW = 1_795_000_000.0
SPEC = spec_room.load(TEXT)
GUIDE = (Path(__file__).parents[2] / "docs" / "overrides.md").read_text(encoding="utf-8")
NAME = "EXPLAIN_TEST_SECRET"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, SECRET)


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(("arm", "canary"), [("canary", True), ("stable", False)])
def test_a_signed_header_counts_in_the_router(arm: str, canary: bool) -> None:
    """For as long as it says, on the arm that it names, for that rollout alone."""
    name, value = signed(SPEC, "new", arm, "1h", NOW).split(": ", 1)
    assert name == "x-canary-qa"
    given = value.encode()
    assert read_qa(SECRET.encode(), "new", given, NOW) == (Fate.VALID, canary)
    assert read_qa(SECRET.encode(), "new", given, NOW + 3599) == (Fate.VALID, canary)
    assert read_qa(SECRET.encode(), "new", given, NOW + 3601)[0] is Fate.EXPIRED
    assert read_qa(SECRET.encode(), "third", given, NOW)[0] is Fate.FORGED


@pytest.mark.usefixtures("secret")
def test_the_longest_one_still_counts() -> None:
    """A header of almost 31 days is not refused as good for ever by a router whose clock is a little behind."""
    value = signed(SPEC, "new", "canary", "30d23h59m", NOW).split(": ", 1)[1]
    assert read_qa(SECRET.encode(), "new", value.encode(), NOW - 50)[0] is Fate.VALID
    assert LONGEST_QA == 31 * 86400


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("rollout", "arm", "lifetime", "problem"),
    [
        ("other", "canary", "1h", "sign.rollout"),
        ("third", "canary", "1h", "sign.no-qa"),
        ("new", "control", "1h", "sign.arm"),
        ("new", "canary", "1", "sign.for"),
        ("new", "canary", "31d", "sign.for"),
        ("new", "canary", "0s", "sign.for"),
    ],
)
def test_what_cannot_be_signed(rollout: str, arm: str, lifetime: str, problem: str) -> None:
    """One Problem, with the next step."""
    with pytest.raises(SettingsError) as caught:
        signed(SPEC, rollout, arm, lifetime, NOW)
    (found,) = caught.value.problems
    assert found.id == problem
    assert found.hint


@pytest.mark.parametrize("value", ["", "short"])
def test_a_secret_that_the_router_would_not_take(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A header that counts nowhere is not made."""
    monkeypatch.setenv(NAME, value)
    with pytest.raises(SettingsError, match=f"environment variable {NAME}") as caught:
        signed(SPEC, "new", "canary", "1h", NOW)
    assert caught.value.problems[0].id == "sign.secret"


def test_the_command_prints_what_curl_takes(tmp_path: Path) -> None:
    """One line, and `explain` finds it valid."""
    explain.register(app) if not any(one.callback is explain.sign for one in app.registered_commands) else None
    path = tmp_path / "release.yaml"
    path.write_text(TEXT)
    environment = {NAME: SECRET}
    header = run("sign", str(path), "new", "--arm", "stable", "--for", "10m", environment=environment).stdout
    assert re.fullmatch(r"x-canary-qa: arm=stable;exp=\d+;sig=[0-9a-f]{64}\n", header)
    answer = run("explain", str(path), "-H", header.strip(), "-H", "x-user-id: u1", "--json", environment=environment)
    assert '"qa": "valid"' in answer.stdout


# --------------------------------------------------------------------------------------------------------------------- recipes
def recipe(language: str) -> str:
    """The block of code in the guide."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


def printed(command: list[str]) -> str:
    environment = {**os.environ, "CANARY_QA_SECRET": SECRET}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "command",
    [["sh", "-c", recipe("sh")], [sys.executable, "-c", recipe("python")], ["node", "-e", recipe("js")]],
    ids=["shell", "python", "javascript"],
)
def test_recipes_in_other_languages_give_the_same_signature(command: list[str]) -> None:
    """What the guide says can be copied: it is run here as it stands there."""
    header = printed(command)
    found = re.fullmatch(r"x-canary-qa: (arm=canary;exp=(\d+);sig=[0-9a-f]{64})", header)
    assert found, header
    assert found[1] == sign_qa(SECRET.encode(), "gpt-5-mini", Arm.CANARY, int(found[2]))
    assert read_qa(SECRET.encode(), "gpt-5-mini", found[1].encode(), int(found[2]) - 3600) == (Fate.VALID, True)
