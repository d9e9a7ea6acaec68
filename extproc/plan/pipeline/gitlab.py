"""ci/gitlab-ci.yml: to be included by .gitlab-ci.yml. The same jobs as GitHub's, with GitLab's manual jobs where a person decides."""

from __future__ import annotations

import shlex
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.pipeline import stages
from extproc.plan.pipeline.course import Course, courses, written
from extproc.plan.pipeline.place import FOLDER, RUNNER, SPEC, judge_secrets, judged
from extproc.plan.yamltext import yaml_text

Block = dict[str, Any]

AROUND: Final = 600.0
"""Seconds of a job, besides the wait."""
QUICK: Final = "15m"
JUDGING: Final = "6h"
RELEASING: Final = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
CHANGED: Final = (SPEC, f"{FOLDER}/**/*")


def pipeline(spec: Spec) -> str:
    """The whole file."""
    jobs: Block = {"check": _check()}
    before = ["check"]
    if judged(spec):
        jobs["judge"] = _judge(spec)
        before = ["check", "judge"]
    for course in courses(spec):
        jobs |= _course(course, before)
    shadows = ["shadow"] if any(course.shadow for course in courses(spec)) else []
    document = {
        "stages": [*before, *shadows, "start", "phases", "afterwards"],
        "variables": {"EXTPROC_SPEC": SPEC, "EXTPROC_PLAN": FOLDER, "EXTPROC_WHY": "pipeline $CI_PIPELINE_URL, by $GITLAB_USER_LOGIN"},
        # A newer pipeline takes over from one that waits, and goes on where the rollouts are.
        "default": {"tags": [RUNNER], "interruptible": True},
        **jobs,
    }
    keys = (contract.TOKEN_ENVIRONMENT, *judge_secrets(spec))
    return yaml_text(
        f"GitLab CI: the release of {spec.application.name}, phase by phase. Include it from .gitlab-ci.yml.",
        f"Runners with the tag `{RUNNER}` have the command `extproc` and reach the controller's API: its address is the CI/CD variable",
        f"{contract.API_ENVIRONMENT}, its store {contract.STORE_ENVIRONMENT}; masked and protected are {', '.join(keys)}.",
        documents=(document,),
    )


def _check() -> Block:
    merge = {"if": "$CI_PIPELINE_SOURCE == 'merge_request_event'", "changes": list(CHANGED)}
    return {"stage": "check", "timeout": QUICK, "rules": [merge, *_rules()], "script": [_stage(stages.CHECK), _stage(stages.DRIFT)]}


def _judge(spec: Spec) -> Block:
    kept = {"when": "always", "paths": [f"judge-{name}/" for name in judged(spec)]}
    return {
        "stage": "judge",
        "needs": ["check"],
        "timeout": JUDGING,
        "rules": _rules(),
        "script": [_stage(stages.JUDGE)],
        "artifacts": kept,
    }


def _course(course: Course, before: list[str]) -> Block:
    begun, jobs = before, Block()
    if course.shadow:
        begun = [f"{course.slug} shadow"]
        jobs[begun[0]] = _job("shadow", before, _timeout(course.opening), _stage(stages.SHADOW, course.name))
    start = last = f"{course.slug} start"
    # Never a retry behind a shadow: what was rolled back between the two jobs is not tried again by the second.
    once = "EXTPROC_RETRY= " if course.shadow else ""
    jobs[start] = _job("start", begun, _timeout(course.opening), once + _stage(stages.START, course.name))
    for wait in course.waits:
        own = f"{course.slug} wait {wait.number}"
        jobs[own] = _job("phases", [last], _timeout(wait.timeout), _stage(stages.WAIT, course.name, wait.until))
        last = own
        if wait.asked:
            last = f"{course.slug} approve {wait.number}"
            jobs[last] = {
                **_job("phases", [own], QUICK, _stage(stages.PROMOTE, course.name, wait.until)),
                "rules": _rules(when="manual"),
                "environment": {"name": f"approval-{course.slug}"},
            }
    jobs[f"{course.slug} postmortem"] = {
        **_job("afterwards", list(jobs), QUICK, _stage(stages.POSTMORTEM, course.name)),
        "rules": _rules(when="on_failure"),
        "artifacts": {"when": "always", "paths": [f"postmortem-{course.name}.md"]},
    }
    # Ready as soon as it has begun; nothing waits for it.
    jobs[f"{course.slug} rollback"] = {
        **_job("afterwards", [start], QUICK, _stage(stages.ROLLBACK, course.name)),
        "rules": _rules(when="manual", allow_failure=True),
        "interruptible": False,
    }
    return jobs


def _job(stage: str, needs: list[str], timeout: str, script: str) -> Block:
    return {"stage": stage, "needs": needs, "timeout": timeout, "rules": _rules(), "script": [script]}


def _rules(**more: Any) -> list[Block]:
    return [{"if": RELEASING, "changes": list(CHANGED), **more}]


def _timeout(seconds: float) -> str:
    return written(seconds + AROUND)


def _stage(script: str, *arguments: str) -> str:
    words = "".join(f" {shlex.quote(one)}" for one in arguments)
    return f'sh "$EXTPROC_PLAN/ci/stages/{script}"{words}'
