"""What a decision costs: microseconds of CPU, piece by piece, in one run on one machine. `make bench`.

Compare the ratios, not the absolutes. The message is the one that the real Envoy sends under the configuration rendered from
envoy/release.yaml (five headers and the requested model); the other has 14 headers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from extproc import contract, wire
from extproc import spec as spec_room
from extproc.assign import assign, derive, point, prepare
from extproc.domain import RolloutState, State, Status
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.router.processor import Processor
from extproc.transport import TransportName

ROOT = Path(__file__).parents[1]
ROUNDS = 7
USERS = 10_000
EXTRA = ("accept", "user-agent", "content-type", "traceparent", "x-forwarded-for", "x-forwarded-proto", "x-app", "x-trace", "origin")
STREAMS = {TransportName.NATIVE: 300_000, TransportName.GRPCIO: 20_000}
"""Enough for seconds of load each."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker spent."""

    seconds: float
    """Of its CPU, per decision."""
    rate: float
    """Decisions per second, as the client saw it; client and server share the machine."""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Microseconds per decision, piece by piece.")
    parser.add_argument("--output", type=Path, default=ROOT / "loadtest" / "reports" / "bench.json")
    given = parser.parse_args()
    results = {name: measured() for name, measured in track(list(_pieces().items()), "measuring")}
    console = Console()
    table = Table("piece, in process", "µs of CPU", "per second", title="Cost of a decision", title_justify="left")
    for name, seconds in results.items():
        table.add_row(name, f"{seconds * 1e6:,.2f}", f"{1 / seconds:,.0f}")
    console.print(table)
    served: dict[str, Served] = {}
    if shutil.which("h2load") is None:
        console.print("h2load is not installed (Debian: nghttp2-client): the transports are not measured", style="yellow")
    else:
        served = {transport.value: _served(transport) for transport in track(list(TransportName), "serving")}
        table = Table("one worker, one stream per decision", "µs of CPU", "decisions/s", title="Transports", title_justify="left")
        for name, one in served.items():
            table.add_row(name, f"{one.seconds * 1e6:,.1f}", f"{one.rate:,.0f}")
        console.print(table)
        ratio = served[TransportName.GRPCIO].seconds / served[TransportName.NATIVE].seconds
        console.print(f"native needs {ratio:.0f} times less CPU than grpcio", highlight=False)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    report = {"seconds": results, "transports": {name: asdict(one) for name, one in served.items()}, **machine}
    given.output.write_text(json.dumps(report, indent=2) + "\n")
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


def _served(transport: TransportName) -> Served:
    """One worker of a real router behind a Unix socket, loaded by h2load as Envoy would: a stream per decision."""
    with tempfile.TemporaryDirectory() as directory:
        message = Path(directory) / "message"
        payload = _message(7, 0)
        message.write_bytes(b"\0" + len(payload).to_bytes(4, "big") + payload)
        command = [sys.executable, "-m", "extproc", "router", "--spec", str(ROOT / "envoy" / "release.yaml"), "--phase", "25%"]
        command += ["--listen", f"unix:{directory}/r.sock", "--workers", "1", "--metrics-port", "0", "--transport", transport.value]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as router:
            try:
                assert router.stdout is not None
                router.stdout.readline()
                (worker,) = (int(pid) for pid in Path(f"/proc/{router.pid}/task/{router.pid}/children").read_text().split())
                _load(f"{directory}/r-0.sock", message, STREAMS[transport] // 10)
                before = _cpu(worker)
                rate = _load(f"{directory}/r-0.sock", message, STREAMS[transport])
                return Served((_cpu(worker) - before) / STREAMS[transport], rate)
            finally:
                router.terminate()
                router.wait(20)


def _load(path: str, message: Path, streams: int) -> float:
    """Streams per second that h2load finished; raises where one failed."""
    command = ["h2load", "-n", str(streams), "-c", "2", "-m", "64", "-d", str(message), "-H", "content-type: application/grpc"]
    command += ["-H", "te: trailers", "--base-uri", f"unix:{path}", f"http://router{contract.PROCESS_METHOD}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    succeeded = re.search(r"(\d+) succeeded", said)
    rate = re.search(r"([0-9.]+) req/s", said)
    if succeeded is None or rate is None or int(succeeded[1]) != streams:
        raise RuntimeError(f"h2load did not finish:\n{said}")
    return float(rate[1])


def _cpu(pid: int) -> float:
    """Seconds of CPU of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
