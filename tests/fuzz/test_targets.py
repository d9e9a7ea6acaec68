"""The fuzz targets hold on their seeds and on what is nearly one, and each notices a server that is broken on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

import pytest

from extproc.transport.native import frames
from extproc.transport.native.connection import Connection
from extproc.transport.native.errors import Code
from extproc.transport.native.headers import MALFORMED, Request
from extproc.transport.native.limits import DEFAULT
from extproc.transport.native.streams import Shared, Stream
from extproc.wire import requests
from tests.fuzz import run
from tests.fuzz.books import Violation
from tests.fuzz.differential import Ours, differential
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import SMALL, TARGETS, connection, limits_are_consistent, subject, talk

MUTATIONS = 200


def mutated(random: Random, pool: list[bytes]) -> bytes:
    """A seed with some bytes changed, put in, taken out, or replaced by those of another."""
    made = bytearray(random.choice(pool))
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(made) + 1)
        match random.randrange(4):
            case 0:
                made[at : at + 1] = random.randbytes(1)
            case 1:
                made[at:at] = random.randbytes(random.randint(1, 4))
            case 2:
                del made[at : at + random.randint(1, 4)]
            case _:
                other, start = random.choice(pool), random.randrange(40)
                made[at:at] = other[start : start + random.randint(1, 40)]
    return bytes(made)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_holds_on_its_seeds_and_their_neighbours(target: str) -> None:
    """Every seed, and two hundred mutations of them, the same ones each time."""
    pool, random = seeds(target), Random(7)
    for made in [*pool, *(mutated(random, pool) for _ in range(MUTATIONS))]:
        TARGETS[target](made)


def test_a_last_header_block_ends_its_stream_when_it_is_complete() -> None:
    """END_STREAM in HEADERS, pseudo-headers in a CONTINUATION: such trailers are reset, and the witness agrees (found by fuzzing)."""
    talk(bytes.fromhex("0160000000050808080808080808000000000000001000080808f400010001053d711f"))


def test_a_largest_message_can_always_be_completed() -> None:
    """Limits that would let a peer wait for credit for ever are none that we fuzz, or ship."""
    assert limits_are_consistent(SMALL)
    assert limits_are_consistent(DEFAULT)


# ------------------------------------------------------------------------------------------------------------ broken on purpose
class KeepsCredit(Connection):
    """Consumes DATA and never gives its credit back."""

    def _flush(self) -> bytes:
        self._consumed = 0
        return super()._flush()


class KeepsStreams(Connection):
    """Holds its streams when the connection is over."""

    def _close(self) -> None:
        self.closed = True


class LetsExceptionsOut(Connection):
    """Does not expect what a peer may say."""

    def _on_rst_stream(self, sid: int, flags: int, payload: bytes) -> None:
        super()._on_rst_stream(sid, flags, payload[: {3: 1}.get(payload[-1], 9)])
        self._streams[sid].answered = False


class NeverAcknowledges(Connection):
    """Says nothing to SETTINGS and PING."""

    def receive(self, data: bytes) -> bytes:
        return b"" if data[3:4] in (b"\4", b"\6") else super().receive(data)


class Forgets(Connection):
    """Takes what comes in one piece only."""

    def receive(self, data: bytes) -> bytes:
        out = super().receive(data)
        self._rest = b""
        return out


class GrowsLastStream(Connection):
    """Begins to drain as often as it is told, even where it has named its last stream."""

    def drain(self) -> bytes:
        return frames.goaway(frames.LARGEST_ID, Code.NO_ERROR) + super().drain()


@pytest.mark.parametrize(
    ("target", "broken", "promise"),
    [
        (talk, KeepsCredit, "each byte of DATA is held or credited once"),
        (talk, KeepsStreams, "nothing is held for a connection that is over"),
        (talk, LetsExceptionsOut, "KeyError"),
        (talk, NeverAcknowledges, "has its acknowledgement"),
        (talk, GrowsLastStream, "never grows"),
        (connection, KeepsCredit, "each byte of DATA is held or credited once"),
        (connection, Forgets, "how bytes are cut does not matter"),
    ],
)
def test_a_broken_connection_is_noticed(
    target: Callable[[bytes, Callable[[Shared], Connection]], None], broken: type[Connection], promise: str
) -> None:
    """By the seeds alone; the target names what does not hold."""
    name = "conversation" if target is talk else "connection"
    assert any(re.search(promise, said) for said in _noticed(lambda seed: target(seed, broken), seeds(name)))


class DropsMessages(Ours):
    """Reads every other message."""

    def _message(self, stream: Stream, message: bytes) -> None:
        if len(message) % 2:
            super()._message(stream, message)


class IgnoresResets(Ours):
    """Goes on with streams that the peer has reset."""

    def _on_rst_stream(self, sid: int, flags: int, payload: bytes) -> None:
        del sid, flags, payload


class MisreadsBlocks(Ours):
    """Takes any block for the last one, once it has seen one."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.reader.read = self._first  # type: ignore[method-assign]
        self.first: Request | None = None

    def _first(self, block: bytes) -> Request:
        request = type(self.reader).read(self.reader, block)
        if self.first is None and request is not MALFORMED:
            self.first = request
        self.reader.request = self.first if self.first is not None and request is not MALFORMED else request
        return self.reader.request


class SendsTooMuch(Ours):
    """Does not look at the peer's windows."""

    def _setting(self, key: int, value: int) -> None:
        super()._setting(key, max(value, 1 << 20) if key == 4 else value)


@pytest.mark.parametrize("broken", [DropsMessages, IgnoresResets, MisreadsBlocks, SendsTooMuch])
def test_a_connection_that_understands_something_else_is_noticed(broken: type[Ours]) -> None:
    """No allowed difference covers it."""
    assert _noticed(lambda seed: differential(seed, broken), seeds("differential"))


def test_a_walk_that_reads_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that loses a header."""

    def walk(message: bytes) -> dict[str, bytes] | None:
        subject = requests._parse(message)
        return {name: value for name, value in subject.items() if name != "x-user-id"} if subject else None

    monkeypatch.setattr(requests, "_walk", walk)
    assert "every way to read a message reads what the parser reads" in _noticed(subject, seeds("subject"))


def _noticed(target: Callable[[bytes], object], inputs: list[bytes]) -> set[str]:
    """What the target said of the inputs that it did not accept."""
    said = set()
    for made in inputs:
        try:
            target(made)
        except Violation as violation:
            said.add(str(violation))
        except Exception as error:
            said.add(repr(error))
    return said


# ---------------------------------------------------------------------------------------------------------------------- reports
def test_a_report_tells_what_is_wrong() -> None:
    """A failed input with its exception, memory that grows, a fuzzer that did not run; and nothing of a target that is fine."""
    fine = run.Report("subject", rss_first=60.0, rss_last=70.0)
    fine.note("#8192\tpulse  cov: 714 ft: 1234 corp: 55/2kb lim: 4096 exec/s: 1024 rss: 70Mb")
    assert (fine.executions, fine.coverage, fine.features, fine.corpus, fine.per_second) == (8192, 714, 1234, 55, 1024)
    fine.note("Done 9001 runs in 9 second(s)")
    assert fine.executions == 9001
    assert fine.problems == []
    grown = run.Report("subject", executions=8192, rss_first=60.0, rss_last=60.0 + run.GROWTH + 1)
    assert "memory grew" in grown.problems[0]
    assert "no fuzzing" in run.Report("subject").problems[0]
    failed = run.Report("subject", executions=3, failed=True, said=["Violation: a promise", "==1== ERROR: libFuzzer: fuzz target exited"])
    assert "Violation: a promise" in failed.problems[0]
    failed.note("==1== ERROR: libFuzzer: timeout after 11 seconds")
    assert "timeout" in failed.problems[0]
