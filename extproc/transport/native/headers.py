"""Header blocks -> requests. HPACK by the `hpack` library; blocks that cannot mean anything else are remembered by their bytes.

A block is context-free once the peer has acknowledged SETTINGS_HEADER_TABLE_SIZE = 0 *and* has said so in a block of its own (a table
size update to zero): from then on there is no dynamic table. Only whole, valid blocks are remembered, never those with a field that
must never be indexed (RFC 7541, 7.1.3), at most `limits.memo` of them. Blocks that are different each time, for a trace id in them,
are remembered by their outline (`fields`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpack import Decoder, HeaderTuple, HPACKError, OversizedHeaderListError

from extproc.transport.native.errors import Code, ConnectionFault
from extproc.transport.native.fields import OVERHEAD, Outliner, well_formed_name, well_formed_value
from extproc.transport.native.grpc import CONTENT_TYPE, METHODS, Method, timeout
from extproc.transport.native.limits import Limits

_CONNECTION_HEADERS: Final = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_BAD_VALUE: Final = frozenset(b"\0\r\n")
_AFTER_TYPE: Final = (b"", b"+", b";")
"""application/grpc, application/grpc+proto, application/grpc;charset=utf-8."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a header block asks for."""

    method: Method
    malformed: bool
    """RFC 9113, 8.1.1: a stream error."""
    timeout: float | None = None
    """Seconds."""
    content_length: int | None = None


MALFORMED: Final = Request(Method.FOREIGN, True)
USUAL: Final = Request(Method.PROCESS, False)
"""A decision is asked for, without a deadline: the one that is recognised by identity."""


class HeaderReader:
    """Reads the header blocks of one connection, in order."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoder = Decoder(max_header_list_size=limits.header_list)
        self._acknowledged = False
        self.context_free = False
        self.memo: dict[bytes, Request] = {}
        """Whole blocks."""
        self._outliner = Outliner()
        self._outlines: dict[bytes, tuple[Request, int]] = {}
        """Outlines, with the size of their lists."""

    def settings_acknowledged(self) -> None:
        """The peer has acknowledged our table size of 0."""
        self._acknowledged = True
        self._decoder.max_allowed_table_size = 0

    def read(self, block: bytes) -> Request:
        """The request of a block; raises ConnectionFault where the compression context is lost, or the list is too long."""
        known = self.memo.get(block)
        if known is not None:
            return known
        if self.context_free:
            request = self._read_outline(block)
            if request is not None:
                return request
        fields = self._decode(block)
        request = read_fields(fields)
        if self.context_free:
            if all(field.indexable for field in fields):
                self._remember(block, request)
        elif self._acknowledged and self._decoder.header_table_size == 0:
            self.context_free = True
        return request

    def _remember(self, block: bytes, request: Request) -> None:
        if len(block) <= self._limits.memo_block and not request.malformed:
            if len(self.memo) >= self._limits.memo:
                self.memo.clear()
            self.memo[block] = request

    def _read_outline(self, block: bytes) -> Request | None:
        """The request of a block that differs from others only in plain fields; None where it has none, or something is unusual."""
        found = self._outliner.outline(block)
        if found is None or found[0] == block:
            return None
        outline, more, secret = found
        known = self._outlines.get(outline)
        if known is None:
            if len(outline) > self._limits.memo_block:
                return None
            fields = self._decode(outline)
            known = read_fields(fields), sum(len(name) + len(value) + OVERHEAD for name, value in fields)
            if all(field.indexable for field in fields) and not known[0].malformed:
                if len(self._outlines) >= self._limits.memo:
                    self._outlines.clear()
                self._outlines[outline] = known
            else:
                secret = True
        request, size = known
        if size + more > self._limits.header_list:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "header list too long")
        if not secret:
            self._remember(block, request)
        return request

    def read_trailers(self, block: bytes) -> bool:
        """True where a block is well-formed as trailers."""
        fields = self._decode(block)
        return all(not name.startswith(b":") and _well_formed(name, value) for name, value in fields)

    def _decode(self, block: bytes) -> list[HeaderTuple]:
        try:
            return list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "header list too long") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "header block cannot be decoded") from error


def read_fields(fields: list[HeaderTuple]) -> Request:
    """The request in a list of fields, checked as RFC 9113 section 8 wants it."""
    pseudo: dict[bytes, bytes] = {}
    content_type, seconds, length = b"", None, None
    regular = False
    for name, value in fields:
        if name.startswith(b":"):
            if regular or name not in _PSEUDO or name in pseudo or not well_formed_value(value):
                return MALFORMED
            pseudo[name] = value
            continue
        regular = True
        if not _well_formed(name, value):
            return MALFORMED
        if name == b"content-type":
            content_type = value
        elif name == b"grpc-timeout":
            seconds = timeout(value)
            if seconds is None:
                return MALFORMED
        elif name == b"content-length":
            if not value.isdigit() or len(value) > 18 or (length is not None and length != int(value)):
                return MALFORMED
            length = int(value)
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        return MALFORMED
    if pseudo[b":method"] == b"CONNECT":
        return MALFORMED
    suffix = content_type[len(CONTENT_TYPE) :][:1]
    is_grpc = pseudo[b":method"] == b"POST" and content_type.startswith(CONTENT_TYPE) and suffix in _AFTER_TYPE
    method = METHODS.get(pseudo[b":path"], Method.UNKNOWN) if is_grpc else Method.FOREIGN
    request = Request(method, False, seconds, length)
    return USUAL if request == USUAL else request


def _well_formed(name: bytes, value: bytes) -> bool:
    if not well_formed_name(name) or name in _CONNECTION_HEADERS:
        return False
    return well_formed_value(value) and (name != b"te" or value.lower() == b"trailers")
