"""The folder as a whole: the parts' files, a README that says what is where, and the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from extproc import cost
from extproc.domain import Spec
from extproc.plan import flags, kubernetes, manifest, monitoring, pipeline, playbook, strategy
from extproc.plan.about import about
from extproc.plan.manifest import MANIFEST, is_inside
from extproc.plan.markdown import code, link, prose, table

README: Final = "README.md"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the folder."""

    title: str
    """Its heading in the README."""
    make: Callable[[Spec], Mapping[str, str]]
    """Path inside the folder -> whole text; the same Spec gives the same bytes. Empty where this Spec has no use for it."""


def _manifests(spec: Spec) -> Mapping[str, str]:
    """None without `deploy`: nobody knows then where it runs."""
    return kubernetes.files(spec) if spec.deploy is not None else {}


PARTS: Final[tuple[Part, ...]] = (
    Part("The strategy: phases, cohorts, gates, who approves", strategy.files),
    Part("Monitoring: dashboards, alerts, who is told", monitoring.files),
    Part("In a pipeline: stages, GitHub, GitLab, Argo Rollouts, Flagger", pipeline.files),
    Part("When it goes wrong", playbook.files),
    Part("Where it runs: manifests of Kubernetes or Cloud Run", _manifests),
    Part("Feature flags that follow the release", flags.files),
    Part("Money: what the release costs, and when that has come back", cost.files),
)
"""In the order in which people read them."""


def files(spec: Spec, parts: Sequence[Part] = PARTS, text: str = "") -> dict[str, str]:
    """Every file of the folder: path -> whole text, sorted by path; README and manifest are among them. `text`: the Spec as it is written,
    for files that mount it."""
    made = {part.title: dict(part.make(spec)) for part in parts}
    if text and spec.deploy is not None:
        made["The Spec itself"] = dict.fromkeys(kubernetes.spec_paths(spec), text)
    found: dict[str, str] = {}
    for own in made.values():
        for path, text in own.items():
            assert is_inside(path), f"{path!r} leads out of the folder"
            assert path not in {*found, README, MANIFEST}, f"two parts make {path}"
            found[path] = text
    found[README] = _readme(spec, made)
    found[MANIFEST] = manifest.written(spec.digest, found)
    return dict(sorted(found.items()))


def _readme(spec: Spec, made: Mapping[str, Mapping[str, str]]) -> str:
    application = spec.application
    names = ", ".join(f"{code(one.stable)} → {code(one.canary)}" for one in spec.rollouts.values()) or "none yet"
    parts = [
        f"# Release folder of {prose(application.name)}",
        f"Made by `extproc plan` from the Spec with digest {code(spec.digest)}. Rollouts: {names}.",
        "Change the Spec, not these files: `extproc plan` writes them anew, and refuses to where a person has changed one since. "
        "`extproc plan` with `--check` says which files are missing, changed by hand, or made from another Spec. "
        "Secrets are in none of them: where a key is needed, the file names the place that it is in.",
    ]
    for title, own in made.items():
        if own:
            rows = [(link(path, path), prose(about(path, own[path]))) for path in sorted(own, key=_order)]
            parts += [f"## {title}", table(("file", "what it is"), rows)]
    rows = [(code(MANIFEST), "the digest of the Spec and a hash for each file: by it changes are found")]
    parts += ["## The folder itself", table(("file", "what it is"), rows)]
    return "\n\n".join(parts) + "\n"


def _order(path: str) -> tuple[bool, str]:
    """Files at the top before those in folders."""
    return "/" in path, path
