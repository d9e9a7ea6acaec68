"""Flags polled by a running `extproc serve`: a change at the service reaches every router worker; a service that fails changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson
import pytest

from extproc import contract
from extproc.demo.processes import free_port
from extproc.domain import FlagVendor
from extproc.pb.ext_proc_pb2 import ProcessingResponse
from tests.integration.test_supervisor import until
from tests.support import flag_specs
from tests.support.flag_sdks import reading
from tests.support.flag_service import AUTHORIZED, KEY, Service, flag_service
from tests.support.flag_specs import UNIT_NAMES
from tests.support.lateness import lateness
from tests.unit.test_wire import request

EVERY = 1.0
"""Seconds between two questions; a change has that and one second more."""
FLAG = "new-model"
USERS = tuple(f"user-{number}" for number in range(20))
WORKERS = 2
SOURCES = len(FlagVendor) + 1
"""Each vendor's, and one that no cohort reads."""


def document(vendor: FlagVendor, ids: tuple[str, ...]) -> dict[str, Any]:
    """The flag is on for these users."""
    match vendor:
        case FlagVendor.UNLEASH:
            constraint = {"contextName": "userId", "operator": "IN", "values": list(ids)}
            strategy = {"name": "flexibleRollout", "constraints": [constraint], "parameters": {"rollout": "100", "stickiness": "userId"}}
            return {
                "version": 2,
                "features": [{"name": FLAG, "type": "release", "enabled": True, "strategies": [strategy], "variants": []}],
            }
        case FlagVendor.LAUNCHDARKLY:
            flag = {"key": FLAG, "version": 1, "on": True, "salt": "s", "variations": [False, True], "offVariation": 0, "rules": []}
            return {
                "segments": {},
                "flags": {FLAG: {**flag, "fallthrough": {"variation": 0}, "targets": [{"variation": 1, "values": ids}]}},
            }
        case FlagVendor.GROWTHBOOK:
            return {"features": {FLAG: {"defaultValue": False, "rules": [{"condition": {"id": {"$in": list(ids)}}, "force": True}]}}}
        case FlagVendor.FLAGD:
            targeting = {"if": [{"in": [{"var": ["targetingKey"]}, list(ids)]}, "on", "off"]}
            variants = {"on": "on", "off": ""}
            return {"flags": {FLAG: {"state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": targeting}}}


@dataclass
class Serving:
    """`extproc serve` that polls, without an Envoy."""

    process: subprocess.Popen[bytes]
    directory: Path
    api_port: int

    def get(self, path: str) -> httpx.Response:
        token = (self.directory / "x.db.token").read_text().strip()
        url = f"http://127.0.0.1:{self.api_port}{path}"
        return httpx.get(url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60.0)

    def flags(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/v1/status").raise_for_status().json()["flags"]
        return found

    def shown(self) -> str:
        """`extproc status`, as people see it."""
        reach = ["--api", f"http://127.0.0.1:{self.api_port}", "--token-file", str(self.directory / "x.db.token")]
        command = [sys.executable, "-m", "extproc", "status", *reach]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "COLUMNS": "180"}).stdout

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def canary(self, vendor: FlagVendor) -> list[tuple[str, ...]]:
        """Of each worker: which users meet the canary in the vendor's cohort."""
        found = []
        for endpoint in contract.endpoints(f"unix:{self.directory}/r.sock", WORKERS):
            with grpc.insecure_channel(endpoint) as channel:
                method = channel.stream_stream(contract.PROCESS_METHOD)
                met = []
                for user in USERS:
                    message = request(x_user_id=user, x_case=vendor.value).SerializeToString()
                    (reply,) = list(method(iter([message]), timeout=60))
                    headers = ProcessingResponse.FromString(reply).request_headers.response.header_mutation.set_headers
                    met += [user] if headers[0].header.raw_value == b"new" else []
                found.append(tuple(met))
        return found

    def controller(self) -> int:
        """Its process id."""
        (found,) = [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and str(self.directory).encode() in _words(path) and b"controller" in _words(path)
        ]
        return found


def _words(path: Path) -> bytes:
    try:
        return (path / "cmdline").read_bytes()
    except OSError:
        return b""


def spec_text(service: Service, *more: str) -> str:
    """One source and one cohort for each vendor; `more`: sources that no cohort reads."""

    def source(vendor: FlagVendor) -> dict[str, Any]:
        credential = {"credential": {"env": "FLAG_KEY", "prefix": ""}} if vendor in AUTHORIZED else {}
        return {"vendor": vendor.value, "poll": {"url": service.url(vendor), "every": f"{EVERY:g}s", **credential}}

    cohorts = [
        {"name": vendor.value, "header": {"x-case": [vendor.value]}, "flag": {"source": vendor.value, "key": FLAG}, "share": "100%"}
        for vendor in FlagVendor
    ]
    unit = {"kind": "user", "sources": [{"header": "x-user-id"}]}
    rollout = {"stable": "old", "canary": "new", "unit": unit, "cohorts": cohorts, "phases": [{"share": "1%"}, {"share": "100%"}]}
    sources = {vendor.value: source(vendor) for vendor in FlagVendor} | {name: source(FlagVendor.FLAGD) for name in more}
    made = flag_specs.document({"r": rollout}, flags=sources)
    # No Envoy tells of outcomes here: without this the rollout would be blind after 15 s.
    made["application"]["watch_lease"] = "5m"
    return orjson.dumps(made, option=orjson.OPT_INDENT_2).decode()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with flag_service({vendor: document(vendor, USERS[:5]) for vendor in FlagVendor}) as made:
        yield made


@pytest.fixture(scope="module")
def serving(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    directory, port = tmp_path_factory.mktemp("serve"), free_port()
    (directory / "release.yaml").write_text(spec_text(service, "unread"))
    words = ["--spec", f"{directory}/release.yaml", "--listen", f"unix:{directory}/r.sock", "--store", f"sqlite:{directory}/x.db"]
    words += ["--collector", f"unix:{directory}/c.sock", "--api-port", str(port), "--metrics-port", "0", "--workers", str(WORKERS)]
    environment = {**os.environ, "FLAG_KEY": KEY, "NO_PROXY": "127.0.0.1"}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "extproc", "serve", *words], stdout=subprocess.DEVNULL, stderr=log, env=environment
        )
        made = Serving(process, directory, port)
        try:
            until(lambda: _ready(made), 90.0)
            yield made
        finally:
            process.terminate()
            process.wait(60)


def _ready(serving: Serving) -> bool:
    assert serving.process.poll() is None, serving.log()
    try:
        return all(source["digest"] for source in serving.flags().values()) and serving.canary(FlagVendor.FLAGD) == [USERS[:5]] * WORKERS
    except (httpx.HTTPError, OSError, grpc.RpcError, IndexError):
        return False


@pytest.fixture(autouse=True)
def _well(service: Service) -> Iterator[None]:
    yield
    service.mood.clear()
    service.key = KEY


@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_change_at_the_service_reaches_every_worker(vendor: FlagVendor, service: Service, serving: Serving, tmp_path: Path) -> None:
    """Within `every` and one second; and what the workers say then is what the vendor's own SDK says, reading the same service."""
    took = []
    with lateness() as machine:
        for number in (10, 20):
            wanted = USERS[number - 5 : number]
            service.documents[vendor] = document(vendor, wanted)
            took.append(until(lambda wanted=wanted: serving.canary(vendor) == [wanted] * WORKERS, 60.0))  # type: ignore[misc]
        begun = time.monotonic()
        serving.canary(vendor)
        # To look takes its time, and one look may just miss it.
        looks = 2 * (time.monotonic() - begun)
    print(f"\n{vendor.value}: {', '.join(f'{one:.2f} s' for one in took)}")
    # The machine may be late by itself, but not each time.
    assert min(took) < EVERY + 1.0 + looks + machine.total, took
    with reading(vendor, service, tmp_path) as ask:
        said = tuple(user for user in USERS if ask(FLAG, {UNIT_NAMES[vendor]: user}).on)
    assert serving.canary(vendor) == [said] * WORKERS
    assert len(said) == 5


def test_what_has_not_changed_is_not_sent_again(service: Service, serving: Serving) -> None:
    """304, and no generation more."""
    # The one before has changed something; one source polls it that no cohort reads.
    until(lambda: [status for _, _, status in service.asked[-2 * SOURCES :]] == [304] * 2 * SOURCES, 60.0)
    generation, begin = serving.get("/v1/status").json()["generation"], len(service.asked)
    time.sleep(2 * EVERY + 0.5)
    assert {status for _, _, status in service.asked[begin:]} == {304}
    assert serving.get("/v1/status").json()["generation"] == generation


UNSUPPORTED = {"targeting": {"near": [1, 2]}}
MOODS = [
    {
        FlagVendor.UNLEASH: ("wrong key", "answers with status 401"),
        FlagVendor.LAUNCHDARKLY: ("wrong key", "answers with status 401"),
        FlagVendor.GROWTHBOOK: ("html", "answers with what is no JSON"),
        FlagVendor.FLAGD: ("redirect", "answers with status 302"),
    },
    {
        FlagVendor.UNLEASH: ("list", "answers with JSON that is no object"),
        FlagVendor.LAUNCHDARKLY: ("500", "answers with status 500"),
        FlagVendor.GROWTHBOOK: ("large", "answers with more than 16 MiB"),
        FlagVendor.FLAGD: ("unsupported", "flags.new-model.targeting"),
    },
]


def spoil(service: Service, moods: dict[FlagVendor, tuple[str, str]]) -> None:
    """Whatever is asked now is of no use, and would put everybody out."""
    for vendor, (mood, _) in moods.items():
        service.documents[vendor] = document(vendor, ())
        if mood == "wrong key":
            service.key = "another"
        elif mood == "unsupported":
            service.documents[vendor]["flags"][FLAG] |= UNSUPPORTED
        else:
            service.mood[vendor] = mood


@pytest.mark.parametrize("moods", MOODS, ids=["first", "second"])
def test_a_bad_answer_keeps_the_last_good_one(moods: dict[FlagVendor, tuple[str, str]], service: Service, serving: Serving) -> None:
    """Counted in the metrics, told in `status` and in the log once; the key is nowhere; when it is over, the flags move again."""
    before, flags, logged = {vendor: serving.canary(vendor) for vendor in FlagVendor}, serving.flags(), serving.log()
    spoil(service, moods)
    until(lambda: all(serving.flags()[vendor]["failures"] >= flags[vendor]["failures"] + 3 for vendor in FlagVendor), 60.0)
    assert {vendor: serving.canary(vendor) for vendor in FlagVendor} == before
    now, shown, metrics = serving.flags(), " ".join(serving.shown().split()), serving.get("/metrics").text
    for vendor, (_, told) in moods.items():
        assert now[vendor]["digest"] == flags[vendor]["digest"]
        assert told in now[vendor]["problems"][0]["message"]
        assert f"Flags {vendor.value}" in shown
        assert told in shown
        (line,) = [line for line in metrics.splitlines() if line.startswith(f'extproc_flag_poll_failures{{source="{vendor.value}"}}')]
        assert float(line.split()[-1]) >= flags[vendor]["failures"] + 3
        assert serving.log().removeprefix(logged).count(f"flags of {vendor.value} could not be used") == 1
    service.mood.clear()
    service.key = KEY
    for vendor in FlagVendor:
        service.documents[vendor] = document(vendor, USERS[:3])
    until(lambda: all(serving.canary(vendor) == [USERS[:3]] * WORKERS for vendor in FlagVendor), 60.0)
    until(lambda: not any(source["problems"] for source in serving.flags().values()), 60.0)
    assert "could not be used" not in serving.shown()
    assert KEY not in serving.log() + shown + metrics + serving.get("/v1/status").text + serving.get("/v1/journal").text


def test_a_controller_that_dies_forgets_no_flag(service: Service, serving: Serving) -> None:
    """kill -9 while the service is away: the next one goes on with the last good documents, and polls again when the service is back."""
    before = {vendor: serving.canary(vendor) for vendor in FlagVendor}
    digests = {name: source["digest"] for name, source in serving.flags().items()}
    service.mood.update(dict.fromkeys(FlagVendor, "500"))
    old = serving.controller()
    os.kill(old, signal.SIGKILL)

    def back() -> bool:
        try:
            return serving.controller() != old and all(source["failures"] for source in serving.flags().values())
        except (httpx.HTTPError, OSError, ValueError, KeyError):
            return False

    until(back, 60.0)
    assert {name: source["digest"] for name, source in serving.flags().items()} == digests
    assert {vendor: serving.canary(vendor) for vendor in FlagVendor} == before
    assert "not read since the controller has started" in serving.shown()
    service.mood.clear()
    service.documents[FlagVendor.FLAGD] = document(FlagVendor.FLAGD, USERS[7:9])
    until(lambda: serving.canary(FlagVendor.FLAGD) == [USERS[7:9]] * WORKERS, 60.0)


def test_a_source_that_the_spec_drops_is_asked_no_more(service: Service, serving: Serving) -> None:
    """And one that it adds is, at once; those that a running rollout reads stay."""
    assert "unread" in serving.flags()
    (serving.directory / "release.yaml").write_text(spec_text(service, "another"))
    until(lambda: "another" in serving.flags() and serving.flags()["another"]["digest"] is not None, 60.0)
    assert serving.flags().keys() == {vendor.value for vendor in FlagVendor} | {"another"}
    assert serving.canary(FlagVendor.FLAGD) == [USERS[7:9]] * WORKERS
