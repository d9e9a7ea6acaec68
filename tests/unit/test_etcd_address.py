"""The URL of an etcd store: what it says, what is wrong with it, and where the files of its machine lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extproc import contract
from extproc.controller.token import token_path
from extproc.errors import StoreError
from extproc.store import backup, is_shared, open_store
from extproc.store.base import path_of
from extproc.store.etcd.address import OPTIONS, parse_address

GUIDE = (Path(__file__).parents[2] / "docs" / "etcd.md").read_text()
WHOLE = (
    "etcd://one:2379,[::1]:2380/shop/prod?local=/srv/x&ca=/c/ca.pem&cert=/c/me.pem&key=/c/me.key&user=ada&password_file=/c/pw&timeout=2.5"
)


def test_everything_that_a_url_says_is_read() -> None:
    """Endpoints, prefix, files and numbers."""
    address = parse_address(WHOLE)
    assert address.endpoints == ("one:2379", "[::1]:2380")
    assert (address.prefix, address.tls, address.user, address.timeout) == ("/shop/prod", True, "ada", 2.5)
    assert (address.ca, address.cert, address.key) == (Path("/c/ca.pem"), Path("/c/me.pem"), Path("/c/me.key"))
    assert (address.url, address.password_file) == (WHOLE, Path("/c/pw"))


@pytest.mark.parametrize("url", ["etcd://one:2379", "etcd://one:2379/", "etcd://one:2379?local=/x"])
def test_a_url_may_be_short(url: str) -> None:
    """One endpoint is enough: a prefix of our own, no TLS, one second."""
    address = parse_address(url)
    assert (address.endpoints, address.prefix, address.tls, address.timeout) == (("one:2379",), "/extproc", False, 1.0)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Each Problem with a hint; each of them refused by whoever opens the store."""
    url = "etcd://one,two:0/x?cert=a&user=ada&colour=red&ca=&timeout=soon"
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert [problem.message for problem in caught.value.problems] == [
        "'one' is no HOST:PORT",
        "'two:0' is no HOST:PORT",
        "option 'colour' is unknown",
        "option ca is empty",
        "has cert without key",
        "has user without password_file",
        "timeout=soon is no number of seconds",
    ]
    assert all(problem.hint and problem.id == "store.url" for problem in caught.value.problems)


@pytest.mark.parametrize("url", ["etcd://ada:hunter2@one:2379/x", "etcd://one:2379/x?user=ada&password=hunter2"])
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    """URLs go into command lines and logs."""
    with pytest.raises(StoreError) as caught:
        parse_address(url)
    assert "hunter2" not in str(caught.value)
    assert "password_file=" in str(caught.value)


def test_what_stays_on_a_machine_lies_beside_one_stem() -> None:
    """`local` names the directory; sockets, lists and token are beside `extproc.db` there, as beside an SQLite file of that name."""
    beside = (
        contract.exposures_path,
        contract.samples_path,
        contract.feedback_path,
        contract.presence_path,
        contract.brain_path,
        token_path,
    )
    for url, stem in ((WHOLE, "/srv/x"), ("etcd://one:2379/y", "/var/lib/extproc"), ("etcd://one:2379?local=/a%20b/", "/a b")):
        for path in beside:
            assert str(path(url)) == str(path(f"sqlite:{stem}/extproc.db"))
        assert path_of(url) == Path(f"{stem}/extproc.db")
        assert is_shared(url)
    assert not is_shared("sqlite:/x.db")


def test_etcd_makes_its_own_backups(tmp_path: Path) -> None:
    """And the command for it is told, with the endpoints."""
    with pytest.raises(StoreError) as caught:
        backup("etcd://one:2379,two:2379/x", tmp_path / "copy.db")
    (problem,) = caught.value.problems
    assert problem.id == "store.backup"
    assert "etcdctl --endpoints=one:2379,two:2379 snapshot save FILE" in problem.hint
    assert list(tmp_path.iterdir()) == []


def test_the_guide_names_every_option_and_its_urls_are_good() -> None:
    """docs/etcd.md: what it shows can be copied, and nothing that a URL may say is missing."""
    urls = re.findall(r"etcd://[^\s`]+", GUIDE)
    assert urls
    for url in urls:
        parse_address(url)
    rows = re.findall(r"^\| (`.*?`) \|", GUIDE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(OPTIONS)
