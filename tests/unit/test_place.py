"""The name of a socket: taken at once, left by its owner alone; the same on both transports."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from extproc.transport import TransportName, make_server, parse_address
from extproc.transport.place import Place


def test_a_name_is_taken_and_left_by_its_owner_alone(tmp_path: Path) -> None:
    """A successor takes it over; who was there first then leaves it alone."""
    first, second = Place(str(tmp_path / "s")), Place(str(tmp_path / "s"))
    sockets = []
    for place in (first, second):
        place.clear()
        made = socket.socket(socket.AF_UNIX)
        sockets.append(made)
        made.bind(str(place.temporary))
        place.take()
        assert not place.succeeded
    assert first.succeeded
    first.leave()
    assert (tmp_path / "s").is_socket()
    second.leave()
    assert list(tmp_path.iterdir()) == []
    for made in sockets:
        made.close()


def test_who_has_not_taken_a_name_does_not_remove_it(tmp_path: Path) -> None:
    """A start that failed leaves what is there."""
    (tmp_path / "s").write_text("not ours")
    place = Place(str(tmp_path / "s"))
    place.leave()
    assert not place.succeeded
    assert (tmp_path / "s").read_text() == "not ours"


@pytest.mark.parametrize("transport", list(TransportName))
def test_a_server_takes_its_socket_away_and_not_that_of_its_successor(transport: TransportName, tmp_path: Path) -> None:
    """Clean stop: no file is left, neither under the name nor under the temporary one; after a handover the new one stays."""
    path = tmp_path / "r.sock"

    async def run() -> None:
        first, second = (make_server(transport, parse_address(f"unix:{path}"), lambda message: message) for _ in range(2))
        await first.start()
        inode = path.stat().st_ino
        await second.start()
        assert path.stat().st_ino != inode
        await first.stop(0.1)
        assert path.is_socket()
        await second.stop(0.1)

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
