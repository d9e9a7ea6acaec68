"""A cable that can be cut: a Unix socket that passes everything on to another one, both ways, until somebody cuts it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

CHUNK: Final = 1 << 16


class Cable:
    """Between Envoy and the collector. Cut: connections end, and nobody listens any more."""

    def __init__(self, here: Path, there: Path) -> None:
        self._here, self._there = here, there
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        """Carry (again)."""
        self._server = await asyncio.start_unix_server(self._accept, str(self._here))

    async def cut(self) -> None:
        """Carry nothing."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._here.unlink(missing_ok=True)
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, for as long as both ends want it."""
        writers = [writer]
        try:
            with suppress(OSError):
                other_reader, other_writer = await asyncio.open_unix_connection(str(self._there))
                writers.append(other_writer)
                ways = [asyncio.create_task(_pass(reader, other_writer)), asyncio.create_task(_pass(other_reader, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for one in writers:
                one.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
