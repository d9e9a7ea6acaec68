"""docs/flags.md can be copied: its YAML loads, its flags compile, its commands run, and what it lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from extproc import cli
from extproc import spec as spec_room
from extproc.assign import prepare
from extproc.cli import render
from extproc.domain import FlagVendor, Spec
from extproc.errors import SpecError
from extproc.flags import compile_flag
from extproc.flags.flagd.logic import LAZY, SPECIAL
from extproc.flags.flagd.operators import BUILDERS
from extproc.flags.growthbook.operators import OPERATORS as GROWTHBOOK
from extproc.flags.launchdarkly.operators import OPERATORS as LAUNCHDARKLY
from extproc.flags.unleash.constraints import OPERATORS as UNLEASH
from extproc.flags.unleash.strategies import STRATEGIES
from extproc.spec.bundle import bundled
from tests.unit.test_assignment_guide import put_into

GUIDE = (Path(__file__).parents[2] / "docs" / "flags.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE))
VENDORS = {
    FlagVendor.UNLEASH: "Unleash",
    FlagVendor.LAUNCHDARKLY: "LaunchDarkly",
    FlagVendor.GROWTHBOOK: "GrowthBook",
    FlagVendor.FLAGD: "flagd and OpenFeature",
}


def blocks(text: str, language: str) -> list[str]:
    """Code blocks, indented ones too."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


WHOLE, *PARTS = blocks(GUIDE, "yaml")
FILE = blocks(GUIDE, "json")[0]


def loaded(part: str, file: str = FILE) -> Spec:
    """The first block with another one in it; a source is one of both, file and poll."""
    document, other = yaml.safe_load(WHOLE), yaml.safe_load(part)
    document["flags"] = other.pop("flags", document["flags"])
    return spec_room.load(bundled(yaml.safe_dump(put_into(document, other), sort_keys=False), {"growthbook.json": file}))


def test_the_first_block_is_a_spec_without_blind_flags() -> None:
    """With its file, as they stand; the flag asks for nothing that the Spec does not give."""
    made = spec_room.load(bundled(WHOLE, {"growthbook.json": FILE}))
    prepare(made)
    assert [spot for spot in spec_room.blind_spots(made) if spot.id in ("blind.flag-attribute", "blind.nobody-sets")] == []


@pytest.mark.parametrize("part", PARTS, ids=[str(number) for number in range(2, 2 + len(PARTS))])
def test_every_block_fits_into_it(part: str) -> None:
    """And what comes out can be compiled."""
    file = FILE.replace('"features": {', '"features": {"never-canary": {"defaultValue": false},')
    prepare(loaded(part, file))


@pytest.mark.parametrize("vendor", [vendor for vendor in FlagVendor if vendor is not FlagVendor.GROWTHBOOK])
def test_every_flag_compiles_and_is_on_for_some(vendor: FlagVendor) -> None:
    """The vendor's own JSON, as its section shows it."""
    (written,) = blocks(SECTIONS[VENDORS[vendor]], "json")
    flag = compile_flag(vendor, orjson.loads(written), "new-model")
    unit = {FlagVendor.UNLEASH: "userId", FlagVendor.LAUNCHDARKLY: "key", FlagVendor.FLAGD: "targetingKey"}[vendor]
    known = {"plan": "pro", "seats": 12, "email": "a@example.com"}
    on = sum(flag.evaluate({unit: f"user-{number}", **known}, 0.0).on for number in range(400))
    assert 150 < on < 250


@pytest.mark.parametrize(
    ("vendor", "names"),
    [
        (FlagVendor.UNLEASH, [*UNLEASH, *STRATEGIES]),
        (FlagVendor.LAUNCHDARKLY, [*LAUNCHDARKLY, "segmentMatch"]),
        (FlagVendor.GROWTHBOOK, list(GROWTHBOOK)),
        (FlagVendor.FLAGD, [*SPECIAL, *LAZY, *BUILDERS]),
    ],
)
def test_every_operator_is_in_its_vendors_section(vendor: FlagVendor, names: list[str]) -> None:
    """Whoever looks for one finds whether it is supported."""
    section = SECTIONS[VENDORS[vendor]].partition("**Supported**")[2].partition("**Refused**")[0]
    assert [name for name in names if f"`{name}`" not in section] == []


def test_the_command_says_what_the_guide_shows(tmp_path: Path) -> None:
    """The YAML block with a bucket, rendered as written."""
    part = next(part for part in PARTS if "bucket:" in part)
    document: Any = put_into(yaml.safe_load(WHOLE), yaml.safe_load(part))
    (tmp_path / "release.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (tmp_path / "growthbook.json").write_text(FILE)
    command = next(line for line in blocks(GUIDE, "sh")[0].splitlines() if line.startswith("extproc"))
    words = [str(tmp_path / word) if word in ("release.yaml", "flags/") else word for word in command.split()[1:]]
    render.register(cli.app)
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    shown = next(block for block in blocks(GUIDE, "text") if "gpt-5-mini at phase" in block)
    assert re.sub(r"Spec \w+", "Spec ...", done.output).splitlines()[:6] == shown.splitlines()


def test_the_refusal_that_the_guide_shows_is_the_commands() -> None:
    """Word for word, with the line."""
    (expected,) = [line for block in blocks(GUIDE, "text") for line in block.splitlines() if line.startswith("rollouts.")]
    with pytest.raises(SpecError) as caught:
        spec_room.load(bundled(WHOLE, {"growthbook.json": FILE.replace('"plan": "pro"', '"plan": {"$near": 1}')}))
    assert str(caught.value).splitlines()[0].startswith(expected)
