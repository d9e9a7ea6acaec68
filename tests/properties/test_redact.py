"""Laws of redaction, over generated texts: once is enough, nothing planted survives, and what cannot hold a secret stays."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.judge.redact import Redactor, redact_json, redact_json_text
from tests.support.redaction import compact
from tests.support.redaction_planted import KEYS, cards, ibans

steady = settings(deadline=None, derandomize=True, database=None, max_examples=150)
REDACTOR = Redactor({"staff": "EMP-[0-9]{6}"})
PIECES = st.sampled_from(
    [
        "password",
        "=",
        ":",
        "is",
        "token",
        "api_key",
        "secret",
        "Bearer",
        "Authorization:",
        '"',
        "'",
        "`",
        "**",
        "*",
        "\\",
        "\\n",
        "\\u0040",
        "%40",
        "&#64;",
        "@",
        ".",
        ",",
        ";",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
        "[email]",
        "[key]",
        "[cut]",
        "4111",
        "1111",
        "1",
        "12",
        "2026",
        "+",
        "-",
        "/",
        "DE89",
        "3704",
        "0044",
        "kim",
        "example.com",
        "sk-",
        "AKIA",
        "eyJ",
        "://a:b@c",
        "SSN",
        "212-09-9999",
        "EMP-123456",
        "\u200b",
        "\ufffc",
        "\ud83d",
        "é",
        "İ",
        "密码",
        "１",
        "is\tx",
        "\n",
    ]
)
NOISE = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=25).map(lambda parts: "".join(parts))
SPACED = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=25).map(lambda parts: " ".join(parts))
WORDS = st.lists(
    st.sampled_from(["the", "sea", "was", "calm,", "and", "nobody", "knew", "why.", "«Écoute»", "said", "Grüße", "你好", "мир!\n"]),
    max_size=30,
).map(" ".join)
DRAWS: tuple[Callable[[random.Random], str], ...] = (
    lambda r: list(cards(r))[11],
    lambda r: list(ibans(r))[6],
    lambda r: r.choice(KEYS)(r),
    lambda r: f"kim.{r.randrange(999)}@mail.example.com",
    lambda r: f"+4930 2312{r.randrange(1000, 9999)}",
)
SECRETS = st.builds(lambda draw, seed: draw(random.Random(seed)), st.sampled_from(DRAWS), st.integers(0, 2**32))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), NOISE),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NOISE, inner, max_size=4)),
    max_leaves=10,
)


@steady
@given(st.one_of(NOISE, SPACED))
@example("password=[password")
def test_once_is_enough_and_nothing_raises(text: str) -> None:
    """A second redaction finds nothing and changes nothing, whatever the text."""
    once = REDACTOR.redact(text).text
    again = REDACTOR.redact(once)
    assert again.text == once
    assert again.found == {}
    REDACTOR.redact_truncated(text, 40)


@steady
@given(
    SECRETS,
    st.one_of(NOISE, WORDS),
    st.one_of(NOISE, WORDS),
    st.sampled_from([" ", "\n", '"', "'", " (", ") ", ", ", "; ", "\t", "<", ">"]),
)
def test_no_planted_secret_survives_in_any_text(secret: str, before: str, after: str, edge: str) -> None:
    """Whatever stands around it, apart from it by a blank or punctuation."""
    redacted = REDACTOR.redact(f"{before}{edge}{secret}{edge}{after}").text
    assert compact(secret) not in compact(redacted) or compact(secret) in compact(before) + compact(after)


@steady
@given(WORDS)
def test_a_text_without_anything_like_a_secret_comes_back_as_it_was(text: str) -> None:
    """No digits, no @, no words for secrets: not one character changes."""
    redacted = REDACTOR.redact(text)
    assert redacted.text == text
    assert redacted.found == {}


@steady
@given(VALUES)
def test_a_json_value_keeps_its_shape_and_its_text_stays_json(value: Any) -> None:
    """Lists have as many items, objects as many keys; redacting twice changes nothing."""
    once = redact_json(REDACTOR, value).value
    assert _shape(once) == _shape(value)
    assert redact_json(REDACTOR, once).value == once
    text = json.dumps(value)
    assert _shape(json.loads(redact_json_text(REDACTOR, text).text)) == _shape(value)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [_shape(inner) for inner in value.values()]
    return [_shape(inner) for inner in value] if isinstance(value, list) else None
