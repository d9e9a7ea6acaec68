"""Documents of any length under one key: short ones in it, long ones in parts that it names.

etcd takes requests of 1.5 MiB at most. The parts of a long document are written first, under a name of their own that nobody knows
yet; the key that names them changes in the transaction that is meant to be all or nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.errors import Problem, StoreError
from extproc.store.etcd.layout import Layout
from extproc.store.etcd.requests import MOST_OPERATIONS

CHUNK: Final = 512 << 10
"""Bytes of a part, and of the longest document that is not taken apart."""
INLINE: Final = 768 << 10
"""Bytes that the documents of one transaction may have together; with keys, State and Journal that is well below etcd's limit."""
_WHOLE, _PARTS = b"=", b"@"


@dataclass(frozen=True, slots=True)
class Packed:
    """Documents, ready to be written."""

    heads: Mapping[bytes, bytes]
    """What goes under each document's own key."""
    chunks: Sequence[tuple[bytes, bytes]]
    """Key and value of each part; to be written before."""
    names: Mapping[bytes, str]
    """Document's key -> the name of its parts, of those that have some."""


def pack(documents: Mapping[bytes, str], layout: Layout) -> Packed:
    """Take apart what is long, the longest first, until the rest fits together. Raises StoreError where a document is no text."""
    values = {key: _bytes(key, text) for key, text in documents.items()}
    together = sum(map(len, values.values()))
    heads: dict[bytes, bytes] = {}
    chunks: list[tuple[bytes, bytes]] = []
    names: dict[bytes, str] = {}
    for key, value in sorted(values.items(), key=lambda one: -len(one[1])):
        if len(value) <= CHUNK and together <= INLINE:
            heads[key] = _WHOLE + value
            continue
        together -= len(value)
        names[key] = name = secrets.token_hex(8)
        parts = [value[first : first + CHUNK] for first in range(0, len(value), CHUNK)]
        chunks += [(layout.chunks(name) + f"{number:03}".encode(), part) for number, part in enumerate(parts)]
        heads[key] = _PARTS + f"{name}:{len(parts)}".encode()
    return Packed({key: heads[key] for key in values}, chunks, names)


def batches(chunks: Sequence[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """The parts in portions of one transaction each."""
    portion: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in chunks:
        if portion and (size + len(value) > INLINE or len(portion) == MOST_OPERATIONS):
            yield portion
            portion, size = [], 0
        portion.append((key, value))
        size += len(value)
    if portion:
        yield portion


def parts_name(head: bytes) -> str | None:
    """The name of a document's parts; None where it is whole."""
    return head[1:].decode().partition(":")[0] if head[:1] == _PARTS else None


def unpack(key: bytes, head: bytes, parts: Sequence[bytes] = ()) -> str:
    """The document; raises StoreError where a part is missing."""
    if head[:1] == _WHOLE:
        return head[1:].decode()
    _, _, count = head.decode(errors="replace").partition(":")
    if head[:1] != _PARTS or not count.isdecimal() or len(parts) != int(count):
        message = f"cannot be understood: {len(parts)} parts of {count or 'unknown'}"
        raise StoreError(Problem("store.damaged", key.decode(), message, "restore etcd from a snapshot (docs/etcd.md)"))
    return b"".join(parts).decode()


def _bytes(key: bytes, text: object) -> bytes:
    if not isinstance(text, str):
        raise StoreError(Problem("store.value", key.decode(), f"is no text but {type(text).__name__}", "nothing was written"))
    return text.encode()
