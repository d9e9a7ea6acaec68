"""ci/stages: what the pipelines do, as scripts for any POSIX shell. Each can be run by hand, again and again: what was done is not done
twice. Where a rollout has a shadow it begins with that, and a stage waits until it has ended: with the first phase, or with a rollback."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from extproc.domain import Spec
from extproc.plan.pipeline.course import Course, courses, written
from extproc.plan.pipeline.place import SPEC, judged

CHECK: Final = "10-check.sh"
JUDGE: Final = "20-judge.sh"
DRIFT: Final = "30-drift.sh"
SHADOW: Final = "40-shadow.sh"
START: Final = "50-start.sh"
WAIT: Final = "60-wait.sh"
PROMOTE: Final = "70-promote.sh"
ROLLBACK: Final = "80-rollback.sh"
POSTMORTEM: Final = "90-postmortem.sh"
DEAREST: Final = Decimal(5)
"""USD that an offline judge may cost, unless the Spec gives less to a whole release."""
SETTLED: Final = "5m"
"""For how long a phase that a person has approved may need to be entered: a second, if the controller is there."""
BACK: Final = "30s"
"""What is promised of a person's rollback, whatever else happens."""
FIRST_WORDS: Final = f': "${{EXTPROC_SPEC:={SPEC}}}"'


def scripts(spec: Spec) -> dict[str, str]:
    """Name -> text."""
    every = courses(spec)
    found = {
        CHECK: ("Check the Spec: all its problems, and whether its phases can succeed with this traffic", "", _CHECK),
        DRIFT: ("Plan drift: is this folder what the Spec makes", "", _DRIFT),
        START: ("Start a rollout, where that was not done", "ROLLOUT", _start(spec, every)),
        WAIT: ("Wait until a rollout enters a phase, or is completed", "ROLLOUT PHASE|completed [TIMEOUT]", _wait(every)),
        PROMOTE: ("Promote a rollout into the phase that a person has approved", "ROLLOUT PHASE", _PROMOTE),
        ROLLBACK: ("Roll back: everybody to stable, now", "ROLLOUT", _ROLLBACK),
        POSTMORTEM: ("Write the post-mortem of a rollout that was rolled back", "ROLLOUT", _postmortem(every)),
    }
    if any(one.shadow for one in every):
        what = "Begin a rollout in its shadow, and wait until that has ended well: copies of requests, and nobody gets the answers"
        found[SHADOW] = (what, "ROLLOUT", _shadow(every))
    if judged(spec):
        found[JUDGE] = ("Offline judge: the canary answers a golden set, before any traffic meets it", "", _judge(spec))
    return {name: _script(name, *parts) for name, parts in sorted(found.items())}


def _script(name: str, what: str, arguments: str, body: str) -> str:
    usage = f"# By hand: sh {name} {arguments}".rstrip()
    return f"#!/bin/sh\n# {what}.\n{usage}\nset -eu\n{body.strip()}\n"


_CHECK: Final = f"""
{FIRST_WORDS}
extproc check "$EXTPROC_SPEC"
extproc timeline "$EXTPROC_SPEC"
"""

_DRIFT: Final = f"""
{FIRST_WORDS}
folder=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
extproc plan "$EXTPROC_SPEC" --check "$folder"
"""

_PROMOTE: Final = f"""
rollout=${{1:?name of the rollout}} phase=${{2:?name of the phase}}
# Only what awaits approval is promoted; the wait before has said why it asks.
if extproc wait "$rollout" --until "$phase" --timeout 1s; then exit 0; fi
extproc wait "$rollout" --until awaiting_approval --timeout 1s
extproc promote "$rollout" --why "${{EXTPROC_WHY:-approved in the pipeline}}"
extproc wait "$rollout" --until "$phase" --timeout {SETTLED}
"""

_ROLLBACK: Final = f"""
rollout=${{1:?name of the rollout}}
code=0
extproc wait "$rollout" --timeout 1s >/dev/null 2>&1 || code=$?
if [ "$code" != 3 ]; then
  extproc rollback "$rollout" --why "${{EXTPROC_WHY:-rolled back from the pipeline}}"
fi
code=0
extproc wait "$rollout" --timeout {BACK} || code=$?
if [ "$code" != 3 ]; then
  echo "$rollout is not rolled back after {BACK}; the playbook has the switch in Envoy" >&2
  exit 1
fi
"""


def _judge(spec: Spec) -> str:
    assert spec.judge is not None
    dollars = min(DEAREST, spec.judge.per_release)
    lines = [
        FIRST_WORDS,
        f': "${{EXTPROC_JUDGE_USD:={dollars:f}}}"',
        "# Your own prompts, JSON lines; without them the shipped set of this type of application is put.",
        "set --",
        'if [ -n "${EXTPROC_PROMPTS:-}" ]; then set -- --prompts "$EXTPROC_PROMPTS"; fi',
        "# Too few prompts for a verdict end with 3, and say how many would do; unless that is allowed.",
        'if [ "${EXTPROC_INCONCLUSIVE:-}" = allow ]; then set -- "$@" --allow-inconclusive; fi',
    ]
    for name in judged(spec):
        words = f"--rollout {shlex.quote(name)} --against stable --out {shlex.quote(f'judge-{name}')}"
        lines.append(f'extproc judge "$EXTPROC_SPEC" {words} --max-usd "$EXTPROC_JUDGE_USD" "$@"')
    return "\n".join(lines)


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def _start(spec: Spec, every: tuple[Course, ...]) -> str:
    choices = []
    for one in every:
        known = f"first={shlex.quote(one.first)} manual={_yes(one.manual)} timeout={written(one.opening)}"
        choices.append(f"  {shlex.quote(one.name)}) {known} ;;")
    return f"""
rollout=${{1:?name of the rollout}}
case "$rollout" in
{chr(10).join(choices)}
  *) echo "$rollout is no rollout of this Spec" >&2; exit 1 ;;
esac
# What is started must be what was checked.
digest={spec.digest}
status=$(extproc status --json)
case "$status" in
  *"\\"spec_digest\\": \\"$digest\\""*) ;;
  *) echo "the controller has another Spec in force than $digest, of which this folder was made: give it this one first" >&2; exit 1 ;;
esac
why=${{EXTPROC_WHY:-started by the pipeline}}
code=0
extproc wait "$rollout" --until "$first" --timeout 1s || code=$?
case "$code" in
  0) exit 0 ;;
  3)
    if [ "${{EXTPROC_RETRY:-}}" != true ]; then
      echo "it is not tried again by itself; once it is mended: EXTPROC_RETRY=true" >&2
      exit 3
    fi
    extproc start "$rollout" --retry --why "$why"
    ;;
  4)
    if [ "$manual" = yes ]; then extproc start "$rollout" --why "$why"; fi
    ;;
  *) exit "$code" ;;
esac
# One that begins by itself may have to wait for its change window.
extproc wait "$rollout" --until "$first" --timeout "$timeout"
"""


def _one_of(some: Sequence[Course], otherwise: str) -> str:
    """The script's argument is one of these rollouts, or it ends."""
    names = "|".join(shlex.quote(one.name) for one in some)
    return f"""rollout=${{1:?name of the rollout}}
case "$rollout" in
  {names}) ;;
  *) echo "$rollout {otherwise}" >&2; exit 1 ;;
esac"""


def _shadow(every: tuple[Course, ...]) -> str:
    return f"""
{_one_of([one for one in every if one.shadow], "has no shadow")}
# An attempt begins with its shadow. What has shown enough there enters the first phase by itself, and the start is done.
code=0
sh "$(dirname "$0")/{START}" "$rollout" || code=$?
case "$code" in
  0) echo "the shadow of $rollout has ended well" ;;
  3) echo "the shadow of $rollout has not ended well: the reason is above" >&2 ;;
  4) echo "the shadow of $rollout has not ended yet" >&2 ;;
  5) echo "the shadow of $rollout needs a person" >&2 ;;
esac
exit "$code"
"""


def _wait(every: tuple[Course, ...]) -> str:
    choices = []
    for one in every:
        for wait in one.waits:
            asked = " asked=yes" if wait.asked else ""
            choices.append(f"  {shlex.quote(f'{one.name} {wait.until}')}) timeout={written(wait.timeout)}{asked} ;;")
    return f"""
rollout=${{1:?name of the rollout}} until=${{2:?name of a phase, or completed}} asked=no
# Max dwell of the phase before, the longest time outside of change windows, and half an hour for a person to answer.
case "$rollout $until" in
{chr(10).join(choices)}
  *) echo "$rollout has no such phase to wait for: $until" >&2; exit 1 ;;
esac
timeout=${{3:-$timeout}}
if [ "$asked" = no ]; then
  extproc wait "$rollout" --until "$until" --timeout "$timeout"
  exit
fi
code=0
extproc wait "$rollout" --until "$until" --timeout "$timeout" --stop-when-asked || code=$?
if [ "$code" = 5 ]; then
  extproc wait "$rollout" --until awaiting_approval --timeout 1s || exit 5
  echo "a person decides: {PROMOTE} $rollout $until, or {ROLLBACK} $rollout"
  exit 0
fi
exit "$code"
"""


def _postmortem(every: tuple[Course, ...]) -> str:
    return f"""
{_one_of(every, "is no rollout of this Spec")}
code=0
extproc wait "$rollout" --timeout 1s || code=$?
if [ "$code" != 3 ]; then
  echo "$rollout was not rolled back: there is nothing to write"
  exit 0
fi
# It is read from the store: EXTPROC_STORE says where that is.
text=$(extproc postmortem "$rollout")
printf '%s\\n' "$text" >"postmortem-$rollout.md"
echo "postmortem-$rollout.md is written"
"""
