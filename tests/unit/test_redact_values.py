"""Redaction of JSON values: whatever is found, the value keeps its shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.judge.redact import Redactor, redact_json, redact_json_text

REDACTOR = Redactor()


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        ({"to": ["a@example.com", 1, None, True]}, {"to": ["[email]", 1, None, True]}),
        ({"a@example.com": 1, "b@example.com": 2}, {"[email]": 1, "[email] 2": 2}),
        ({"card": 4111111111111111}, {"card": "[card]"}),
        ({"ssn": "212099999"}, {"ssn": "[national-id]"}),
        ({"password": "a b c"}, {"password": "[password]"}),
        ({"password": "[password]"}, {"password": "[password]"}),
        ({"password": None, "max_tokens": 1024}, {"password": None, "max_tokens": 1024}),
        ({"token": "Hello", "logprob": -0.31725305}, {"token": "Hello", "logprob": -0.31725305}),
        ({"args": '{"to":"a@example.com"}'}, {"args": '{"to":"[email]"}'}),
        ("plain", "plain"),
        (3.5, 3.5),
    ],
)
def test_strings_keys_and_numbers_are_redacted(value: Any, redacted: Any) -> None:
    """A key helps to tell what its value is; what is redacted is redacted for good."""
    assert redact_json(REDACTOR, value).value == redacted
    assert redact_json(REDACTOR, redacted).value == redacted


def test_what_is_too_deep_is_cut() -> None:
    """And nothing raises."""
    value: Any = "a@example.com"
    for _ in range(500):
        value = [value]
    assert "a@example.com" not in json.dumps(redact_json(REDACTOR, value).value)


def test_arguments_as_text_stay_json() -> None:
    """Also where a bare number is found; and a text without finds comes back as it was written."""
    redacted = redact_json_text(REDACTOR, '{ "card": 4111111111111111, "note": "call \\"a@example.com\\"" }')
    assert json.loads(redacted.text) == {"card": "[card]", "note": 'call "[email]"'}
    assert redacted.found == {"card": 1, "email": 1}
    assert redact_json_text(REDACTOR, '{ "a" : 1 }').text == '{ "a" : 1 }'
    assert redact_json_text(REDACTOR, '{"to": "a@example.com"').text == '{"to": "[email]"'
