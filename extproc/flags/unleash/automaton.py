"""A pattern as a table: searching costs one look-up per character, whatever the pattern. Built at load.

Requests choose the text, so a searcher that backtracks (Python's `re`) could be made to search for hours. The engine's own cannot, and
neither can this one: pattern tree -> states with empty moves (Thompson) -> sets of states as rows of a table.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from extproc.flags.unleash.pattern import LAST, Chars, Choice, Edge, Node, PatternError, Ranges, Repeat, Sequence

MOST_STATES: Final = 1_000
"""Before the sets are formed: bounds the time to compile."""
MOST_CELLS: Final = 5_000
"""Cells of the table: one per row and class of characters. Bounds memory and the time to compile (under a second)."""
ASCII: Final = 128
FOUND: Final = -1
"""Instead of a row: the text matches, whatever follows."""
TOO_LARGE: Final = "shorten repetitions like {n,m}, or split the pattern into several constraints"


class _States:
    """States with empty moves. State 0 accepts."""

    def __init__(self) -> None:
        self.free: list[list[int]] = [[]]
        self.at_start: list[int | None] = [None]
        self.at_end: list[int | None] = [None]
        self.on: list[tuple[Ranges, int] | None] = [None]

    def add(self, *free: int) -> int:
        if len(self.free) >= MOST_STATES:
            raise PatternError("a pattern of too many states", TOO_LARGE)
        self.free.append(list(free))
        self.at_start.append(None)
        self.at_end.append(None)
        self.on.append(None)
        return len(self.free) - 1

    def build(self, node: Node, then: int) -> int:
        """The state from which `node` and then `then` is looked for."""
        if isinstance(node, Chars):
            state = self.add()
            self.on[state] = (node.ranges, then)
            return state
        if isinstance(node, Edge):
            state = self.add()
            (self.at_start if node.start else self.at_end)[state] = then
            return state
        if isinstance(node, Sequence):
            for part in reversed(node.parts):
                then = self.build(part, then)
            return then
        if isinstance(node, Choice):
            return self.add(*(self.build(option, then) for option in node.options))
        return self.repeat(node, then)

    def repeat(self, node: Repeat, then: int) -> int:
        if node.most is None:
            again = self.add(then)
            self.free[again].append(self.build(node.node, again))
            state = again
        else:
            state = then
            for _ in range(node.most - node.least):
                state = self.add(then, self.build(node.node, state))
        for _ in range(node.least):
            state = self.build(node.node, state)
        return state

    def reach(self, states: set[int], at_start: bool, at_end: bool) -> frozenset[int]:
        """All states that empty moves lead to."""
        waiting = list(states)
        found = set(states)
        while waiting:
            state = waiting.pop()
            moves = list(self.free[state])
            if at_start and (move := self.at_start[state]) is not None:
                moves.append(move)
            if at_end and (move := self.at_end[state]) is not None:
                moves.append(move)
            fresh = set(moves) - found
            found |= fresh
            waiting.extend(fresh)
        return frozenset(found)


class Automaton:
    """Searches a pattern anywhere in a text."""

    __slots__ = ("_ascii", "_bounds", "_classes", "_ends", "_first", "_rows")

    def __init__(self, node: Node) -> None:
        states = _States()
        first = states.build(node, 0)
        ranges = [on[0] for on in states.on if on is not None]
        self._bounds = sorted({0, LAST + 1} | {low for one in ranges for low, _ in one} | {high + 1 for one in ranges for _, high in one})
        moves = self._moves(states)
        # Ranges whose characters lead everywhere to the same states are one class: \\d alone has 70 ranges.
        classes = {one: number for number, one in enumerate(dict.fromkeys(map(frozenset, moves)))}
        self._classes = tuple(classes[frozenset(one)] for one in moves)
        self._ascii = tuple(self._classes[bisect_right(self._bounds, code) - 1] for code in range(ASCII))
        self._rows: list[tuple[int, ...]] = []
        self._ends: list[bool] = []
        self._first = self._tabulate(states, first, [dict(one) for one in classes])

    def search(self, text: str) -> bool:
        """Whether the pattern matches somewhere in the text. HOT; raises nothing."""
        row = self._first
        rows, ascii_class, bounds, classes = self._rows, self._ascii, self._bounds, self._classes
        for code in map(ord, text):
            if row == FOUND:
                return True
            row = rows[row][ascii_class[code] if code < ASCII else classes[bisect_right(bounds, code) - 1]]
        return row == FOUND or self._ends[row]

    def _tabulate(self, states: _States, first: int, classes: list[dict[int, int]]) -> int:
        """Fill the table; answers the first row."""
        numbers: dict[tuple[frozenset[int], bool], int] = {}
        waiting: list[frozenset[int]] = []

        def number(found: frozenset[int], at_start: bool) -> int:
            if 0 in found:
                return FOUND
            key = (found, at_start)
            if key not in numbers:
                if len(numbers) * len(classes) >= MOST_CELLS:
                    raise PatternError("a pattern of too many combinations", TOO_LARGE)
                numbers[key] = len(numbers)
                self._ends.append(0 in states.reach(set(found), at_start, at_end=True))
                waiting.append(found)
            return numbers[key]

        restart = states.reach({first}, at_start=False, at_end=False)
        start = number(states.reach({first}, at_start=True, at_end=False), True)
        done = 0
        while done < len(waiting):
            here, done = waiting[done], done + 1
            row: list[int] = []
            for moves in classes:
                after = {moves[state] for state in here if state in moves}
                row.append(number(states.reach(after, at_start=False, at_end=False) | restart, False))
            self._rows.append(tuple(row))
        return start

    def _moves(self, states: _States) -> list[set[tuple[int, int]]]:
        """For each range of characters: (state, state after such a character)."""
        moves: list[set[tuple[int, int]]] = [set() for _ in self._bounds[:-1]]
        for state, on in enumerate(states.on):
            if on is None:
                continue
            for low, high in on[0]:
                for index in range(bisect_right(self._bounds, low) - 1, bisect_right(self._bounds, high)):
                    moves[index].add((state, on[1]))
        return moves
