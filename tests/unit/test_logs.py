"""Logs: their two forms, what they never say, how often they say it."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from extproc import logs
from extproc.errors import Problem, SettingsError, StoreError

SECRET = "s3cr3t"


class Clock:
    """Monotonic seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Written:
    """A logger of its own behind the real handler."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.clock = Clock()
        self.stream = io.BytesIO()
        self.handler = logs.Handler(self.stream, formatter, self.clock)
        self.log = logging.Logger("extproc.room")
        self.log.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().decode().splitlines()


@pytest.fixture
def json() -> Written:
    return Written(logs.JsonFormatter("worker 1"))


@pytest.fixture
def console() -> Written:
    return Written(logs.ConsoleFormatter("worker 1", coloured=False))


def test_json_is_one_object_a_line(json: Written) -> None:
    """Time in UTC with milliseconds, level, logger, process, pid, message; the fields that are on the list, and no other."""
    json.log.warning("two\nlines of %s", "é\ud800", extra={"rollout": "new", "generation": 3, "problem": "store.sqlite", "user": SECRET})
    (line,) = json.lines
    document = orjson.loads(line)
    assert list(document) == ["ts", "level", "logger", "process", "pid", "message", "rollout", "generation", "problem"]
    assert len(document.pop("ts")) == len("2026-03-01T03:04:05.123Z")
    assert document == {
        "level": "warning",
        "logger": "extproc.room",
        "process": "worker 1",
        "pid": os.getpid(),
        "message": "two\nlines of é\\ud800",
        "rollout": "new",
        "generation": 3,
        "problem": "store.sqlite",
    }


def test_nothing_that_is_quoted_looks_like_a_line_of_its_own(console: Written) -> None:
    """A reason with line ends, terminal codes or direction marks stays one indented, visible text."""
    console.log.info("why: %s", "ok\n2026-03-01T00:00:00.000Z ERROR    forged\r\x1b[2J\u202egnp\x9b1m")
    first, second = console.lines
    assert first.endswith(f"INFO     worker 1[{os.getpid()}]".ljust(28) + " room: why: ok")
    assert second == "    2026-03-01T00:00:00.000Z ERROR    forged\\r\\x1b[2J\\u202egnp\\x9b1m"


def _raise() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ExceptionGroup(SECRET, [ValueError(f"{SECRET!r} is not a valid Arm"), OSError(28, "No space left on device")]) from error


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_its_type_and_its_places(form: str, request: pytest.FixtureRequest) -> None:
    """The text of a foreign exception is never written, whether it is raised, behind another one, in a group or an argument."""
    written: Written = request.getfixturevalue(form)
    try:
        _raise()
    except ExceptionGroup as error:
        written.log.exception("failed: %s", error.exceptions[0])
        written.log.error(error.exceptions[0])  # as libraries do
    said = "\n".join(written.lines)
    assert SECRET not in said
    assert "failed: ValueError" in said
    for part in ("ExceptionGroup", "test_logs.py", " in _raise", "with ValueError", "No space left on device", "caused by KeyError"):
        assert part in said


def test_our_own_errors_and_the_systems_keep_their_text(json: Written) -> None:
    """They were written for whoever reads the log."""
    json.log.error("%s; %s", StoreError(Problem("store.x", "a.db", "is bad", "mend it")), FileNotFoundError(2, "No such file", "a.db"))
    assert orjson.loads(json.lines[0])["message"] == "a.db: is bad [store.x]\n    mend it; [Errno 2] No such file: 'a.db'"


def test_a_broken_call_says_where_and_not_what(json: Written) -> None:
    """logging itself would print the arguments."""
    json.log.error("%d", SECRET)
    (line,) = json.lines
    assert SECRET not in line
    assert "test_logs.py" in line


def _storm(written: Written, count: int, **about: str) -> None:
    for number in range(count):
        written.log.error("no. %d", number, extra=about)


def test_a_storm_is_five_lines_and_a_count(json: Written) -> None:
    """At most MOST in WINDOW; then one line with the count of the others and the last of them; then anew."""
    _storm(json, 100)
    json.clock.now += logs.WINDOW - 0.1
    _storm(json, 1)
    assert len(json.lines) == logs.MOST
    json.clock.now += 0.2
    json.log.info("something else")
    told = orjson.loads(json.lines[logs.MOST])
    assert told["message"] == "96 more like this were left out in 10 s; the last one: no. 0"
    assert (told["level"], told["left_out"]) == ("error", 96)
    _storm(json, 1)
    assert len(json.lines) == logs.MOST + 3


def test_one_rollout_does_not_silence_another(json: Written) -> None:
    """Each rollout and each problem has a budget of its own, and so has each place in the code."""
    _storm(json, 50, rollout="a")
    _storm(json, 1, rollout="b")
    _storm(json, 1, rollout="a", problem="store.sqlite")
    json.log.error("another call")
    assert len(json.lines) == logs.MOST + 3


def test_what_was_left_out_is_told_at_the_end(json: Written) -> None:
    """A process that ends in a storm says so."""
    _storm(json, 7)
    json.handler.close()
    assert orjson.loads(json.lines[-1])["left_out"] == 2


def test_counts_of_many_calls_stay_bounded(json: Written) -> None:
    """However many problems there are."""
    for number in range(logs.REMEMBERED + 50):
        _storm(json, 1, problem=f"p{number}")
    assert len(json.handler._limiter._windows) == logs.REMEMBERED


LIBRARIES = f"""
import asyncio, gc, logging, sys, threading, warnings
import httpx
from extproc import logs
logs.start("tester")
import grpc
import uvloop
from starlette.applications import Starlette
from starlette.routing import Route
from extproc.errors import StoreError
from extproc.runtime.http import HttpServer

SECRET = "{SECRET}"

class Boom:
    def __del__(self):
        raise ValueError(SECRET)

async def forgotten():
    raise ValueError(SECRET)

async def endpoint(request):
    raise ValueError(SECRET + request.headers["x-secret"])

class Method(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer)
    async def answer(self, request, context):
        raise ValueError(request)

async def main():
    asyncio.get_running_loop().call_later(0, lambda: int(SECRET))
    task = asyncio.create_task(forgotten())
    await asyncio.sleep(0.05)
    del task
    gc.collect()
    http = HttpServer(Starlette(routes=[Route("/{{name}}", endpoint)]), "127.0.0.1", 0)
    await http.start()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await client.get(f"http://{{http.address}}/{SECRET}", headers={{"x-secret": SECRET}})
    await http.stop()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Method(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{{port}}") as channel:
        try:
            await channel.unary_unary("/a/b")(SECRET.encode())
        except grpc.aio.AioRpcError:
            pass
    await server.stop(0)

uvloop.run(main())
logging.getLogger("hpack").debug("Decoded %s", SECRET)
logging.getLogger("httpx").info("GET %s", SECRET)
warnings.warn("take care", RuntimeWarning)
thread = threading.Thread(target=lambda: int(SECRET))
thread.start()
thread.join()
Boom()
raise RuntimeError(SECRET)
"""


@pytest.mark.parametrize("form", list(logs.Format))
def test_libraries_speak_through_the_same_formatter(form: logs.Format) -> None:
    """asyncio, uvicorn, grpc, warnings, threads, destructors and the end of the process: in our form, with places, without texts."""
    environment = {**os.environ, "EXTPROC_LOG_FORMAT": form, "EXTPROC_LOG_LEVEL": "debug"}
    done = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, env=environment, timeout=150)
    assert done.returncode == 1
    said = done.stderr
    assert SECRET not in said
    for name in (
        "asyncio",
        "uvicorn.error",
        "grpc._cython.cygrpc",
        "py.warnings",
        "extproc.logs" if form is logs.Format.JSON else "logs: ",
    ):
        assert name in said, (name, said)
    assert said.count("this is a defect of extproc") == 3
    assert said.count("ValueError") >= 5
    if form is logs.Format.JSON:
        assert {orjson.loads(line)["process"] for line in said.splitlines()} == {"tester"}
    else:
        assert all(line.startswith(("2", "    ")) for line in said.splitlines())


@pytest.mark.parametrize("name", ["EXTPROC_LOG_FORMAT", "EXTPROC_LOG_LEVEL"])
def test_an_unknown_word_in_the_environment_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words there are."""
    monkeypatch.setenv(name, "loud")
    with pytest.raises(SettingsError, match="write one of: "):
        logs.start("tester")


def test_a_start_that_is_refused_is_a_log_line_for_programs(tmp_path: Path) -> None:
    """One JSON object with the Problem; a person at a terminal gets the plain text."""
    run: Callable[[str], str] = lambda form: subprocess.run(  # noqa: E731
        [sys.executable, "-m", "extproc", "controller", "--spec", str(tmp_path / "none.yaml"), "--log-format", form],
        capture_output=True, text=True, timeout=150,
    ).stderr  # fmt: skip
    assert orjson.loads(run("json"))["problem"] == "settings.spec-file"
    assert run("console").startswith(f"{tmp_path}/none.yaml: ")
