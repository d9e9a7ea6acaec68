"""Users whom the operator can name: their ids as the hashes that exposures are kept under. The only way an id appears in a list."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from extproc.assign.units import unit_source
from extproc.domain import Source, SourceKind
from extproc.errors import Problem, SettingsError

HASH_BYTES: Final = 8
LONGEST_LINE: Final = 8_192
"""Bytes; Envoy takes no longer header."""
_KEY: Final = "key"
_API_KEY: Final = unit_source(Source(SourceKind.API_KEY, _KEY))


def unit_hash(key: bytes, unit: bytes) -> str:
    """A unit's hash under a store's key, as routers make it: BLAKE2b behind the secret as a prefix."""
    hashed = blake2b(key, digest_size=HASH_BYTES)
    hashed.update(unit)
    return hashed.hexdigest()


def users(path: Path, key: bytes) -> Iterator[tuple[str, str]]:
    """(hash, id) for each line of a file: an id as the header, cookie or claim has it, or an API key's SHA-256 (hex)."""
    for line in _lines(path):
        yield unit_hash(key, line), line.decode("utf-8", "backslashreplace")


def api_keys(path: Path, key: bytes) -> Iterator[tuple[str, str]]:
    """(hash, name) for each line, which is an API key and, after white space, a name for its owner.

    Without a name the key's SHA-256 (hex) stands for it: a list must not carry keys.
    """
    for line in _lines(path):
        word, *names = line.removeprefix(b"Bearer ").split(maxsplit=1)
        unit = _API_KEY({_KEY: word})
        yield unit_hash(key, unit), (names[0] if names else unit).decode("utf-8", "backslashreplace")


def _lines(path: Path) -> Iterator[bytes]:
    """Those that are not empty, without spaces around; raises SettingsError where the file cannot be read."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    message = f"line {number} is longer than {LONGEST_LINE} bytes"
                    raise SettingsError(Problem("settings.ids", str(path), message, "one id on each line"))
                if line := line.strip():
                    yield line
    except OSError as error:
        raise SettingsError(Problem("settings.ids", str(path), f"cannot be read: {error.strerror}", "one id on each line")) from error
