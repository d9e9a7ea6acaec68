"""The brain's Unix socket beside its store, for its owner alone: lines in, lines out; who misbehaves loses his connection."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from extproc.controller.talk import LONGEST_QUESTION
from extproc.errors import Problem, SettingsError
from extproc.transport.place import Place

LONGEST_PATH: Final = 107
"""Bytes of a Unix socket's path on Linux (sockaddr_un has 108, the last one is zero)."""
MOST: Final = 64
"""Connections at a time; one more is closed at once."""
TAKES: Final = 5.0
"""Seconds that a peer has for taking an answer."""

Answer = Callable[[bytes], bytes]
"""A line for a line; raises ValueError for what is no question."""

log = logging.getLogger(__name__)


class BrainSocket:
    """Serves `answer` until stopped."""

    def __init__(self, path: Path, answer: Answer) -> None:
        """Raises SettingsError where the path is too long for a socket."""
        self._place = Place(str(path))
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        # The temporary name is the longest that we bind.
        spare = LONGEST_PATH - len(os.fsencode(self._place.temporary))
        if spare < 0:
            message = f"is {-spare} bytes too long for the Unix socket beside it (at most {LONGEST_PATH} with its temporary name)"
            raise SettingsError(Problem("settings.store-path", str(path), message, "put the store in a directory with a shorter path"))

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        made = socket.socket(socket.AF_UNIX)
        try:
            self._place.clear()
            made.bind(str(self._place.temporary))
            # Nobody can connect before it listens, so nobody slips in before this.
            self._place.temporary.chmod(0o600)
            made.setblocking(False)
            self._server = await asyncio.start_unix_server(self._serve, sock=made, limit=LONGEST_QUESTION)
            self._place.take()
        except OSError as error:
            made.close()
            hint = "does the store's directory allow sockets, and is it yours to write?"
            raise SettingsError(Problem("settings.bind", str(self._place.temporary), f"cannot listen: {error}", hint)) from error

    async def stop(self) -> None:
        """Close, whoever is connected."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.transport.abort()
        self._place.leave()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                writer.write(self._answer(line))
                async with asyncio.timeout(TAKES):
                    await writer.drain()
        except ValueError as error:
            log.warning(
                "who asked over the controller's socket said what is no question (%s) and lost the connection", type(error).__name__
            )
        except (OSError, TimeoutError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
