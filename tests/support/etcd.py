"""Real etcd servers on loopback: one, or the three nodes of a cluster. Debian's; `make tools` installs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from extproc.demo.processes import free_port

WAIT = 60.0


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
    """A cluster that answers. Nothing of it is worth a disk's time: its directory goes with the test."""
    program()
    directory.mkdir(exist_ok=True)
    made = Etcd([Node(directory, f"n{number}", free_port(), free_port(), tuple(flags)) for number in range(nodes)], list(ctl_flags))
    try:
        for node in made.nodes:
            node.start(made.cluster)
        until(made.healthy)
        yield made
    finally:
        for node in made.nodes:
            node.kill()
