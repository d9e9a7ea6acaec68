"""docs/assignment.md and docs/overrides.md can be copied: every YAML block is put into the guide's first Spec, and loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc import spec as spec_room
from extproc.assign import prepare
from extproc.domain import Spec, shown
from extproc.spec.bundle import bundled, named_files

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "assignment.md").read_text(encoding="utf-8")
OVERRIDES = (DOCS / "overrides.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


WHOLE, *PARTS = blocks(GUIDE, "yaml") + blocks(OVERRIDES, "yaml")
FILES = {"flags.json": blocks(GUIDE, "json")[0], "pilots.txt": "# pilots\nu-carol\nu-dave\n"}


def put_into(whole: Any, part: Any) -> Any:
    """A block of keys into a block of keys; anything else takes the place of what was there."""
    if isinstance(whole, dict) and isinstance(part, dict):
        both = {key: put_into(whole.get(key), value) for key, value in part.items()}
        if "pool" in part:
            whole = {key: value for key, value in whole.items() if key not in ("endpoint", "endpoints")}
        if "endpoints" in part:
            whole = {key: value for key, value in whole.items() if key != "endpoint"}
        return {**whole, **both}
    return part


def loaded(part: str) -> Spec:
    document = put_into(yaml.safe_load(WHOLE), yaml.safe_load(part))
    files = {name: FILES[name] for _, name in named_files(document)}
    return spec_room.load(bundled(yaml.safe_dump(document, sort_keys=False), files))


def test_the_first_block_is_a_spec() -> None:
    """It can be checked as it stands."""
    assert list(spec_room.load(WHOLE).rollouts) == ["gpt-5-mini"]


@pytest.mark.parametrize("part", PARTS, ids=[str(number) for number in range(2, 2 + len(PARTS))])
def test_every_block_fits_into_it(part: str) -> None:
    """And what comes out can be compiled."""
    prepare(loaded(part))


def test_the_guide_shows_every_condition() -> None:
    """A reader who looks for one finds it."""
    from extproc.spec.document.cohorts import SELECTING

    written = {"not" if name == "not_" else name for name in SELECTING}
    shown_ = " ".join(PARTS)
    assert [name for name in sorted(written) if not re.search(rf"[{{\s]{name}:", shown_)] == []


def test_what_the_comments_promise() -> None:
    """Groups, files and shares come out as the guide says."""
    conditions = next(part for part in PARTS if "country_groups" in part)
    cohorts = {cohort.name: shown(cohort.selector) for cohort in loaded(conditions).rollouts["gpt-5-mini"].cohorts}
    assert cohorts["home"] == "header x-geo-country is DE, AT, CH"
    assert cohorts["listed"] == "id is in pilots.txt (2 ids)"
    first = next(part for part in PARTS if "multiplier" in part)
    shares = {cohort.name: cohort.shares for cohort in loaded(first).rollouts["gpt-5-mini"].cohorts}
    assert shares["staff"] == (1.0,) * 5
    assert shares["pilots"] == (0.04, 0.2, 1.0, 1.0, 1.0)
    assert shares["germany"] == (0.0, 0.05, 0.25, 0.5, 1.0)
    assert shares["paid"] == (0.0, 0.0, 0.1, 0.3, 1.0)
