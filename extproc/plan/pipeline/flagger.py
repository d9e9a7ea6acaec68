"""ci/flagger/metric-or-webhook.yaml: extproc's verdict as Flagger's webhooks, for teams whose delivery is Flagger.

Flagger's webhooks carry no Authorization header and their metadata is readable by whoever reads a Canary. So its load tester asks, which
runs a command and answers with its result; the token is a file there, mounted from a Secret. The hooks are those that pause, and the one
that rolls back: a `rollout` hook would count each wait as a failure.
"""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.pipeline.course import Course, courses
from extproc.plan.pipeline.place import ADDRESS_KEY, SECRET, TOKEN_KEY, namespace
from extproc.plan.yamltext import yaml_text

Block = dict[str, Any]

HOOKS: Final = (
    ("confirm-traffic-increase", contract.MOVE_ADVANCE),
    ("confirm-promotion", contract.MOVE_PROMOTE),
    ("rollback", contract.MOVE_ROLLBACK),
)
"""Flagger's kind of hook, and what it asks: 200 lets the first two go on, and makes the third roll back."""
TIMEOUT: Final = 15
"""Seconds that Flagger gives a hook."""
PATIENCE: Final = 10
"""Seconds that the load tester gives the controller: less than Flagger gives it, so that its log has the reason."""
MOUNT: Final = "/etc/extproc"
"""Where the load tester has the Secret."""


def webhooks(spec: Spec) -> str:
    """A merge patch for the Canary of the application: three hooks for each rollout."""
    hooks = [_hook(spec, course, kind, move) for course in courses(spec) for kind, move in HOOKS]
    name = namespace(spec)
    document = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": name},
        "spec": {"analysis": {"webhooks": hooks}},
    }
    return yaml_text(
        f"Flagger: extproc's verdict on {spec.application.name} as webhooks, a merge patch for the Canary that is there.",
        f"kubectl -n {name} patch canary {name} --type merge --patch-file metric-or-webhook.yaml",
        f"flagger-loadtester asks for Flagger, which sends no token of its own: mount the Secret {SECRET} there, at {MOUNT}; its keys are",
        f"{ADDRESS_KEY} and {TOKEN_KEY} of the API.",
        documents=(document,),
    )


def _hook(spec: Spec, course: Course, kind: str, move: str) -> Block:
    path = contract.VERDICT_PATH.format(rollout=course.name) + f"?ask={move}"
    # The token goes through a pipe: on a command line every process of the pod could read it.
    command = (
        f"printf 'Authorization: Bearer %s' \"$(cat {MOUNT}/{TOKEN_KEY})\" | curl --silent --show-error --fail-with-body "
        f'--max-time {PATIENCE} --request POST --header @- "$(cat {MOUNT}/{ADDRESS_KEY}){path}"'
    )
    return {
        "name": f"extproc-{course.slug}-{move}",
        "type": kind,
        "url": f"http://flagger-loadtester.{namespace(spec)}/",
        "timeout": f"{TIMEOUT}s",
        "metadata": {"type": "bash", "cmd": command},
    }
