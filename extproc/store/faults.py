"""What went wrong with the file, said so that a person can mend it: SQLite's and the system's errors become Problems at this one place.

| kind | Problem | what it is |
| --- | --- | --- |
| full | store.full | no room: SQLITE_FULL, ENOSPC, EDQUOT, a limit for the size of files |
| read_only | store.read-only | the file, its directory or its mount cannot be written |
| busy | store.busy | another process holds a transaction open |
| damaged | store.damaged | what is in the file cannot be relied on |
| other | store.file, store.gone, store.replaced, store.sqlite | the rest |

Only the first three end by themselves or by a hand that need not know extproc; for all of them the store goes on without a restart.
"""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from pathlib import Path
from typing import Final

from extproc.errors import Problem

LITTLE_ROOM: Final = 1 << 20
"""Bytes; with less than that left a write that failed has failed for want of room: SQLite does not hand on the system's error."""
_KINDS: Final = {"store.full": "full", "store.read-only": "read_only", "store.busy": "busy", "store.damaged": "damaged"}
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_OURS: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


def kind_of(problem: Problem) -> str:
    """The metric's label for a Problem of the store."""
    return _KINDS.get(problem.id, "other")


def explain(path: Path, error: sqlite3.Error | OSError) -> Problem:
    """A foreign error as ours."""
    if isinstance(error, OSError):
        return _of_system(path, error)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return full(path, str(error))
    if primary == sqlite3.SQLITE_READONLY:
        return read_only(path, str(error))
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return busy(path, str(error))
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return damaged(path, str(error))
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return _of_device(path, error, code)
    return Problem("store.sqlite", str(path), str(error), "unexpected: please report it, with the log's lines around it")


def full(path: Path, message: str) -> Problem:
    """There is no room."""
    hint = f"make room in {path.parent} (df -h; {path.name}-wal counts too); nothing moves until then, and it goes on by itself"
    return Problem("store.full", str(path), f"cannot be written: {message}", hint)


def read_only(path: Path, message: str) -> Problem:
    """It cannot be written by us."""
    hint = (
        f"make {path} and its directory writable for user {os.geteuid()} (ls -l, findmnt -T {path.parent}); "
        "nothing moves until then, and it goes on by itself"
    )
    return Problem("store.read-only", str(path), f"cannot be written: {message}", hint)


def busy(path: Path, message: str) -> Problem:
    """Somebody else is in a transaction."""
    hint = f"another process is in a transaction: find it (fuser {path}) and end it; nothing moves until then, and it goes on by itself"
    return Problem("store.busy", str(path), message, hint)


def damaged(path: Path, message: str) -> Problem:
    """Its content cannot be relied on."""
    hint = (
        f"stop the controller, keep a copy of the file, restore the newest backup (extproc backup sqlite:BACKUP {path} --force), start; "
        f"without a backup move {path} and {path.name}-wal away: every rollout then begins anew"
    )
    return Problem("store.damaged", str(path), message, hint)


def gone(path: Path) -> Problem:
    """For a reader: the file is not there any more. The writer puts it back."""
    return Problem("store.gone", str(path), "is no longer there", "the controller puts it back while it runs; else restore a backup")


def replaced(path: Path) -> Problem:
    """For the writer: another file has taken its place."""
    hint = (
        "nothing moves while it lies there: put the old file back, or restart the controller to go on with the new one "
        f"(to restore: stop, `extproc backup sqlite:BACKUP {path} --force`, start)"
    )
    return Problem("store.replaced", str(path), "is another file than the one that the controller opened", hint)


def _of_system(path: Path, error: OSError) -> Problem:
    if error.errno in _NO_ROOM:
        return full(path, str(error))
    if error.errno in _NOT_OURS:
        return read_only(path, str(error))
    return Problem("store.file", str(path), str(error), "is the path right, and is it yours to write?")


def _of_device(path: Path, error: sqlite3.Error, code: int) -> Problem:
    """SQLite only says that the system refused; the state of the disk says why."""
    message = f"{error} ({getattr(error, 'sqlite_errorname', 'unknown')})"
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return Problem("store.sqlite", str(path), message, f"is the path right? {path.parent} cannot be looked at")
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    written = code & 0xFF == sqlite3.SQLITE_IOERR
    if disk.f_flag & os.ST_RDONLY or (written and not _writable(path)):
        return read_only(path, message)
    if written and (disk.f_bavail * disk.f_frsize < LITTLE_ROOM or limited):
        return full(path, message + (" under a limit for the size of files (ulimit -f)" if limited else ""))
    if not path.exists():
        return Problem("store.sqlite", str(path), message, "is the path right? The controller makes the file when it starts")
    if not os.access(path, os.R_OK, effective_ids=True):
        hint = f"run as its owner, or give it to user {os.geteuid()} (ls -l {path})"
        return Problem("store.file", str(path), f"cannot be read: {message}", hint)
    if not _writable(path):
        return read_only(path, message)
    hint = "look at the disk (dmesg), quotas and limits (ulimit -n, ulimit -f); nothing moves until it can be used again"
    return Problem("store.sqlite", str(path), message, hint)


def _writable(path: Path) -> bool:
    """True where the file, its log and its directory may be written; an immutable file may not, not even by root."""
    there = (one for one in (path, Path(f"{path}-wal"), path.parent) if one.exists())
    return all(os.access(one, os.W_OK, effective_ids=True) for one in there)
