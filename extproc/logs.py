"""Logs: one line per event on standard error, as JSON or for people; the same for our own lines and for those of libraries.

Rules:
* Nothing of a request gets into a log: no user, key, token, prompt, header or byte of a message. Exceptions are where that would happen
  unseen (`'alice' is not a valid Arm`), so their text is written only where it is ours or the operating system's; of any other the type
  and the places in the code are. Fields beside the message come from a list. Libraries speak from WARNING on, whatever our level is:
  below it some of them print headers.
* What a person writes for others to read, the reason and the name of an act that was committed, is logged as it stands in the Journal.
* The same call says at most MOST lines in WINDOW seconds (for each rollout and each problem), then one that counts the others and
  repeats the last of them: no storm fills a disk, and no request for action is lost.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from extproc import contract
from extproc.errors import ExtprocError, Problem, SettingsError

MOST: Final = 5
WINDOW: Final = 10.0
"""Seconds."""
REMEMBERED: Final = 1000
"""Calls whose counts are kept; more (a library that makes code) are forgotten, oldest first."""
FIELDS: Final = ("rollout", "generation", "problem", "source", "left_out")
"""What may stand beside the message, given as `extra=`; a call has its own budget for each rollout, problem and source of flags."""
STYLES: Final = {"DEBUG": "2", "INFO": "", "WARNING": "33", "ERROR": "1;31", "CRITICAL": "1;37;41"}
"""SGR codes of a terminal."""
_INVISIBLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

Word = TypeVar("Word", bound=StrEnum)
log = logging.getLogger(__name__)


class Format(StrEnum):
    """`json`: one object per line. `console`: for people."""

    JSON = "json"
    CONSOLE = "console"


class Level(StrEnum):
    """The least that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def start(process: str, form: Format | None = None, level: Level | None = None) -> None:
    """Write all logs of this process, which is called `process` in them, from now on; processes started by it use the same settings.

    `form` and `level` default to the environment, then to what suits standard error: people at a terminal, programs elsewhere.
    """
    chosen = form or _environment(contract.LOG_FORMAT_ENVIRONMENT, Format)
    chosen = chosen or (Format.CONSOLE if sys.stderr.isatty() else Format.JSON)
    least = level or _environment(contract.LOG_LEVEL_ENVIRONMENT, Level) or Level.INFO
    os.environ[contract.LOG_FORMAT_ENVIRONMENT], os.environ[contract.LOG_LEVEL_ENVIRONMENT] = chosen, least
    # The core of grpc writes past every formatter, and may quote what a peer has sent; what matters arrives as an exception.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    formatter = JsonFormatter(process) if chosen is Format.JSON else ConsoleFormatter(process, coloured)
    root = logging.getLogger()
    root.handlers[:] = [Handler(sys.stderr.buffer, formatter)]
    root.setLevel(max(logging.WARNING, getattr(logging, least.upper())))
    logging.getLogger("extproc").setLevel(least.upper())
    logging.captureWarnings(True)
    sys.excepthook = _unexpected
    threading.excepthook = lambda what: _unexpected(what.exc_type, what.exc_value, what.exc_traceback)
    sys.unraisablehook = lambda what: _unexpected(what.exc_type, what.exc_value, what.exc_traceback)


def refused(error: ExtprocError) -> bool:
    """Say why this process cannot go on, where programs read its logs; False where a person does, who is told without ceremony."""
    handlers = logging.getLogger().handlers
    if not any(isinstance(handler, Handler) and isinstance(handler.formatter, JsonFormatter) for handler in handlers):
        return False
    for problem in error.problems:
        log.critical("%s", problem, extra={"problem": problem.id})
    return True


def _environment(name: str, kind: type[Word]) -> Word | None:
    text = os.environ.get(name)
    try:
        return kind(text) if text else None
    except ValueError:
        raise SettingsError(Problem("settings.log", name, f"{text!r} is not known", f"write one of: {', '.join(kind)}")) from None


def _unexpected(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical(
        "an exception that nobody expected: this is a defect of extproc, report it with this line",
        exc_info=(kind, error if error is not None else kind(), trace),
    )


# ------------------------------------------------------------------------------------------------------------------ what is said
def message_of(record: logging.LogRecord) -> str:
    """The text of a record, without what foreign exceptions say."""
    if record.name == "asyncio":
        # The lines after the first show objects, exceptions with their texts among them.
        return record.getMessage().partition("\n")[0]
    if isinstance(record.msg, BaseException):
        return told(record.msg)
    arguments = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(told(one) if isinstance(one, BaseException) else one for one in arguments)
    return (str(record.msg) % arguments if arguments else str(record.msg)).rstrip()


def told(error: BaseException) -> str:
    """What may be said of an exception: its text where we or the operating system wrote it, else its type."""
    return str(error) if isinstance(error, ExtprocError | OSError) else type(error).__name__


def trace_of(error: BaseException) -> str:
    """Type, what may be said, and the places, the innermost last; then the exceptions behind it."""
    return "\n".join(_trace(error, "", set()))


def _trace(error: BaseException, lead: str, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    text = told(error)
    yield lead + (name if text == type(error).__name__ else f"{name}: {text}")
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  at {'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} in {frame.name}"
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _trace(one, "with ", seen)
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None and id(behind) not in seen:
        yield from _trace(behind, "caused by ", seen)


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """ts, level, logger, process, pid, message; then the FIELDS that were given, and exception."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        document: dict[str, Any] = {
            "ts": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "pid": record.process,
            "message": _encodable(message_of(record)),
        }
        document |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info and record.exc_info[1] is not None:
            document["exception"] = _encodable(trace_of(record.exc_info[1]))
        return orjson.dumps(document, default=repr).decode()


class ConsoleFormatter(logging.Formatter):
    """Time, level, process, where, what; further lines are indented, and nothing that is quoted can look like a line of its own."""

    def __init__(self, process: str, coloured: bool) -> None:
        super().__init__()
        self._process = process
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """One line, or several of which all but the first are indented."""
        head = f"{record.levelname:<8}"
        if self._coloured and STYLES[record.levelname]:
            head = f"\x1b[{STYLES[record.levelname]}m{head}\x1b[0m"
        who = f"{self._process}[{record.process}]"
        text = message_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + trace_of(record.exc_info[1])
        text = _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text).replace("\n", "\n    ")
        return f"{_at(record)} {head} {who:<19} {record.name.removeprefix('extproc.')}: {text}"


def _encodable(text: str) -> str:
    """A file name may hold what is no Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


# ------------------------------------------------------------------------------------------------------------------- how often
Call = tuple[object, ...]


@dataclass(slots=True)
class _Window:
    began: float
    said: int = 0
    left_out: int = 0
    last: logging.LogRecord | None = None


class Limiter:
    """Which records are said. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._windows: dict[Call, _Window] = {}

    def admits(self, record: logging.LogRecord, now: float) -> bool:
        """False where the record is left out; `due` will tell of it."""
        call = (
            record.name,
            record.levelno,
            record.pathname,
            record.lineno,
            *(record.__dict__.get(name) for name in ("rollout", "problem", "source")),
        )
        window = self._windows.get(call)
        if window is None:
            if len(self._windows) >= REMEMBERED:
                del self._windows[next(iter(self._windows))]
            window = self._windows[call] = _Window(now)
        elif now - window.began >= WINDOW and not window.left_out:
            window.began, window.said = now, 0
        if window.said < MOST:
            window.said += 1
            return True
        window.left_out += 1
        window.last = record
        return False

    def due(self, now: float) -> Iterator[logging.LogRecord]:
        """For each call whose window is over, the line about what was left out."""
        for window in self._windows.values():
            if window.last is not None and now - window.began >= WINDOW:
                last, count = window.last, window.left_out
                window.began, window.said, window.left_out, window.last = now, 0, 0, None
                text = "%d more like this were left out in %.0f s; the last one: %s"
                about = logging.LogRecord(
                    last.name, last.levelno, last.pathname, last.lineno, text, (count, WINDOW, message_of(last)), None
                )
                about.__dict__ |= {name: last.__dict__[name] for name in FIELDS if name in last.__dict__}
                about.__dict__["left_out"] = count
                yield about


class Handler(logging.Handler):
    """Writes each line at once and in one piece, so that the lines of several processes on one pipe stay whole."""

    def __init__(self, stream: BinaryIO, formatter: logging.Formatter, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._clock = clock
        self._limiter = Limiter()
        self._reminder: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        try:
            now = self._clock()
            for about in self._limiter.due(now):
                self._write(about)
            if self._limiter.admits(record, now):
                self._write(record)
            elif self._reminder is None:
                self._reminder = threading.Timer(WINDOW, self._remind)
                self._reminder.daemon = True
                self._reminder.start()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be made is named by its place: its content, which logging itself would print, may be anything."""
        place = f"{record.pathname}:{record.lineno}"
        broken = logging.LogRecord(log.name, logging.ERROR, __file__, 0, "a log line of %s is broken: report this", (place,), None)
        try:
            self._write(broken)
        except (OSError, ValueError):
            return  # nobody reads standard error any more

    def close(self) -> None:
        """What was left out and not yet told, at the end of the process."""
        self.acquire()
        try:
            self._tell(math.inf)
        finally:
            self.release()
        super().close()

    def _remind(self) -> None:
        self.acquire()
        try:
            self._reminder = None
            self._tell(self._clock())
        finally:
            self.release()

    def _tell(self, now: float) -> None:
        try:
            for about in self._limiter.due(now):
                self._write(about)
        except (OSError, ValueError):
            return  # nobody reads standard error any more

    def _write(self, record: logging.LogRecord) -> None:
        self._stream.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        self._stream.flush()
