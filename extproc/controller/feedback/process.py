"""The feedback process: end users post to it, so that nothing they do reaches the API, and nothing of either delays a decision.

Started and kept alive by the controller, like its API process. In: a line of JSON with FeedbackSettings, then questions. Out: a line
when it serves, and one for each question:

    read SEQUENCE   the brain has read the log so far: older lines may go       -> serves
    metrics         the series of this process, as a JSON string                -> "..."
    anything else   a sign of life                                              -> serves

The listening socket is inherited: whoever connects while this process is being replaced waits, and is not refused. End of input means that
the controller stops; where it is killed, so is this process.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson

from extproc import contract, logs
from extproc.controller.feedback.app import FeedbackApp
from extproc.controller.feedback.committer import Committer
from extproc.controller.feedback.keys import Keys, read_keys
from extproc.controller.feedback.metrics import FeedbackMetrics
from extproc.controller.feedback.patience import take_files, watch
from extproc.controller.feedback.settings import FeedbackSettings
from extproc.controller.renewed import Renewed
from extproc.errors import Problem, SettingsError
from extproc.runtime import FileState, Followed, end_with_parent
from extproc.runtime.http import HttpServer
from extproc.runtime.told import run, say

READ: Final = b"read "
SERVES: Final = b"serves"
"""A sign of life."""
METRICS: Final = b"metrics"
KEEP_ALIVE: Final = 75
"""Seconds that an idle connection is kept: Envoy's, which would otherwise meet one that is just being closed."""
LAST_COMMIT: Final = 2.0
"""Seconds for what still waits when the controller stops."""
SWITCH: Final = 0.001
"""Seconds after which a busy thread gives way: the writer waits that long for each statement, the default is 5 ms."""

log = logging.getLogger("extproc.controller.feedback.process")  # and not __name__: this module is run


def command() -> tuple[str, ...]:
    """What starts it."""
    return sys.executable, "-m", "extproc.controller.feedback.process"


class _KeyFile:
    """The file of feedback keys, followed."""

    def __init__(self, settings: FeedbackSettings) -> None:
        self._path = settings.keys_file
        self._admin = bytes.fromhex(settings.admin_digest)
        self.state = FileState.of(self._path)

    def read(self) -> Keys:
        """Its keys; raises SettingsError."""
        if not self._path:
            return Keys()
        try:
            text = Path(self._path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, OSError) else "it is no text"
            hint = "one key per line, readable for the service's user"
            raise SettingsError(Problem("feedback.keys", self._path, f"cannot be read: {reason}", hint)) from error
        return read_keys(self._path, text, self._admin)

    async def follow(self, app: FeedbackApp) -> None:
        """Forever; a file that cannot be used leaves the last good keys."""

        async def use() -> None:
            app.keys = await asyncio.to_thread(self.read)
            log.info("feedback keys were read again")

        if self._path:
            await Followed(self.state, use).follow()


async def _serve(first: bytes, lines: asyncio.StreamReader) -> None:
    """Until the end of input."""
    settings = FeedbackSettings.read(first)
    settings.check()
    keys = _KeyFile(settings)
    listener = socket.socket(fileno=settings.listener)
    host, port = listener.getsockname()[:2]
    metrics = FeedbackMetrics()
    committer = Committer(Path(contract.feedback_path(settings.store)), settings.keep, metrics)
    app = FeedbackApp(settings, committer, metrics, keys.read())
    certificates = Renewed(settings.security)
    server = HttpServer(app.app(), host, port, listener, KEEP_ALIVE, "h11", certificates.context)
    committer.start()
    await server.start()
    beside = [asyncio.create_task(watch(server)), asyncio.create_task(keys.follow(app)), asyncio.create_task(certificates.renew())]
    try:
        say(SERVES)
        while line := await lines.readline():
            say(_answer(line.strip(), committer, metrics))
    finally:
        for task in beside:
            task.cancel()
        await server.stop()
        if not await committer.stop(LAST_COMMIT):
            log.error("the disk did not take the last feedback within %.0f s; whoever sent it was not told that it was kept", LAST_COMMIT)


def _answer(line: bytes, committer: Committer, metrics: FeedbackMetrics) -> bytes:
    if line == METRICS:
        return orjson.dumps(metrics.exposition(committer.waiting))
    if line.startswith(READ):
        with suppress(ValueError):
            committer.read_up_to(int(line.removeprefix(READ)))
    return SERVES


def main() -> None:
    """Entry point of `python -m extproc.controller.feedback.process`."""
    end_with_parent()
    logs.start("feedback")
    take_files()
    sys.setswitchinterval(SWITCH)
    run(_serve, log)


if __name__ == "__main__":
    main()
