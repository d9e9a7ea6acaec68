"""The text as a reader understands it, and the way back to what was written.

What hides a secret from patterns is undone, always one written piece for at most one character:
escapes of JSON (also doubled), entities of HTML, percent escapes, full-width and other digits, spaces and dashes of any kind, characters
that nobody sees, backticks, asterisks and tags of bold or code inside a word. A marker of an earlier redaction becomes `MARK`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from extproc.judge.redact.finds import CUT, MARK, Kind

_BLOCKS: Final = (
    *((0x80, 0x250), (0x300, 0x370), (0x600, 0x1100), (0x1680, 0x1900), (0x2000, 0x2070), (0x2200, 0x2220), (0x2460, 0x24FF)),
    *((0x3000, 0x3030), (0xA600, 0xAA60), (0xD800, 0xE000), (0xFE00, 0xFF00), (0xFF00, 0x10000), (0x1D400, 0x1D800)),
)
"""Where Unicode has characters that stand for others, or for nothing; looking at all of it takes longer and finds no more that matters."""
_QUOTES: Final = dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‘’‚‛", "'") | {"−": "-", "İ": "I", "\u034f": ""}
_REPLACED: Final = "\ufffd"

_ESCAPE: Final = re.compile(r"\\{1,16}(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrtbf\"'/]))")
_PERCENT: Final = re.compile(r"%(?:25){0,3}([2-7][0-9a-fA-F])")
_ENTITY: Final = re.compile(r"&(?:amp;)?(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_BOLD: Final = re.compile(
    r"(?<!\*)\*{2,3}(?!\*)|(?<![*\w])\*(?=\w)|(?<=\w)\*(?![*\w])|(?<=[^\W\d_])\*(?=\w)|(?<=\w)\*(?=[^\W\d_])",
)
"""Two or three asterisks, or one that hugs a word; not `2 * 3`, not the asterisks of what is already masked."""
_TICKS: Final = re.compile(r"`+")
_TAG: Final = re.compile(r"</?(?:b|i|u|em|strong|code|mark|wbr|tt)\s?/?>", re.IGNORECASE)
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " ", '"': '"', "'": "'", "/": "/"}


def _folded(char: str) -> str:
    """What a character stands for: itself, an ASCII character, or nothing."""
    if char in _QUOTES:
        return _QUOTES[char]
    category = unicodedata.category(char)
    if category == "Cf" or "\ufe00" <= char <= "\ufe0f":
        return ""
    if category == "Cs":
        return _REPLACED
    plain = {"Zs": " ", "Zl": "\n", "Zp": "\n", "Pd": "-"}.get(category)
    if plain is not None:
        return plain
    if category == "Nd":
        return str(unicodedata.decimal(char))
    same = unicodedata.normalize("NFKC", char)
    return same if len(same) == 1 and same.isascii() and category not in ("No", "Lo") else char


_FOLDS: Final = {
    char: folded for first, end in _BLOCKS for char in map(chr, range(first, end)) if char != MARK and (folded := _folded(char)) != char
}
_ASCII: Final = re.compile(r"[\\%&`*<\[]")
_SPECIAL: Final = re.compile(r"[\\%&`*<\[\U0001d400-\U0001d7ff" + "".join(re.escape(char) for char in _FOLDS if char <= "\uffff") + "]")
"""Beyond the first 65,536 characters a class is searched one by one: a range there is one."""


@dataclass(frozen=True, slots=True)
class View:
    """`text` is read, `written` is what it was made from; both are the same where nothing had to be undone."""

    text: str
    written: str
    ends: list[int] = field(default_factory=list)
    """Of each undone piece, in order: where it ends in `text`..."""
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """...and where it was written: start and end."""

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` was written; what stands for nothing at its edges (bold, invisible characters) is part of it."""
        if not self.ends:
            return start, end
        first = bisect_right(self.ends, start)
        last = bisect_right(self.ends, end - 1)
        begin = self.pieces[first][0] if self._is_inside(first, start) else start + self._shift(first)
        stop = self.pieces[last][1] if self._is_inside(last, end - 1) else end + self._shift(last)
        while first > 0 and self.pieces[first - 1][1] == begin and self._is_nothing(first - 1):
            first -= 1
            begin = self.pieces[first][0]
        last += self._is_inside(last, end - 1)
        while last < len(self.pieces) and self.pieces[last][0] == stop and self._is_nothing(last):
            stop = self.pieces[last][1]
            last += 1
        return begin, stop

    def _is_nothing(self, piece: int) -> bool:
        before = self.ends[piece - 1] + self.pieces[piece][0] - self.pieces[piece - 1][1] if piece else self.pieces[0][0]
        return self.ends[piece] == before

    def _is_inside(self, piece: int, position: int) -> bool:
        return piece < len(self.pieces) and self.ends[piece] - 1 == position and not self._is_nothing(piece)

    def _shift(self, pieces: int) -> int:
        """How far what comes behind so many pieces was written behind where it is read."""
        return self.pieces[pieces - 1][1] - self.ends[pieces - 1] if pieces else 0


@dataclass(frozen=True, slots=True)
class Viewer:
    """Makes views; knows the markers, so that what was redacted is not read again."""

    words: Collection[str] = tuple(Kind)
    _markers: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        words = "|".join(re.escape(word) for word in (*self.words, CUT))
        object.__setattr__(self, "_markers", re.compile(rf"\[(?:{words})\]"))

    def full(self, text: str) -> View:
        """Everything undone."""
        out: list[str] = []
        ends: list[int] = []
        pieces: list[tuple[int, int]] = []
        done = length = 0
        for special in (_ASCII if text.isascii() else _SPECIAL).finditer(text):
            start = special.start()
            if start < done:
                continue
            read, end = self._undone(text, start, special[0])
            if end == start:
                continue
            out += (text[done:start], read)
            length += start - done + len(read)
            ends.append(length)
            pieces.append((start, end))
            done = end
        return View("".join(out) + text[done:], text, ends, pieces) if pieces else View(text, text)

    def plain(self, text: str) -> View:
        """Only markers undone, for patterns that mean what was written."""
        out: list[str] = []
        ends: list[int] = []
        pieces: list[tuple[int, int]] = []
        done = length = 0
        for found in self._markers.finditer(text):
            out += (text[done : found.start()], MARK)
            length += found.start() - done + 1
            ends.append(length)
            pieces.append(found.span())
            done = found.end()
        return View("".join(out) + text[done:], text, ends, pieces) if pieces else View(text, text)

    def _undone(self, text: str, start: int, char: str) -> tuple[str, int]:
        """What the piece that begins here stands for, and its end; an end at the start where it stands for itself."""
        match char:
            case "[":
                found = self._markers.match(text, start)
                return (MARK, found.end()) if found else ("", start)
            case "\\":
                found = _ESCAPE.match(text, start)
                return (_escaped(found), found.end()) if found else ("", start)
            case "%":
                found = _PERCENT.match(text, start)
                return (chr(int(found[1], 16)), found.end()) if found and found[1].lower() != "7f" else ("", start)
            case "&":
                found = _ENTITY.match(text, start)
                read = html.unescape(f"&{found[1]};") if found else ""
                return (_FOLDS.get(read, read), found.end()) if found and len(read) == 1 else ("", start)
            case "`" | "*" | "<":
                found = {"`": _TICKS, "*": _BOLD, "<": _TAG}[char].match(text, start)
                return "", found.end() if found else start
        return (_FOLDS[char], start + 1) if char in _FOLDS else ("", start)


def _escaped(found: re.Match[str]) -> str:
    if found[3]:
        return _LETTERS[found[3]]
    char = chr(int(found[1] or found[2], 16))
    return _FOLDS.get(char, char)
