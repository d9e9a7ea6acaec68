"""ci/argo/analysis-template.yaml: extproc's verdict as a web metric, for teams whose delivery is Argo Rollouts (1.8 or newer).

Argo takes a measurement that meets neither condition for inconclusive: that is a wait here, up to a limit; an answer that is not 2xx is an
error, and the API gives 503 where nobody decides.
"""

from __future__ import annotations

import math
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.pipeline.course import Course, courses
from extproc.plan.pipeline.place import ADDRESS_KEY, SECRET, TOKEN_KEY, namespace
from extproc.plan.yamltext import yaml_text

Block = dict[str, Any]

EVERY: Final = 30
"""Seconds between measurements: extproc itself decides each second, this only follows."""
AWAY: Final = 10
"""Measurements in a row without an answer until Argo gives up: five minutes, in which a controller is long replaced."""


def templates(spec: Spec) -> str:
    """All templates: three for each rollout."""
    documents = []
    for course in courses(spec):
        looks = math.ceil(course.total / EVERY)
        documents += [
            _template(spec, course, "guard", {"successCondition": f"result.{contract.MOVE_ROLLBACK} == false"}),
            _template(spec, course, "advance", _once(f"result.{contract.MOVE_ADVANCE} == true", looks)),
            _template(spec, course, "completed", _once(f"result.{contract.MOVE_PROMOTE} == true", looks)),
        ]
    return yaml_text(
        f"Argo Rollouts: extproc's verdict on {spec.application.name} as a web metric. Needs Argo Rollouts 1.8 or newer.",
        "guard: for an analysis in the background, until the delivery ends. advance: a step before each more of traffic.",
        f"completed: a step before the end. Address and token of the API are in the Secret {SECRET} of this namespace, under the keys",
        f"{ADDRESS_KEY} and {TOKEN_KEY}.",
        documents=tuple(documents),
    )


def _once(success: str, looks: int) -> Block:
    """Until it is so once; inconclusive for as long as the Spec lets all phases take together."""
    return {"successCondition": success, "consecutiveSuccessLimit": 1, "inconclusiveLimit": looks}


def _template(spec: Spec, course: Course, kind: str, conditions: Block) -> Block:
    web = {
        "method": "GET",
        "url": "{{args.address}}" + contract.VERDICT_PATH.format(rollout=course.name),
        "timeoutSeconds": 10,
        "headers": [{"key": "Authorization", "value": "Bearer {{args.token}}"}],
        "jsonPath": "{$}",
    }
    metric = {
        "name": kind,
        "interval": f"{EVERY}s",
        **conditions,
        "failureCondition": f"result.{contract.MOVE_ROLLBACK} == true",
        "failureLimit": 0,
        "consecutiveErrorLimit": AWAY,
        "provider": {"web": web},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": f"extproc-{course.slug}-{kind}", "namespace": namespace(spec)},
        "spec": {
            "args": [{"name": key, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}} for key in (ADDRESS_KEY, TOKEN_KEY)],
            "metrics": [metric],
        },
    }
