"""What an attempt did to people: requests of the canary, failed ones, when, in which phase and cohort, and what they cost. Additive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol

from extproc.domain import Prices, Spec

MILLION: Final = 1_000_000
STEPS: Final = (1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86_400)
"""Seconds of a row: the shortest with which there are few enough."""
MOST_ROWS: Final = 15


class Line(Protocol):
    """A request that met the canary, as the list of exposures has it."""

    @property
    def generation(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def cohort(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def failed(self) -> bool: ...
    @property
    def answered_by(self) -> str: ...
    @property
    def input_tokens(self) -> int | None: ...
    @property
    def cached_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...


@dataclass(slots=True)
class Cell:
    """Requests of one visit of a phase, and of one cohort."""

    requests: int = 0
    failed: int = 0
    first: float = float("inf")
    """Starts of the first and of the last one (Unix seconds)."""
    last: float = 0.0
    first_failed: float = float("inf")
    """When the first one had failed."""

    def add(self, other: Cell) -> None:
        """Both together."""
        self.requests += other.requests
        self.failed += other.failed
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.first_failed = min(self.first_failed, other.first_failed)


@dataclass(slots=True)
class Impact:
    """All of them. `visit`: the generation whose seconds are told apart."""

    prices: Mapping[str, Prices]
    """By Envoy's cluster that answers."""
    stable: Prices | None
    visit: int
    cells: dict[tuple[int, str, str], Cell] = field(default_factory=dict)
    """By (generation, phase, cohort)."""
    seconds: dict[int, list[int]] = field(default_factory=dict)
    """Of the visit: whole second of the start -> requests, failed."""
    spent: Decimal = Decimal(0)
    """USD for the answers."""
    instead: Decimal = Decimal(0)
    """USD that stable would have taken for as many tokens."""
    priced: int = 0
    """Requests whose price is known."""

    def add(self, lines: Iterable[Line]) -> None:
        """Some more."""
        for line in lines:
            cell = self.cells.setdefault((line.generation, line.phase, line.cohort), Cell())
            cell.requests += 1
            cell.first, cell.last = min(cell.first, line.start), max(cell.last, line.start)
            if line.failed:
                cell.failed += 1
                cell.first_failed = min(cell.first_failed, line.start + (line.seconds or 0.0))
            if line.generation == self.visit:
                second = self.seconds.setdefault(int(line.start), [0, 0])
                second[0] += 1
                second[1] += line.failed
            self._pay(line)

    def _pay(self, line: Line) -> None:
        prices = self.prices.get(line.answered_by)
        if prices is None or line.input_tokens is None:
            return
        self.priced += 1
        self.spent += _usd(prices, line)
        if self.stable is not None:
            self.instead += _usd(self.stable, line)

    def together(self, before: float = float("inf"), cohort: str | None = None) -> Cell:
        """Visits before a generation; of one cohort, or of all."""
        found = Cell()
        for (generation, _, name), cell in self.cells.items():
            if generation < before and cohort in (None, name):
                found.add(cell)
        return found

    def of_visit(self) -> Cell:
        """The visit that is told apart."""
        found = Cell()
        for (generation, _, _), cell in self.cells.items():
            if generation == self.visit:
                found.add(cell)
        return found

    def by(self, place: int) -> dict[str, Cell]:
        """By phase (1) or by cohort (2), in the order of their first request."""
        found: dict[str, Cell] = {}
        for key, cell in sorted(self.cells.items(), key=lambda item: item[1].first):
            found.setdefault(str(key[place]), Cell()).add(cell)
        return found

    def grown(self) -> list[tuple[int, int, int]]:
        """(second at which a row begins, requests, failed) of the visit, oldest first, at most MOST_ROWS."""
        if not self.seconds:
            return []
        begin, end = min(self.seconds), max(self.seconds)
        step = next((one for one in STEPS if end // one - begin // one < MOST_ROWS), STEPS[-1])
        rows: dict[int, list[int]] = {second: [0, 0] for second in range(begin // step * step, end + 1, step)}
        for second, (requests, failed) in self.seconds.items():
            row = rows[second // step * step]
            row[0] += requests
            row[1] += failed
        return [(second, *counts) for second, counts in sorted((second, (row[0], row[1])) for second, row in rows.items())][-MOST_ROWS:]


def prices_of(spec: Spec) -> dict[str, Prices]:
    """By Envoy's cluster; models without prices are left out."""
    return {backend.cluster: model.prices for model in spec.models.values() if model.prices is not None for backend in model.backends}


def _usd(prices: Prices, line: Line) -> Decimal:
    cached = line.cached_tokens or 0
    fresh = (line.input_tokens or 0) - cached
    return (fresh * prices.input + cached * prices.cached_input + (line.output_tokens or 0) * prices.output) / MILLION
