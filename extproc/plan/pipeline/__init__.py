"""ci/: pipelines that release this Spec by extproc's commands, and templates for those who stay with Argo Rollouts or Flagger.

The work is in ci/stages, scripts that a person can run one by one; GitHub's and GitLab's pipelines call them in the same order, with the
times, phases, approvals and secrets of this Spec.
"""

from __future__ import annotations

from extproc.domain import Spec
from extproc.plan.pipeline import argo, flagger, github, gitlab, stages


def files(spec: Spec) -> dict[str, str]:
    """Path inside the release folder -> whole text; the same Spec gives the same bytes. Nothing for a Spec without a rollout."""
    if not spec.rollouts:
        return {}
    return {
        "ci/argo/analysis-template.yaml": argo.templates(spec),
        "ci/flagger/metric-or-webhook.yaml": flagger.webhooks(spec),
        "ci/github/workflow.yml": github.workflow(spec),
        "ci/gitlab-ci.yml": gitlab.pipeline(spec),
        **{f"ci/stages/{name}": text for name, text in stages.scripts(spec).items()},
    }
