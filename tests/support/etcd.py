"""Real etcd servers on loopback: one, or the three nodes of a cluster. Debian's; `make tools` installs it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from extproc.demo.processes import free_port

WAIT = 60.0
MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes; etcd sets 64 MB aside for each file of its log."""


def program(name: str = "etcd") -> str:
    """Path of Debian's etcd or etcdctl; without it the test fails under CI, and is skipped elsewhere."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is missing: apt-get install etcd-server etcd-client"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found


def until(true: Callable[[], object], seconds: float = WAIT) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)


@dataclass
class Node:
    """One server."""

    directory: Path
    name: str
    client: int
    peer: int
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client}"

    def start(self, cluster: str, state: str = "new") -> None:
        """Begin, or go on with what is on its disk."""
        scheme = "https" if any(flag.startswith("--cert-file") for flag in self.flags) else "http"
        clients, peers = f"{scheme}://{self.endpoint}", f"http://127.0.0.1:{self.peer}"
        words = ["--name", self.name, "--data-dir", str(self.directory / self.name), "--logger", "zap", "--log-level", "warn"]
        words += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        words += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        words += ["--initial-cluster", cluster, "--initial-cluster-state", state, *self.flags]
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen([program(), *words], stdout=log, stderr=log)

    def signal(self, how: signal.Signals) -> None:
        """SIGKILL, or SIGSTOP: it goes on to take connections, and answers nothing."""
        assert self.process is not None
        self.process.send_signal(how)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(WAIT)
            self.process = None


@dataclass
class Etcd:
    """A cluster of one node or more."""

    nodes: list[Node]
    ctl_flags: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> str:
        return ",".join(f"{node.name}=http://127.0.0.1:{node.peer}" for node in self.nodes)

    def url(self, prefix: str, local: Path, options: str = "", nodes: Sequence[Node] = ()) -> str:
        """A store's URL; a writer in it waits long, because the machine may be busy."""
        hosts = ",".join(node.endpoint for node in nodes or self.nodes)
        return f"etcd://{hosts}/{prefix}?local={local}&timeout=30{options}"

    def ctl(self, *words: str, nodes: Sequence[Node] = ()) -> str:
        """etcdctl's output."""
        hosts = ",".join(node.endpoint for node in nodes or self.nodes)
        command = [program("etcdctl"), f"--endpoints={hosts}", "--command-timeout=20s", *self.ctl_flags, *words]
        done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=WAIT, check=True)
        return done.stdout

    def leader(self) -> Node:
        """The node that leads the others."""
        lines = self.ctl("endpoint", "status", nodes=[node for node in self.nodes if node.process]).splitlines()
        (found,) = [line.split(", ")[0].removeprefix("https://") for line in lines if line.split(", ")[4] == "true"]
        return next(node for node in self.nodes if node.endpoint == found)

    def healthy(self) -> bool:
        """True where a write could be agreed on."""
        try:
            self.ctl("endpoint", "health")
        except subprocess.CalledProcessError:
            return False
        return True


@contextmanager
def etcd(directory: Path, nodes: int = 1, flags: Sequence[str] = (), ctl_flags: Sequence[str] = ()) -> Iterator[Etcd]:
    """A cluster that answers. Its data lies in memory where there is room: nothing of it is worth a disk's time."""
    program()
    directory.mkdir(exist_ok=True)
    room = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else directory
    with tempfile.TemporaryDirectory(dir=room, ignore_cleanup_errors=True) as data:
        yield from _cluster(Path(data), nodes, flags, ctl_flags)


def _cluster(directory: Path, nodes: int, flags: Sequence[str], ctl_flags: Sequence[str]) -> Iterator[Etcd]:
    made = Etcd([Node(directory, f"n{number}", free_port(), free_port(), tuple(flags)) for number in range(nodes)], list(ctl_flags))
    try:
        for node in made.nodes:
            node.start(made.cluster)
        until(made.healthy)
        yield made
    finally:
        for node in made.nodes:
            node.kill()


class Way:
    """A TCP way to a server that can be cut, or made deaf: what is sent arrives, and no answer comes back."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[socket.socket] = []
        self._deaf = self._cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and each new one at once."""
        self._cut = True
        self._end_all()

    def deafen(self) -> None:
        """No answer comes back any more."""
        self._deaf = True

    def mend(self) -> None:
        """As before, with new connections."""
        self._end_all()
        self._cut = self._deaf = False

    def close(self) -> None:
        """For good."""
        self._listener.close()
        self.cut()

    def _end_all(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        with suppress(OSError), source:
            while data := source.recv(1 << 16):
                if not (back and self._deaf):
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
