"""docs/security.md can be copied: its file of people is read, its commands have the flags that they show, its roles are the code's."""

from __future__ import annotations

import re
import shlex

import typer

from extproc import cli, contract
from extproc.cli import act, render, run, token, watch
from extproc.controller.access import OPERATOR_ACTS, Role, needed_for, read_people
from extproc.controller.talk import ACTIONS
from tests.unit.test_assignment_guide import DOCS, blocks

GUIDE = (DOCS / "security.md").read_text(encoding="utf-8")


def test_the_file_of_people_is_one() -> None:
    """With everybody who is in it."""
    (text,) = blocks(GUIDE, "yaml")
    people = read_people("access.yaml", text)
    assert {name: found.role for name in ("ann", "oncall", "prometheus") if (found := people.named(name)) is not None} == {
        "ann": Role.OPERATOR,
        "oncall": Role.ADMIN,
        "prometheus": Role.VIEWER,
    }


def test_commands_have_the_flags_that_are_shown() -> None:
    """And the environment's names are those of the contract."""
    for room in (run, render, watch, act, token):
        room.register(cli.app)
    group = typer.main.get_command(cli.app)
    shown = [line for block in blocks(GUIDE, "sh") for line in block.replace("\\\n", "").splitlines()]
    shown += re.findall(r"`(extproc token [^`]+)`", GUIDE)
    commands = [shlex.split(line) for line in shown if line.startswith("extproc ")]
    assert len(commands) >= 5
    for words in commands:
        found, rest = group, words[1:]
        while hasattr(found, "commands"):
            found, rest = found.commands[rest[0]], rest[1:]
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= known, words
    named = set(re.findall(r"\bEXTPROC_[A-Z_]+\b", GUIDE))
    assert named <= {value for name, value in vars(contract).items() if name.endswith("_ENVIRONMENT")}
    assert {contract.METRIC_API_REFUSED, contract.METRIC_ACCESS_PROBLEM} <= set(re.findall(r"`(extproc_\w+)`", GUIDE))


def test_the_table_of_roles_is_the_codes() -> None:
    """Every act stands in the row of who may do it."""
    rows = dict(re.findall(r"^\| `(viewer|operator|admin)` \| (.*) \|$", GUIDE, re.MULTILINE))
    assert list(rows) == list(Role)
    for role in Role:
        written = {word for word in re.findall(r"`(\w+)`", rows[role]) if word in ACTIONS}
        assert written == {act for act in ACTIONS if needed_for(act) is role}
    assert set(re.findall(r"`(\w+)`", rows[Role.OPERATOR])) == OPERATOR_ACTS
