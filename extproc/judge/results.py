"""The file of an offline run's results: appended to, flushed to disk in batches, read again at the next start. One process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from extproc.errors import Problem, SettingsError
from extproc.judge.offline.records import Header, Line, Record, read, write_header, write_line

NAME: Final = "results.jsonl"
BATCH: Final = 16
"""Lines between two flushes to the disk: a power cut costs no more answers than these. A killed process loses none."""


class Results:
    """Of one directory. A context: after it the file is on the disk, and free."""

    def __init__(self, directory: Path, header: Header) -> None:
        """Makes the directory where there is none; reads what is there. Raises SettingsError where it is of something else, or in use."""
        self.path = directory / NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "give a directory that can be written with -o"
            raise SettingsError(Problem("judge.directory", str(directory), f"cannot be written: {error.strerror}", hint)) from error
        self._waiting = 0
        try:
            self._lock()
            self.record = self._read(header)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        os.close(self._file)

    def add(self, line: Line) -> None:
        """Write it down; from here on it is never asked again. Raises SettingsError where the disk does not take it."""
        self.record.take(line)
        self._write(write_line(line))
        self._waiting += 1
        if self._waiting >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Everything written is on the disk after this."""
        os.fsync(self._file)
        self._waiting = 0

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            hint = "wait for it, or give another directory with -o"
            raise SettingsError(Problem("judge.in-use", str(self.path), "another run writes to it", hint)) from error

    def _read(self, header: Header) -> Record:
        written = self.path.read_bytes()
        end = written.rfind(b"\n") + 1
        if end < len(written):  # a line that was torn when the machine went down: its question is asked again
            os.ftruncate(self._file, end)
        if not end:
            self._write(write_header(header))
            self.flush()
            return Record()
        return read(written[: end - 1].split(b"\n"), header, str(self.path))

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            hint = "make room; then run the command again, it goes on where it stopped"
            raise SettingsError(Problem("judge.results", str(self.path), f"cannot be written: {error.strerror}", hint)) from error
