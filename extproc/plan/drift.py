"""What became of a release folder: file by file, against what its Spec says now.

A file is known by three texts: as the Spec makes it now, as it was written (its hash in the manifest), and as it is there. One that is not
as it was written was changed by a person. One that is, and yet not as the Spec makes it now, was made from another Spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from extproc.plan import manifest
from extproc.plan.manifest import MANIFEST, Manifest, hashed


class DriftKind(StrEnum):
    """How a file differs from what the Spec makes."""

    MISSING = "missing"
    CHANGED = "changed by hand"
    OTHER_SPEC = "made from another Spec"
    OTHER_VERSION = "made by another version of extproc"
    LEFT_OVER = "left over: this Spec makes no such file"


@dataclass(frozen=True, slots=True)
class Drift:
    """One file that is not as the Spec makes it."""

    path: str
    kind: DriftKind
    line: int = 0
    """The first line that differs, from 1; 0 where there is nothing to compare."""
    wanted: str | None = None
    """That line as the Spec makes it; None beyond its end."""
    found: str | None = None
    """That line as it is there; None beyond its end."""


def known_paths(made: Mapping[str, str], kept: str | None) -> tuple[str, ...]:
    """Paths of a folder that are this room's business: those that the Spec makes, and those that a manifest speaks of. `kept`: the
    manifest's text; None where there is none."""
    known = manifest.read(kept) if kept is not None else None
    return tuple(sorted({*made, *(known.files if known is not None else ())}))


def drift(made: Mapping[str, str], there: Mapping[str, str]) -> tuple[Drift, ...]:
    """`made`: what the Spec makes, its manifest included. `there`: the texts of those `known_paths` that are there."""
    known, now = manifest.read(there.get(MANIFEST, "")), manifest.read(made[MANIFEST])
    assert now is not None
    found = []
    for path in sorted({*made, *there} - {MANIFEST}):
        if path not in there:
            found.append(Drift(path, DriftKind.MISSING))
        elif there[path] != made.get(path):
            found.append(_differing(path, _kind(path, made, there[path], known, now), made.get(path), there[path]))
    return (*found, *_manifest(made, there, known, now, bool(found)))


def blocking(made: Mapping[str, str], there: Mapping[str, str]) -> tuple[Drift, ...]:
    """What a person would lose if the folder were written anew."""
    return tuple(one for one in drift(made, there) if one.kind is DriftKind.CHANGED)


def _kind(path: str, made: Mapping[str, str], text: str, known: Manifest | None, now: Manifest) -> DriftKind:
    if known is None or known.files.get(path) != hashed(text):
        return DriftKind.CHANGED
    if path not in made:
        return DriftKind.LEFT_OVER
    return DriftKind.OTHER_SPEC if known.spec != now.spec else DriftKind.OTHER_VERSION


def _manifest(made: Mapping[str, str], there: Mapping[str, str], known: Manifest | None, now: Manifest, others: bool) -> tuple[Drift, ...]:
    if MANIFEST not in there:
        return (Drift(MANIFEST, DriftKind.MISSING),)
    if there[MANIFEST] == made[MANIFEST]:
        return ()
    if known is None:
        return (_differing(MANIFEST, DriftKind.CHANGED, made[MANIFEST], there[MANIFEST]),)
    if known.spec != now.spec:
        return (_differing(MANIFEST, DriftKind.OTHER_SPEC, made[MANIFEST], there[MANIFEST]),)
    # The same Spec, and other hashes: the files tell why, where one differs.
    return () if others else (_differing(MANIFEST, DriftKind.CHANGED, made[MANIFEST], there[MANIFEST]),)


def _differing(path: str, kind: DriftKind, made: str | None, text: str) -> Drift:
    if made is None:
        return Drift(path, kind)
    pairs = zip_longest(made.split("\n"), text.split("\n"))
    line, wanted, found = next((at, one, other) for at, (one, other) in enumerate(pairs, 1) if one != other)
    return Drift(path, kind, line, wanted, found)
