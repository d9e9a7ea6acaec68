"""kill -9 of the controller at random moments, while people act and outcomes arrive. `python -m loadtest.kills --kills 50`.

The controller is the process that people run, its store is on this disk; outcomes come over gRPC as Envoy sends them, assigned by what
the store says (as a router would), acts come over the HTTP API. Promised: no acknowledged act is lost, none is carried out twice, at
most a second of outcomes is lost and the status says how much, e-processes are the same. Exit code 1 where that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import time
from typing import Any, Final

import grpc
import httpx
import uvloop

from extproc import contract
from extproc.cli.write import filled_template
from extproc.controller import saved
from extproc.controller.api import ACTIONS
from extproc.controller.loop import WARM_UP
from extproc.demo import stand
from extproc.demo.processes import Child, DemoError, Processes, free_port
from extproc.domain import Action, Reason, State
from extproc.errors import ExtprocError, Problem, StoreError
from extproc.pb.access_log_pb2 import HttpAccessLogEntry, StreamAccessLogsMessage
from extproc.store import Store, open_store
from loadtest.kills_report import Answer, Death, PersonsAct, Plan, Seen, books, told, vectors, verdict

ROLLOUT: Final = "new"
FLUSH: Final = 0.1
"""Seconds between two messages of the access log, as Envoy is told."""
LASTED: Final = 0.05
"""Seconds that each request took."""
READY: Final = 90.0
FIRST_SAVE: Final = 60.0
"""Seconds for a controller's first tick, on a machine that does other things."""
UNKNOWN: Final = 504
"""Status of the API's answer where the brain was asked for an act and has not answered: nobody knows yet."""
_PERSON: Final = {
    "pending": ("start",),
    "rolled_back": ("start",),
    "progressing": ("pause",) * 30 + ("promote",) * 2 + ("rollback",),
    "paused": ("resume",) * 30 + ("promote",) * 2,
    "awaiting_approval": ("resume", "promote"),
    "completed": ("rollback",),
}
"""What somebody may do to a rollout of this status; mostly what leaves its evidence alone."""


@dataclass(slots=True)
class Life:
    """One controller, from its start to its kill."""

    child: Child
    started: float
    not_before: float = 0.0
    """Requests that began earlier are not looked at; 0 where that is not known."""
    as_of: float = 0.0
    """When it last saved."""


class Kills:
    """One series in a directory of its own."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.seen = Seen(plan)
        self._plan, self._processes = plan, processes
        self._random = Random(plan.seed)
        directory = processes.directory
        self._store_path = directory / "extproc.db"
        self._url = f"sqlite:{self._store_path}"
        self._socket = f"unix:{directory}/collector.sock"
        self._port = free_port()
        self._spec = directory / "release.yaml"
        self._lives: list[Life] = []
        self._sent: dict[int, list[tuple[int, float]]] = defaultdict(list)
        """By generation: (life, when it was sent), of requests that began LASTED before."""
        self._watching: Store
        self._api: httpx.AsyncClient
        self._acted = asyncio.Event()

    async def run(self) -> Seen:
        """From the first start to the last kill; raises DemoError where a controller does not come back."""
        text = filled_template("kills", "old", ROLLOUT)
        for long in ("30m", "1h", "2h", "4h", "12h"):
            text = text.replace(f"min_dwell: {long}", "min_dwell: 2s")
        self._spec.write_text(text.replace("share: 1%", "share: 10%").replace("share: 5%", "share: 20%"))
        await self._start()
        self._watching = open_store(self._url)
        tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._act())]
        try:
            for number in range(self._plan.kills):
                await self._wait(number)
                await self._kill()
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._api.aclose()
            self._watching.close()
        return self.seen

    # ------------------------------------------------------------------------------------------------------------------ controller
    async def _start(self) -> dict[str, Any]:
        """A controller that answers; its first status."""
        began = time()
        arguments = ["--spec", self._spec, "--store", self._url, "--collector", self._socket, "--api-port", str(self._port)]
        child = await self._processes.start(f"controller {len(self._lives)}", [*stand.EXTPROC, "controller", *map(str, arguments)])
        token = self._store_path.with_name("extproc.db.token")
        deadline = asyncio.get_running_loop().time() + READY
        while asyncio.get_running_loop().time() < deadline:
            with suppress(httpx.TransportError, FileNotFoundError):
                if not self._lives:
                    headers = {"authorization": f"Bearer {token.read_text().strip()}"}
                    self._api = httpx.AsyncClient(
                        base_url=f"http://127.0.0.1:{self._port}", headers=headers, trust_env=False, timeout=READY
                    )
                answer = await self._api.get("/v1/status")
                if answer.status_code == 200:
                    status: dict[str, Any] = answer.json()
                    restart = status["rollouts"][ROLLOUT]["restart"]
                    self._lives.append(Life(child, began, restart["at"] + WARM_UP if restart is not None else 0.0))
                    return status
            if child.process.returncode is not None:
                raise DemoError(child.problem("kills.ended", f"ended with code {child.process.returncode}"))
            await asyncio.sleep(0.02)
        raise DemoError(child.problem("kills.not-ready", f"did not answer within {READY:g} s"))

    async def _wait(self, number: int) -> None:
        """Until the next kill: a random time, or the milliseconds around an act."""
        await asyncio.sleep(self._random.uniform(0.0, self._plan.longest_life) if number else self._plan.first_life)
        if number % 3 == 2:
            self._acted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await self._acted.wait()
            await asyncio.sleep(self._random.uniform(0.0, 0.012))

    async def _kill(self) -> None:
        """Kill it, read what it left, start the next one, compare."""
        life = self._lives[-1]
        os.kill(life.child.process.pid, signal.SIGKILL)
        killed = time()
        await life.child.process.wait()
        await self._processes.stop(life.child)
        journal, state, document = self._left()
        wrong = books(journal, state, self.seen.acts)
        lost_seconds = lost = 0.0
        if document is not None:
            # An attempt that has not lived to its first tick has lost what came since its start.
            began = max(entry.at for entry in journal if entry.action in (Action.START, Action.ADOPT))
            life.as_of = document["as_of"]
            lost_seconds = max(0.0, killed - max(life.as_of, began))
            lost = sum(
                one == len(self._lives) - 1 and killed - lost_seconds < at <= killed for sent in self._sent.values() for one, at in sent
            )
            wrong += self._count(document, began)
        self.seen.journal = journal
        # Its first save may come before its API answers, and the second one is of evidence that has gone on.
        attempt = state.rollouts[ROLLOUT].attempt
        comparing = asyncio.create_task(self._compare(attempt, document)) if document is not None else None
        status = await self._start()
        answered = time()
        restart = status["rollouts"][ROLLOUT]["restart"]
        if (restart is None) != (document is None or not document["as_of"]):
            wrong.append(f"status says {restart} of a restart, the Evidence in the store is as of {life.as_of:.3f}")
        elif restart is not None and not (
            killed <= restart["at"] <= answered and abs(restart["at"] + WARM_UP - restart["seconds"] - life.as_of) < 0.001
        ):
            wrong.append(f"status says {restart}, killed at {killed:.3f}, Evidence as of {life.as_of:.3f}")
        compared = 0
        if comparing is not None:
            compared, differing = await comparing
            wrong += differing
        shown = (restart["seconds"], restart["outcomes"]) if restart is not None else (0.0, 0)
        kill = len(self.seen.deaths) + 1
        said = f"kill {kill}: {'; '.join(wrong)}" if wrong else ""
        self.seen.deaths.append(Death(lost_seconds, int(lost), answered - killed, *shown, compared, said))
        print(f"kill {kill:2}  {len(journal):4} entries, {lost_seconds:.2f} s ({lost:.0f}) lost, {compared} compared {said}", flush=True)

    # -------------------------------------------------------------------------------------------------------------------- the books
    def _left(self) -> tuple[list[Any], State, dict[str, Any] | None]:
        """Journal (oldest first), State and Evidence as a reader finds them, before anybody repairs anything."""
        store = open_store(self._url)
        try:
            state = store.read_state()
            if state is None:
                raise DemoError(Problem("kills.empty", self._url, "holds no State", "see the controller's log"))
            journal = store.journal(limit=1_000_000)[::-1]
            return journal, state, saved.document(ROLLOUT, state.rollouts[ROLLOUT].attempt, store.read_evidence())
        finally:
            store.close()

    async def _compare(self, attempt: int, before: dict[str, Any]) -> tuple[int, list[str]]:
        """The e-processes of the store before the start with those that the next controller saves first: until the end of its warm-up
        it looks at nothing, so that they must be equal. (0, nothing) where there are none yet, or a new attempt has begun meanwhile."""
        wanted = vectors(before)
        deadline = asyncio.get_running_loop().time() + FIRST_SAVE
        while asyncio.get_running_loop().time() < deadline:
            with suppress(StoreError):
                state, rows = self._watching.read_state(), self._watching.read_evidence()
                assert state is not None
                now = saved.document(ROLLOUT, attempt, rows)
                if state.rollouts[ROLLOUT].attempt != attempt:
                    return 0, []
                if now is not None and now["as_of"] > before["as_of"]:
                    found = vectors(now)
                    if found != wanted:
                        return 0, [f"e-processes changed by the restart: {wanted} became {found}"]
                    return sum(map(len, wanted.values())), []
            await asyncio.sleep(0.05)
        return 0, ["the next controller saved no Evidence"]

    def _count(self, document: dict[str, Any], began: float) -> list[str]:
        """The outcomes of the present visit in the store against those that were sent: in every life, what began after its warm-up and
        was sent before its last save. An attempt that began at `began`, in the middle of a life, needs no warm-up."""
        sent = self._sent[document["generation"]]
        least = most = 0
        for number, life in enumerate(self._lives):
            mine = [at for one, at in sent if one == number]
            fresh = document["attempt"] > 1 and began > life.started
            if mine and not (life.not_before or fresh):
                return []
            begin = 0.0 if fresh else life.not_before + LASTED
            least += max(0, bisect_right(mine, life.as_of - self._plan.on_the_way) - bisect_left(mine, begin + 0.001))
            most += max(0, bisect_right(mine, life.as_of + 0.001) - bisect_left(mine, begin - 0.001))
        counted = sum(arm[0] for arm in document["arms"].values())
        self.seen.counted += least > 0
        if least <= counted <= most:
            return []
        return [f"Evidence has {counted} outcomes of visit {document['generation']}, sent were {least} to {most}"]

    # ----------------------------------------------------------------------------------------------------------- outcomes and people
    async def _send(self) -> None:
        """The access log of an Envoy: it connects again as soon as it can, and what it cannot send is gone."""
        while True:
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                async with grpc.aio.insecure_channel(self._socket) as channel:
                    call = channel.stream_unary(contract.ACCESS_LOG_METHOD)()
                    while not call.done():
                        await asyncio.sleep(FLUSH)
                        await self._flush(call)
            await asyncio.sleep(0.02)

    async def _flush(self, call: Any) -> None:
        with suppress(StoreError):
            state = self._watching.read_state()
            assert state is not None
            message, now = StreamAccessLogsMessage(), time()
            generation = state.rollouts[ROLLOUT].generation
            for _ in range(round(self._plan.rate * FLUSH)):
                self.seen.sent += 1
                message.http_logs.log_entry.append(_entry(self.seen.sent, now - LASTED, generation, self._random.random() < 0.2))
            life = len(self._lives) - 1
            await call.write(message.SerializeToString())
            # What waited for the next controller began before its warm-up: it counts nowhere.
            if life == len(self._lives) - 1:
                self._sent[generation] += [(life, now)] * len(message.http_logs.log_entry)

    async def _act(self) -> None:
        """Somebody who does something all the time, whatever the status: now and then it is refused."""
        while True:
            await asyncio.sleep(self._random.expovariate(1 / self._plan.act_every))
            try:
                state = self._watching.read_state()
            except StoreError:
                continue
            assert state is not None
            action = self._choose(state.rollouts[ROLLOUT].status.value)
            why = f"act {len(self.seen.acts) + 1}"
            posting = asyncio.create_task(self._api.post(f"/v1/rollouts/{ROLLOUT}/{action}", json={"why": why, "actor": "ann"}))
            self._acted.set()
            try:
                answer = await posting
            except httpx.TransportError:
                self.seen.acts.append(PersonsAct(why, Answer.NONE))
                continue
            if answer.status_code == 200:
                self.seen.acts.append(PersonsAct(why, Answer.ACKNOWLEDGED, answer.json()["generation"]))
            else:
                # The API outlives the brain by an instant: it then says that nobody knows, which is no refusal.
                self.seen.acts.append(PersonsAct(why, Answer.NONE if answer.status_code == UNKNOWN else Answer.REFUSED))

    def _choose(self, status: str) -> str:
        """Mostly what makes sense; one in ten is anything, and mostly refused."""
        sensible = self._random.random() > 0.1
        possible = [action for action in (_PERSON[status] if sensible else ()) if self._plan.rollbacks or action != "rollback"]
        # What nobody would do in this status is mostly refused, and that is to be seen as well.
        return self._random.choice(possible or [action for action in ACTIONS if self._plan.rollbacks or action != "rollback"])


def _entry(number: int, start: float, generation: int, canary: bool) -> HttpAccessLogEntry:
    """A request that went well."""
    made = HttpAccessLogEntry()
    common = made.common_properties
    common.start_time.FromNanoseconds(round(start * 1e9))
    common.duration.FromNanoseconds(round(LASTED * 1e9))
    common.upstream_request_attempt_count = 1
    common.stream_id = f"s{number}"
    common.upstream_cluster = ROLLOUT if canary else "old"
    common.metadata.filter_metadata[contract.assignment_namespace(contract.MODEL_LAYER)].update(
        {
            contract.FIELD_ROLLOUT: ROLLOUT,
            contract.FIELD_GENERATION: generation,
            contract.FIELD_PHASE: "",
            contract.FIELD_COHORT: "everyone",
            contract.FIELD_ARM: "canary" if canary else "rest",
            contract.FIELD_REASON: Reason.RING.value,
            contract.FIELD_DURABLE: True,
            contract.FIELD_UNIT: f"{number % 5000:016x}",
        }
    )
    made.response.response_code.value = 200
    return made


# ------------------------------------------------------------------------------------------------------------------------ entries
async def run(plan: Plan) -> Seen:
    """One series; raises DemoError with the cause where it cannot go on."""
    async with Processes() as processes:
        return await Kills(plan, processes).run()


def section() -> tuple[list[str], list[str]]:
    """For `loadtest.proof`: lines of Markdown, and what was promised and not seen."""
    seen = uvloop.run(run(Plan()))
    return told(seen), verdict(seen)


def main() -> int:
    """Entry point."""
    plan = Plan()
    parser = argparse.ArgumentParser(description="kill -9 of the controller while people act and outcomes arrive.")
    parser.add_argument("--kills", type=int, default=plan.kills)
    parser.add_argument("--seed", type=int, default=plan.seed, help="other moments, other acts")
    given = parser.parse_args()
    try:
        seen = uvloop.run(run(Plan(kills=given.kills, seed=given.seed)))
    except ExtprocError as error:
        print(error, file=sys.stderr)
        return 2
    problems = verdict(seen)
    print("\n".join(["", *told(seen), "", *(f"NOT as promised: {problem}" for problem in problems)]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
