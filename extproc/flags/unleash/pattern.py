"""The part of the engine's pattern language (Rust's regex) whose meaning we can state exactly: pattern -> tree. The rest is refused.

Taken: literals, escaped punctuation, `\\n \\r \\t \\d \\D \\s \\S`, `.`, classes with ranges, `( )`, `(?: )`, `|`, `* + ? {n} {n,} {n,m}`
(lazy or not: only whether it matches counts), `^ $`, and a leading `(?i)`. What differs from Python's `re`: `$` is the very end and
not before a last newline, `\\d` and `\\s` are Unicode 17's, and letters without case follow Unicode's simple folding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from extproc.flags.unleash.letters import DIGIT_RUNS, WHITE_SPACE

Range = tuple[int, int]
Ranges = tuple[Range, ...]
LAST: Final = 0x10FFFF
NEWLINE: Final = 0x0A
MOST_REPEATS: Final = 200
"""Largest n or m of {n,m}: each copy costs states."""
DEEPEST: Final = 50
"""Nested groups; the engine itself allows 250."""
SPECIAL: Final = frozenset("\\.+*?()|[]{}^$")
PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;=?@[\\]^_`{|}~")
"""What a backslash makes literal; not < and >, which would be word boundaries."""
ESCAPED: Final = {"n": 0x0A, "r": 0x0D, "t": 0x09}
FOLDS: Final = {ord("k"): 0x212A, ord("s"): 0x17F}
"""Letters beyond ASCII that equal an ASCII letter without case: the Kelvin sign and the long s."""
REPEAT: Final = re.compile(r"\{([0-9]{1,4})(,([0-9]{0,4}))?\}")


class PatternError(Exception):
    """A pattern that we do not take; `hint` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of sorted, disjoint ranges."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Edge:
    """The start (`^`) or the end (`$`) of the text."""

    start: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` to `most` times; most None is without end."""

    node: Node
    least: int
    most: int | None


Node = Chars | Edge | Sequence | Choice | Repeat


def parse(text: str, ignore_case: bool) -> Node:
    """A pattern as a tree; raises PatternError."""
    if text.startswith("(?i)"):
        text, ignore_case = text[4:], True
    if text.endswith("\\"):
        raise PatternError("ends in a backslash", "write \\\\ for a backslash, and not last: the engine cannot read it there")
    if '\\"' in text:
        raise PatternError("an escaped quote", "write the quote without a backslash")
    if ignore_case and not text.isascii():
        raise PatternError("letters beyond ASCII without case", "switch case-insensitivity off, or spell both cases in a class")
    reader = _Reader(text, ignore_case)
    node = reader.choice(0)
    if reader.place < len(text):
        raise PatternError(f"an unopened ) at character {reader.place + 1}", "write \\) for a parenthesis")
    return node


def complement(ranges: Ranges) -> Ranges:
    """All other characters; ranges sorted and disjoint."""
    found: list[Range] = []
    start = 0
    for low, high in ranges:
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        found.append((start, LAST))
    return tuple(found)


def merged(ranges: list[Range]) -> Ranges:
    """The same characters in sorted, disjoint ranges."""
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


DIGITS: Final = merged([(start, start + 9) for start in DIGIT_RUNS])
SPACES: Final = merged([(ord(char), ord(char)) for char in WHITE_SPACE])
SHORT: Final = {"d": DIGITS, "D": complement(DIGITS), "s": SPACES, "S": complement(SPACES)}


class _Reader:
    """A recursive descent over the pattern's characters."""

    def __init__(self, text: str, ignore_case: bool) -> None:
        self.text = text
        self.ignore_case = ignore_case
        self.place = 0

    def choice(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise PatternError(f"more than {DEEPEST} nested groups", "split the pattern into several constraints")
        options = [self.sequence(depth)]
        while self.peek() == "|":
            self.place += 1
            options.append(self.sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(depth)))
        return Sequence(tuple(parts))

    def repeated(self, node: Node) -> Node:
        while True:
            char = self.peek()
            if char == "{":
                found = REPEAT.match(self.text, self.place)
                if found is None:
                    raise PatternError(f"a {{ at character {self.place + 1} that repeats nothing", "write \\{ for a brace")
                least = int(found[1])
                most = least if found[2] is None else int(found[3]) if found[3] else None
                self.place = found.end()
            elif char and char in "*+?":
                least, most = (1 if char == "+" else 0), (1 if char == "?" else None)
                self.place += 1
            else:
                return node
            if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
                raise PatternError(f"{{{least},{most}}} repeats", f"repeat at most {MOST_REPEATS} times, the smaller number first")
            if self.peek() == "?":  # lazy: matches the same texts
                self.place += 1
            node = Repeat(node, least, most)

    def atom(self, depth: int) -> Node:
        char = self.take()
        if char == "(":
            return self.group(depth)
        if char == "[":
            return self.bracket()
        if char == ".":
            return Chars(complement(((NEWLINE, NEWLINE),)))
        if char in "^$":
            return Edge(char == "^")
        if char == "\\":
            ranges = self.escape()
        elif char in SPECIAL:
            raise PatternError(f"{char} at character {self.place}", f"write \\{char} for the character itself")
        else:
            ranges = ((ord(char), ord(char)),)
        return Chars(self.folded(list(ranges)))

    def group(self, depth: int) -> Node:
        if self.text.startswith("?:", self.place):
            self.place += 2
        elif self.peek() == "?":
            raise PatternError(
                f"(? at character {self.place}", "only (?: ) and a leading (?i) are taken: leave names, flags and looking ahead out"
            )
        node = self.choice(depth + 1)
        if self.take() != ")":
            raise PatternError("an unclosed (", "close it, or write \\( for a parenthesis")
        return node

    def escape(self) -> Ranges:
        char = self.take()
        if char in SHORT:
            return SHORT[char]
        if char in PUNCTUATION:
            return ((ord(char), ord(char)),)
        if char in ESCAPED:
            return ((ESCAPED[char], ESCAPED[char]),)
        raise PatternError(f"\\{char} at character {self.place - 1}", "write the characters out in a class: [0-9A-Za-z_] for \\w")

    def bracket(self) -> Node:
        negated = self.peek() == "^"
        self.place += negated
        ranges: list[Range] = []
        while (char := self.take()) != "]" or not ranges:
            if not char:
                raise PatternError("an unclosed [", "close it, or write \\[ for a bracket")
            if char in "[]" or self.text[self.place - 1 : self.place + 1] in ("&&", "--", "~~"):
                raise PatternError(f"a class that holds {char!r} at character {self.place}", "escape [ ] & - ~ inside a class")
            item = self.escape() if char == "\\" else ((ord(char), ord(char)),)
            if self.peek() == "-" and self.text[self.place + 1 : self.place + 2] not in ("]", ""):
                item = self.range_from(item)
            ranges.extend(item)
        found = self.folded(ranges)
        return Chars(complement(found) if negated else found)

    def range_from(self, low: Ranges) -> Ranges:
        self.place += 1
        char = self.take()
        high = self.escape() if char == "\\" else ((ord(char), ord(char)),)
        if char in "[-" or len(low) != 1 or len(high) != 1 or high[0][0] < low[0][0]:
            raise PatternError(f"a range in a class that ends wrongly at character {self.place}", "escape a - that is meant literally")
        return ((low[0][0], high[0][0]),)

    def folded(self, ranges: list[Range]) -> Ranges:
        """The ranges, with the other case of each ASCII letter where case does not count."""
        if self.ignore_case:
            for low, high in tuple(ranges):
                for code in range(max(low, 0x41), min(high, 0x7A) + 1):
                    if chr(code).isalpha():
                        small = code | 0x20
                        ranges.extend((other, other) for other in (small, small ^ 0x20, FOLDS.get(small, small)))
        return merged(ranges)

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def take(self) -> str:
        char = self.peek()
        self.place += 1
        return char
