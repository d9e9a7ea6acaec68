"""Context-free header blocks, field by field, for those that differ in fields without meaning for us: a trace id, metadata per request.

A block is cut into its fields by their lengths. A literal field whose name says nothing to a gRPC server ("plain") is checked and
replaced by one constant field; what is left, the *outline*, repeats and can be remembered by its bytes where the block cannot.
Anything unusual is left to the `hpack` library. A property test proves both ways equal. HOT where tracing is on.
"""

from __future__ import annotations

from typing import Final

from hpack import Decoder, HPACKError
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

MEANINGFUL: Final = frozenset(
    b":method :scheme :path :authority content-type content-length grpc-timeout te "
    b"connection proxy-connection keep-alive transfer-encoding upgrade".split()
)
"""Names that decide what a request means, or that must not be there; everything else that begins with a colon is meaningful too."""
STAND_IN: Final = b"\x00\x01x\x00"
"""A literal field `x` without value, in place of a plain one: order and number of fields stay visible."""
OVERHEAD: Final = 32
"""Bytes that RFC 9113 (6.5.2) adds to each field of a list."""
_REMEMBERED: Final = 256
_NAME_BYTES: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_BAD_VALUE: Final = frozenset(b"\0\r\n")
_EDGES: Final = (b" ", b"\t")
_LONGEST: Final = 127 + 127
"""The longest string whose length this reads; longer ones are left to the library."""


def well_formed_name(name: bytes) -> bool:
    """RFC 9113, 8.2.1: lower-case token characters."""
    return bool(name) and _NAME_BYTES.issuperset(name)


def well_formed_value(value: bytes) -> bool:
    """RFC 9113, 8.2.1: no NUL, CR or LF, no white space at its ends."""
    return _BAD_VALUE.isdisjoint(value) and value[:1] not in _EDGES and value[-1:] not in _EDGES


class Outliner:
    """Takes plain fields out of blocks; remembers names, never values."""

    def __init__(self) -> None:
        self._plain: dict[bytes, int] = {}
        """Representation of a name as it came (first byte included) to its length; 0 for a meaningful or malformed one."""

    def outline(self, block: bytes) -> tuple[bytes, int, bool] | None:
        """(outline, bytes that the plain fields take of the list beyond their stand-ins, whether one of them must never be indexed).

        None where the library should read the block.
        """
        parts: list[bytes] = []
        size, at, kept, end, secret = 0, 0, 0, len(block), False
        try:
            while at < end:
                first = block[at]
                if first >= 0x80 or first & 0xE0 == 0x20:
                    # An index, or a table size update: one byte, or the library's.
                    if first & 0x7F == 0x7F or first & 0xFF == 0x3F:
                        return None
                    at += 1
                    continue
                start, at = at, at + 1
                index = first & (0x3F if first & 0x40 else 0x0F)
                if not index:
                    length = block[at] & 0x7F
                    at += 1 + length
                    if length == 0x7F:
                        return None
                elif index == (0x3F if first & 0x40 else 0x0F):
                    # The index goes on in a second byte.
                    if block[at] > 0x7F:
                        return None
                    at += 1
                name = block[start:at]
                coded = block[at]
                length = coded & 0x7F
                at += 1
                if length == 0x7F:
                    length += block[at]
                    at += 1
                    if length > _LONGEST:
                        return None
                value_at, at = at, at + length
                plain = self._plain.get(name)
                if plain is None:
                    plain = self._learn(name)
                if plain:
                    value = block[value_at:at]
                    if coded & 0x80:
                        decoded = decode_huffman(value)
                        if decoded is None:
                            return None
                        value = decoded
                    if not well_formed_value(value):
                        return None
                    parts += block[kept:start], STAND_IN
                    kept = at
                    secret = secret or first & 0xF0 == 0x10
                    size += plain + len(value) - 1
        except IndexError:
            return None
        if at != end:
            return None
        parts.append(block[kept:])
        return b"".join(parts), size, secret

    def _learn(self, name: bytes) -> int:
        """What a name is, by the library; remembered by its bytes."""
        if len(self._plain) >= _REMEMBERED:
            self._plain.clear()
        decoder = Decoder()
        decoder.header_table_size = decoder.max_allowed_table_size = 0
        try:
            ((found, _),) = decoder.decode(name + b"\x00", raw=True)
        except (HPACKError, IndexError, ValueError):
            return 0
        plain = well_formed_name(found) and found not in MEANINGFUL
        self._plain[name] = len(found) if plain else 0
        return self._plain[name]


class _Steps(dict[int, tuple[int, bool, bytes]]):
    """(state << 8 | byte) to (next state, whether a string may end there, bytes that came out), two steps of the library's table in one.

    Filled as it is needed; at most 65,536 entries for the whole process.
    """

    def __missing__(self, key: int) -> tuple[int, bool, bytes]:
        state, out, flags = key >> 8, b"", 0
        for nibble in (key >> 4 & 15, key & 15):
            state, flags, symbol = HUFFMAN_TABLE[(state << 4) + nibble]
            if flags & HUFFMAN_FAIL:
                state = -1
                break
            if flags & HUFFMAN_EMIT_SYMBOL:
                out += bytes((symbol,))
        self[key] = found = state, bool(flags & HUFFMAN_COMPLETE), out
        return found


_STEPS: Final = _Steps()


def decode_huffman(coded: bytes) -> bytes | None:
    """The string of a Huffman code (RFC 7541, 5.2); None where it is none."""
    state, complete, steps = 0, True, _STEPS
    parts = []
    for byte in coded:
        state, complete, out = steps[state << 8 | byte]
        if state < 0:
            return None
        parts.append(out)
    return b"".join(parts) if complete else None
