"""The soak in its short form, one act of each kind; `python -m loadtest.soak` runs it for minutes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from loadtest.soak import run
from loadtest.soak_report import Act, Plan, Seen, told, verdict
from loadtest.vitals import COUNTERS, RETRIES, Sample, Window

ONE_OF_EACH = (Act.STATE, Act.HANDOVER, Act.STATE, Act.FREEZE, Act.KILL)
"""Those after which nothing may fail open come first: the others' windows would hide it."""


def test_no_stream_is_lost_through_handover_freeze_kill_and_acts_of_people() -> None:
    """The real Envoy, two workers, 100 requests/s: no client error, no stream failed but around freeze and kill, memory flat. The
    machine may pause for a second: then decisions come too late, and streams do not fail."""
    seen = asyncio.run(run(Plan(seconds=27.0, rate=100.0, every=4.0, warm=5.0, slow=0.05, lateness=5.0, acts=ONE_OF_EACH)))
    assert verdict(seen) == [], "\n".join(told(seen))
    assert [window.kind for window in seen.windows] == list(ONE_OF_EACH)
    assert seen.clients["ok"] > 2_000
    assert len(seen.shown) == 2
    assert any("| handover | 1 |" in line for line in told(seen))


def _sample(at: float, memory: int = 50 << 20, **changes: int) -> Sample:
    return Sample(at, {**dict.fromkeys((*COUNTERS, RETRIES), 0), **changes}, {("worker", 7): memory})


def _quiet() -> Seen:
    """A soak of a minute in which nothing went wrong: one request a second, a kill at 20."""
    samples = [_sample(float(at), streams_started=at, stream_msgs_received=at) for at in range(61)]
    clients = {"sent": 60, "ok": 60, "errors": {}, "held": 0, "p50": 0.1, "p95": 0.1, "p99": 0.1}
    return Seen(Plan(warm=5.0), clients, samples=samples, windows=[Window(Act.KILL, 20.0, 25.0)], served=60)


@pytest.mark.parametrize(
    ("at", "counted"), [(40, "failure_mode_allowed"), (40, "streams_failed"), (40, "message_timeouts"), (22, None)], ids=str
)
def test_what_fails_open_is_forgiven_only_around_a_kill(at: int, counted: str | None) -> None:
    """The same two requests at another time are a problem, whichever counter tells."""
    seen = _quiet()
    name = counted or "failure_mode_allowed"
    for index, sample in enumerate(seen.samples):
        if index >= at:
            changed = {**sample.counters, name: 2}
            if name == "failure_mode_allowed":
                changed["stream_msgs_received"] -= 2
            seen.samples[index] = replace(sample, counters=changed)
    expected = [f"{counted} grew by 2 while no worker was killed or frozen"] if counted else []
    assert verdict(seen) == expected


def test_every_promise_is_looked_at() -> None:
    """Errors, requests without decision, answers that did not arrive, memory that grows: each by its own sentence."""
    assert verdict(_quiet()) == []
    wrong = _quiet()
    wrong.clients |= {"ok": 57, "errors": {"503": 2, "timeout": 1}, "held": 4}
    wrong.samples = [replace(sample, memory={("worker", 7): (50 + int(sample.at)) << 20}) for sample in wrong.samples]
    wrong.samples[-1].counters["stream_msgs_received"] = 55
    wrong.problems.append("promote: not every worker had generation 9 after 1 s")
    said = verdict(wrong)
    for beginning in ("promote:", "clients met errors", "60 requests, 57 good", "the models served 60", "5 requests were", "worker 7 grew"):
        assert sum(problem.startswith(beginning) for problem in said) == 1, said
    assert len(said) == 6
