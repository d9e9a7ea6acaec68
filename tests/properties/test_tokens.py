"""Laws of tokens: what is signed counts for whom, where and as long as it says; everything else is told apart and never counts."""

from __future__ import annotations

import hmac
from hashlib import sha256
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc.assign import Fate, conversation_key, sign_qa
from extproc.assign.tokens import LONGEST_QA, Signer, read_qa
from extproc.domain import Arm
from tests.support.assigning import NOW

law = settings(max_examples=200, deadline=None, derandomize=True)
KEY = b"k" * 32
SIGNER = Signer(KEY, "model", "salt", "new")
LATER = int(NOW) + 3600
bounds = st.sampled_from([b"u", b"c", b"-"])
owners = st.binary(max_size=40)


def read(
    token: bytes, *, signer: Signer = SIGNER, epoch: int = 0, now: float = NOW, unit: bytes = b"u1", beyond: bool = False
) -> tuple[Fate, bool]:
    held = signer.read(token, epoch, now, lambda kind: {b"u": unit, b"c": b"talk", b"-": b""}[kind], beyond)
    return held.fate, held.canary


@law
@given(st.booleans(), st.integers(0, 1 << 40), bounds, owners, st.floats(0, 3599))
def test_what_is_signed_is_read(canary: bool, epoch: int, bound: bytes, owner: bytes, sooner: float) -> None:
    """By the owner, in its epoch, until it expires: side and all; it fits a cookie and a header, and says nothing of who somebody is."""
    token = SIGNER.sign(canary, epoch, LATER, bound, owner)
    held = SIGNER.read(token, epoch, NOW + sooner, {bound: owner}.__getitem__, False)
    assert (held.fate, held.canary) == (Fate.VALID, canary)
    assert len(token) <= 128
    assert set(token) <= set(b"0123456789abcdefghijklmnopqrstuvwxyz.-")
    assert len(owner) < 3 or owner not in token


@pytest.mark.parametrize("canary", [False, True])
def test_each_fate_is_told_apart(canary: bool) -> None:
    """Valid, forged, expired, of another unit, conversation or rollout, revoked; state of the provider prolongs its life, nothing else."""
    token = SIGNER.sign(canary, 3, LATER, b"u", b"u1")
    talk = SIGNER.sign(canary, 3, LATER, b"c", b"talk")
    foreign_talk = SIGNER.sign(canary, 3, LATER, b"c", b"another")
    assert read(token, epoch=3) == (Fate.VALID, canary)
    assert read(token, epoch=3, now=LATER - 0.001) == (Fate.VALID, canary)
    assert read(token, epoch=3, now=LATER) == (Fate.EXPIRED, canary)
    assert read(token, epoch=3, now=LATER, beyond=True) == (Fate.VALID, canary)
    assert read(token, epoch=3, unit=b"u2") == (Fate.FOREIGN, canary)
    assert read(talk, epoch=3) == (Fate.VALID, canary)
    assert read(foreign_talk, epoch=3) == (Fate.FOREIGN, canary)
    assert read(token, epoch=4) == (Fate.REVOKED, canary)
    assert read(token, epoch=2) == (Fate.REVOKED, canary)
    for name in (("prompt", "salt", "new"), ("model", "other", "new"), ("model", "salt", "newer")):
        assert read(token, signer=Signer(KEY, *name), epoch=3) == (Fate.FOREIGN, False)
    assert read(token, signer=Signer(b"x" * 32, "model", "salt", "new"), epoch=3) == (Fate.FORGED, False)
    for beyond, epoch, unit in product((True,), (3, 4), (b"u1", b"u2")):
        fate, _ = read(token, epoch=epoch, unit=unit, now=LATER + 1e9, beyond=beyond)
        assert (fate is Fate.VALID) is (epoch == 3 and unit == b"u1"), "state keeps no token of somebody else, and none that is revoked"


@pytest.mark.parametrize("bound", [b"u", b"c", b"-"])
def test_no_byte_of_a_token_can_be_changed(bound: bytes) -> None:
    """Every position, every other byte there: never valid."""
    owner = {b"u": b"u1", b"c": b"talk", b"-": b""}[bound]
    token = SIGNER.sign(False, 0, LATER, bound, owner)
    assert read(token)[0] is Fate.VALID
    for at in range(len(token)):
        for byte in range(256):
            if byte != token[at]:
                assert read(token[:at] + bytes((byte,)) + token[at + 1 :])[0] in (Fate.FORGED, Fate.FOREIGN)


@law
@given(st.integers(0, 90), st.integers(0, 90), st.binary(max_size=6))
def test_no_part_of_a_token_can_be_cut_out_or_put_in(begin: int, size: int, new: bytes) -> None:
    """Shorter, longer, spliced: never valid unless it is the token."""
    token = SIGNER.sign(True, 0, LATER, b"u", b"u1")
    changed = token[:begin] + new + token[begin + size :]
    assert (read(changed)[0] is Fate.VALID) is (changed == token)


@law
@given(st.binary(max_size=200))
@example(b"1.......")
@example(b"1.aaaaaaaa.0.0.cu.0.0")
@example(SIGNER.sign(True, 0, LATER, b"u", b"u1") + b".")
@example(b"2" + SIGNER.sign(True, 0, LATER, b"u", b"u1")[1:])
@example(SIGNER.sign(True, 0, LATER, b"u", b"u1").upper())
@example(SIGNER.sign(True, 0, LATER, b"u", b"u1") * 2)
@example(b"." * 10_000)
def test_noise_is_forged(token: bytes) -> None:
    """Whatever a client sends: an answer, never an exception, never valid."""
    assert read(token)[0] in (Fate.FORGED, Fate.FOREIGN)


def test_the_key_of_tokens_is_not_the_key_of_hashes() -> None:
    """Derived from it: who learns one has not the other; the same in every router of a store."""
    assert conversation_key(KEY) == conversation_key(KEY)
    assert len(conversation_key(KEY)) == 32
    assert KEY not in conversation_key(KEY)
    assert conversation_key(KEY) != conversation_key(b"l" * 32)
    assert conversation_key(b"k" * 200) == conversation_key(b"k" * 64), "BLAKE2 takes 64 bytes"


# -------------------------------------------------------------------------------------------------------------------- QA headers
SECRET = b"a secret of qa, long"


@law
@given(st.sampled_from(Arm), st.floats(1, LONGEST_QA - 1))
def test_a_signed_header_names_its_arm(arm: Arm, ahead: float) -> None:
    """As long as it has not expired, and it may not be good for ever: a month ahead at most."""
    header = sign_qa(SECRET, "new", arm, int(NOW + ahead) + 1).encode()
    assert read_qa(SECRET, "new", header, NOW) == (Fate.VALID, arm is Arm.CANARY)
    assert read_qa(SECRET, "new", header, NOW + ahead + 1) == (Fate.EXPIRED, False)
    assert read_qa(SECRET, "other", header, NOW) == (Fate.FORGED, False)
    assert read_qa(SECRET + b"!", "new", header, NOW) == (Fate.FORGED, False)
    assert read_qa(SECRET, "new", sign_qa(SECRET, "new", arm, int(NOW + LONGEST_QA) + 1).encode(), NOW) == (Fate.EXPIRED, False)


def test_anybody_can_sign_a_header_in_three_lines() -> None:
    """As the README tells it: HMAC-SHA256 of rollout, arm and expiry, each on a line."""
    signature = hmac.new(SECRET, b"new\ncanary\n1764244800", sha256).hexdigest()
    assert f"arm=canary;exp=1764244800;sig={signature}" == sign_qa(SECRET, "new", Arm.CANARY, 1764244800)
    spaced = f" exp=1764244800 ; sig={signature.upper()};arm=canary"
    assert read_qa(SECRET, "new", spaced.encode(), NOW) == (Fate.VALID, True)


def test_no_byte_of_a_header_can_be_changed() -> None:
    """Every position, every other byte: valid only where a reader takes it for the same text (the case of hex digits)."""
    header = sign_qa(SECRET, "new", Arm.CANARY, LATER).encode()
    for at in range(len(header)):
        for byte in range(256):
            if byte != header[at]:
                changed = header[:at] + bytes((byte,)) + header[at + 1 :]
                fate, canary = read_qa(SECRET, "new", changed, NOW)
                assert fate is Fate.FORGED or (changed.lower() == header and canary)


@law
@given(st.binary(max_size=600))
@example(b"arm=canary;exp=;sig=")
@example(b"arm=canary;exp=" + b"9" * 490 + b";sig=0")
@example(b"arm=both;exp=1;sig=0")
@example(b"=;=;=")
@example("arm=canary;exp=١;sig=0".encode())
def test_noise_in_a_header_is_forged(header: bytes) -> None:
    """An answer, never an exception, never an arm."""
    assert read_qa(SECRET, "new", header, NOW) == (Fate.FORGED, False)
