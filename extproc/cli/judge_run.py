"""One `extproc judge`: Spec and prompts -> models and judge -> results, shown while they come -> Findings -> both reports."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
from rich.console import Console

from extproc import spec as spec_room
from extproc.cli import judged
from extproc.cli.judge_progress import shown
from extproc.domain import Finding, Judge, Rollout, Spec, Verdict
from extproc.errors import Problem, SettingsError
from extproc.judge.asking import ModelClient, read_key
from extproc.judge.budget import Budget
from extproc.judge.client import JudgeClient
from extproc.judge.offline import questions, records, report, tally
from extproc.judge.offline.exhibits import Clean
from extproc.judge.offline.golden import golden_for
from extproc.judge.offline.page import MARKS, WORDS, page
from extproc.judge.offline.questions import Question
from extproc.judge.offline.records import Record, Side
from extproc.judge.panel import Panel
from extproc.judge.redact import Redactor
from extproc.judge.results import Results
from extproc.judge.trial import Ended, Terms, Trial, ordered

PATIENCE: Final = 3.0
"""Times sla.latency_p99 that an answer may take: here nobody waits for it, and what is slow is seen in its seconds."""
EVER: Final = 1e12
"""Seconds of the budget's one stretch: all runs of a directory together."""
NAMED: Final = 5
"""Of the worst prompts, those that are named in the end."""
_WHY: Final = {
    Ended.BUDGET: "what is left of --max-usd does not pay for the next question; give more and run it again to go on",
    Ended.STOPPED: "it was stopped; run it again to go on",
    Ended.NO_JUDGE: "the judge does not answer; run it again to go on",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    spec: Path
    rollout: str | None
    prompts: Path | None
    against: bool
    out: Path | None
    max_usd: float
    concurrency: int
    seed: int
    limit: int | None
    floor: float
    timeout: float | None
    keep_texts: bool


@dataclass(frozen=True, slots=True)
class _Set:
    """What a run is made of."""

    spec: Spec
    judge: Judge
    rollout: Rollout
    sides: tuple[Side, ...]
    every: tuple[Question, ...]
    questions: tuple[Question, ...]
    """Those that are asked now, in their order."""
    clean: Clean

    def model(self, side: Side) -> str:
        """Its name in the Spec."""
        return self.rollout.canary if side is Side.CANARY else self.rollout.stable


def run(asked: Asked) -> tuple[Ended, Verdict]:
    """Raises ExtprocError for what is wrong before anything is asked, and where results cannot be written."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    made = _set(asked)
    directory = asked.out if asked.out is not None else Path(f"judge-{made.rollout.name}")
    models = made.spec.models
    canary, stable = models[made.rollout.canary], models[made.rollout.stable]
    header = records.header_of(made.rollout.name, canary, stable, questions.digest(made.every), made.judge, asked.keep_texts)
    _say_unpriced(made, console)
    with Results(directory, header) as results:
        ended, said = asyncio.run(_asked(asked, made, results, console))
        outcome = _outcome(asked, made, results.record)
        if ended is not Ended.DONE and outcome.verdict is Verdict.PASS:
            # What a budget or a person cuts off may be the hard half: only a whole run passes.
            outcome = replace(outcome, verdict=Verdict.INCONCLUSIVE)
        why = "; ".join(part for part in (_WHY.get(ended, ""), said if ended is Ended.NO_JUDGE else "") if part)
        about = _about(asked, made, header, ended, why)
        made_report = report.document(about, outcome.verdict, outcome.findings, outcome.needed, results.record, made.questions, made.clean)
    _write(directory, made_report)
    _tell(directory, made_report, outcome.findings)
    return ended, outcome.verdict


# --------------------------------------------------------------------------------------------------------------------- what is asked
def _set(asked: Asked) -> _Set:
    spec = spec_room.read(str(asked.spec))
    rollout = _rollout(spec, asked.rollout)
    if spec.judge is None:
        hint = "docs/judge-offline.md shows a whole one"
        raise SettingsError(Problem("judge.no-judge", "judge", f"{asked.spec} has no judge block: nobody could judge", hint))
    if not spec.judge.endpoints:
        hint = "name one there; docs/judge-offline.md shows a whole block"
        raise SettingsError(Problem("judge.no-judge", "judge.judges", f"{asked.spec} names no judge: nobody could judge", hint))
    every = golden_for(spec.application.type) if asked.prompts is None else _prompts(asked.prompts)
    sides = (Side.CANARY, Side.STABLE) if asked.against else (Side.CANARY,)
    redactor = Redactor(spec.judge.patterns)
    clean: Clean = str if asked.keep_texts else lambda text: redactor.redact(text).text
    return _Set(spec, spec.judge, rollout, sides, every, ordered(every, asked.seed, asked.limit), clean)


def _rollout(spec: Spec, name: str | None) -> Rollout:
    known = [one.name for one in spec.rollouts.values() if one.canary in spec.models and one.stable in spec.models]
    if name is None and len(known) == 1:
        return spec.rollouts[known[0]]
    if name in known:
        return spec.rollouts[name]
    if name in spec.rollouts:
        message, hint = f"{name} is no rollout of models: its variants have no answers of their own", ""
    elif name is None:
        message, hint = f"the Spec has {len(known)} rollouts of models", f"one of {', '.join(known)}" if known else "write one"
    else:
        message, hint = f"there is no {name!r}", f"one of {', '.join(known)}"
    raise SettingsError(Problem("settings.no-rollout", "--rollout", message, hint))


def _prompts(path: Path) -> tuple[Question, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        hint = "one JSON object a line; docs/judge-offline.md shows some"
        raise SettingsError(Problem("prompts.unreadable", str(path), f"cannot be read: {why}", hint)) from error
    return questions.load(text, str(path))


def _say_unpriced(made: _Set, console: Console) -> None:
    """A budget that does not bound everything is said to."""
    silent = [f"model {made.model(side)}" for side in made.sides if made.spec.models[made.model(side)].prices is None]
    silent += [f"judge {one.name}" for one in made.judge.endpoints if one.prices is None]
    if silent:
        console.print(f"without prices in the Spec, and so not counted in USD nor bounded by --max-usd: {', '.join(silent)}", markup=False)


# ----------------------------------------------------------------------------------------------------------------------------- asking
async def _asked(asked: Asked, made: _Set, results: Results, console: Console) -> tuple[Ended, str]:
    """(why it ended, the judge's last excuse)."""
    draw = Random().random
    budget = _budget(asked.max_usd, results.record.usd)
    for one in made.judge.endpoints:
        if one.credential is not None:
            read_key(one.credential, f"judge.judges.{one.name}.credential")
    timeout = asked.timeout if asked.timeout is not None else PATIENCE * made.spec.application.sla.latency_p99
    async with AsyncExitStack() as stack:
        models = {
            side: await stack.enter_async_context(ModelClient(made.spec.models[made.model(side)], timeout, made.judge.longest, draw))
            for side in made.sides
        }
        clients = [await stack.enter_async_context(JudgeClient(endpoint, draw, budget)) for endpoint in made.judge.endpoints]
        judge = clients[0] if len(clients) == 1 else Panel("panel", clients)
        terms = Terms(made.judge.rubric, made.judge.again, made.judge.language, asked.seed, asked.concurrency)
        trial = Trial(made.questions, models, judge, results, budget, made.clean, terms)
        return await _until_stopped(trial, asked.max_usd, console), trial.why


def _budget(limit: float, spent: float) -> Budget:
    """With what earlier runs have spent."""
    budget = Budget(Decimal(str(limit)), EVER)
    budget.settle(0.0, Decimal(0), Decimal(str(spent)))
    return budget


async def _until_stopped(trial: Trial, max_usd: float, console: Console) -> Ended:
    """The first signal lets end what is open; the second does not."""
    loop, work = asyncio.get_running_loop(), asyncio.ensure_future(trial.run())

    def stop() -> None:
        if not stopping:
            console.print("stopping: waits for the answers that are under way; once more leaves at once", markup=False)
            trial.stop()
        else:
            work.cancel()
        stopping.append(True)

    stopping: list[bool] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    showing = asyncio.ensure_future(shown(trial, max_usd, console))
    try:
        return await work
    except asyncio.CancelledError:
        if not stopping:
            raise
        return Ended.STOPPED
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


# ----------------------------------------------------------------------------------------------------------------------- what it says
def _outcome(asked: Asked, made: _Set, record: Record) -> judged.Judged:
    names = [question.id for question in made.questions]
    if asked.against:
        return judged.beside_stable(tally.pairs(record, names), tally.failures(record, names), made.rollout)
    places = [(Side.CANARY, name) for name in names]
    scores = [record.scores[place].value for place in places if place in record.scores]
    failures = [record.answers[place].failed for place in places if place in record.answers]
    return judged.alone(scores, failures, asked.floor, made.rollout)


def _about(asked: Asked, made: _Set, header: records.Header, ended: Ended, why: str) -> report.About:
    return report.About(
        rollout=made.rollout.name,
        application=made.spec.application.name,
        header=header,
        models={side: made.model(side) for side in made.sides},
        rubric=made.judge.rubric,
        judges={one.name: one.model for one in made.judge.endpoints},
        seed=asked.seed,
        ended=ended.value,
        why=why,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        max_usd=asked.max_usd,
        keep_texts=asked.keep_texts,
    )


def _write(directory: Path, document: dict[str, Any]) -> None:
    """Whole files or none: who reads them may read at any moment."""
    for name, data in (
        ("report.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"),
        ("report.html", page(document).encode()),
    ):
        path, draft = directory / name, directory / f".{name}.new"
        try:
            draft.write_bytes(data)
            os.replace(draft, path)
        except OSError as error:
            hint = "the results are kept: make room and run the command again, nothing is asked twice"
            raise SettingsError(Problem("judge.report", str(path), f"cannot be written: {error.strerror}", hint)) from error


def _tell(directory: Path, document: dict[str, Any], findings: Sequence[Finding]) -> None:
    """What a pipeline's log shows."""
    console = Console(soft_wrap=True, highlight=False)
    style = {"pass": "bold green", "fail": "bold red"}.get(document["verdict"], "bold yellow")
    console.print(f"[{style}]{MARKS[document['verdict']]} {WORDS[document['verdict']]}[/]")
    for finding in findings:
        console.print(f"{WORDS[finding.verdict.value]}: {finding.sentence}", markup=False)
    if document["why"]:
        console.print(document["why"], markup=False)
    pairs = document["pairs"]
    if pairs is not None and pairs["wins"] + pairs["ties"] + pairs["losses"]:
        said = f"side by side: canary won {pairs['wins']}, tied {pairs['ties']}, lost {pairs['losses']}"
        console.print(said, markup=False)
    worst = report.worst(document, NAMED)
    if worst:
        console.print(f"worst for the canary: {', '.join(map(_worst, worst))}", markup=False)
    console.print(f"${document['usd']:,.4f} spent; {directory}/report.html, {directory}/report.json", markup=False)


def _worst(row: dict[str, Any]) -> str:
    canary = row["answers"]["canary"]
    if canary["ending"] != "whole":
        return f"{row['id']} (failed)"
    return f"{row['id']} ({canary['score']:.2f})" if row["difference"] is None else f"{row['id']} ({row['difference']:+.2f})"
