"""Recall and precision over the corpora of tests/corpora/redaction, and docs/redaction.md says the same figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.judge.redact import Redactor
from tests.support import redaction_clean, redaction_planted
from tests.support.redaction import clean, left_of, planted

REDACTOR = Redactor()
GUIDE = Path(__file__).parents[2] / "docs" / "redaction.md"


@pytest.mark.parametrize("kind", sorted({line["kind"] for line in planted()}))
def test_nothing_of_a_planted_secret_is_left(kind: str) -> None:
    """Recall is 1.0: no six letters or digits in a row are left, whatever the case and the separators; and its kind is named."""
    lines = [line for line in planted() if line["kind"] == kind]
    assert len(lines) >= 18
    for line in lines:
        redacted = REDACTOR.redact(line["text"])
        assert left_of(line["secret"], line["text"], redacted.text) == [], (line, redacted.text)
        assert kind in redacted.found, (line, redacted)


def test_redacting_twice_changes_nothing() -> None:
    """Over all texts of both corpora."""
    for text in [line["text"] for line in planted()] + clean():
        once = REDACTOR.redact(text).text
        assert REDACTOR.redact(once).text == once
        assert REDACTOR.redact(once).found == {}


def test_clean_texts_stay_as_they_are() -> None:
    """Precision: at least 98 of 100 texts with nothing to find are unchanged."""
    texts = clean()
    changed = [(text, after) for text in texts if (after := REDACTOR.redact(text).text) != text]
    assert len(texts) >= 400
    assert 1 - len(changed) / len(texts) >= 0.98, changed


def test_json_lines_stay_json() -> None:
    """A document in which a secret stands within a string is a document after redaction, too."""
    documents = 0
    for line in planted():
        try:
            json.loads(line["text"])
        except ValueError:
            continue
        documents += 1
        json.loads(REDACTOR.redact(line["text"]).text)
    assert documents >= 15


def test_the_corpora_are_what_their_scripts_write() -> None:
    """Anybody can make them again; all secrets and texts are distinct."""
    assert planted() == list(redaction_planted.planted())
    assert clean() == list(redaction_clean.clean())
    assert len({line["secret"] for line in planted()}) == len(planted()) >= 400
    assert len(set(clean())) == len(clean())


def test_the_guide_says_how_much_was_planted() -> None:
    """Figures of docs/redaction.md by kind are those of the corpus."""
    guide = GUIDE.read_text(encoding="utf-8")
    for kind in {line["kind"] for line in planted()}:
        count = sum(line["kind"] == kind for line in planted())
        assert f"| `[{kind}]` | {count} of {count} |" in guide
    assert f"{len(clean())} clean texts" in guide
