"""The pure parts of the feedback service: keys, origins, addresses, limits, settings, and what stands in the end."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from extproc.controller.feedback import FeedbackSettings
from extproc.controller.feedback.keys import MOST, Keys, bearer, digest, read_keys
from extproc.controller.feedback.limits import Bucket, Buckets, Limits, Open
from extproc.controller.feedback.origins import check_origins, client_address, cors, may_post, preflight
from extproc.domain import Answered, Arm, Feedback, FeedbackKind, standing
from extproc.errors import SettingsError
from extproc.store.feedback import Keep

NOW = 1_000.0
ONE, OTHER = "a-key-of-the-shop-0123456789-abcdef", "a-key-of-the-app--0123456789-abcdef"
NAMED = frozenset({"https://chat.example.com"})


# -------------------------------------------------------------------------------------------------------------------------- keys
def test_keys_of_a_file() -> None:
    """All of them are good, comments and empty lines apart; anything else is none."""
    keys = read_keys("keys", f"# of the shop\n{ONE}\n\n  {OTHER}  # until June\n{ONE}\n")
    assert [keys.find(ONE), keys.find(OTHER), keys.find(ONE[:-1]), keys.find(""), keys.find("\udcff")] == [0, 1, None, None, None]
    assert Keys().find(ONE) is None
    assert ONE not in repr(keys)


def test_a_file_with_all_that_can_be_wrong() -> None:
    """Everything is said at once, with its line; no key is shown."""
    lines = ["short", "a key with blanks in it, and long enough", ONE, "ü" * 40]
    with pytest.raises(SettingsError) as caught:
        read_keys("keys", "\n".join(lines), digest(ONE))
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3, 4]
    assert "token of the controller's API" in caught.value.problems[2].message
    assert not any(line in str(caught.value) for line in lines)
    with pytest.raises(SettingsError) as caught:
        read_keys("keys", "\n".join(f"{number:040}" for number in range(MOST + 1)))
    assert f"{MOST + 1} keys" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [([], None), (["Bearer x"], "x"), (["bearer  x "], "x"), (["Basic x"], ""), (["x"], ""), ([""], ""), (["Bearer x", "Bearer y"], "")],
)
def test_an_authorization(given: list[str], shown: str | None) -> None:
    """None at all is somebody without a key; anything but one Bearer is a wrong one."""
    assert bearer(given) == shown


# ----------------------------------------------------------------------------------------------------------------------- origins
@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "chat.example.com", "https://chat.example.com/", "https://*.example.com", "https://Chat.example.com", "file://x"],
)
def test_what_is_no_origin(origin: str) -> None:
    """Refused when the service starts; `*` most of all."""
    with pytest.raises(SettingsError) as caught:
        check_origins(["https://chat.example.com", origin, "http://localhost:3000", "http://[::1]:80"])
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://chat.example.com", True),
        ("https://api.example.com", True),
        ("https://chat.example.com:444", False),
        ("https://evil.example.com", False),
        ("null", False),
        ("", False),
    ],
)
def test_which_pages_may_post(origin: str | None, allowed: bool) -> None:
    """No page at all, a named one, one of the service's own host."""
    assert may_post(origin, "api.example.com", NAMED) is allowed


def test_an_empty_host_is_nobodys() -> None:
    """Neither a page without an origin that can be read."""
    assert not may_post("x://", "", NAMED)


def test_what_browsers_are_told() -> None:
    """Never `*`; the answer depends on the origin, and says so; strangers get no permission."""
    assert cors("https://chat.example.com", NAMED) == {"vary": "Origin", "access-control-allow-origin": "https://chat.example.com"}
    for stranger in ("https://evil.example.com", None):
        assert cors(stranger, NAMED) == preflight(stranger, NAMED) == {"vary": "Origin"}
    assert preflight("https://chat.example.com", NAMED)["access-control-allow-methods"] == "POST"


@pytest.mark.parametrize(
    ("peer", "forwarded", "hops", "address"),
    [
        ("10.0.0.1", [], 0, "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6"], 0, "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], 1, "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4", "10.0.0.9"], 2, "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4"], 2, "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], 1, "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4:5678"], 1, "1.2.3.4"),
        ("10.0.0.1", ["[2001:db8:1:2:3:4:5:6]"], 1, "2001:db8:1:2::"),
        ("10.0.0.1", ["2001:db8:1:2:ffff::1"], 1, "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", [], 0, "10.0.0.1"),
        ("", ["", ","], 1, ""),
    ],
)
def test_where_a_client_is(peer: str, forwarded: list[str], hops: int, address: str) -> None:
    """What it says of itself does not count; an IPv6 network is one client."""
    assert client_address(peer, forwarded, hops) == address


# ------------------------------------------------------------------------------------------------------------------------ limits
def test_a_bucket() -> None:
    """The burst at once, then the rate; who is refused has taken nothing, and is told when."""
    buckets, bucket = Buckets(), Bucket(10, 2)
    assert [buckets.take("a", 5, bucket, NOW) for _ in range(2)] == [0, 0]
    assert buckets.take("a", 1, bucket, NOW) == pytest.approx(0.5)
    assert buckets.take("a", 4, bucket, NOW) == pytest.approx(2.0)
    assert buckets.take("b", 10, bucket, NOW) == 0
    assert buckets.take("a", 1, bucket, NOW + 0.5) == 0
    assert buckets.take("a", 10, bucket, NOW + 100) == 0
    with pytest.raises(ValueError, match="never holds 11"):
        buckets.take("c", 11, bucket, NOW)


def test_a_bucket_over_an_hour() -> None:
    """Whoever asks all the time gets burst and rate, and no more."""
    buckets, bucket = Buckets(), Bucket(7, 0.25)
    taken = sum(buckets.take("a", 1, bucket, NOW + second / 10) == 0 for second in range(36_000))
    assert taken == pytest.approx(7 + 3600 * 0.25, abs=1)


def test_buckets_are_bounded() -> None:
    """Many addresses take the memory of those that are remembered; who is refused all the time is not forgotten, and gets no more."""
    buckets, bucket = Buckets(1_000), Bucket(10, 0.001)
    granted = 0
    tracemalloc.start()
    for number in range(100_000):
        buckets.take(f"10.{number}", 1, bucket, NOW)
        if number % 500 == 0:
            granted += buckets.take("steady", 1, bucket, NOW) == 0
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert granted == 10
    assert len(buckets) <= 1_000
    assert held < 1_000_000


def test_posts_at_the_same_time() -> None:
    """As many as that of one client; nothing is remembered of who has left."""
    gate = Open(2)
    assert [gate.enter("a"), gate.enter("a"), gate.enter("a"), gate.enter("b")] == [True, True, False, True]
    gate.leave("a")
    assert gate.enter("a")
    for client in "aab":
        gate.leave(client)
    assert not gate._count


# ---------------------------------------------------------------------------------------------------------------------- settings
def test_settings_travel_as_a_line() -> None:
    """What was written is read."""
    settings = FeedbackSettings(
        "sqlite:/x", ("ab" * 32, "cd" * 32), 7, origins=("https://a.b",), limits=Limits(Bucket(150, 3), open=3), keep=Keep(60, 1 << 20)
    )
    line = settings.write()
    assert FeedbackSettings.read(line) == settings
    assert b"\n" not in line
    settings.check()


@pytest.mark.parametrize(
    ("changes", "identity"),
    [
        ({"origins": ("*",)}, "feedback.origin"),
        ({"signing_keys": ()}, "feedback.signing-keys"),
        ({"signing_keys": ("ab" * 32, "ab")}, "feedback.signing-keys"),
        ({"signing_keys": ("x" * 64,)}, "feedback.signing-keys"),
        ({"window": 0.0}, "feedback.settings"),
        ({"trusted_hops": -1}, "feedback.settings"),
        ({"keep": Keep(0)}, "feedback.settings"),
        ({"limits": Limits(address=Bucket(99, 1))}, "feedback.limits"),
        ({"limits": Limits(answer=Bucket(1, 0))}, "feedback.limits"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], identity: str) -> None:
    """The service does not start with them."""
    settings = replace(FeedbackSettings("sqlite:/x", ("ab" * 32,)), **changes)
    with pytest.raises(SettingsError) as caught:
        settings.check()
    assert [problem.id for problem in caught.value.problems] == [identity]


# ---------------------------------------------------------------------------------------------------------------------- standing
def said(kind: FeedbackKind, value: float | None = None, request: str = "r", token: Answered | None = None) -> Feedback:
    return Feedback("", kind, value, "" if token else request, token, NOW, NOW)


def test_the_last_one_stands() -> None:
    """Of each answer, for each slot: a thumb is up or down; all else stands beside it."""
    token = Answered("new", 7, "everyone", Arm.CANARY, "0123456789abcdef", True, NOW)
    up, down = FeedbackKind.THUMBS_UP, FeedbackKind.THUMBS_DOWN
    log = [
        said(up),
        said(FeedbackKind.RATING, 4),
        said(down),
        said(up, request="s"),
        said(FeedbackKind.COPY),
        said(FeedbackKind.RATING, 2),
        said(up),
        said(down, token=token),
        said(up, token=replace(token, durable=False)),
    ]
    stands = standing(log)
    assert [log.index(one) for one in stands][:3] == [3, 4, 5]
    assert [(one.answer[:1], one.kind, one.value) for one in stands] == [
        ("s", up, None),
        ("r", FeedbackKind.COPY, None),
        ("r", FeedbackKind.RATING, 2),
        ("r", up, None),
        ("n", up, None),
    ]
    assert {kind.slot for kind in FeedbackKind} == {"thumb", "rating", "regenerate", "copy", "edit", "session_end"}
