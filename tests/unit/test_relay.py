"""Outcomes on their way to whoever leads: each is heard once by one leader, in order, and none is forgotten before it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from extproc import contract, wire
from extproc.controller import passing
from extproc.controller.collector import AccessLogServer
from extproc.controller.relay import Intake, Outbox, Sender
from extproc.controller.relay.relay import Relay
from extproc.errors import SettingsError
from extproc.transport import PRIVATE, Address
from extproc.transport.channel import open_channel


def _number(message: bytes) -> int:
    return int(message.split(b" ")[0])


def test_every_message_is_heard_once_and_in_order_while_leaders_change_and_answers_are_lost() -> None:
    """Each leader hears a run of messages without a gap and without a repetition; together they have heard all of them; a new one is told
    again what its predecessor had not kept."""
    random = Random(7)
    for _ in range(200):
        heard = _life_of_a_relay(random)
        for one in heard:
            assert one == list(range(one[0], one[0] + len(one))) if one else True
        together = {number for one in heard for number in one}
        assert together == set(range(1, max(together, default=0) + 1)), "a message was never heard"


def _life_of_a_relay(random: Random) -> list[list[int]]:
    """What each leader heard, one after the other."""
    outbox, heard = Outbox(), [list[int]()]

    def lead() -> Intake:
        return Intake(f"life-{len(heard)}", lambda message: heard[-1].append(_number(message)))

    intake = lead()
    life, taken, sent = "", 0, 0
    for _ in range(200):
        if random.random() < 0.6:
            sent += 1
            outbox.put(b"%d %s" % (sent, b"x" * random.randrange(60)))
        if random.random() < 0.1:
            intake.saved()
        if random.random() < 0.03:
            heard.append([])
            intake = lead()
        first, messages = outbox.after(taken, most_bytes=100)
        answer = wire.read_taken(intake.receive(wire.write_relayed(wire.Relayed("me", life, first, messages))))
        if random.random() < 0.3:
            continue
        outbox.forget(answer.kept)
        taken = max(taken if answer.life == life else outbox.kept, answer.taken)
        life = answer.life
    assert outbox.lost == 0
    return heard


def test_a_full_outbox_gives_up_the_oldest_and_counts_them() -> None:
    """Memory is bounded, and what was lost is known."""
    outbox = Outbox(most_bytes=100)
    for number in range(1, 31):
        outbox.put(b"%02d" % number + b"x" * 8)
    assert outbox.lost == 20
    assert outbox.after(0) == (21, [b"%02d" % number + b"x" * 8 for number in range(21, 31)])
    outbox.put(b"y" * 1000)
    assert outbox.after(0) == (31, [b"y" * 1000]), "one message that is too large alone is sent all the same"


def test_what_is_meant_for_another_leader_is_not_heard() -> None:
    """A batch under way while leaders change would tell the new one the middle of a story."""
    heard: list[bytes] = []
    intake = Intake("new", heard.append)
    answer = wire.read_taken(intake.receive(wire.write_relayed(wire.Relayed("me", "old", 5, [b"a"]))))
    assert answer == wire.Taken("new", 0, 0)
    assert not heard


def test_kept_is_what_was_there_a_tick_before_it_was_saved() -> None:
    """The list of exposures is written beside the Evidence, a moment later."""
    intake = Intake("life", lambda _: None)

    def ask(first: int, *messages: bytes) -> int:
        return wire.read_taken(intake.receive(wire.write_relayed(wire.Relayed("me", "life", first, messages)))).kept

    assert ask(1, b"a", b"b") == 0
    intake.saved()
    assert ask(3, b"c") == 0
    intake.saved()
    assert ask(4) == 2


@pytest.mark.parametrize(
    "data", [b"\xff\xff", b"", wire.write_relayed(wire.Relayed("", "l", 1, [])), wire.write_relayed(wire.Relayed("r", "l", 0, []))]
)
def test_what_is_no_batch_is_refused(data: bytes) -> None:
    """Whoever sends it has another version, or is no relay."""
    with pytest.raises(ValueError, match="batch"):
        Intake("life", lambda _: None).receive(data)


def test_over_grpc_a_leader_goes_and_another_one_hears_everything_again_that_was_not_kept(tmp_path: Path) -> None:
    """Two real servers, one after the other, on the addresses that the relay is told."""

    async def run() -> tuple[list[int], list[int], int]:
        heard: list[list[int]] = [[], []]
        intakes = [
            Intake("life-0", lambda message: heard[0].append(_number(message))),
            Intake("life-1", lambda message: heard[1].append(_number(message))),
        ]
        addresses = [Address(path=str(tmp_path / f"{place}.sock")) for place in range(2)]
        servers = [
            AccessLogServer(address, lambda _: None, relays=intake.receive) for address, intake in zip(addresses, intakes, strict=True)
        ]
        await servers[0].start()
        outbox, now = Outbox(), [0]
        sender = Sender(outbox, lambda: addresses[now[0]])
        running = asyncio.create_task(sender.run())
        for number in range(1, 101):
            outbox.put(b"%d" % number)
        await _until(lambda: len(heard[0]) == 100)
        intakes[0].saved()
        intakes[0].saved()
        await _until(lambda: outbox.kept == 100)
        for number in range(101, 151):
            outbox.put(b"%d" % number)
        await _until(lambda: len(heard[0]) == 150)
        await servers[0].stop()
        outbox.put(b"151")
        now[0] = 1
        await servers[1].start()
        await _until(lambda: len(heard[1]) == 51)
        assert await sender.finish(60.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.close()
        await servers[1].stop()
        return heard[0], heard[1], outbox.lost

    first, second, lost = asyncio.run(run())
    assert first == list(range(1, 151))
    assert second == list(range(101, 152))
    assert not lost


def test_a_collector_that_does_not_lead_takes_no_batches(tmp_path: Path) -> None:
    """Two standbys would send outcomes to each other for ever."""

    async def run() -> bool:
        address = Address(path=str(tmp_path / "standby.sock"))
        server = AccessLogServer(address, lambda _: None)
        await server.start()
        outbox = Outbox()
        outbox.put(b"1")
        sender = Sender(outbox, lambda: address)
        finished = await sender.finish(1.0)
        await sender.close()
        await server.stop()
        return finished

    assert not asyncio.run(run())


def test_what_waits_is_handed_over_when_a_relay_stops(tmp_path: Path) -> None:
    """A standby that is told to stop has outcomes that the leader has not heard; nobody else will tell them."""

    async def run() -> tuple[list[int], bool]:
        heard: list[int] = []
        here, there = (Address(path=str(tmp_path / f"{name}.sock")) for name in ("here", "there"))
        intake = Intake("life", lambda message: heard.append(_number(message)))
        leader = AccessLogServer(there, lambda _: None, relays=intake.receive)
        relay = Relay(here, PRIVATE)
        await leader.start()
        await relay.start()
        relay.send(lambda: there)
        async with open_channel(here) as envoy:
            await envoy.stream_unary(contract.ACCESS_LOG_METHOD)(_numbers(1, 10))
            await _until(lambda: len(heard) == 10)
            await envoy.stream_unary(contract.ACCESS_LOG_METHOD)(_numbers(11, 300))
        finished = await relay.stop(60.0)
        await leader.stop()
        return heard, finished

    heard, finished = asyncio.run(run())
    assert finished
    assert heard == list(range(1, 301))


async def _numbers(first: int, last: int) -> AsyncIterator[bytes]:
    for number in range(first, last + 1):
        yield b"%d" % number


def test_a_collector_that_a_network_reaches_wants_mutual_tls() -> None:
    """Whoever reaches it could make outcomes up."""
    with pytest.raises(SettingsError, match="make outcomes up"):
        passing.main(passing.PassingSettings("etcd://127.0.0.1:2379/extproc", "0.0.0.0:9001"))


async def _until(what: object, seconds: float = 60.0) -> None:
    assert callable(what)
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)
