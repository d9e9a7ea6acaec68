"""GET /v1/exposures over its ASGI application, and `extproc exposures` in this process: the same file, read by both."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import stat
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import typer
from typer.testing import CliRunner

from extproc import contract
from extproc.assign import compile
from extproc.cli import backup, known
from extproc.cli import exposures as command
from extproc.controller import answers
from extproc.controller.api import Api
from extproc.controller.ask import BrainClient
from extproc.controller.exposure_lists import MOST_AT_ONCE
from extproc.controller.journal import JournalReader
from extproc.domain import Reason, Undecided
from extproc.errors import SettingsError
from extproc.pb.ext_proc_pb2 import ProcessingResponse
from extproc.router.processor import Processor
from extproc.store import open_store
from extproc.store.exposures import Batch, Cause, ExposureFile, Gap, Keep, Stray
from extproc.store.exposures.lines import COLUMNS, UNIT_COLUMNS
from extproc.wire import encode_reply
from tests.support.outcomes import outcome
from tests.support.specs import spec, state_of
from tests.unit.test_wire import request

TOKEN = "a-token-of-the-test"
APP = typer.Typer()
for room in (command, backup):  # a command alone would have no name
    room.register(APP)
USERS = [f"user-{number}" for number in range(20)]


class Listed:
    """A store with 200 exposures of 20 users, one of an API key and one of nobody; with a gap."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"sqlite:{directory / 'x.db'}"
        store = open_store(self.url, writer=True)
        self.key = store.unit_key()
        store.close()
        self.began = time.time() - 100.0
        self.path = Path(contract.exposures_path(self.url))
        self.file = ExposureFile(self.path, Keep(), self.began)
        heard: list[Any] = [
            outcome(number, self.began + number / 10, failed=number % 50 == 0, unit=self.hash(USERS[number % 20]), reason=Reason.RING)
            for number in range(200)
        ]
        heard.append(outcome(200, self.began + 20.0, unit=self.hash(sha256(b"sk-secret").hexdigest())))
        heard.append(Stray(Undecided("new", "m", False, 1, "lost", self.began + 21.0, 1.0, 200), "new", 2, "5%"))
        self.write(*heard, gaps=(Gap(Cause.UNWRITTEN, self.began + 5, self.began + 6, 12),))

    def write(self, *heard: Any, gaps: tuple[Gap, ...] = ()) -> None:
        batch, now = Batch(), time.time()
        batch.add(heard)
        self.file.write(batch.lines, gaps, (("new", 1, 1, self.began),), now, 1.0, now)

    def hash(self, unit: str) -> str:
        return known.unit_hash(self.key, unit.encode())

    def run(self, *words: str | Path) -> Any:
        """The command."""
        return CliRunner().invoke(APP, ["exposures", *map(str, words), "--store", self.url])

    def ids(self, *lines: str, name: str = "ids") -> Path:
        path = self.directory / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listed]:
    made = Listed(tmp_path_factory.mktemp("listed"))
    yield made
    made.file._release()


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# ----------------------------------------------------------------------------------------------------------------------- the command
def test_the_list_as_csv(listed: Listed) -> None:
    """Every column but the id; instants as people read them; the summary and the gap on standard error."""
    done = listed.run("new")
    assert done.exit_code == 0, done.output
    found = rows(done.stdout)
    assert len(found) == 202
    assert list(found[0]) == [name for name in COLUMNS if name != "id"]
    first = found[0]
    assert (first["attempt"], first["unit"], first["failed"], first["durable"], first["client_aborted"]) == (
        "1",
        listed.hash("user-0"),
        "true",
        "true",
        "false",
    )
    assert first["start"].endswith("Z")
    said = done.stderr.splitlines()
    assert said[0].startswith("new: 202 requests met the canary: 21 units, 4 failed, 1 without a decision")
    assert said[1].startswith("the list begins ")
    assert "12 missing: the file could not be written for so long" in said[2]


def test_the_list_as_lines_of_json(listed: Listed) -> None:
    """The same lines; what is not known is null."""
    lines = [orjson.loads(line) for line in listed.run("new", "--format", "jsonl").stdout.splitlines()]
    assert len(lines) == 202
    stray = lines[-1]
    assert (stray["request"], stray["unit"], stray["reason"], stray["cached_tokens"], stray["ended"]) == (
        "lost",
        "",
        "undecided",
        None,
        True,
    )


def test_units_instead_of_requests(listed: Listed) -> None:
    """First, last, how many, how many failed."""
    found = rows(listed.run("new", "--units").stdout)
    assert len(found) == 21
    assert list(found[0]) == [name for name in UNIT_COLUMNS if name != "id"]
    assert (found[0]["unit"], found[0]["requests"], found[0]["failed"]) == (listed.hash("user-0"), "10", "2")


def test_only_ids_that_are_given_appear(listed: Listed) -> None:
    """Users by their ids; an API key by the name beside it, or by its own hash, and never as it is."""
    ids = listed.ids("user-3", "", " user-4 ", "user-99")
    keys = listed.ids("Bearer sk-secret the batch job", "sk-other", name="keys")
    done = listed.run("new", "--ids", ids, "--api-keys", keys, "--units")
    named = {row["unit"]: row["id"] for row in rows(done.stdout) if row["id"]}
    assert named == {
        listed.hash("user-3"): "user-3",
        listed.hash("user-4"): "user-4",
        listed.hash(sha256(b"sk-secret").hexdigest()): "the batch job",
    }
    assert "3 units are named" in done.stderr
    only = rows(listed.run("new", "--ids", ids, "--known").stdout)
    assert {row["id"] for row in only} == {"user-3", "user-4"}
    assert len(only) == 20
    nameless = rows(listed.run("new", "--api-keys", listed.ids("sk-secret"), "--known").stdout)
    assert [row["id"] for row in nameless] == [sha256(b"sk-secret").hexdigest()]


def test_a_hash_is_the_routers() -> None:
    """Of a user and of an API key, as the router writes it into the access log."""
    key, given = b"k" * 32, spec()
    processor = Processor(compile(given, state_of(given), encode_reply), key)
    reply = processor.process(request(x_user_id="ann").SerializeToString())
    assert reply is not None
    fields = ProcessingResponse.FromString(reply).dynamic_metadata.fields["extproc.assignment.model"].struct_value.fields
    assert fields["unit"].string_value == known.unit_hash(key, b"ann")


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--failed"], 4),
        (["--attempt", "1"], 202),
        (["--attempt", "2"], 0),
        (["--phase", "5%"], 202),
        (["--phase", "25%"], 0),
        (["--cohort", "everyone"], 201),
        (["--since", "85s"], 52),
        (["--until", "1970-01-02T00:00Z"], 0),
        (["--since", "1970-01-02"], 202),
        (["--since", "0", "--until", "4e9"], 202),
    ],
)
def test_what_is_asked_for(listed: Listed, words: list[str], count: int) -> None:
    """By attempt, phase, cohort, time, failure."""
    found = len(rows(listed.run("new", *words).stdout))
    # The clock goes on meanwhile.
    assert found == pytest.approx(count, abs=35 if "85s" in words else 0)


def test_a_file_of_its_own(listed: Listed, tmp_path: Path) -> None:
    """Private, complete or not there, and never in another one's place."""
    output = tmp_path / "list.csv"
    done = listed.run("new", "-o", output)
    assert (done.exit_code, done.stdout) == (0, "")
    assert len(rows(output.read_text())) == 202
    assert stat.S_IMODE(os.stat(output).st_mode) == 0o600
    refused = listed.run("new", "-o", output)
    assert isinstance(refused.exception, SettingsError)
    assert "choose another name" in str(refused.exception.problems[0])


@pytest.mark.parametrize(
    ("words", "id"),
    [
        (["new", "--since", "yesterday"], "settings.time"),
        (["new", "--until", "-5"], "settings.time"),
        (["new", "--known"], "settings.known"),
        (["new", "--ids", "/nowhere/at/all"], "settings.ids"),
        (["new", "-o", "/nowhere/at/all"], "settings.write"),
        (["new", "--store", "sqlite:/nowhere/x.db"], "exposures.none"),
    ],
)
def test_what_cannot_be_understood(listed: Listed, words: list[str], id: str) -> None:
    """A Problem with a hint."""
    done = CliRunner().invoke(APP, ["exposures", "--store", listed.url, *words])
    assert done.exception is not None
    (problem,) = done.exception.problems  # type: ignore[attr-defined]
    assert (problem.id, bool(problem.hint)) == (id, True)


def test_a_line_without_end(listed: Listed, tmp_path: Path) -> None:
    """It is no list of ids."""
    path = tmp_path / "ids"
    path.write_bytes(b"x" * 100_000)
    done = listed.run("new", "--ids", path)
    assert isinstance(done.exception, SettingsError)
    assert "line 1 is longer" in str(done.exception.problems[0])


def test_a_rollout_that_nobody_knows(listed: Listed) -> None:
    """The names that there are."""
    assert "there are: new" in listed.run("mew").stderr


# ---------------------------------------------------------------------------------------------------------------------------- the API
class Asked:
    """The API of a controller that is dead: this much it can do."""

    def __init__(self, url: str) -> None:
        self._journal = JournalReader(url)
        self.api = Api(BrainClient(Path(contract.brain_path(url))), self._journal, TOKEN)

    async def get(self, query: str, token: str = TOKEN) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.api.app()), base_url="http://api") as client:
            return await client.get(f"/v1/exposures{query}", headers={"authorization": f"Bearer {token}"})

    def close(self) -> None:
        self.api.close()
        self._journal.close()


@pytest.fixture
def asked(listed: Listed) -> Iterator[Asked]:
    made = Asked(listed.url)
    yield made
    made.close()


def lines(answer: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Exposures, and the last line."""
    *found, last = [orjson.loads(line) for line in answer.text.splitlines()]
    return found, last


def test_the_api_lists_without_a_brain(asked: Asked) -> None:
    """Lines of JSON, hashed ids, and the summary with its gaps at the end."""
    answer = asyncio.run(asked.get("?rollout=new&failed=true"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    found, last = lines(answer)
    assert len(found) == 4
    assert "id" not in found[0]
    assert (last["summary"]["requests"], last["summary"]["next"]) == (4, None)
    assert last["summary"]["gaps"][0]["about"] == 12
    assert "missing" in last["summary"]["gaps"][0]["sentence"]


def test_a_list_in_parts(asked: Asked) -> None:
    """`next` is the `after` of the next question."""

    async def all_of_it() -> list[str]:
        names, after = [], 0
        while after is not None:
            found, last = lines(await asked.get(f"?rollout=new&limit=50&after={after}"))
            names += [one["request"] for one in found]
            after = last["summary"]["next"]
        return names

    names = asyncio.run(all_of_it())
    assert names == [f"s{number}" for number in range(201)] + ["lost"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?rollout=",
        "?rollout=new&since=soon",
        "?rollout=new&attempt=-1",
        "?rollout=new&failed=yes",
        "?rollout=new&unit=5",
        "?rollout=new&until=1.2.3",
    ],
)
def test_a_question_that_is_none(asked: Asked, query: str) -> None:
    answer = asyncio.run(asked.get(query))
    assert answer.status_code == 400
    assert answer.json()["problems"][0]["id"] == "api.query"


def test_the_api_wants_the_token(asked: Asked) -> None:
    assert asyncio.run(asked.get("?rollout=new", "wrong")).status_code == 401


def test_without_a_file(tmp_path: Path) -> None:
    """503 with a Problem, and not half an answer."""
    asked = Asked(f"sqlite:{tmp_path / 'x.db'}")
    answer = asyncio.run(asked.get("?rollout=new"))
    assert (answer.status_code, answer.json()["problems"][0]["id"]) == (503, "exposures.none")
    asked.close()


def test_few_at_a_time(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused; whoever does not take his pages loses the connection and gives his place back."""
    monkeypatch.setattr(answers, "TAKES", 2.0)
    stuck = asyncio.Event()

    async def slow(_: Any) -> None:
        await stuck.wait()

    async def never() -> Any:
        await asyncio.sleep(60)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/v1/exposures",
        "raw_path": b"/v1/exposures",
        "query_string": b"rollout=new",
        "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
    }

    async def crowd() -> None:
        held = [asyncio.create_task(asked.api.app()(scope, never, slow)) for _ in range(MOST_AT_ONCE)]
        await asyncio.sleep(0.3)
        answer = await asked.get("?rollout=new")
        assert (answer.status_code, answer.json()["problems"][0]["id"]) == (503, "exposures.busy")
        await asyncio.wait_for(asyncio.gather(*held), 60.0)
        assert (await asked.get("?rollout=new")).status_code == 200

    asyncio.run(crowd())
