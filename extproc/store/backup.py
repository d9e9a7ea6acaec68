"""`extproc backup`: a copy of a store while it is written, and the way back: the same command with a backup as its source."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extproc.errors import Problem, StoreError
from extproc.store import faults, files, schema
from extproc.store.base import is_shared, path_of

PATIENCE: Final = 5.0
"""Seconds to wait for somebody who has locked the whole file; nobody's loop waits with us."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds."""

    generation: int
    """That of State; 0 where there is none yet."""
    entries: int
    """Of the Journal."""
    size: int
    """Bytes."""


def backup(url: str, destination: Path, force: bool = False) -> Copied:
    """Copy a store, verify the copy, and only then give it its name (mode 0600: it holds the key of the units' hashes).

    `force`: replace what is there, unless a controller has it open. Raises StoreError; the destination is then as it was.
    """
    if is_shared(url):
        hint = f"etcdctl --endpoints={url.removeprefix('etcd://').partition('/')[0].partition('?')[0]} snapshot save FILE (docs/etcd.md)"
        raise StoreError(Problem("store.backup", url, "etcd makes its own backups, of all that is in it", hint))
    source = path_of(url)
    if destination.exists() and not force:
        hint = "choose another name, or --force to replace it"
        raise StoreError(Problem("store.exists", str(destination), "is there already", hint))
    if destination.exists() and source.exists() and destination.samefile(source):
        raise StoreError(Problem("store.same", str(destination), "is the store itself", "choose another name"))
    try:
        with ExitStack() as undo:
            if files.lock_name(destination).exists():
                undo.callback(os.close, files.lock(destination))
            db = undo.enter_context(closing(files.connect(source, "ro", PATIENCE)))
            # Explained here already: what cannot be read is the source, whatever happens at the destination.
            _readable(db, source)
            temporary = files.copy_beside(db, destination)
            undo.callback(temporary.unlink, missing_ok=True)
            copied = _described(temporary)
            files.put_in_place(temporary, destination)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(faults.explain(destination, error)) from error
    return copied


def _readable(db: sqlite3.Connection, source: Path) -> None:
    try:
        schema.check(db, source)
        files.verify(db, source)
    except sqlite3.Error as error:
        raise StoreError(faults.explain(source, error)) from error


def _described(path: Path) -> Copied:
    with closing(files.connect(path, "ro", 0.0)) as db:
        state = db.execute("SELECT generation FROM state").fetchone()
        (entries,) = db.execute("SELECT count(*) FROM journal").fetchone()
    return Copied(state[0] if state is not None else 0, entries, path.stat().st_size)
