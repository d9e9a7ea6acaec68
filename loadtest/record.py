"""Records what the real Envoy sends to a router: header blocks and one message, on each transport. `python -m loadtest.record`

A proxy stands between Envoy and router, on Unix sockets. The recording (loadtest/recorded.json) is what benchmark and budget are made
of; a test records again and compares.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from extproc import contract
from extproc.demo import stand
from extproc.demo.processes import Processes
from extproc.transport import TransportName
from loadtest.geography import write_country_database

RECORDED: Final = Path(__file__).with_name("recorded.json")
REQUESTS: Final = 4
USER: Final = "user-0"
HEADERS: Final = {"authorization": "Bearer sk-0123456789abcdef0123456789abcdef", "x-user-id": USER, "x-user-tier": "paid"}
"""What a client behind an authenticating proxy sends: a key, and who it is."""
_HEAD: Final = 9
_DATA, _HEADERS, _RST_STREAM = 0, 1, 3
_PREFACE: Final = 24


@dataclass(frozen=True, slots=True)
class Recording:
    """Of one transport. `blocks`: hex of the header blocks of the first streams, the last of which is sent from then on."""

    blocks: list[str]
    flags: list[int]
    """Of each stream's DATA frame: 1 would end the stream."""
    after: list[int]
    """Frame types that Envoy sends on a stream once it has its answer."""
    code: int
    """Of its RST_STREAM."""


def main() -> None:
    """Write the recording."""
    RECORDED.write_text(json.dumps(asyncio.run(record()), indent=1) + "\n")


async def record() -> dict[str, Any]:
    """Recordings by transport, and the gRPC message (hex) of the last request."""
    found: dict[str, Any] = {}
    for transport in TransportName:
        sent = await _session(transport)
        streams = sorted({sid for _, _, sid, _ in sent if sid})
        by_kind = {
            kind: {sid: (flags, payload) for one, flags, sid, payload in sent if one == kind} for kind in (_DATA, _HEADERS, _RST_STREAM)
        }
        found[transport.value] = asdict(
            Recording(
                [by_kind[_HEADERS][sid][1].hex() for sid in streams],
                [by_kind[_DATA][sid][0] for sid in streams],
                sorted({kind for kind, _, sid, _ in sent if sid and kind not in (_DATA, _HEADERS)}),
                int.from_bytes(by_kind[_RST_STREAM][streams[0]][1], "big"),
            )
        )
        found["message"] = by_kind[_DATA][streams[-1]][1][5:].hex()
    return found


async def _session(transport: TransportName) -> list[tuple[int, int, int, bytes]]:
    """Frames (kind, flags, stream, payload) of the connection on which Envoy asked for decisions."""
    async with Processes() as processes, AsyncExitStack() as closing:
        document = stand.template()
        ports = stand.Ports.free(processes.directory)
        models = {name: await stand.ModelHandle.start(processes, name, 1, {}) for name in document["models"]}
        stand.fill(document, ports, {name: model.port for name, model in models.items()})
        document["listener"]["geoip"] = {"database": str(write_country_database(processes.directory / "country.mmdb"))}
        del document["listener"]["set_by"]["x-geo-country"]
        spec = stand.write_spec(document, processes.directory)
        await stand.start_router(processes, spec, ports, 1, "25%", transport)
        sent: list[bytearray] = []
        front, back = (contract.endpoints(listen, 1)[0].removeprefix("unix:") for listen in (f"{ports.router}.proxy", ports.router))
        proxy = await asyncio.start_unix_server(lambda reader, writer: _relay(reader, writer, back, sent), front)
        closing.push_async_callback(proxy.wait_closed)
        closing.callback(proxy.close)
        await stand.start_envoy(processes, spec, replace(ports, router=f"{ports.router}.proxy"), 1)
        await _ask(ports.listener, next(iter(document["models"])))
    (asked,) = (frames for frames in map(_frames, sent) if any(kind == _RST_STREAM for kind, *_ in frames))
    return asked


async def _ask(port: int, model: str) -> None:
    """Requests one after the other, each of which has reset its stream before the next begins."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=HEADERS, trust_env=False) as client:
        for _ in range(REQUESTS):
            body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
            (await client.post("/v1/chat/completions", json=body)).raise_for_status()
            await asyncio.sleep(0.05)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: str, sent: list[bytearray]) -> None:
    """One connection of Envoy; what it says is kept."""
    kept = bytearray()
    sent.append(kept)
    to_reader, to_writer = await asyncio.open_unix_connection(back)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, keep: bytearray | None) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if keep is not None:
                    keep += data
                target.write(data)
                await target.drain()
        target.close()

    await asyncio.gather(pump(reader, to_writer, kept), pump(to_reader, writer, None))


def _frames(data: bytearray) -> list[tuple[int, int, int, bytes]]:
    found, at = [], _PREFACE
    while at + _HEAD <= len(data):
        end = at + _HEAD + int.from_bytes(data[at : at + 3], "big")
        found.append((data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big"), bytes(data[at + 9 : end])))
        at = end
    return found


if __name__ == "__main__":
    main()
