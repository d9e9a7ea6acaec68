"""The name of a Unix socket: it never vanishes under those who connect, and is taken away only by the server that it leads to."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Place:
    """One path. A server binds `temporary`, then calls `take`: at every instant the path leads to the old socket or to the new one."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        self._inode = 0

    def clear(self) -> None:
        """Remove what an earlier process of our number has left under the temporary name; raises OSError."""
        self.temporary.unlink(missing_ok=True)

    def take(self) -> None:
        """Give the socket that listens its name; raises OSError."""
        inode = self.temporary.stat().st_ino
        self.temporary.rename(self._path)
        self._inode = inode

    @property
    def succeeded(self) -> bool:
        """True where another server has taken the name: whoever connects anew meets it."""
        try:
            return bool(self._inode) and self._path.stat().st_ino != self._inode
        except OSError:
            return False

    def leave(self) -> None:
        """Remove our own socket, never the one that a successor has put in its place."""
        with suppress(OSError):
            if self._inode and self._path.stat().st_ino == self._inode:
                self._path.unlink()
