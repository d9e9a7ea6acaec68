"""The pipeline's stage scripts in their order, `extproc wait` with each of its ends, and the verdict for Argo Rollouts and Flagger: on
the real Envoy, with traffic, a controller that is killed, and a canary that breaks."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.cli.awaited import Ended
from extproc.demo import family
from extproc.demo.traffic import TrafficSettings
from extproc.plan.pipeline import flagger, stages
from tests.support.offline import KEY, prompts, stand
from tests.support.pipeline import Runner, holds
from tests.support.standing import CHAT, Standing, standing

ROLLOUT, CANARY, STABLE = "gpt-5-mini", "gpt-5-mini", "gpt-5"
RATE = 30.0
"""Requests a second: what a machine carries that does other things too."""

pytestmark = pytest.mark.timeout(400)


def _short(document: dict[str, Any]) -> None:
    """Three phases of some seconds; a person starts it, and approves everybody."""
    rollout = document["rollouts"][ROLLOUT]
    rollout |= {"start": "manual", "approval_above": "50%"}
    rollout["phases"] = rollout["phases"][2:]
    for phase in rollout["phases"]:
        phase |= {"min_dwell": "6s", "min_units": 20}
        if "gates" in phase:
            phase["gates"] = {"errors": {"margin": "20%"}}


@pytest.fixture(scope="module")
def served() -> Iterator[Standing]:
    """A whole extproc, nobody asks yet."""
    with standing(_short, workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def busy(served: Standing) -> Standing:
    """The same, with traffic."""
    traffic = served.run(served.processes.start("traffic", [sys.executable, "-m", "extproc.demo.traffic"], speaks=True))
    url = f"http://127.0.0.1:{served.ports.listener}{CHAT}"
    served.run(traffic.tell(asdict(TrafficSettings(url=url, rate=RATE, canary_model=CANARY, model=STABLE, people=5_000))))
    return served


@pytest.fixture(scope="module")
def runner(served: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A job's machine: address and token in its environment."""
    token = (served.directory / "extproc.db.token").read_text().strip()
    api = f"http://127.0.0.1:{served.ports.api}"
    where = {"EXTPROC_API": api, "EXTPROC_TOKEN": token, "EXTPROC_STORE": f"sqlite:{served.directory}/extproc.db"}
    made = Runner(tmp_path_factory.mktemp("job"), served.spec, **where, EXTPROC_WHY="run 17")
    yield made
    made.close()


def wait(runner: Runner, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = runner.run("extproc", "wait", ROLLOUT, *words, **more)
    assert "Traceback" not in done.stderr
    return done


def verdict(served: Standing) -> dict[str, Any]:
    found: dict[str, Any] = served.api("GET", f"/v1/rollouts/{ROLLOUT}/verdict")
    return found


def argo(runner: Runner, result: dict[str, Any]) -> dict[str, str]:
    """Template -> what Argo Rollouts would make of the endpoint's JSON."""
    found = {}
    for template in yaml.safe_load_all((runner.folder / "ci/argo/analysis-template.yaml").read_text()):
        (metric,) = template["spec"]["metrics"]
        met = [holds(metric[f"{word}Condition"], result) for word in ("success", "failure")]
        assert met != [True, True]
        found[metric["name"]] = "successful" if met[0] else "failed" if met[1] else "inconclusive"
    return found


def flaggers(runner: Runner, served: Standing) -> dict[str, bool]:
    """Kind of hook -> whether the load tester's command succeeds, run as it is but for where the Secret is mounted."""
    secret = runner.directory / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "address").write_text(runner.environment["EXTPROC_API"])
    (secret / "token").write_text(runner.environment["EXTPROC_TOKEN"])
    (canary,) = yaml.safe_load_all((runner.folder / "ci/flagger/metric-or-webhook.yaml").read_text())
    found = {}
    for hook in canary["spec"]["analysis"]["webhooks"]:
        words = hook["metadata"]["cmd"].replace(flagger.MOUNT, str(secret))
        for _ in range(20):
            done = runner.run("bash", "-c", words)
            if "api.no-answer" not in done.stdout:
                break
        assert '"rollout":"gpt-5-mini"' in done.stdout, done.stderr
        found[hook["type"]] = done.returncode == 0
    return found


def advancing(served: Standing) -> dict[str, Any]:
    """The first verdict that lets others advance."""
    deadline = time.monotonic() + 90
    while not (found := verdict(served))["advance"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def act(served: Standing, action: str) -> None:
    served.api("POST", f"/v1/rollouts/{ROLLOUT}/{action}", json={"why": "a test"})


def hear(process: subprocess.Popen[str], words: str) -> None:
    """Read its standard error until a line begins so."""
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if line.startswith(words):
            return
    raise AssertionError(f"it ended without {words!r}: {heard}")


def test_stages_before_the_start(runner: Runner) -> None:
    """The Spec is checked, its phases can succeed, and nothing is there to write of; nothing was started by any of that."""
    checked = runner.stage(stages.CHECK)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "no problem" in checked.stdout
    none = runner.stage(stages.POSTMORTEM, ROLLOUT)
    assert none.returncode == 0
    assert "nothing to write" in none.stdout
    unknown = runner.stage(stages.START, "another")
    assert (unknown.returncode, "no rollout of this Spec" in unknown.stderr) == (1, True)
    waited = wait(runner, "--timeout", "1s")
    assert waited.returncode == Ended.NOT_YET
    assert waited.stdout.count("\n") == 1
    assert "pending; waits for `extproc start gpt-5-mini`" in waited.stdout


def test_another_spec_is_not_started(runner: Runner, tmp_path: Path) -> None:
    """A folder of another Spec than the controller has in force ends before the start."""
    script = runner.folder / "ci" / "stages" / stages.START
    other = tmp_path / stages.START
    lines = [f"digest={'0' * 16}" if line.startswith("digest=") else line for line in script.read_text().splitlines()]
    other.write_text("\n".join(lines) + "\n")
    done = runner.run("sh", str(other), ROLLOUT)
    assert done.returncode == 1
    assert "another Spec in force" in done.stderr


def test_mistakes_end_with_one(runner: Runner) -> None:
    """A phase or a token that is none: a Problem, and no waiting."""
    for words, environment, problem in (
        (("--until", "7%"), {}, "[wait.no-phase]"),
        (("--timeout", "1s"), {"EXTPROC_TOKEN": "wrong"}, "[api.token]"),
    ):
        done = wait(runner, *words, **environment)
        assert (done.returncode, problem in done.stderr) == (1, True), done.stderr


def test_from_start_to_completed(busy: Standing, runner: Runner) -> None:
    """Started once however often it is asked; the wait outlives a killed controller; a person approves; Argo and Flagger follow."""
    assert argo(runner, verdict(busy)) == {"guard": "successful", "advance": "inconclusive", "completed": "inconclusive"}
    assert flaggers(runner, busy) == {"confirm-traffic-increase": False, "confirm-promotion": False, "rollback": False}
    starting = runner.begin_stage(stages.START, ROLLOUT)
    assert argo(runner, advancing(busy)) == {"guard": "successful", "advance": "successful", "completed": "inconclusive"}
    act(busy, "pause")
    said, errors = starting.communicate(timeout=150)
    assert starting.returncode == 0, said + errors
    waiting = runner.begin_stage(stages.WAIT, ROLLOUT, "50%")
    hear(waiting, "gpt-5-mini is paused at 25%")
    assert busy.serving is not None
    controller = family.controller(busy.serving.process.pid)
    # Stopped first, so that it is away for long enough to be missed.
    family.signal_all([controller], signal.SIGSTOP)
    hear(waiting, "waits for the controller")
    family.signal_all([controller], signal.SIGKILL)
    hear(waiting, "gpt-5-mini is paused at 25%")
    act(busy, "resume")
    said, errors = waiting.communicate(timeout=150)
    assert waiting.returncode == 0, said + errors
    assert "has reached 50%" in said
    asked = runner.stage(stages.WAIT, ROLLOUT, "100%")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "a person decides" in asked.stdout
    at_the_end = wait(runner, "--timeout", "1s")
    assert at_the_end.returncode == Ended.PERSON
    assert "awaiting approval at 50%" in at_the_end.stdout
    assert argo(runner, verdict(busy)) == {"guard": "successful", "advance": "inconclusive", "completed": "inconclusive"}
    again = runner.stage(stages.START, ROLLOUT)
    assert (again.returncode, verdict(busy)["attempt"]) == (0, 1), again.stderr
    promoted = runner.stage(stages.PROMOTE, ROLLOUT, "100%")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    ended = runner.stage(stages.WAIT, ROLLOUT, "completed")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert argo(runner, verdict(busy)) == {"guard": "successful", "advance": "successful", "completed": "successful"}
    assert flaggers(runner, busy) == {"confirm-traffic-increase": True, "confirm-promotion": True, "rollback": False}


def test_rolled_back_by_hand_and_by_evidence(busy: Standing, runner: Runner) -> None:
    """Completed, taken back from the pipeline, tried again, and rolled back for what the canary does: 3, with the reason."""
    back = runner.stage(stages.ROLLBACK, ROLLOUT)
    assert back.returncode == 0, back.stdout + back.stderr
    assert runner.stage(stages.START, ROLLOUT).returncode == Ended.ROLLED_BACK
    again = runner.stage(stages.START, ROLLOUT, EXTPROC_RETRY="true")
    assert again.returncode == 0, again.stdout + again.stderr
    waiting = runner.begin_stage(stages.WAIT, ROLLOUT, "completed")
    busy.run(busy.models[CANARY].turn({"error_rate": 1.0}))
    said, errors = waiting.communicate(timeout=150)
    assert waiting.returncode == Ended.ROLLED_BACK, said + errors
    assert said.startswith("gpt-5-mini was rolled back: errors")
    assert argo(runner, verdict(busy)) == {"guard": "failed", "advance": "failed", "completed": "failed"}
    assert flaggers(runner, busy) == {"confirm-traffic-increase": False, "confirm-promotion": False, "rollback": True}
    assert verdict(busy)["attempt"] == 2
    told = runner.stage(stages.POSTMORTEM, ROLLOUT)
    assert told.returncode == 0, told.stdout + told.stderr
    assert ROLLOUT in (runner.directory / f"postmortem-{ROLLOUT}.md").read_text()


def test_a_person_who_pauses_and_a_controller_that_is_away(busy: Standing, runner: Runner) -> None:
    """Paused at the end of the time: 5. No answer for longer than patience, or nobody at that address: 6, with what was last seen."""
    busy.run(busy.models[CANARY].turn({"error_rate": 0.0}))
    assert runner.stage(stages.START, ROLLOUT, EXTPROC_RETRY="true").returncode == 0
    assert runner.run("extproc", "pause", ROLLOUT, "--why", "lunch").returncode == 0
    paused = wait(runner, "--timeout", "1s")
    assert paused.returncode == Ended.PERSON
    # It may have gone on to the second phase before the person was heard.
    assert re.search(r"paused at (25|50)%; lunch", paused.stdout)
    assert busy.serving is not None
    controller = family.controller(busy.serving.process.pid)
    waiting = runner.begin("extproc", "wait", ROLLOUT, "--patience", "2s")
    hear(waiting, "gpt-5-mini is paused")
    family.signal_all([controller], signal.SIGSTOP)
    try:
        said, _ = waiting.communicate(timeout=150)
    finally:
        family.signal_all([controller], signal.SIGCONT)
    assert waiting.returncode == Ended.UNREACHABLE
    assert re.search(r"\(it was paused at (25|50)%\)", said)
    nobody = wait(runner, "--patience", "1s", EXTPROC_API="http://127.0.0.1:9")
    assert (nobody.returncode, nobody.stdout.count("\n")) == (Ended.UNREACHABLE, 1)


def test_drift_is_found(runner: Runner) -> None:
    """The folder that the Spec makes passes; one with a file that somebody has changed does not."""
    made = runner.run("extproc", "plan", runner.environment["EXTPROC_SPEC"], "-o", str(runner.directory / "whole"))
    assert made.returncode == 0, made.stderr
    script = runner.directory / "whole" / "ci" / "stages" / stages.DRIFT
    assert runner.run("sh", str(script)).returncode == 0
    with script.open("a") as file:
        file.write("# by hand\n")
    assert runner.run("sh", str(script)).returncode != 0


def test_the_offline_judge_as_a_stage(tmp_path: Path) -> None:
    """A good canary passes on prompts of one's own; on too few of them the stage ends with 3, unless that is allowed."""

    async def play() -> None:
        async with stand(tmp_path, margin="15%") as given:
            runner = Runner(tmp_path, given.write(), OFFLINE_KEY=KEY)
            few, many = prompts(tmp_path / "few.jsonl", 10), prompts(tmp_path / "many.jsonl", 110)
            loop = asyncio.get_running_loop()

            async def judge(file: Path, **more: str) -> int:
                # Results of other prompts are never mixed.
                shutil.rmtree(tmp_path / "judge-gpt-5-mini", ignore_errors=True)
                done = await loop.run_in_executor(None, lambda: runner.stage(stages.JUDGE, EXTPROC_PROMPTS=str(file), **more))
                return done.returncode

            assert await judge(few) == 3
            assert await judge(few, EXTPROC_INCONCLUSIVE="allow") == 0
            assert await judge(many) == 0

    asyncio.run(play())
