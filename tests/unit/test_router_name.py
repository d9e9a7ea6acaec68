"""Which worker decided: from its assignments through the access log to the sample ratio, where a worker that assigns wrongly is named."""

from __future__ import annotations

import random

from extproc import contract, wire
from extproc.domain import Arm, Assignment, Finding, Outcome, Reason, Verdict
from extproc.pb.access_log_pb2 import HttpAccessLogEntry, StreamAccessLogsMessage
from extproc.pb.ext_proc_pb2 import ProcessingResponse
from extproc.release import Evidence, evaluate
from extproc.router.settings import WorkerSettings
from extproc.transport import PRIVATE
from tests.support.outcomes import outcome, show
from tests.support.specs import cohort, rollout

ASSIGNMENT = Assignment("model", "new", 12, "25%", "everyone", Arm.CANARY, Reason.RING, "new", "new-cluster")
UNIT = b"00ff00ff00ff00ff"
ROLLOUT = rollout(cohorts=(cohort("everyone"),))


def through_the_log(reply: bytes) -> Outcome:
    """What the controller reads of a request that was answered so."""
    given = ProcessingResponse.FromString(reply + UNIT).dynamic_metadata.fields[contract.assignment_namespace("model")].struct_value
    entry = HttpAccessLogEntry()
    entry.common_properties.metadata.filter_metadata[contract.assignment_namespace("model")].CopyFrom(given)
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.append(entry)
    (read,), _, _ = wire.read_outcomes(message.SerializeToString())
    return read


def test_an_assignment_names_its_worker() -> None:
    """And the unit's hash is still what comes last: the reply is a constant and a hash."""
    read = through_the_log(wire.encode_reply(ASSIGNMENT, True, "edge-7/1"))
    assert (read.router, read.unit) == ("edge-7/1", UNIT.decode())


def test_a_worker_without_a_name_costs_nothing() -> None:
    """The field is not there at all."""
    reply = wire.encode_reply(ASSIGNMENT, True)
    assert b"router" not in reply
    assert through_the_log(reply).router == ""


def test_a_worker_is_told_its_name() -> None:
    """Through the settings that its supervisor writes."""
    settings = WorkerSettings("", 0, "unix:/x", "native", None, "sqlite:x", "00", PRIVATE, "edge-7/1")
    assert WorkerSettings.read(settings.write()) == settings


def ratio(broken: str) -> Finding:
    """Of 6,000 units at three workers, a quarter of them planned for the canary; the broken worker gives it every second one."""
    evidence, draw = Evidence(ROLLOUT, 8.0), random.Random(3)
    evidence.begin_visit(2, 2)
    outcomes = []
    for number in range(6000):
        router = f"edge-{number % 3}/0"
        point = draw.random()
        canary = point < (0.5 if router == broken else 0.25)
        arm = Arm.CANARY if canary else Arm.CONTROL if point >= 0.75 else Arm.REST
        outcomes.append(outcome(number, 100.0 + number / 100, canary, arm=arm, router=router))
    show(evidence, outcomes)
    return next(finding for finding in evaluate(ROLLOUT, evidence) if finding.gate == "sample_ratio")


def test_the_worker_that_assigns_wrongly_is_named() -> None:
    """Whoever is paged knows where to look."""
    assert ratio("").verdict is Verdict.PASS
    found = ratio("edge-1/0")
    assert found.verdict is Verdict.FAIL
    assert "(everyone at edge-1/0)" in found.sentence
