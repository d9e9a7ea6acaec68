"""The list of exposures as one, wherever controllers have led: this machine's, those that are named, and those that can be asked.

What could not be had is said: who led from when to when, and the commands that add it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from extproc import contract
from extproc.cli.client import Client
from extproc.errors import ExtprocError, Problem, SettingsError, StoreError
from extproc.store import Led, is_shared, open_shared
from extproc.store.exposures import Listing, Part, Told, Union, Wanted
from extproc.store.exposures.elsewhere import begins_late, leaders, not_here, not_known, others
from extproc.store.exposures.holes import missed
from extproc.transport import is_loopback

FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="SOURCE",
        help="Another controller's list, put together with this machine's: a file that --part has made, a directory with its files, or the "
        "URL of its API. Any number. Controllers that led and whose API is on a network are asked unasked.",
    ),
]
_SQLITE: Final = b"SQLite format 3\x00"
_SUFFIX: Final = "*.exposures"


@dataclass(slots=True)
class Affected:
    """What was found."""

    listing: Listing
    asked: tuple[str, ...]
    """Whose lists it is put together from; empty where it is this machine's alone."""
    partial: tuple[str, ...]
    """What is known to be missing: a sentence for each list."""
    rollouts: tuple[str, ...]
    """All that this machine's list knows of."""


@contextmanager
def affected(store: str, wanted: Wanted, given: Sequence[str], token_file: Path | None, now: float) -> Iterator[Affected]:
    """Everything that can be had; raises StoreError where that is nothing, SettingsError where what is given is no list."""
    with ExitStack() as ends:
        path = Path(contract.exposures_path(store))
        led, unknown = _leaders(store, wanted)
        own = ends.enter_context(closing(Listing(path, wanted, now))) if path.exists() or not (given or led) else None
        owners = own.owners() if own is not None else ()
        rollouts = own.rollouts() if own is not None else ()
        if own is not None and not given and not others(led, owners):
            yield Affected(own, (), unknown, rollouts)
            return
        directory = ends.enter_context(TemporaryDirectory(prefix="extproc-"))
        gathered = _Gathered(Path(directory), store, wanted, token_file, now)
        ends.enter_context(closing(gathered.union))
        if own is not None:
            gathered.add("this machine", own)
        for source in given:
            gathered.read(source)
        gathered.ask(led)
        if not gathered.union.lists:
            raise StoreError([Problem("exposures.none", str(path), one, "nothing could be read") for one in gathered.partial])
        listing = ends.enter_context(closing(gathered.union.listing(wanted, now)))
        yield Affected(listing, tuple(gathered.asked), (*gathered.partial, *unknown), rollouts)


def _leaders(store: str, wanted: Wanted) -> tuple[tuple[Led, ...], tuple[str, ...]]:
    """Who led; and, where the store does not answer, that nobody can say."""
    if not is_shared(store):
        return (), ()
    try:
        with closing(open_shared(store)) as opened:
            return leaders(opened, wanted), ()
    except StoreError as error:
        return (), (not_known(error.problems[0].message),)


class _Gathered:
    """One list after the other."""

    def __init__(self, directory: Path, store: str, wanted: Wanted, token_file: Path | None, now: float) -> None:
        self.union = Union(directory / "exposures")
        self.asked: list[str] = []
        self.partial: list[str] = []
        self._store, self._wanted, self._token_file, self._now = store, wanted, token_file, now

    def add(self, name: str, part: Part) -> None:
        """All of one list; raises what it raises."""
        self.union.add(part)
        self.asked.append(f"{name} ({', '.join(part.summary.owners)})" if part.summary.owners else name)

    def read(self, source: str) -> None:
        """What --from names. An API that does not answer is said; a path that is no list is a mistake, and raised."""
        if source.startswith(("http://", "https://")):
            try:
                self._ask(source)
            except ExtprocError as error:
                self.partial.append(f"{source} could not be asked: {error.problems[0].message}")
            return
        for path in _paths(Path(source)):
            with path.open("rb") as file:
                if file.read(len(_SQLITE)) == _SQLITE:
                    with closing(Listing(path, self._wanted, self._now)) as listing:
                        self.add(str(path), listing)
                else:
                    file.seek(0)
                    self.add(str(path), Told(str(path), file, self._wanted))

    def ask(self, led: Iterable[Led]) -> None:
        """Those that led and whose lists are not here, where a network reaches them; what is missing then is said."""
        led = tuple(led)
        for one in others(led, self._owners()):
            why = "its API is on its own machine alone"
            if one.api and not _is_private(one.api):
                why = f"{one.api} speaks without TLS, so it is asked only where it is named: --from {one.api}"
            elif one.api:
                try:
                    self._ask(one.api)
                    continue
                except ExtprocError as error:
                    why = f"{one.api}: {error.problems[0].message}"
            self.partial.append(not_here(one, self._wanted, self._store, why))
        for one in led:
            since, until = max(one.since, self._wanted.since or 0.0), one.until if one.until is not None else self._now
            span = missed(self.union.lists, one.name, since, until) if one.name in self._owners() else None
            if span is not None:
                self.partial.append(begins_late(one, span[1]))

    def _ask(self, address: str) -> None:
        wanted = self._wanted
        asked: dict[str, object] = {"rollout": wanted.rollout, "attempt": wanted.attempt, "phase": wanted.phase, "cohort": wanted.cohort}
        asked |= {"since": wanted.since, "until": wanted.until, "failed": "true" if wanted.failed else None}
        parameters = {name: str(value) for name, value in asked.items() if value is not None}
        with closing(Client(address, self._token_file, beside=False)) as client:
            self.add(address, Told(address, client.exposures(parameters), wanted))

    def _owners(self) -> set[str]:
        return {name for one in self.union.lists for name in one.owners}


def _is_private(address: str) -> bool:
    """True where what is shown there is not read on the way. The address is the store's word, and not that of whoever asks."""
    parts = urlsplit(address)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def _paths(path: Path) -> list[Path]:
    found = sorted(path.glob(_SUFFIX)) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        hint = "name a file that `extproc exposures ROLLOUT --part -o FILE` has made, or a directory with an extproc.db.exposures"
        raise SettingsError(Problem("settings.from", str(path), "is no list of exposures", hint))
    return found
