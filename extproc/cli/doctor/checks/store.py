"""The store's file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import ControllerSeen, Seen, StoreSeen

TOPIC = Topic("Store")
LITTLE: Final = 256 << 20
"""Bytes that should be left on the disk."""
LONG_WAL: Final = 64 << 20
"""A write-ahead log of so many bytes is not being folded back."""
OWNER_WRITES: Final = 0o200
OTHERS: Final = 0o077


def store(seen: Seen) -> Iterator[Finding]:
    """Readable, whole, writable, with room to grow, and with one writer."""
    file = seen.store
    if file.shared:
        yield from _shared(seen, file)
        return
    if file.problem:
        do = "is --store the controller's? May we read it (run as its user)? If it is damaged, restore a backup"
        yield TOPIC.wrong("store.unreadable", f"{file.path}: {file.problem}", do)
        return
    yield _whole(file)
    if not file.mode & OWNER_WRITES or not file.writable:
        do = "nothing can move: give the write permission back, or mount the file system for writing"
        yield TOPIC.wrong("store.read-only", f"{file.path} cannot be written (mode {file.mode:04o})", do)
    if file.mode & OTHERS:
        said = f"{file.path} is open to others (mode {file.mode:04o}); it holds the key of the units' hashes"
        yield TOPIC.note("store.open", said, "chmod 600, or 640 for the group of a router that runs as another user")
    if file.free < LITTLE:
        yield TOPIC.wrong(
            "store.disk", f"{_megabytes(file.free)} are left on its disk", "make room: a store that cannot grow moves nothing"
        )
    else:
        yield TOPIC.well("store.disk", f"{_megabytes(file.free)} are left on its disk")
    if file.wal > LONG_WAL:
        do = "a reader that never ends holds it: which process has the file open (fuser)?"
        yield TOPIC.wrong("store.wal", f"its write-ahead log has {_megabytes(file.wal)}", do)
    yield _writer(file, isinstance(seen.controller, ControllerSeen))
    if isinstance(seen.controller, ControllerSeen) and file.generation is not None:
        yield from _same(file, seen.controller)


def _shared(seen: Seen, file: StoreSeen) -> Iterator[Finding]:
    if file.problem:
        do = "is --store the controller's? Look at etcd: etcdctl endpoint health --cluster"
        yield TOPIC.wrong("store.unreadable", f"{file.path}: {file.problem}", do)
        return
    yield TOPIC.well("store.etcd", f"{file.path} answers")
    if isinstance(seen.controller, ControllerSeen):
        yield from _same(file, seen.controller)


def _whole(file: StoreSeen) -> Finding:
    said = f"{file.path}: {_megabytes(file.size)}"
    if not file.integrity:
        return TOPIC.note("store.integrity", f"{said}; checking it took too long and was given up")
    if file.integrity != "ok":
        do = "stop the controller, keep the file, restore a backup: State and Journal may be wrong"
        return TOPIC.wrong("store.damaged", f"{said}: {file.integrity}", do)
    return TOPIC.well("store.integrity", f"{said}, whole")


def _writer(file: StoreSeen, running: bool) -> Finding:
    if file.writer is None:
        return TOPIC.note("store.writer", "the kernel does not tell who has it open for writing")
    if not file.writer:
        make = TOPIC.note if running else TOPIC.wrong
        do = "start the controller" if not running else "the controller that answers uses another store, or runs in another container"
        return make("store.no-writer", "no process has it open for writing", do)
    return TOPIC.well("store.writer", f"process {file.writer} has it open for writing")


def _same(file: StoreSeen, controller: ControllerSeen) -> Iterator[Finding]:
    wanted = controller.status["generation"]
    if file.generation is not None and file.generation < wanted - 1:
        said = f"it holds generation {file.generation}, the controller has {wanted}"
        yield TOPIC.wrong("store.other", said, "is --store the file that this controller was started with?")


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
