"""The rollouts as feature flags of each vendor, and an OpenFeature program that asks the flag: what `extproc render flags` writes."""

from __future__ import annotations

from typing import Final

import orjson

from extproc.domain import FlagVendor, Rollout, Spec
from extproc.render.flags import flag_document, openfeature_example, same_people, unseen
from extproc.render.settings import RenderError

__all__ = ["files"]

_INDENTED: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def files(spec: Spec) -> dict[str, str]:
    """flags/<rollout>.<vendor>.json at the first phase, flags/<rollout>.openfeature.py, flags/README.md. What a vendor cannot say is not
    written, and the README says why."""
    written: dict[str, str] = {}
    said: list[str] = [_HEADING.format(application=spec.application.name, digest=spec.digest)]
    for rollout in spec.rollouts.values():
        made, lines = _rollout(spec, rollout)
        written |= made
        said += [f"\n## {rollout.name}, at phase {rollout.phases[0].name}\n", *lines, *_later(rollout)]
    written["flags/README.md"] = "\n".join(said) + "\n"
    return written


_HEADING: Final = """\
# Flags of {application}

Made from Spec {digest}; edit the Spec, not these files."""


def _rollout(spec: Spec, rollout: Rollout) -> tuple[dict[str, str], list[str]]:
    """Files of one rollout at its first phase, and what there is to say of them."""
    made: dict[str, str] = {}
    lines: list[str] = []
    refused: dict[str, list[str]] = {}
    for vendor in FlagVendor:
        name = f"{rollout.name}.{vendor.value}.json"
        try:
            document = flag_document(spec, rollout, 0, vendor)
        except RenderError as error:
            for problem in error.problems:
                refused.setdefault(f"{problem.path}: {problem.message}; {problem.hint}", []).append(name)
            continue
        made[f"flags/{name}"] = orjson.dumps(document, option=_INDENTED).decode()
        others = f"the same shares of other people: the rollout's bucket is {rollout.bucket.value}"
        lines.append(f"* `{name}`: {'the same people as at the edge' if same_people(rollout, vendor) else others}")
    asked = f"{rollout.name}.{FlagVendor.FLAGD.value}.json"
    if f"flags/{asked}" in made:
        made[f"flags/{rollout.name}.openfeature.py"] = openfeature_example(spec, rollout, 0)
        lines.append(f"* `{rollout.name}.openfeature.py`: asks `{asked}`")
    lines += [f"* not in the flag: {line}" for line in unseen(rollout)]
    lines += [f"* not written: {', '.join(names)}: {said}" for said, names in refused.items()]
    return made, lines


def _later(rollout: Rollout) -> list[str]:
    """How to write the flag of the next phase, where there is one."""
    if len(rollout.phases) < 2:
        return []
    command = f"extproc render flags release.yaml -o flags --rollout {rollout.name} --phase {rollout.phases[1].name}"
    return [f"* at the next phase: `{command}`"]
