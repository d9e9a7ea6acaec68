"""ci/: files that GitHub, GitLab, shells, Argo Rollouts and Flagger can read, made of several Specs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from extproc import contract
from extproc import spec as spec_room
from extproc.controller.verdict import Move
from extproc.demo import stand
from extproc.demo.changes import judged
from extproc.domain import ChangeWindow, Spec
from extproc.plan import pipeline
from extproc.plan.pipeline import course, stages
from extproc.spec.units import duration
from tests.support.manifests import check
from tests.support.pipeline import holds, written

ROOT = Path(__file__).parents[2]
FILES = (
    "envoy/release.yaml",
    "extproc/demo/release.yaml",
    "extproc/demo/cohorts.yaml",
    "tests/golden/flags/release.yaml",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/examples").glob("*.yaml")),
)
HOOKS_THAT_WAIT = {"confirm-rollout", "confirm-traffic-increase", "confirm-promotion"}
PLACEHOLDER = re.compile(r"TODO|CHANGEME|REPLACE|your-|example\.com|<[a-z][a-z _-]*>", re.IGNORECASE)


def with_everything() -> dict[str, Any]:
    """Two rollouts whose names become one slug, phases with names of their own, windows, approvals, a judge with a key, a shadow."""
    document = stand.template()
    judged(document)
    document["judge"]["judges"][0]["credential"] = {"env": "JUDGE_API_KEY"}
    document["models"]["gpt-5"]["credential"] = {"env": "STABLE_API_KEY"}
    document["models"]["o-3"] = {
        "prices": {"input": "$2", "output": "$8"},
        "endpoint": {"host": "127.0.0.1", "port": 1},
        "credential": {"file": "/etc/keys/o-3"},
    }
    (rollout,) = document["rollouts"].values()
    rollout |= {"approval_above": "10%", "start": "manual"}
    rollout["windows"] = [{"days": ["mon", "tue", "wed", "thu"], "from": "09:00", "to": "16:00", "zone": "Europe/Berlin"}]
    rollout["phases"][1]["name"] = "the first ' quarter"
    second = {**deepcopy(rollout), "canary": "o-3", "match": {"paths": ["/v2/"]}, "approval_above": "100%", "shadow": {"max_dwell": "2h"}}
    document["rollouts"] = {"gpt.5": rollout, "gpt-5": {name: value for name, value in second.items() if name != "windows"}}
    return document


@cache
def loaded(name: str) -> Spec:
    if name == "everything":
        return spec_room.load(yaml.safe_dump(with_everything(), sort_keys=False))
    return spec_room.read(str(ROOT / name))


@pytest.fixture(params=[*FILES, "everything"])
def spec(request: pytest.FixtureRequest) -> Spec:
    return loaded(request.param)


@pytest.fixture
def folder(spec: Spec, tmp_path: Path) -> Iterator[Path]:
    return written(spec, tmp_path) / "ci"


def vendored(name: str) -> dict[str, Any]:
    """A schema that check-jsonschema brings."""
    text = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath(f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def validator(name: str) -> Any:
    schema = vendored(name)
    return jsonschema.validators.validator_for(schema)(schema)


def executable(name: str) -> str:
    """Of this environment, or of the machine."""
    beside = [str(Path(sys.executable).parent), *(str(Path(folder) / "bin") for folder in sys.path)]
    found = shutil.which(name, path=os.pathsep.join([*beside, os.environ["PATH"]]))
    assert found is not None, f"{name} is missing: pip install -e '.[dev]'"
    return found


def test_the_same_spec_gives_the_same_bytes(tmp_path: Path) -> None:
    """In another process, which hashes its words otherwise, too: nothing of the machine, the clock or an order of a set is in a file."""
    path = tmp_path / "release.yaml"
    path.write_text(yaml.safe_dump(with_everything(), sort_keys=False))
    code = (
        "import sys; from hashlib import sha256; from extproc import spec; from extproc.plan import pipeline\n"
        "print(sha256(repr(pipeline.files(spec.read(sys.argv[1]))).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == sha256(repr(pipeline.files(loaded("everything"))).encode()).hexdigest()


def test_no_placeholder_and_no_secret_is_in_a_file(spec: Spec) -> None:
    """Every file is whole as it is; tokens and keys are named, and in none of them."""
    for path, text in pipeline.files(spec).items():
        assert PLACEHOLDER.search(text) is None, path
        assert text.endswith("\n")
        assert re.search(r"(sk|ghp|glpat)-[A-Za-z0-9]", text) is None
    workflow = pipeline.files(spec)["ci/github/workflow.yml"]
    for name in re.findall(rf"{contract.TOKEN_ENVIRONMENT}: (.*)", workflow):
        assert name == f"${{{{ secrets.{contract.TOKEN_ENVIRONMENT} }}}}"


def test_github_takes_the_workflow(folder: Path) -> None:
    """By the schema for workflows; every job that is needed is there, and no time is beyond five days."""
    document = yaml.safe_load((folder / "github/workflow.yml").read_text())
    validator("github-workflows").validate(document)
    jobs = document["jobs"]
    for job in jobs.values():
        assert set(job.get("needs", ())) <= set(jobs)
        assert job["timeout-minutes"] <= 5 * 24 * 60
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            if "run" in step:
                assert (folder / "stages" / re.search(r"stages/([\w.-]+)", step["run"])[1]).exists()


def test_gitlab_takes_the_pipeline(folder: Path) -> None:
    """By its schema; stages and needs are there, and every script is."""
    text = (folder / "gitlab-ci.yml").read_text()
    document = yaml.safe_load(text)
    validator("gitlab-ci").validate(document)
    assert "&id" not in text
    jobs = {name: job for name, job in document.items() if isinstance(job, dict) and "script" in job}
    for job in jobs.values():
        assert job["stage"] in document["stages"]
        assert set(job.get("needs", ())) <= set(jobs)
        for line in job["script"]:
            assert (folder / "stages" / re.search(r"stages/([\w.-]+)", line)[1]).exists()


def test_shells_take_the_scripts(folder: Path) -> None:
    """bash -n and shellcheck, as POSIX shell; each stops at the first failure."""
    scripts = sorted(map(str, (folder / "stages").iterdir()))
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        assert "\nset -eu\n" in Path(script).read_text()
    done = subprocess.run([executable("shellcheck"), "--shell=sh", "--severity=style", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_argo_has_three_templates_for_each_rollout(folder: Path, spec: Spec) -> None:
    """Names that Kubernetes takes, the token from a Secret, and limits that outlast the Spec's own times."""
    templates = list(yaml.safe_load_all((folder / "argo/analysis-template.yaml").read_text()))
    names = [template["metadata"]["name"] for template in templates]
    assert len(set(names)) == len(names) == 3 * len(spec.rollouts)
    longest = max(sum(phase.max_dwell for phase in rollout.phases) for rollout in spec.rollouts.values())
    for template in templates:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", template["metadata"]["name"])
        (metric,) = template["spec"]["metrics"]
        references = [argument["valueFrom"]["secretKeyRef"] for argument in template["spec"]["args"]]
        assert references == [{"name": "extproc-api", "key": key} for key in ("address", "token")]
        if "inconclusiveLimit" in metric and len(spec.rollouts) == 1:
            assert metric["inconclusiveLimit"] * duration(metric["interval"]) >= longest
        for word in ("success", "failure"):
            holds(metric[f"{word}Condition"], {move.value: True for move in Move})


def test_flagger_asks_by_hooks_that_wait_and_one_that_rolls_back(folder: Path, spec: Spec) -> None:
    """No hook whose refusals are counted as failures; the token is read from a file, and is on no command line."""
    (canary,) = yaml.safe_load_all((folder / "flagger/metric-or-webhook.yaml").read_text())
    check(canary)
    hooks = canary["spec"]["analysis"]["webhooks"]
    assert len({hook["name"] for hook in hooks}) == 3 * len(spec.rollouts)
    for hook in hooks:
        assert hook["type"] in HOOKS_THAT_WAIT | {"rollback"}
        assert hook["metadata"]["type"] == "bash"
        assert re.search(r"ask=(\w+)", hook["metadata"]["cmd"])[1] in list(Move)
        assert "--header @-" in hook["metadata"]["cmd"]


def test_there_is_one_wait_for_each_phase_and_a_person_where_the_spec_asks() -> None:
    """Times are max dwell, the longest closed stretch and half an hour; a share above approval_above has a job that a person opens."""
    first, second = course.courses(loaded("everything"))
    assert [wait.until for wait in first.waits] == ["the first ' quarter", "50%", "100%", "completed"]
    assert [wait.asked for wait in first.waits] == [True, True, True, False]
    assert {wait.asked for wait in second.waits} == {False}
    closed = (24 + 72 - 7) * 3600.0
    assert first.waits[0].timeout == 15 * 60 + closed + 1800
    assert second.waits[0].timeout == 15 * 60 + 1800
    assert (first.opening, second.opening) == (closed + 1800, 2 * 3600 + 1800)
    assert (first.slug, second.slug) == ("gpt-5", "gpt-5-2")
    jobs = yaml.safe_load(pipeline.files(loaded("everything"))["ci/github/workflow.yml"])["jobs"]
    assert jobs["rollout-gpt-5-approve-2"]["environment"] == "approval-gpt-5"
    assert jobs["rollout-gpt-5-wait-3"]["needs"] == ["rollout-gpt-5-approve-2"]
    assert not [name for name in jobs if name.startswith("rollout-gpt-5-2-approve")]


def test_a_shadow_is_a_stage_of_its_own_before_the_start() -> None:
    """Where a rollout has one: it is begun there, and a start behind it tries nothing again. A post-mortem follows a shadow that failed."""
    made = pipeline.files(loaded("everything"))
    jobs = yaml.safe_load(made["ci/github/workflow.yml"])["jobs"]
    assert jobs["rollout-gpt-5-2-shadow"]["needs"] == ["check", "judge"]
    assert jobs["rollout-gpt-5-2-start"]["needs"] == ["rollout-gpt-5-2-shadow"]
    assert "EXTPROC_RETRY" in jobs["rollout-gpt-5-2-shadow"]["env"]
    assert "EXTPROC_RETRY" not in jobs["rollout-gpt-5-2-start"]["env"]
    assert jobs["rollout-gpt-5-2-postmortem"]["if"] == "failure() && needs.rollout-gpt-5-2-shadow.result != 'skipped'"
    assert "rollout-gpt-5-shadow" not in jobs
    lab = yaml.safe_load(made["ci/gitlab-ci.yml"])
    assert lab["stages"] == ["check", "judge", "shadow", "start", "phases", "afterwards"]
    assert (lab["gpt-5-2 shadow"]["needs"], lab["gpt-5-2 start"]["needs"]) == (["check", "judge"], ["gpt-5-2 shadow"])
    assert lab["gpt-5-2 start"]["script"][0].startswith("EXTPROC_RETRY= sh ")
    assert lab["gpt-5 start"]["script"][0].startswith("sh ")
    plain = pipeline.files(loaded("envoy/release.yaml"))
    assert f"ci/stages/{stages.SHADOW}" not in plain
    assert "shadow" not in yaml.safe_load(plain["ci/gitlab-ci.yml"])["stages"]


def test_how_a_shadow_ends_is_how_its_stage_ends(tmp_path: Path) -> None:
    """The start's exit code, and a word of what it means of a shadow; a rollout without one is a mistake."""
    folder = written(loaded("everything"), tmp_path) / "ci" / "stages"
    (folder / stages.START).write_text('echo "$1 is begun"; exit "$START_ENDS"\n')

    def ended(code: int, rollout: str = "gpt-5") -> tuple[int, str, str]:
        words = ["sh", str(folder / stages.SHADOW), rollout]
        environment = {**os.environ, "START_ENDS": str(code)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    assert ended(0) == (0, "gpt-5 is begun\nthe shadow of gpt-5 has ended well\n", "")
    for code, said in ((3, "has not ended well: the reason is above"), (4, "has not ended yet"), (5, "needs a person")):
        assert ended(code) == (code, "gpt-5 is begun\n", f"the shadow of gpt-5 {said}\n")
    assert ended(6) == (6, "gpt-5 is begun\n", "")
    assert ended(0, "gpt.5") == (1, "", "gpt.5 has no shadow\n")


def test_the_offline_judge_is_there_where_the_spec_has_one() -> None:
    """With the keys by reference, those in files apart; without a judge there is neither script nor job."""
    jobs = yaml.safe_load(pipeline.files(loaded("everything"))["ci/github/workflow.yml"])["jobs"]
    keys = {name: value for name, value in jobs["judge"]["env"].items() if "secrets." in value}
    assert keys == {name: f"${{{{ secrets.{name} }}}}" for name in ("JUDGE_API_KEY", "STABLE_API_KEY")}
    assert jobs["rollout-gpt-5-start"]["needs"] == ["check", "judge"]
    plain = pipeline.files(loaded("envoy/release.yaml"))
    assert f"ci/stages/{stages.JUDGE}" not in plain
    assert "judge" not in yaml.safe_load(plain["ci/github/workflow.yml"])["jobs"]


@pytest.mark.parametrize(
    ("windows", "hours"),
    [
        ([], 0.0),
        ([((0, 1, 2, 3, 4, 5, 6), 0.0, 24.0)], 0.0),
        ([((0, 1, 2, 3), 9.0, 16.0)], 89.0),
        ([((0, 1, 2, 3, 4), 9.0, 16.0), ((5,), 12.0, 14.0)], 43.0),
        ([((2,), 9.0, 10.0)], 167.0),
    ],
)
def test_the_longest_closed_stretch_goes_over_the_weekend(windows: list[tuple[tuple[int, ...], float, float]], hours: float) -> None:
    """From the end of the last window of a week to the first of the next one, where nothing longer is between."""
    made = [ChangeWindow(days, begin * 3600, end * 3600, UTC) for days, begin, end in windows]
    assert course.longest_closed(made) == hours * 3600


@pytest.mark.parametrize(("seconds", "text"), [(60.0, "1m"), (61.0, "2m"), (3600.0, "1h"), (88200.0, "24h30m")])
def test_times_are_written_as_they_are_read(seconds: float, text: str) -> None:
    """In whole minutes, never less than they are; `extproc wait --timeout` reads them."""
    assert course.written(seconds) == text
    assert seconds <= duration(text) < seconds + 60


def test_a_spec_without_a_rollout_has_no_pipeline() -> None:
    """There is nothing to release."""
    document = stand.template()
    document["rollouts"] = {}
    assert pipeline.files(spec_room.load(yaml.safe_dump(document))) == {}
