"""What a decision costs: microseconds of CPU, piece by piece, in one run on one machine. `make bench`.

Compare the ratios, not the absolutes. The message is the one that the real Envoy sends under the configuration rendered from
envoy/release.yaml (five headers and the requested model); the other has 14 headers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from extproc import contract, wire
from extproc import spec as spec_room
from extproc.assign import assign, derive, point, prepare
from extproc.domain import RolloutState, State, Status
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.router.processor import Processor
from extproc.transport import parse_address
from extproc.transport.grpcio import GrpcioServer

ROOT = Path(__file__).parents[1]
ROUNDS = 7
USERS = 10_000
EXTRA = ("accept", "user-agent", "content-type", "traceparent", "x-forwarded-for", "x-forwarded-proto", "x-app", "x-trace", "origin")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Microseconds per decision, piece by piece.")
    parser.add_argument("--output", type=Path, default=ROOT / "loadtest" / "reports" / "bench.json")
    given = parser.parse_args()
    results = {name: measured() for name, measured in track(list(_pieces().items()), "measuring")}
    results["grpcio transport, whole stream, 64 at a time"] = uvloop.run(_streams())
    console = Console()
    table = Table("piece", "µs of CPU", "per second", title="Cost of a decision", title_justify="left")
    for name, seconds in results.items():
        table.add_row(name, f"{seconds * 1e6:,.2f}", f"{1 / seconds:,.0f}")
    console.print(table)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    given.output.write_text(json.dumps({"seconds": results, **machine}, indent=2) + "\n")
    console.print(f"written to {given.output}", highlight=False)


def _pieces() -> dict[str, Callable[[], float]]:
    spec = spec_room.read(str(ROOT / "envoy" / "release.yaml"))
    prepared = prepare(spec)
    state = State(1, spec.digest, {name: RolloutState(Status.PROGRESSING, 2, 0.0, 1, 1, "", "") for name in spec.rollouts})
    snapshot = derive(prepared, state, wire.encode_reply)
    processor = Processor(snapshot, bytes(32))
    short, long = [_message(user, 0) for user in range(USERS)], [_message(user, len(EXTRA)) for user in range(USERS)]
    subjects = [subject for message in short if (subject := wire.read_subject(message)) is not None]
    ids = [f"user-{user}".encode() for user in range(USERS)]
    return {
        "whole decision, message of the rendered Envoy": lambda: _each(processor.process, short),
        "whole decision, 14 headers": lambda: _each(processor.process, long),
        "reading the message": lambda: _each(wire.read_subject, short),
        "assign": lambda: _each(lambda subject: assign(snapshot.layers[0], subject, subject[contract.REQUEST_ID_HEADER]), subjects),
        "hashing a unit": lambda: _each(lambda unit: point(b"model/gpt-5-mini/", unit), ids),
        "State -> Snapshot": lambda: _each(lambda _: derive(prepared, state, wire.encode_reply), list(range(200))),
    }


def _each(work: Callable[[Any], object], items: list[Any]) -> float:
    """Seconds of CPU per item: the best of several rounds, since noise only ever adds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - begin)
    return best / len(items)


async def _streams() -> float:
    """Seconds of the server's and the client's CPU together per ext_proc stream on a Unix socket, in this process."""
    spec = spec_room.read(str(ROOT / "envoy" / "release.yaml"))
    state = State(1, spec.digest, {name: RolloutState(Status.PROGRESSING, 2, 0.0, 1, 1, "", "") for name in spec.rollouts})
    processor = Processor(derive(prepare(spec), state, wire.encode_reply), bytes(32))
    with tempfile.TemporaryDirectory() as directory:
        address = f"unix:{directory}/bench.sock"
        server = GrpcioServer(parse_address(address), processor.process)
        await server.start()
        async with grpc.aio.insecure_channel(address) as channel:
            method = channel.stream_stream(contract.PROCESS_METHOD)
            messages = [_message(user, 0) for user in range(3000)]

            async def decide(message: bytes) -> None:
                call = method()
                await call.write(message)
                await call.read()
                call.cancel()

            best = float("inf")
            for _ in range(3):
                begin = time.process_time()
                for start in range(0, len(messages), 64):
                    await asyncio.gather(*(decide(message) for message in messages[start : start + 64]))
                best = min(best, time.process_time() - begin)
        await server.stop(0.1)
    return best / len(messages)


def _message(user: int, extra: int) -> bytes:
    message = ProcessingRequest()
    headers = message.request_headers.headers.headers
    given = {
        ":path": "/v1/chat/completions",
        "x-user-id": f"user-{user}",
        "x-user-tier": "paid" if user % 3 else "internal",
        "x-geo-country": "DE" if user % 5 == 0 else "US",
        contract.REQUEST_ID_HEADER: f"{user:08x}-0000-4000-8000-000000000000",
        **{name: f"{name}-{user}" for name in EXTRA[:extra]},
    }
    for name, value in given.items():
        headers.add(key=name, raw_value=value.encode())
    message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-4o"})
    return message.SerializeToString()


if __name__ == "__main__":
    main()
