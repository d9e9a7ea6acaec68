"""Laws of an answer's token: what is signed is read, within its window, by who has the key; nothing else is, whatever its bytes."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.assign import conversation_key
from extproc.assign.answered import CLOCKS, LONGEST, Read, Seen, Stamp, feedback_key, read, sign
from extproc.domain import Answered, Arm

law = settings(max_examples=150, deadline=None, derandomize=True)
KEY, OTHER = b"k" * 32, b"o" * 32
NOW = 1_800_000_000.0
WINDOW = 3600.0
names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
answers = st.builds(
    Answered,
    rollout=names,
    generation=st.integers(0, 2**32 - 1),
    cohort=names | st.just(""),
    arm=st.sampled_from(Arm),
    unit=st.binary(min_size=8, max_size=8).map(bytes.hex),
    durable=st.booleans(),
    start=st.integers(0, 3_599_000_000).map(lambda ago: (NOW * 1e6 - ago) / 1e6),
)
ONE = Answered("new", 7, "everyone", Arm.CANARY, "0123456789abcdef", True, NOW)


@law
@given(answers)
def test_what_is_signed_is_read(answered: Answered) -> None:
    """Every field, whatever the names and the arm; it fits a response header with room to spare."""
    token = sign(KEY, answered)
    assert read([KEY], token, WINDOW, NOW) == Read(Seen.VALID, answered)
    assert len(token) < LONGEST
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_longest_names_fit() -> None:
    """Both names at their limit: 172 characters."""
    longest = replace(ONE, rollout="r" * 63, cohort="c" * 63, generation=2**32 - 1)
    assert len(sign(KEY, longest)) == 172 < LONGEST


@law
@given(answers, st.data())
def test_a_change_of_any_character_is_forged(answered: Answered, data: st.DataObject) -> None:
    """One letter for another, one more, one less."""
    token = sign(KEY, answered)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("Aa0-_z=.é").filter(lambda one: one != token[place]))
    for changed in (
        token[:place] + letter + token[place + 1 :],
        token[:place] + token[place + 1 :],
        token[:place] + letter + token[place:],
    ):
        assert read([KEY], changed, WINDOW, NOW) == Read(Seen.FORGED, None)


@law
@given(st.text(max_size=300) | st.binary(max_size=150).map(lambda raw: raw.decode("latin-1")) | st.text("AQ-_aZ09", max_size=204))
def test_any_text_is_forged(text: str) -> None:
    """No exception, whatever it is."""
    assert read([KEY], text, WINDOW, NOW).seen is Seen.FORGED


@law
@given(st.binary(min_size=6, max_size=110))
def test_even_the_key_signs_no_nonsense_that_would_break_the_reader(body: bytes) -> None:
    """Only lengths and versions that a Stamp makes are looked at."""
    body = b"\1" + body
    token = urlsafe_b64encode(body + hmac.digest(KEY, body, "sha256")[:16]).decode()
    if (len(body) - 23) % 6 or len(body) < 29:
        assert read([KEY], token, WINDOW, NOW).seen is Seen.FORGED


@law
@given(answers, answers)
def test_an_answer_is_one_however_often_it_is_signed(one: Answered, other: Answered) -> None:
    """Its identity depends on rollout, generation, unit and instant; with another key too."""
    again = read([OTHER], sign(OTHER, one), WINDOW, NOW).answered
    assert again is not None
    assert again.answer == one.answer
    same = (one.rollout, one.generation, one.unit, one.start) == (other.rollout, other.generation, other.unit, other.start)
    assert (one.answer == other.answer) == same


def test_a_window() -> None:
    """To its last second; what is ahead of our clock by more than clocks differ is early."""
    token = sign(KEY, ONE)
    assert read([KEY], token, WINDOW, NOW + WINDOW).seen is Seen.VALID
    assert read([KEY], token, WINDOW, NOW + WINDOW + 0.001) == Read(Seen.EXPIRED, ONE)
    assert read([KEY], token, WINDOW, NOW - CLOCKS).seen is Seen.VALID
    assert read([KEY], token, WINDOW, NOW - CLOCKS - 0.001) == Read(Seen.EARLY, ONE)


def test_keys_are_rotated() -> None:
    """The old key is read as long as the reader has it; without any nothing is."""
    token = sign(OTHER, ONE)
    assert read([KEY], token, WINDOW, NOW).seen is Seen.FORGED
    assert read([KEY, OTHER], token, WINDOW, NOW) == Read(Seen.VALID, ONE)
    assert read([], token, WINDOW, NOW).seen is Seen.FORGED


@pytest.mark.parametrize("key", [b"k", b"k" * 32, b"k" * 64, b"k" * 65, b"k" * 200])
def test_it_is_hmac_sha256(key: bytes) -> None:
    """As the standard library makes it, for keys of any length: 128 bits of it."""
    raw = urlsafe_b64decode(sign(key, ONE))
    assert raw[-16:] == hmac.new(key, raw[:-16], sha256).digest()[:16]


def test_a_stamp_signs_as_sign_does() -> None:
    """The router's way and everybody else's are one."""
    stamp = Stamp(KEY, ONE.rollout, ONE.generation, ONE.cohort, ONE.arm)
    assert stamp.sign(int(ONE.unit, 16), ONE.durable, round(NOW * 1e6)).decode() == sign(KEY, ONE)


@pytest.mark.parametrize(
    "changes", [{"rollout": ""}, {"rollout": "New"}, {"cohort": "a b"}, {"rollout": "a\0b"}, {"generation": 2**32}, {"generation": -1}]
)
def test_what_cannot_be_signed(changes: dict[str, object]) -> None:
    """It is said when the Stamp is made, not for each request."""
    with pytest.raises(ValueError):  # noqa: PT011
        sign(KEY, replace(ONE, **changes))  # type: ignore[arg-type]


def test_another_version_is_not_read() -> None:
    """Signed with our key, and yet."""
    raw = bytearray(urlsafe_b64decode(sign(KEY, ONE))[:-16])
    raw[0] = 2
    token = urlsafe_b64encode(bytes(raw) + hmac.digest(KEY, bytes(raw), "sha256")[:16]).decode()
    assert read([KEY], token, WINDOW, NOW).seen is Seen.FORGED


def test_the_key_is_for_this_alone() -> None:
    """Made of the store's secret, and neither it nor the key of conversations."""
    assert feedback_key(b"secret") not in (b"secret", conversation_key(b"secret"), feedback_key(b"another"))
    assert len(feedback_key(b"s" * 100)) == 32
