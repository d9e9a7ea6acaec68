"""Reading a header block fast is reading it right: remembered, by its outline, or by the library, the request is the same."""

from __future__ import annotations

from hpack import Encoder
from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman as by_nibbles
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import contract
from extproc.transport.native.errors import Code, ConnectionFault
from extproc.transport.native.fields import decode_huffman
from extproc.transport.native.headers import HeaderReader, Request
from extproc.transport.native.limits import DEFAULT, Limits
from tests.support.h2peer import block

LONG = Limits(memo=8)
"""Little is remembered, so that forgetting is tested too."""
USUAL = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", contract.PROCESS_METHOD.encode()),
    (b":authority", b"router"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]
NAMES = st.sampled_from(
    [
        b"traceparent",
        b"x-b3-traceid",
        b"x",
        b"user-agent",
        b"accept",
        b"grpc-timeout",
        b"content-length",
        b"te",
        b"connection",
        b":path",
        b":new",
        b"UPPER",
        b"",
        b"sp ace",
        b"x" * 140,
    ]
)
VALUES = st.one_of(
    st.text("0123456789abcdef-", max_size=60).map(str.encode),
    st.sampled_from([b"", b"5S", b"10", b"trailers", b" padded", b"tab\t", b"nul\0", b"line\r\n", b"v" * 126, b"v" * 127, b"v" * 300]),
    st.binary(max_size=12),
)
Field = tuple[bytes, bytes, int, bool]


def encode(fields: list[Field], first: bytes = b"") -> bytes:
    """A block: each field with its kind of literal (0x00, 0x10 never indexed, 0x40), Huffman coded or not."""
    encoded = first
    for name, value, kind, huffman in fields:
        one = bytearray(Encoder().encode([(name, value)], huffman=huffman))
        if one[0] < 0x80:
            index = one[0] & 0x3F
            if kind == 0x40:
                one[0] = 0x40 | index
            elif index < 0x0F:
                one[0] = kind | index
            else:
                one[0:1] = bytes((kind | 0x0F, index - 0x0F))
        encoded += bytes(one)
    return encoded


FIELD = st.tuples(NAMES, VALUES, st.sampled_from([0x00, 0x00, 0x10, 0x40]), st.booleans())
FIRST = st.sampled_from([b"", b"", b"\x20", b"\x21", b"\x3f\x00"])


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """A usual request with fields put in, swapped, or nothing usual at all."""
    huffman = draw(st.booleans())
    fields: list[Field] = [(name, value, 0x00, huffman) for name, value in USUAL]
    for extra in draw(st.lists(FIELD, max_size=4)):
        at = draw(st.sampled_from([len(fields), len(fields), draw(st.integers(0, len(fields)))]))
        fields.insert(at, extra)
    return encode(fields, draw(FIRST))


def reader() -> HeaderReader:
    """One whose peer has agreed that there is no dynamic table."""
    made = HeaderReader(LONG)
    made.settings_acknowledged()
    made.read(block())
    assert made.context_free
    return made


def outcome(reader: HeaderReader, sent: bytes) -> Request | Code:
    try:
        return reader.read(sent)
    except ConnectionFault as fault:
        return fault.code


class Library(HeaderReader):
    """The same, that remembers nothing and outlines nothing."""

    def read(self, block: bytes) -> Request:
        self.context_free = False
        return super().read(block)


def by_the_library(sent: bytes) -> Request | Code:
    plain = Library(LONG)
    plain.settings_acknowledged()
    plain.read(block())
    return outcome(plain, sent)


@settings(max_examples=300)
@given(st.lists(blocks(), min_size=1, max_size=12))
def test_every_way_to_read_a_block_agrees(sent: list[bytes]) -> None:
    """The first time, the second time, and after others were read."""
    fast = reader()
    for one in [*sent, *sent, sent[0]]:
        assert outcome(fast, one) == by_the_library(one)
        assert len(fast.memo) <= LONG.memo
        assert len(fast._outlines) <= LONG.memo


@settings(max_examples=300)
@given(blocks(), st.data())
def test_they_agree_on_damaged_blocks(sent: bytes, data: st.DataObject) -> None:
    """A byte changed, cut out or put in, in a block whose whole is already known."""
    fast = reader()
    outcome(fast, sent)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(sent) - 1)))
        sent = sent[:at] + data.draw(st.binary(max_size=2)) + sent[at + 1 :]
    expected = by_the_library(sent)
    assert outcome(fast, sent) == expected
    assert outcome(fast, sent) == expected


@given(st.binary(max_size=60))
def test_huffman_codes_are_read_as_the_library_reads_them(coded: bytes) -> None:
    """Two steps of its table in one."""
    try:
        expected = by_nibbles(coded)
    except HPACKDecodingError:
        expected = None
    assert decode_huffman(coded) == expected


def test_a_trace_id_costs_no_decoding() -> None:
    """Blocks that differ in plain fields share an outline, and none of their values is kept."""
    fast = reader()
    for number in range(100):
        extra: list[Field] = [(b"traceparent", b"00-%032x-%016x-01" % (number, number), 0x00, True), (b"x-id", b"%d" % number, 0x10, False)]
        request = fast.read(encode([(name, value, 0x00, True) for name, value in USUAL] + extra))
        assert not request.malformed
    assert len(fast._outlines) == 1
    assert len(fast.memo) <= 1, "a field that must never be indexed was remembered"


def test_long_lists_are_refused_by_outline_too() -> None:
    """The list counts with what was taken out of it, once the outline is known."""
    limits = Limits(header_list=1_000)
    fast = HeaderReader(limits)
    fast.settings_acknowledged()
    fast.read(block())
    usual: list[Field] = [(name, value, 0x00, False) for name, value in USUAL]
    assert not fast.read(encode([*usual, (b"x-a", b"1", 0x00, False)])).malformed
    assert not fast.read(encode([*usual, (b"x-a", b"1" * 250, 0x00, False)])).malformed
    many = [*usual, *((b"x-a", b"1" * 250, 0x00, False) for _ in range(4))]
    assert outcome(fast, encode(many)) == Code.ENHANCE_YOUR_CALM
    assert DEFAULT.header_list > 1_000
