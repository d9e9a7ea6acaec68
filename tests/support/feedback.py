"""The feedback service as a process of its own, as a controller starts it."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from extproc import contract
from extproc.assign.answered import sign
from extproc.controller.feedback import FeedbackSettings
from extproc.controller.feedback.limits import Bucket, Limits
from extproc.controller.feedback.process import command
from extproc.domain import Answered, Arm, Feedback
from extproc.runtime.http import listening
from extproc.store.feedback import FeedbackLog

ROOT = Path(__file__).parents[2]
KEY = b"a key of tokens, 32 bytes of it."
ORIGIN = "https://chat.example.com"
FEEDBACK_KEY = "feedback-key-of-a-server-0123456789"
ADMIN = "token-of-the-api-which-rolls-back-things"
WIDE = Limits(Bucket(1e6, 1e6), Bucket(1e6, 1e6), Bucket(1e3, 1e3), 1000)
"""What a test does not run into."""
PATIENCE = 60.0
GONE = (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET)
"""The peer has closed, and hears no more."""


def answered(unit: int = 7, start: float | None = None, **changes: Any) -> Answered:
    """An answer, given just now."""
    at = round((time.time() if start is None else start) * 1e6) / 1e6
    return replace(Answered("gpt-5-mini", 3, "everyone", Arm.CANARY, f"{unit:016x}", True, at), **changes)


def token(unit: int | None = None, key: bytes = KEY, **changes: Any) -> str:
    """One of an answer; of a new one unless `unit` says which."""
    return sign(key, answered(random.getrandbits(64) if unit is None else unit, **changes))


class Service:
    """A listening socket and a store; a process on both, and the next one."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.store = f"sqlite:{directory}/x.db"
        self.path = Path(contract.feedback_path(self.store))
        self.listener = asyncio.run(listening("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        keys = directory / "keys"
        keys.write_text(f"{FEEDBACK_KEY}  # of the shop\n")
        given = {"limits": WIDE, "origins": (ORIGIN,), "keys_file": str(keys)} | settings
        self.settings = FeedbackSettings(self.store, (KEY.hex(),), self.listener.fileno(), **given)
        self.url = f"http://127.0.0.1:{self.port}{contract.FEEDBACK_PATH}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it serves."""
        self.begin()
        assert self.line() == b"serves"

    def begin(self) -> None:
        """Until it has been told what to do."""
        self.adopt(self.spawn())

    def spawn(self) -> subprocess.Popen[bytes]:
        """One that waits to be told."""
        with (self.directory / "err").open("ab") as errors:
            return subprocess.Popen(
                command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(self.listener.fileno(),),
                env={**os.environ, "PYTHONPATH": str(ROOT), contract.LOG_FORMAT_ENVIRONMENT: "json"},
            )

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """It is told."""
        self.process = process
        self.tell(self.settings.write())

    def tell(self, line: bytes) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def line(self) -> bytes:
        """The next line that it says; empty at its end."""
        assert self.process is not None
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE)[0], "it said nothing"
        return self.process.stdout.readline().rstrip(b"\n")

    def ask(self, question: bytes) -> bytes:
        self.tell(question)
        return self.line()

    def metric(self, series: str) -> float:
        """0 where it is not shown."""
        text: str = orjson.loads(self.ask(b"metrics"))
        return sum(float(line.removeprefix(series)) for line in text.splitlines() if line.startswith(f"{series} "))

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """In order: the end of its input."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._wait()

    def _wait(self) -> int:
        process, self.process = self.process, None
        assert process is not None
        code = process.wait(PATIENCE)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return code

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        self.listener.close()

    def post(self, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Over a connection of its own; `body` as JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"content-type": "application/json"} | (headers or {})
        return httpx.post(self.url, content=content, headers=given, trust_env=False, timeout=PATIENCE)

    def raw(self, data: bytes, timeout: float = PATIENCE) -> bytes:
        """What comes back for bytes, until the connection ends, in order or not; TimeoutError where it does not."""
        said = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as made:
            try:
                made.sendall(data)
                made.shutdown(socket.SHUT_WR)
                while more := made.recv(65536):
                    said += more
            except OSError as error:
                # Whoever refuses the first bytes may be gone before the last are sent.
                if error.errno not in GONE:
                    raise
        return said

    def log(self) -> list[tuple[int, Feedback]]:
        """As the brain reads it."""
        with closing(FeedbackLog(self.path)) as log:
            return log.after(0, 10_000_000)

    def said(self) -> list[dict[str, Any]]:
        """Lines on standard error."""
        return [orjson.loads(line) for line in (self.directory / "err").read_bytes().splitlines()]


@contextmanager
def serving(directory: Path, **settings: Any) -> Iterator[Service]:
    """One that serves, until the block ends."""
    made = Service(directory, **settings)
    try:
        made.start()
        yield made
    finally:
        made.close()


def key_header(key: str = FEEDBACK_KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
