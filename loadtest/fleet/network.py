"""Machines that are network namespaces on one bridge: each has its own address and loopback, and can be cut off. Needs root on Linux."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from extproc.demo.processes import DemoError
from extproc.errors import Problem

IP: Final = "ip"


class Network:
    """A context: what was made in it is gone after it."""

    def __init__(self) -> None:
        # Several may live side by side: names and addresses are this process's own.
        number = os.getpid()
        self._name = f"xp{number % 100_000}"
        self._subnet = f"10.{100 + number % 100}.{number // 100 % 250}"
        self._machines: dict[str, int] = {}

    def __enter__(self) -> Network:
        try:
            self._ip("link", "add", self._name, "type", "bridge")
            self._ip("addr", "add", f"{self._subnet}.1/24", "dev", self._name)
            self._ip("link", "set", self._name, "up")
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._clear()

    def machine(self, name: str) -> str:
        """Make one; its address."""
        number = self._machines[name] = len(self._machines) + 2
        space, outer, inner = self._space(name), self._wire(name), f"{self._name}i{number}"
        self._ip("netns", "add", space)
        self._ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        self._ip("link", "set", inner, "netns", space)
        self._ip("link", "set", outer, "master", self._name, "up")
        self._ip("-n", space, "link", "set", "lo", "up")
        self._ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", inner)
        self._ip("-n", space, "link", "set", inner, "up")
        return self.address(name)

    def address(self, name: str) -> str:
        """Of a machine."""
        return f"{self._subnet}.{self._machines[name]}"

    def on(self, name: str, command: Sequence[str | Path]) -> list[str]:
        """The command that runs `command` on a machine."""
        return [IP, "netns", "exec", self._space(name), *map(str, command)]

    def cut(self, name: str) -> None:
        """Nothing reaches the machine, and nothing leaves it."""
        self._ip("link", "set", self._wire(name), "down")

    def mend(self, name: str) -> None:
        """It is reached again."""
        self._ip("link", "set", self._wire(name), "up")

    def _space(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _wire(self, name: str) -> str:
        return f"{self._name}o{self._machines[name]}"

    def _clear(self) -> None:
        for name in self._machines:
            subprocess.run([IP, "netns", "del", self._space(name)], check=False, capture_output=True)
        subprocess.run([IP, "link", "del", self._name], check=False, capture_output=True)

    def _ip(self, *arguments: str) -> None:
        done = subprocess.run([IP, *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            hint = "network namespaces need root on Linux, and the package iproute2"
            raise DemoError(Problem("fleet.network", " ".join(arguments), done.stderr.strip(), hint))
