"""ci/github/workflow.yml: for .github/workflows. One job for each phase, since a job may take five days and a release takes longer."""

from __future__ import annotations

import math
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.pipeline import stages
from extproc.plan.pipeline.course import Course, courses
from extproc.plan.pipeline.place import FOLDER, RUNNER, SPEC, judge_secrets, judged
from extproc.plan.yamltext import yaml_text

Block = dict[str, Any]

MINUTES_AROUND: Final = 10
"""Of a job, besides the wait: a runner that starts, the repository that is fetched."""
QUICK: Final = 15
"""Minutes for a job that waits for nobody."""
JUDGING: Final = 360
"""Minutes for an offline judge: what GitHub gives a job that says nothing."""
RELEASING: Final = (
    "github.ref_name == github.event.repository.default_branch && github.event_name != 'pull_request' && inputs.action != 'rollback'"
)
"""When more is done than to check: on the default branch, and not to take something back."""
TRUSTED: Final = (
    "inputs.action != 'rollback' && "
    "(github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name == github.repository)"
)
"""Nobody else's fork runs its scripts on a runner that reaches the controller."""
API: Final = {contract.API_ENVIRONMENT: f"${{{{ vars.{contract.API_ENVIRONMENT} }}}}"}
TOKEN: Final = {contract.TOKEN_ENVIRONMENT: f"${{{{ secrets.{contract.TOKEN_ENVIRONMENT} }}}}"}
WHY: Final = "pipeline run ${{ github.run_id }} of ${{ github.repository }}, by ${{ github.actor }}"


def workflow(spec: Spec) -> str:
    """The whole file."""
    every, asks = courses(spec), judged(spec)
    jobs: Block = {"check": _check()}
    before = ["check"]
    if asks:
        jobs["judge"] = _judge(spec)
        before = ["check", "judge"]
    for course in every:
        jobs |= _course(course, before)
    jobs["rollback"] = _rollback()
    document = {
        "name": f"Release {spec.application.name}",
        "on": {
            "pull_request": {"paths": [SPEC, f"{FOLDER}/**"]},
            "push": {"paths": [SPEC, f"{FOLDER}/**"]},
            "workflow_dispatch": {"inputs": _inputs(every)},
        },
        "permissions": {"contents": "read"},
        # A newer run takes over from one that waits, and goes on where the rollouts are. A rollback stands behind nobody.
        "concurrency": {
            "group": "${{ github.workflow }}-${{ github.ref }}-${{ inputs.action || 'release' }}",
            "cancel-in-progress": "${{ inputs.action != 'rollback' }}",
        },
        "env": {"EXTPROC_SPEC": SPEC, "EXTPROC_PLAN": FOLDER, "EXTPROC_WHY": WHY},
        "jobs": jobs,
    }
    return yaml_text(
        f"GitHub Actions: the release of {spec.application.name}, phase by phase. Copy it to .github/workflows/release.yml.",
        f"Runners with the label `{RUNNER}` have the command `extproc` and reach the controller's API: its address is the variable",
        f"{contract.API_ENVIRONMENT}, its token the secret {contract.TOKEN_ENVIRONMENT}, its store the variable "
        f"{contract.STORE_ENVIRONMENT}.{_keys(spec)}",
        documents=(document,),
    )


def _keys(spec: Spec) -> str:
    names = judge_secrets(spec)
    return f" The offline judge needs the secrets {', '.join(names)}." if names else ""


def _inputs(every: tuple[Course, ...]) -> Block:
    names = [one.name for one in every]
    return {
        "action": {"description": "What to do", "type": "choice", "options": ["release", "rollback"], "default": "release"},
        "rollout": {"description": "Which one to roll back", "type": "choice", "options": names, "default": names[0]},
        "retry": {"description": "Try one again that was rolled back", "type": "boolean", "default": False},
    }


def _check() -> Block:
    return {
        "name": "Spec and plan drift",
        "if": TRUSTED,
        **_job(QUICK),
        "steps": [_checkout(), _stage(stages.CHECK), _stage(stages.DRIFT)],
    }


def _judge(spec: Spec) -> Block:
    env = {name: f"${{{{ vars.{name} }}}}" for name in ("EXTPROC_PROMPTS", "EXTPROC_INCONCLUSIVE")}
    env |= {name: f"${{{{ secrets.{name} }}}}" for name in judge_secrets(spec)}
    reports = "\n".join(f"judge-{name}/" for name in judged(spec))
    return {
        "name": "Offline judge",
        "needs": ["check"],
        "if": RELEASING,
        **_job(JUDGING),
        "env": env,
        "steps": [_checkout(), _stage(stages.JUDGE), _kept("offline-judge", reports)],
    }


def _course(course: Course, before: list[str]) -> Block:
    begun = f"rollout-{course.slug}-{'shadow' if course.shadow else 'start'}"
    last = f"rollout-{course.slug}-start"
    jobs: Block = {
        begun: {
            "name": f"{course.name}: {'shadow' if course.shadow else 'start'}",
            "needs": before,
            "if": RELEASING,
            **_job(_minutes(course.opening)),
            "env": {**API, **TOKEN, "EXTPROC_RETRY": "${{ inputs.retry }}"},
            "steps": [_checkout(), _stage(stages.SHADOW if course.shadow else stages.START, ROLLOUT=course.name)],
        }
    }
    if course.shadow:
        # Never a retry: what was rolled back between the two jobs is not tried again by the second.
        jobs[last] = {
            "name": f"{course.name}: start",
            "needs": [begun],
            **_job(_minutes(course.opening)),
            "env": {**API, **TOKEN},
            "steps": [_checkout(), _stage(stages.START, ROLLOUT=course.name)],
        }
    for wait in course.waits:
        own = f"rollout-{course.slug}-wait-{wait.number}"
        jobs[own] = {
            "name": f"{course.name}: wait for {wait.until}",
            "needs": [last],
            **_job(_minutes(wait.timeout)),
            "env": {**API, **TOKEN},
            "steps": [_checkout(), _stage(stages.WAIT, ROLLOUT=course.name, UNTIL=wait.until)],
        }
        last = own
        if wait.asked:
            last = f"rollout-{course.slug}-approve-{wait.number}"
            jobs[last] = {
                "name": f"{course.name}: promote to {wait.until}, once a person approves",
                "needs": [own],
                "environment": f"approval-{course.slug}",
                **_job(QUICK),
                "env": {**API, **TOKEN},
                "steps": [_checkout(), _stage(stages.PROMOTE, ROLLOUT=course.name, PHASE=wait.until)],
            }
    jobs[f"rollout-{course.slug}-postmortem"] = {
        "name": f"{course.name}: post-mortem",
        "needs": list(jobs),
        "if": f"failure() && needs.{begun}.result != 'skipped'",
        **_job(QUICK),
        "env": {**API, **TOKEN, contract.STORE_ENVIRONMENT: f"${{{{ vars.{contract.STORE_ENVIRONMENT} }}}}"},
        "steps": [
            _checkout(),
            _stage(stages.POSTMORTEM, ROLLOUT=course.name),
            _kept(f"postmortem-{course.slug}", f"postmortem-{course.name}.md"),
        ],
    }
    return jobs


def _rollback() -> Block:
    return {
        "name": "Roll back",
        "if": "inputs.action == 'rollback'",
        **_job(QUICK),
        "env": {**API, **TOKEN},
        "steps": [_checkout(), _stage(stages.ROLLBACK, ROLLOUT="${{ inputs.rollout }}")],
    }


def _job(minutes: int) -> Block:
    return {"runs-on": ["self-hosted", RUNNER], "timeout-minutes": minutes}


def _minutes(seconds: float) -> int:
    return math.ceil(seconds / 60.0) + MINUTES_AROUND


def _checkout() -> Block:
    return {"uses": "actions/checkout@v4", "with": {"persist-credentials": False}}


def _stage(script: str, **arguments: str) -> Block:
    """One script. What a person or a Spec has named reaches the shell as a variable, never as text of a command."""
    words = "".join(f' "${name}"' for name in arguments)
    return {"run": f'sh "$EXTPROC_PLAN/ci/stages/{script}"{words}', **({"env": arguments} if arguments else {})}


def _kept(name: str, path: str) -> Block:
    return {"if": "always()", "uses": "actions/upload-artifact@v4", "with": {"name": name, "path": path, "if-no-files-found": "ignore"}}
