"""docs/judge-offline.md shows what works: its judge, its prompts, its pipelines, its exit codes; and the command's own help."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml
from typer.testing import CliRunner

from extproc import spec
from extproc.cli import app, judge
from extproc.cli.write import filled_template
from extproc.judge.offline import questions

GUIDE = (Path(__file__).parents[2] / "docs" / "judge-offline.md").read_text(encoding="utf-8")
judge.register(app)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_judge_of_the_guide_is_a_judge() -> None:
    """The block fits into the Spec that `init` writes."""
    loaded = spec.load(filled_template("chat", "gpt-4o", "gpt-5-mini") + "\n" + blocks("yaml")[0])
    assert loaded.judge is not None
    assert (loaded.judge.endpoints[0].model, loaded.judge.again) == ("gpt-5", 0.2)


def test_the_prompts_of_the_guide_are_prompts() -> None:
    """As they stand there."""
    assert [one.id for one in questions.load(blocks("jsonl")[0])] == ["returns-worn", "shorter", "as-json"]


def test_the_pipelines_are_yaml_and_their_options_are_known() -> None:
    """Copied as they are they parse, and every option of the command that they use is in its help."""
    github, gitlab = (yaml.safe_load(text) for text in blocks("yaml")[1:])
    commands = [step.get("run", "") for step in github["jobs"]["judge"]["steps"]] + gitlab["judge"]["script"]
    used = {word for line in commands if line.startswith("extproc judge") for word in line.split() if word.startswith("-")}
    done = CliRunner().invoke(app, ["judge", "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert used == {"--against", "--prompts", "--max-usd", "-o"}
    assert all(word in done.stdout for word in used)


def test_nobody_is_told_to_install_a_strangers_package() -> None:
    """Nothing is published to an index: what is installed is a checkout, in guides and in messages."""
    root = Path(__file__).parents[2]
    files = [*(root / "docs").rglob("*.md"), root / "README.md", *(root / "extproc").rglob("*.py")]
    strangers = re.compile(r"pip install[^\n]*(?<![./])\bextproc\[")
    assert strangers.search("pip install 'extproc[judge]'")
    assert [path.name for path in files if strangers.search(path.read_text(encoding="utf-8"))] == []


def test_exit_codes_are_the_same_in_help_guide_and_code() -> None:
    """Pipelines are built on them."""
    table = dict(re.findall(r"^\| (\d) \| (.*?) \|$", GUIDE, re.MULTILINE))
    codes = {"PASS": judge.PASSED, "FAIL": judge.FAILED, "mistake": judge.USAGE, "NO DATA": judge.UNDECIDED, "stopped": judge.STOPPED}
    assert all(word in table[str(code)] for word, code in codes.items())
    assert len(table) == len(codes)
    said = " ".join(CliRunner().invoke(app, ["judge", "--help"], env={"COLUMNS": "200"}).stdout.split())
    assert judge.CODES in said


def test_other_commands_do_not_pay_for_it() -> None:
    """Neither httpx nor the judge's rules are imported by the command line itself, nor by the command's own module."""
    code = "import sys, extproc.cli, extproc.cli.judge; print([m for m in sys.modules if m in ('httpx', 'phonenumbers', 'extproc.judge')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
