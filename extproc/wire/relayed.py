"""What collectors say to each other, in bytes: batches of access-log messages, and how far they have got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from extproc.pb import relay_pb2


@dataclass(frozen=True, slots=True)
class Relayed:
    """A batch of one relay."""

    relay: str
    """One life of one collector."""
    life: str
    """The leadership that it is meant for; empty where none is known yet."""
    first: int
    """Number of the first message; they are numbered from 1 without a gap."""
    messages: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer of the one who leads."""

    life: str
    """One leadership of one controller: another one has heard nothing yet."""
    taken: int
    """Messages up to this number were heard."""
    kept: int
    """What was heard of those up to this number is in the store: nobody needs them any more."""


def write_relayed(batch: Relayed) -> bytes:
    """Bytes of a batch."""
    return relay_pb2.Relayed(relay=batch.relay, life=batch.life, first=batch.first, messages=batch.messages).SerializeToString()


def read_relayed(data: bytes) -> Relayed:
    """A batch; raises ValueError for what is none."""
    message = relay_pb2.Relayed()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"{len(data)} bytes are no batch") from error
    if not message.relay or not message.first:
        raise ValueError("a batch has no relay or no number")
    return Relayed(message.relay, message.life, message.first, message.messages)


def write_taken(answer: Taken) -> bytes:
    """Bytes of an answer."""
    return relay_pb2.Taken(life=answer.life, taken=answer.taken, kept=answer.kept).SerializeToString()


def read_taken(data: bytes) -> Taken:
    """An answer; raises ValueError for what is none."""
    message = relay_pb2.Taken()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"{len(data)} bytes are no answer") from error
    return Taken(message.life, message.taken, message.kept)
