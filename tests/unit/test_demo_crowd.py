"""The table of who got what: every answer is compared with what the Spec gives that person at that moment."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import yaml
from rich.console import Console

from extproc import contract, wire
from extproc import spec as spec_room
from extproc.assign import derive, prepare
from extproc.cli.demo import crowd_table
from extproc.demo import books, stand
from extproc.demo.crowd import SPREAD, Crowd, Met, Stand, crowd, read, stands
from extproc.demo.population import population
from extproc.domain import RolloutState, State, Status
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.router.processor import Processor

SPEC = spec_room.load(yaml.safe_dump(stand.template("cohorts.yaml")))
PHASES = ("1%", "5%", "25%", "50%", "100%")
PATH = "/v1/chat/completions"


def entry(at: float, action: str, status: str, phase: str) -> dict[str, Any]:
    return {"at": at, "rollout": "gpt-5-mini", "action": action, "numbers": {"to": {"status": status, "phase": phase}}}


JOURNAL = [
    entry(60.0, "complete", "completed", "100%"),
    *(entry(10.0 * place, "advance", "progressing", phase) for place, phase in reversed(list(enumerate(PHASES, start=1)))),
    {"at": 5.0, "rollout": "gpt-5-mini", "action": "adopt", "numbers": {"digest": "d"}},
]
STOOD = stands(SPEC, "gpt-5-mini", JOURNAL, 70.0)


def answers() -> Iterator[Met]:
    """One answer for each of 1,500 people at each phase: of the model that the router's own reply names."""
    prepared, people = prepare(SPEC), population(1_500, seed=3)
    for one in STOOD:
        state = State(2, SPEC.digest, {"gpt-5-mini": RolloutState(one.status, one.place, 0.0, 2, 1, "", "")})
        router = Processor(derive(prepared, state, wire.encode_reply), b"key")
        for person in people:
            message = ProcessingRequest()
            headers = {":path": PATH, "x-user-id": person.id, "x-user-tier": person.tier, "x-geo-country": person.country}
            for name, value in headers.items():
                header = message.request_headers.headers.headers.add()
                header.key, header.raw_value = name, value.encode()
            asked = message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE]
            asked.update({contract.REQUEST_MODEL_FIELD: "gpt-5"})
            reply = router.process(message.SerializeToString())
            assert reply is not None
            yield Met(
                one.begin + 5,
                one.begin + 6,
                person.tier,
                person.country,
                person.id,
                "",
                dict(wire.set_headers(reply))[contract.CLUSTER_HEADER],
            )


@pytest.fixture(scope="module")
def told() -> list[Met]:
    return list(answers())


def test_the_journal_says_where_it_stood() -> None:
    """Each phase from its entry to the next one's, then completion to the end; entries that move nothing are passed over."""
    assert [(one.phase, one.begin, one.end) for one in STOOD] == [
        *((phase, 10.0 * place, 10.0 * place + 10) for place, phase in enumerate(PHASES, start=1)),
        ("completed", 60.0, 70.0),
    ]
    assert STOOD[-1] == Stand("completed", Status.COMPLETED, 4, 60.0, 70.0)


def test_staff_first_then_countries_tiers_and_everyone(told: list[Met]) -> None:
    """The story of the scenario, in its own table."""
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, told)
    assert found.problems(0) == []
    assert (found.other, found.wrong, found.outside) == (0, 0, 0)
    met = {phase: [row.cohort for row in found.rows if row.phase == phase and row.on_canary] for phase in (*PHASES, "completed")}
    assert met["1%"] == ["staff"]
    assert met["5%"] == ["staff", "asia-pacific"]
    assert met["25%"] == ["staff", "asia-pacific", "paid"]
    assert met["50%"] == met["100%"] == met["completed"] == ["staff", "asia-pacific", "paid", "everyone"]
    staff = [row for row in found.rows if row.cohort == "staff"]
    assert {row.seen for row in staff} == {1.0}
    assert {row.reason for row in found.rows if not row.on_canary} == {"not_yet"}
    assert sum(len(row.people) for row in found.rows if row.phase == "5%") == 1_500


def test_an_answer_that_is_not_as_it_should_be_is_found(told: list[Met]) -> None:
    """Of the canary to somebody who does not belong to it: always. Of stable: unless Envoy had no decision."""
    place = next(place for place, met in enumerate(told) if met.model == "gpt-5")
    wrong = [*told[:place], told[place]._replace(model="gpt-5-mini"), *told[place + 1 :]]
    assert crowd(SPEC, "gpt-5-mini", STOOD, PATH, wrong).problems(5) == ["1 answers of the canary went to people who did not belong to it"]
    place = next(place for place, met in enumerate(told) if met.model == "gpt-5-mini")
    other = [*told[:place], told[place]._replace(model="gpt-5"), *told[place + 1 :]]
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, other)
    assert found.problems(1) == []
    assert any("had no decision" in problem for problem in found.problems(0))


def test_a_cohort_that_is_out_meets_stable_and_has_a_line_of_its_own() -> None:
    """From its rollback on, through every later phase, and after completion."""
    moves = [entry(60.0, "complete", "completed", "100%"), entry(30.0, "roll_back_cohort", "progressing", "25%"), *JOURNAL[3:]]
    for move in moves[:2]:
        move["numbers"]["cohorts_out"] = ["asia-pacific"]
    stood = stands(SPEC, "gpt-5-mini", moves, 70.0)
    assert [one.out for one in stood][-2:] == [("asia-pacific",)] * 2
    met = [Met(at, at + 1, "free", "JP", "user-1", "", model) for at, model in ((21.0, "gpt-5"), (41.0, "gpt-5"), (61.0, "gpt-5"))]
    rows = crowd(SPEC, "gpt-5-mini", stood, PATH, met).rows
    assert {row.cohort for row in rows} == {"asia-pacific"}
    assert [(row.reason, row.expected) for row in rows[1:]] == [("cohort_out", 0.0), ("cohort_out", 0.0)]
    wrong = crowd(SPEC, "gpt-5-mini", stood, PATH, [met[2]._replace(model="gpt-5-mini")])
    assert wrong.problems(0)[0] == "1 answers of the canary went to people who did not belong to it"


def test_where_the_canary_has_failed_the_share_of_good_answers_says_nothing(told: list[Met]) -> None:
    """Nobody writes failures down; each single answer is compared all the same."""
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, told, failing="everyone")
    assert {row.cohort for row in found.rows if row.partial} == {"everyone"}
    next(row for row in found.rows if (row.cohort, row.phase) == ("everyone", "50%")).on_canary.clear()
    assert found.problems(0) == []


def test_a_share_that_is_no_chance_is_found(told: list[Met]) -> None:
    """Where a cohort's people meet the canary more seldom than the Spec says, whoever explains it."""
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, told)
    row = next(row for row in found.rows if (row.cohort, row.phase) == ("everyone", "50%"))
    row.on_canary.clear()
    (problem,) = found.problems(0)
    assert problem.startswith("cohort everyone at 50%: 0.00% of ")


def test_what_nobody_can_know_is_in_no_row() -> None:
    """While the rollout moves, and the first request of somebody anonymous."""
    known = Met(45.0, 45.2, "free", "US", "user-1", "", "gpt-5")
    times = [(40.0, 40.2), (40.0 + SPREAD - 0.01, 41.0), (49.9, 50.1), (9.0, 9.5), (71.0, 72.0)]
    edges = [known._replace(sent=sent, ended=ended) for sent, ended in times]
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, [*edges, known._replace(user=""), known])
    assert (sum(row.requests for row in found.rows), found.outside) == (1, 6)


def test_the_anonymous_are_known_by_their_cookie() -> None:
    """From their second request on, by the whole header that they send."""
    one = Met(45.0, 45.2, "free", "US", "", "llm_uid=abc", "gpt-5")
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, [one, one, one._replace(cookie="llm_uid=def")])
    (row,) = found.rows
    assert (row.cohort, row.requests, row.people) == ("everyone", 3, {"llm_uid=abc", "llm_uid=def"})


def test_lines_are_read_as_they_were_written() -> None:
    """A last line that a kill has cut off is left out."""
    met = Met(1.5, 1.75, "paid", "DE", "user-1", "", "gpt-5")
    line = orjson.dumps(list(met)) + b"\n"
    assert list(read([line, line[:-4]])) == [met]


def test_the_table_holds_every_good_answer(told: list[Met]) -> None:
    """As many as the models gave."""
    found = crowd(SPEC, "gpt-5-mini", STOOD, PATH, told)
    assert books.miscounted(found, {"ok": 10_000}, {"ok": len(told) - 10_000}) == []
    assert books.miscounted(found, {"ok": 10_001}, {"ok": len(told) - 10_000}) == [
        f"clients wrote down {len(told):,} good answers, the models gave {len(told) + 1:,}"
    ]


def test_the_table_fits_a_terminal(told: list[Met]) -> None:
    """Eighty columns, one line for a cohort at a phase."""
    found: Crowd = crowd(SPEC, "gpt-5-mini", STOOD, PATH, told)
    console = Console(file=io.StringIO(), width=76)
    console.print(crowd_table(found))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().rstrip().splitlines()
    assert len(lines) == 1 + len(found.rows)
    assert lines[1].split() == [
        "1%",
        "staff",
        f"{len(found.rows[0].people)}",
        f"{found.rows[0].requests}",
        "100.0%",
        "100.0%",
        "by",
        "the",
        "ring",
    ]
