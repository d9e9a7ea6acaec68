"""A request as Envoy sends it -> a Subject. HOT.

Three ways that mean the same, from the fastest to the most general; property tests prove that they agree on hostile bytes.
* *Layout*: Envoy sends the same headers in the same order, and values of the same lengths again and again. What stands between the values
  is then the same bytes: one `struct` cuts a message, one comparison of all heads proves that it was cut where it had to be.
* *Walk*: header by header; the bytes before each value are looked up, which gives name and length.
* *Parse*: by protobuf, whatever its shape.
Names and lengths are remembered, values never: there is no cache by message or unit.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct as Fields
from google.protobuf.struct_pb2 import Value

from extproc import contract
from extproc.domain import Subject
from extproc.pb.ext_proc_pb2 import ProcessingRequest


def read_subject(message: bytes) -> Subject | None:
    """The headers of a ProcessingRequest, or None if it is not about request headers.

    A header that is there twice counts with its last value. What Envoy forwards as metadata is added: the requested model under
    `contract.REQUEST_MODEL`, that the body speaks of provider-side state under `contract.REQUEST_STATE`, and verified claims under
    `contract.CLAIM_PREFIX` and their dotted path. Raises google.protobuf.message.DecodeError on bytes that are no ProcessingRequest.
    """
    for layout in _LAYOUTS.get(message[:_KEY], ()):
        if len(message) >= layout.size:
            fields = layout.unpack(message)
            if fields[::2] == layout.heads:
                rest = message[layout.size :]
                facts = _RESTS.get(rest)
                if facts is None:
                    facts = _behind(rest)
                    if facts is None:
                        break
                subject = dict(zip(layout.names, fields[1::2]))  # noqa: B905 - as long as each other, by the format
                subject.update(facts)
                return subject
    return _walk(message) or _parse(message)


class _Layout:
    """Where the values of a message's headers are, if what stands between them is what it was."""

    __slots__ = ("heads", "names", "size", "unpack")

    def __init__(self, heads: list[bytes], names: list[str], sizes: list[int]) -> None:
        cut = Struct("".join(f"{len(head)}s{size}s" for head, size in zip(heads, sizes, strict=True)))
        self.heads = tuple(heads)
        self.names = tuple(names)
        self.size = cut.size
        self.unpack = cut.unpack_from
        """head, value, head, value ..."""


_LAYOUTS: dict[bytes, tuple[_Layout, ...]] = {}
"""By the first bytes of a message: they hold the length of all headers together, and that of the first one."""
_KEY: Final = 8
_MOST_KEYS: Final = 1_024
_PER_KEY: Final = 3
"""Layouts that begin alike and are tried in turn. Where there are more, a message is walked."""


def _parse(message: bytes) -> Subject | None:
    """The meaning of a message, whatever its shape."""
    request = ProcessingRequest.FromString(message)
    if not request.HasField("request_headers"):
        return None
    headers = request.request_headers.headers.headers
    subject = {header.key: header.raw_value for header in headers if not header.key.startswith(_OURS)}
    for header in headers:
        _learn_head(header.key, len(header.raw_value))
    subject.update(_facts(request))
    return subject


_OURS: Final = "extproc."
"""No header that begins so is believed: Envoy's `forward_rules` let none through, and facts have such names."""


def _walk(message: bytes) -> Subject | None:
    """The one shape that Envoy sends, header by header, by their lengths; None for any other shape, or where something is new.

    request_headers first, holding a HeaderMap alone, its entries a key and a raw_value each; then anything that does not speak of
    headers. All bytes before a value are compared at once with those that must be there.
    """
    heads: list[bytes] = []
    names: list[str] = []
    values: list[bytes] = []
    try:
        begin, at, end = 0, *_section(message)
        while at < end:
            if message[at + 1] < 128:
                value = at + message[at + 3] + 6
            else:
                # A long entry has a length of two bytes, and its value mostly too.
                value = at + message[at + 4] + 7
                if message[value - 1] > 127:
                    value += 1
            name, size = _HEADS[message[at:value]]
            heads.append(message[begin:value])
            names.append(name)
            begin = at = value + size
            values.append(message[value:at])
        if at != end:
            return None
    except (IndexError, KeyError):
        return None
    facts = _behind(message[end:])
    if facts is None:
        return None
    _learn_layout(message[:_KEY], heads, names, values)
    subject = dict(zip(names, values, strict=True))
    subject.update(facts)
    return subject


def _section(message: bytes) -> tuple[int, int]:
    """(where the headers begin, where they end); both 1 and 0 for a message that is not of that shape. May raise IndexError."""
    size, at = message[1], 2
    if size > 127:
        size, at = size & 127 | message[2] << 7, 3
    end = at + size
    if message[0] != 0x12 or message[at] != 0x0A or end > len(message) or size > _LONGEST_SECTION:
        return 1, 0
    size, at = message[at + 1], at + 2
    if size > 127:
        size, at = size & 127 | message[at] << 7, at + 1
    return (at, end) if at + size == end else (1, 0)


def _learn_layout(key: bytes, heads: list[bytes], names: list[str], values: list[bytes]) -> None:
    known = _LAYOUTS.get(key, ())
    if len(known) >= _PER_KEY or not names:
        return
    if len(_LAYOUTS) >= _MOST_KEYS:
        _LAYOUTS.clear()
    _LAYOUTS[key] = (*known, _Layout(heads, names, [len(value) for value in values]))


_HEADS: dict[bytes, tuple[str, int]] = {}
"""What stands before a header's value (its entry's tag and length, its name with tag and length, the value's tag and length), to the
name and the length. Lengths and names are remembered, values never."""
_MOST_HEADS = 16_384
_LONGEST_NAME, _LONGEST_VALUE = 100, 1_023
"""Longer ones are parsed each time."""
Facts = tuple[tuple[str, bytes], ...]
_RESTS: dict[bytes, Facts] = {b"": ()}
"""What stands behind the headers (metadata, never a header) to the facts in it, where they are the requested model and that there is
state: as many as there are models. Claims are a user's own and never remembered."""
_MOST_RESTS = 256
_LONGEST_REST = 2_048
_LONGEST_SECTION = 127 | 127 << 7
"""Bytes that a length of two bytes can tell; longer ones are parsed."""


def _learn_head(name: str, size: int) -> None:
    key = name.encode()
    if len(key) > _LONGEST_NAME or size > _LONGEST_VALUE or name.startswith(_OURS):
        return
    if len(_HEADS) >= _MOST_HEADS:
        _HEADS.clear()
    inner = b"\x0a%c%b\x1a%b" % (len(key), key, _varint(size))
    _HEADS[b"\x0a%b%b" % (_varint(len(inner) + size), inner)] = name, size


def _varint(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128, number >> 7))


def _behind(rest: bytes) -> Facts | None:
    """The facts behind the headers, if that is a message of its own that says nothing of headers; else None."""
    facts = _RESTS.get(rest)
    if facts is not None:
        return facts
    try:
        request = ProcessingRequest.FromString(rest)
    except DecodeError:
        return None
    if request.WhichOneof("request") is not None:
        return None
    facts = _facts(request)
    if len(rest) <= _LONGEST_REST and contract.JWT_NAMESPACE not in request.metadata_context.filter_metadata:
        if len(_RESTS) >= _MOST_RESTS:
            _RESTS.clear()
        _RESTS[rest] = facts
    return facts


# -------------------------------------------------------------------------------------------------------------------- metadata
_DEEPEST: Final = 8
"""Blocks within blocks of a token that are looked into."""


def _facts(request: ProcessingRequest) -> Facts:
    """What Envoy has found out about a request, apart from its headers."""
    if not request.HasField("metadata_context"):
        return ()
    found: list[tuple[str, bytes]] = []
    metadata = request.metadata_context.filter_metadata
    if contract.REQUEST_NAMESPACE in metadata:
        fields = metadata[contract.REQUEST_NAMESPACE].fields
        if contract.REQUEST_MODEL_FIELD in fields:
            found.append((contract.REQUEST_MODEL, fields[contract.REQUEST_MODEL_FIELD].string_value.encode()))
        if contract.REQUEST_STATE_FIELD in fields:
            found.append((contract.REQUEST_STATE, b"1"))
    if contract.JWT_NAMESPACE in metadata:
        fields = metadata[contract.JWT_NAMESPACE].fields
        if contract.JWT_FIELD in fields:
            _claims(fields[contract.JWT_FIELD].struct_value, contract.CLAIM_PREFIX, _DEEPEST, found)
    return tuple(found)


def _claims(block: Fields, prefix: str, depth: int, found: list[tuple[str, bytes]]) -> None:
    """Claims by dotted path, as texts; entries of a list joined by NUL, and a text with a NUL of its own left out."""
    for name in block.fields:
        value = block.fields[name]
        if value.HasField("struct_value"):
            if depth:
                _claims(value.struct_value, f"{prefix}{name}.", depth - 1, found)
        elif value.HasField("list_value"):
            entries = [_claim(entry) for entry in value.list_value.values]
            found.append((prefix + name, b"\0".join(entry for entry in entries if entry)))
        else:
            found.append((prefix + name, _claim(value)))


def _claim(value: Value) -> bytes:
    if value.HasField("string_value"):
        text = value.string_value.encode()
        return b"" if b"\0" in text else text
    if value.HasField("bool_value"):
        return b"true" if value.bool_value else b"false"
    if value.HasField("number_value"):
        number = value.number_value
        return (f"{number:.0f}" if number.is_integer() else repr(number)).encode()
    return b""
