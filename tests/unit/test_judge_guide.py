"""docs/judge.md: what it shows can be read, and its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from extproc import spec
from extproc.cli.write import filled_template
from extproc.judge import anchors, blocks, breaker, calibration, client, drift, prompt, rubric
from tests.unit.test_judge_attacks import ATTACKS

GUIDE = (Path(__file__).parents[2] / "docs" / "judge.md").read_text(encoding="utf-8")


def blocks_of(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_rubric_and_the_anchor_that_are_shown_are_valid() -> None:
    (_, shown), (line,) = blocks_of("yaml"), blocks_of("json")
    assert rubric.load(shown).name == "travel-desk"
    assert anchors.load(line)[0].name == "approval"


def test_the_block_of_a_spec_that_is_shown_has_the_defaults_that_it_says() -> None:
    """With its rubric's file left out, which is not there."""
    shown = yaml.safe_load(blocks_of("yaml")[0].replace("rubric_file", "# rubric_file"))
    document = yaml.safe_load(filled_template("chat", "old", "new"))
    spec_with = {**document, **shown}
    spec_plain = {**document, "judge": {"judges": shown["judge"]["judges"], "redact": shown["judge"]["redact"]}}
    full, plain = (spec.load(yaml.safe_dump(one)).judge for one in (spec_with, spec_plain))
    assert full == plain


def test_its_figures_are_those_of_the_code() -> None:
    for figure in (
        f"{client.TRIES}, for no connection",
        f"up to {client.LONGEST_PAUSE:g} s, less",
        f"up to {client.LONGEST_WAIT:g} s, by all",
        f"{client.LARGEST >> 10} KiB",
        f"after {breaker.FAILURES} failures in a row nobody is asked for {breaker.COOL_DOWN:g} s",
        f"up to {breaker.LONGEST_COOL_DOWN:g} s",
        f"{blocks.NONCE_LENGTH} hex digits",
        f"{prompt.LONGEST_ANSWER:,} characters of an answer, {prompt.LONGEST_TURN:,} of a turn",
        f"{prompt.LONGEST_CONVERSATION:,} of all turns, {prompt.MOST_CALLS} calls of {prompt.LONGEST_CALL:,}",
        f"from {calibration.LEAST_PAIRS} pairs on",
        f"from {calibration.LEAST_LABELS} on",
        f"{drift.RUN_LENGTH:,.0f} anchor scores on average",
        f"({len(ATTACKS)} attacks)",
    ):
        assert figure in " ".join(GUIDE.split()), figure
