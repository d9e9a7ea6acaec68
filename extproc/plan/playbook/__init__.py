"""What to do when it goes wrong: PLAYBOOK.md with the commands of one release, and what a post-mortem of it asks.

Between people and the text: `place` knows how a command reaches extproc and Envoy; `instant`, `partial`, `concerned`, `notices` and
`alerts` are the sections; `postmortem` fills a text from what was recorded.
"""

from __future__ import annotations

from extproc.domain import Spec

__all__ = ["files"]


def files(spec: Spec) -> dict[str, str]:
    """Path inside of the release's folder -> text; the same Spec gives the same bytes."""
    from extproc.plan.playbook.page import playbook
    from extproc.plan.playbook.template import template

    return {"PLAYBOOK.md": playbook(spec), "postmortem-template.md": template(spec)}
