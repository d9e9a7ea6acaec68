"""Strangers' text inside a prompt: in blocks whose borders it cannot write. Pure.

A border is a line that begins with `<<<` and ends with a nonce that nobody could know before the text was written. Each line of a text
begins with `| `: whatever it holds, it holds no line that begins as a border does, even where the nonce were known. What no reader would
see (invisible letters, changes of direction) is taken out, and words that a model's tokenizer takes for its own controls are broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

QUOTE: Final = "| "
NONCE_LENGTH: Final = 16
"""Least hex digits of a nonce: 64 bits, of which one try in 1.8e19 is right."""

_NONCE: Final = re.compile(rf"[0-9a-f]{{{NONCE_LENGTH},64}}")
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f\x80-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""Controls, marks of direction, blanks without width, tags and the variation selectors in which whole sentences have been hidden. The
joiners U+200C and U+200D stay: Persian, Hindi and emoji are written with them."""
_HALF: Final = re.compile("[\ud800-\udfff]")
_CONTROL_WORD: Final = re.compile(
    r"[<＜](?=[|｜][^<>|｜\n]{1,64}[|｜][>＞])|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn)>)|\[(?=/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS)\])|<(?=</?SYS>>)",
    re.IGNORECASE,
)
"""Where a word begins that some model's chat template has as a token of its own, such as <|im_start|>; a server may read it as such."""
_BORDER: Final = re.compile(r"<<<(END )?([A-Z]+)(?: ([A-Za-z0-9 ]+))? ([0-9a-f]+)>>>")


@dataclass(frozen=True, slots=True)
class Block:
    """One block as it is read back."""

    kind: str
    """ANSWER, TURN, CALL, CUT..."""
    label: str
    """Such as `1 user`; empty for none."""
    text: str
    """Without the quotes; a cut in it is a line of its own."""


def is_nonce(text: str) -> bool:
    """True where it can mark borders."""
    return _NONCE.fullmatch(text) is not None


def cleaned(text: str, nonce: str) -> str:
    """A stranger's text as it may stand in a block: what people would see of it, without the nonce."""
    text = _CONTROL_WORD.sub(r"\g<0> ", _HALF.sub("\ufffd", _INVISIBLE.sub("", text)))
    mark = re.compile(re.escape(nonce), re.IGNORECASE)
    while mark.search(text):  # taking one out may join the halves of another
        text = mark.sub("", text)
    return text


def shortened(text: str, most: int) -> tuple[str, int, str]:
    """(beginning, characters left out, end) so that at most `most` characters are left; the end is empty where nothing is left out."""
    if len(text) <= most:
        return text, 0, ""
    tail = most // 2
    return text[: most - tail], len(text) - most, text[len(text) - tail :]


def quoted(text: str) -> str:
    """Every line, by whatever character it ends, begins with the quote."""
    return "\n".join(QUOTE + line for line in text.splitlines() or [""])


def border(kind: str, nonce: str, label: str = "", end: bool = False) -> str:
    """The line before or after a block."""
    return f"<<<{'END ' if end else ''}{kind}{f' {label}' if label else ''} {nonce}>>>"


def block(kind: str, nonce: str, text: str, most: int, label: str = "") -> str:
    """A stranger's text between its borders; its middle is left out, and that is marked, where it is longer than `most`."""
    begin, left_out, end = shortened(text, most)
    lines = [border(kind, nonce, label), quoted(cleaned(begin, nonce))]
    if left_out:
        lines += [border("CUT", nonce, f"{left_out} characters left out"), quoted(cleaned(end, nonce))]
    return "\n".join([*lines, border(kind, nonce, label, end=True)])


def read_blocks(content: str, nonce: str) -> Iterator[Block]:
    """The blocks of a prompt, in order: how whoever knows the nonce reads it. Lines outside of blocks are passed over."""
    kind, label, lines = "", "", [""]
    for line in content.split("\n"):
        found = _BORDER.fullmatch(line)
        if found is not None and found[4] == nonce:
            if found[1]:
                yield Block(kind, label, "\n".join(lines))
                kind = ""
            elif found[2] == "CUT":
                lines.append(f"[{found[3]}]")
            else:
                kind, label, lines = found[2], found[3] or "", []
        elif kind:
            lines.append(line.removeprefix(QUOTE))
