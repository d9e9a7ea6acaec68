"""docs/hash.md is the whole truth: what it publishes is what the code does, and another language reproduces it from the text alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.vectors import drawn, published, written

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "docs" / "hash-vectors.json"
PROGRAM = Path(__file__).with_name("vectors.mjs")
RANDOM = 2_000


@pytest.fixture(scope="module")
def node() -> str:
    """Another language that is on the machine; without it this promise cannot be held."""
    found = shutil.which("node")
    assert found is not None, "node is needed to reproduce docs/hash.md: apt-get install nodejs (make tools)"
    return found


def agreed(node: str, *arguments: str, given: str = "") -> dict[str, int]:
    """How many vectors of each kind node agrees with; fails with those that it does not."""
    done = subprocess.run([node, str(PROGRAM), *arguments], input=given, capture_output=True, text=True, check=False, timeout=150)
    assert (done.returncode, done.stderr) == (0, "")
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def test_the_published_vectors_are_what_the_code_does() -> None:
    """Nobody's flag moves to another side because this file was not written anew (python -m tests.support.vectors)."""
    assert VECTORS.read_text(encoding="utf-8") == written(published())


def test_another_language_reproduces_every_published_vector(node: str) -> None:
    """Hash of every length, points, random cohorts, slots, arms with holdbacks, members of pools."""
    assert agreed(node, str(VECTORS)) == {kind: len(rows) for kind, rows in published().items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_another_language_reproduces_random_vectors(node: str, seed: int) -> None:
    """Ids of any script and length, shares with many digits, pools of any weights: no difference in 2,000."""
    made = drawn(RANDOM, seed)
    counts = agreed(node, "-", given=written(made))
    assert sum(counts.values()) == RANDOM
    assert {kind: len(rows) for kind, rows in made.items()} == counts


def test_the_other_language_is_no_yes_man(node: str) -> None:
    """A wrong vector of each kind is found."""
    wrong = {"hash": "0" * 16, "point": 1, "in": None, "slot": "x", "arm": "x", "canary_below": 1, "cluster": "x"}
    for kind, rows in published().items():
        for key in rows[0].keys() & wrong.keys():
            row = {**rows[0], key: wrong[key]}
            done = subprocess.run([node, str(PROGRAM), "-"], input=written({kind: [row]}), capture_output=True, text=True, check=False)
            assert done.returncode == 1, (kind, key)
            assert json.loads(done.stdout) == {kind: 0}


def test_the_tables_of_the_page_are_vectors_of_the_file() -> None:
    """Each row that a person reads is one that a program checks."""
    known = {
        " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in row.values())
        for kind, rows in json.loads(VECTORS.read_text(encoding="utf-8")).items()
        if kind in ("points", "cohorts", "arms")
        for row in rows
    }
    for kind in ("slots", "pools"):
        for row in json.loads(VECTORS.read_text(encoding="utf-8"))[kind]:
            inner = ", ".join(f"{name} {number:g}" for name, number in row.pop("slots", None) or row.pop("members"))
            known.add(" | ".join([inner, *map(str, row.values())]))
    page = (ROOT / "docs" / "hash.md").read_text(encoding="utf-8")
    rows = [line.strip("| ") for line in re.findall(r"^\|.*\|$", page, re.MULTILINE) if "`" in line]
    assert len(rows) > 30
    for row in rows:
        assert row.replace("`", "").replace("(empty)", "").replace("nobody", "None") in known, row
