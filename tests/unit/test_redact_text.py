"""What is found in one text, how it is written over, and what stays. Secrets here are put together from parts, as no scanner likes them."""

from __future__ import annotations

import pytest

from extproc.errors import SpecError
from extproc.judge.redact import Redactor, problems_of
from extproc.judge.redact.redactor import EDGE, LONGEST

REDACTOR = Redactor()
PEM = "-----BEGIN EC PRIVATE" + " KEY-----"
END = "-----END EC PRIVATE" + " KEY-----"
STRIPE = "sk_" + "live_" + "EXAMPLE7EXAMPLE7EXAMPLE7"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Write to kim@example.com, please.", "Write to [email], please."),
        ("**kim@example.com**", "[email]"),
        ('{"to":"a\\nkim@example.com"}', '{"to":"a\\n[email]"}'),
        ("mailto:kim%40example.com?subject=x", "mailto:[email]?subject=x"),
        ("邮箱是kim@example.com谢谢", "邮箱是[email]谢谢"),
        ("kim (at) example (dot) com", "[email]"),
        ("call (415) 555-2671 now", "call [phone] now"),
        ("card 4111 1111\n> 1111 1111, exp 12/29", "card [card], exp 12/29"),
        ("4111111111111111!", "[card]!"),
        ("４１１１　１１１１　１１１１　１１１１", "[card]"),
        ("CVV: 123", "CVV: [card]"),
        ("IBAN: DE89 3704 0044 0532 0130 00 bitte", "IBAN: [iban] bitte"),
        ("SSN 212-09-9999.", "SSN [national-id]."),
        ("from 93.184.216.34 and 10.0.0.1", "from [ip] and 10.0.0.1"),
        (f"key={STRIPE}.", "key=[key]."),
        (f"'{STRIPE}'", "'[key]'"),
        (f"{STRIPE[:12]}`{STRIPE[12:]}`", "[key]"),
        (f"{PEM}\nMIIEexample+/=\n{END}\nbye", "[key]\nbye"),
        (f"{PEM}\nMIIEexampleMIIEexample\nMIIE", "[key]"),
        ("Authorization: Bearer abcDEF123456abcDEF", "Authorization: Bearer [token]"),
        ('"password": "correct horse", "x": 1', '"password": "[password]", "x": 1'),
        ("my password is Tr0ub4dor&3!", "my password is [password]"),
        ("password=hunter\nnext", "password=[password]\nnext"),
        ("https://kim:pass1@db/a", "https://[password]@db/a"),
        ("https://kim:p%2Fs%40s@db.example.com/a", "https://[password]/a"),
    ],
)
def test_a_find_becomes_its_marker_and_the_rest_stays(text: str, redacted: str) -> None:
    """Punctuation, quotes and line ends around a secret are no part of it; bold and code marks at its edges are."""
    assert REDACTOR.redact(text).text == redacted


def test_finds_are_counted_by_kind() -> None:
    """Two addresses and a card."""
    redacted = REDACTOR.redact("a@example.com, b@example.com, 4111 1111 1111 1111")
    assert redacted.found == {"email": 2, "card": 1}


def test_the_most_specific_kind_names_an_overlap_and_all_of_it_goes() -> None:
    """A key that is called a password is a key; a password with an address in it leaves none of both."""
    assert REDACTOR.redact(f"password={STRIPE}").text == "password=[key]"
    assert REDACTOR.redact("ftp://kim:secret@files.example.com").text == "ftp://[password]"


def test_markers_are_not_read_again() -> None:
    """What an earlier redaction wrote is neither a value nor a word for one."""
    for text in ("password=[password]", "[key]: abcd1234efgh", "api_key: [key]", "https://[password]@example.com/"):
        assert REDACTOR.redact(text).text == text


def test_half_a_secret_at_a_cut_does_not_stay() -> None:
    """The last EDGE characters of a cut text go, with the word they begin in; one that is shorter than the limit is whole."""
    text = "word " * 200 + "card 4111 1111 11"
    cut = REDACTOR.redact_truncated(text, len(text)).text
    assert cut.endswith("word [cut]")
    assert len(cut) >= len(text) - EDGE - len("card 4111 1111 11") - len("[cut]")
    assert REDACTOR.redact_truncated(text, len(text) + 1).text == text
    assert "eyJ" not in REDACTOR.redact_truncated("x " * 100 + "eyJ" + "a" * 2000, 1500).text
    assert REDACTOR.redact_truncated("short a@example.co", 18).text == "[cut]"


def test_a_text_that_is_too_long_is_cut() -> None:
    """And what was found before the cut is still replaced."""
    redacted = REDACTOR.redact("a@example.com " + "word " * (LONGEST // 5))
    assert redacted.text.startswith("[email] word")
    assert redacted.text.endswith("[cut]")
    assert len(redacted.text) <= LONGEST


def test_custom_patterns_have_their_names_as_markers() -> None:
    """Also where bold splits what they look for, and where what they look for is what a view undoes."""
    redactor = Redactor({"staff": "EMP-[0-9]{6}", "ticks": "`[a-z]+`"})
    assert redactor.redact("EMP-123456, EMP-**123**456 and `abc`").text == "[staff], [staff] and [ticks]"
    assert redactor.redact("[staff] \ud800 EMP-123456").text == "[staff] \ud800 [staff]"


def test_a_pattern_that_backtracks_elsewhere_is_harmless() -> None:
    """RE2 takes time linear in the text: this ends."""
    assert Redactor({"evil": "(a+)+b"}).redact("a" * 20_000).text == "a" * 20_000


@pytest.mark.parametrize(
    ("name", "pattern", "id", "said"),
    [
        ("Staff", "x", "redact.name", "is no name"),
        ("email", "x", "redact.name", "extproc's own"),
        ("cut", "x", "redact.name", "extproc's own"),
        ("a", "(", "redact.pattern", "missing"),
        ("a", "(?=x)y", "redact.pattern", "invalid perl operator"),
        ("a", r"(x)\1", "redact.pattern", "invalid escape"),
        ("a", "((x{100}){100}){100}", "redact.pattern", "RE2"),
        ("a", "x*", "redact.empty", "everywhere"),
        ("a", r"\b", "redact.empty", "everywhere"),
        ("a", "x" * 1001, "redact.too-long", "1001"),
        ("a", "\ud800", "redact.pattern", "surrogates"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_a_problem(name: str, pattern: str, id: str, said: str) -> None:
    """At load, with the path and the reason."""
    problems = problems_of({name: pattern})
    assert [(problem.id, problem.path) for problem in problems] == [(id, f"redact.{name}")]
    assert said in problems[0].message


def test_all_problems_come_at_once() -> None:
    """Two patterns and a country; and too many patterns."""
    with pytest.raises(SpecError) as raised:
        Redactor({"A": "x", "b": "("}, regions=("DE", "Germany"))
    assert [problem.id for problem in raised.value.problems] == ["redact.name", "redact.pattern", "redact.region"]
    assert [problem.id for problem in problems_of({f"n{i}": "x" for i in range(65)})] == ["redact.too-many"]


def test_without_regions_no_telephone_is_looked_for() -> None:
    """For those who need the speed more."""
    assert Redactor(regions=()).redact("call (415) 555-2671").text == "call (415) 555-2671"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["password=", "eyJ", "\\", "@", "1 ", "a.", "://a:", "**", "-----BEGIN PRIVATE" + " KEY-----", "is is "])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    """What takes seconds here took minutes with a step for each pair of characters: such a text would not end within the time."""
    REDACTOR.redact((unit * 200_000)[:200_000])
