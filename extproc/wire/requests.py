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

from extproc import contract
from extproc.domain import Subject
from extproc.pb.ext_proc_pb2 import ProcessingRequest


def read_subject(message: bytes) -> Subject | None:
    """The headers of a ProcessingRequest, or None if it is not about request headers.

    A header that is there twice counts with its last value; the requested model, where Envoy forwards it, is added under
    `contract.REQUEST_MODEL`. Raises google.protobuf.message.DecodeError on bytes that are no ProcessingRequest.
    """
    for layout in _LAYOUTS.get(message[:_KEY], ()):
        if len(message) >= layout.size:
            fields = layout.unpack(message)
            if fields[::2] == layout.heads:
                rest = message[layout.size :]
                if rest not in _RESTS:
                    break
                subject = dict(zip(layout.names, fields[1::2]))  # noqa: B905 - as long as each other, by the format
                model = _RESTS[rest]
                if model is not None:
                    subject[contract.REQUEST_MODEL] = model
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
    subject = {header.key: header.raw_value for header in headers}
    subject.pop(contract.REQUEST_MODEL, None)
    for header in headers:
        _learn_head(header.key, len(header.raw_value))
    model = _model(request)
    if model is not None:
        subject[contract.REQUEST_MODEL] = model
    return subject


def _model(request: ProcessingRequest) -> bytes | None:
    if not request.HasField("metadata_context") or contract.REQUEST_NAMESPACE not in request.metadata_context.filter_metadata:
        return None
    fields = request.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].fields
    return fields[contract.REQUEST_MODEL_FIELD].string_value.encode()


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
        model = _RESTS[message[end:]]
    except IndexError:
        return None
    except KeyError:
        if at == end:
            _learn_rest(message[end:])
        return None
    _learn_layout(message[:_KEY], heads, names, values)
    subject = dict(zip(names, values, strict=True))
    if model is not None:
        subject[contract.REQUEST_MODEL] = model
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
_RESTS: dict[bytes, bytes | None] = {b"": None}
"""What stands behind the headers (metadata, never a header) to the requested model in it."""
_MOST_RESTS = 256
_LONGEST_REST = 2_048
_LONGEST_SECTION = 127 | 127 << 7
"""Bytes that a length of two bytes can tell; longer ones are parsed."""


def _learn_head(name: str, size: int) -> None:
    key = name.encode()
    if len(key) > _LONGEST_NAME or size > _LONGEST_VALUE or name == contract.REQUEST_MODEL:
        return
    if len(_HEADS) >= _MOST_HEADS:
        _HEADS.clear()
    inner = b"\x0a%c%b\x1a%b" % (len(key), key, _varint(size))
    _HEADS[b"\x0a%b%b" % (_varint(len(inner) + size), inner)] = name, size


def _varint(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128, number >> 7))


def _learn_rest(rest: bytes) -> None:
    """Remember what stands behind the headers, if it is a message of its own that says nothing of headers."""
    if len(rest) > _LONGEST_REST:
        return
    if len(_RESTS) >= _MOST_RESTS:
        _RESTS.clear()
    try:
        request = ProcessingRequest.FromString(rest)
    except DecodeError:
        return
    if request.WhichOneof("request") is None:
        _RESTS[rest] = _model(request)
