"""The Spec: is the file valid, and is it what is in force?"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.cli.doctor.findings import Finding, Topic
from extproc.cli.doctor.seen import ControllerSeen, Seen

TOPIC = Topic("Spec")


def spec(seen: Seen) -> Iterator[Finding]:
    """Validity, and the digest that the controller uses."""
    file = seen.spec
    if file is None:
        yield TOPIC.unseen("spec.unnamed", "no file was named, and no controller names one", "give it with --spec FILE")
        return
    if file.spec is None:
        for problem in file.problems:
            where = f"{problem.path} (line {problem.line})" if problem.line else problem.path
            seen_is = f"{file.path}: {where}: {problem.message} [{problem.id}]"
            yield TOPIC.wrong("spec.invalid", seen_is, problem.hint or f"mend it, then `extproc check {file.path}`")
        return
    yield TOPIC.well("spec.valid", f"{file.path} is valid, digest {file.spec.digest}")
    if isinstance(seen.controller, ControllerSeen):
        yield from _in_force(file.path, file.spec.digest, seen.controller)


def _in_force(path: str, digest: str, controller: ControllerSeen) -> Iterator[Finding]:
    status = controller.status
    for problem in status["spec_file"]["problems"]:
        do = problem["hint"] or "mend the file, or undo the change"
        yield TOPIC.wrong("spec.refused", f"the controller does not use {status['spec_file']['path']}: {problem['message']}", do)
    if status["spec_digest"] == digest:
        yield TOPIC.well("spec.in-force", "the controller uses this Spec")
    elif not status["spec_file"]["problems"]:
        other = status["spec_file"]["path"]
        do = f"is {path} the file that the controller follows? It follows {other}; SIGHUP makes it read that again"
        yield TOPIC.wrong("spec.other", f"the controller uses another Spec, digest {status['spec_digest']}", do)
