"""A shadow's pairs and the judge: two copies of one request become a pair, both kept or neither, compared blind, forgotten on demand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from google.protobuf.struct_pb2 import Struct

from extproc import contract
from extproc.cli.samples import pairs_picture
from extproc.domain import COPY, Arm, Comparison, Exhibit, Failing, Preference, Purpose, Reason, Rubric, Sample, Unscored
from extproc.judge.redact import Redactor
from extproc.judge.sampling import Copy, Pairing, Sampler
from extproc.judge.sampling.pairing import MOST_WAITING, WAIT
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.store.samples import SampleReader, ScoreLog, forget
from extproc.wire import read_copy
from tests.support.samples import UNIT, chat, completion, copied, sample
from tests.unit.test_judge_pipeline import Bench, good

NOW = 1_000_000.0


def half(number: int = 1, canary: bool = False, **changes: object) -> Sample:
    """Stable's answer to a request in a shadow, or the canary's to its copy, which knows of nobody."""
    if canary:
        mine = {"arm": Arm.CANARY, "unit": "", "cohort": "", "phase": "", "generation": 0, "durable": False, "answer": "the canary's"}
    else:
        mine = {"arm": Arm.REST, "answer": "stable's"}
    return sample(number, **{"purpose": Purpose.SHADOW, **mine, **changes})


class Preferring(Bench):
    """A judge who says which answer of a pair is better."""

    def __init__(self, directory: Path, preference: Preference | None, **terms: object) -> None:
        super().__init__(directory, **terms)
        self.seen: list[tuple[Exhibit, Exhibit]] = []

        async def prefer(_: Rubric, a: Exhibit, b: Exhibit) -> Comparison | Unscored:
            self.seen.append((a, b))
            if preference is None:
                return Unscored(Failing.UNREACHABLE, "it does not answer", "judge-1")
            return Comparison(preference, {}, preference, preference.swapped, "A says more", "judge-1", 900, 60, Decimal("0.02"), 0.1)

        self.judge.prefer = prefer  # type: ignore[method-assign]


# ------------------------------------------------------------------------------------------------------------------------ pairing
def test_the_copys_half_is_of_stables_unit() -> None:
    """Whichever comes first; it has a name of its own, so that both can be kept."""
    for order in (False, True), (True, False):
        pairing = Pairing()
        first, second = (pairing.put(half(1, canary), NOW) for canary in order)
        assert first is None
        assert second is not None
        assert (second.stable.request, second.canary.request) == ("request-1", "request-1" + COPY)
        assert (second.canary.unit, second.canary.cohort, second.canary.generation) == (UNIT, "everyone", 2)
        assert (second.stable.answer, second.canary.answer) == ("stable's", "the canary's")


def test_halves_do_not_wait_for_ever() -> None:
    """Neither in time nor in number: a canary that never answers fills no memory, and nothing of it is kept."""
    pairing = Pairing()
    for number in range(MOST_WAITING + 50):
        pairing.put(half(number), NOW)
    assert pairing.alone == 50
    assert pairing.put(half(20, canary=True), NOW) is None, "its other half has been given up"
    pairing = Pairing()
    pairing.put(half(1), NOW)
    assert pairing.put(half(2), NOW + WAIT + 10) is None
    assert pairing.put(half(1, canary=True), NOW + WAIT + 10) is None


@pytest.mark.parametrize("chosen", [False, True])
def test_a_copy_on_its_way_to_the_canary_is_known_by_its_listener(chosen: bool) -> None:
    """Envoy's message says which rollout's shadow it is of; both halves of a request fall to the same side."""
    messages = copied(chat("How far?"), completion("far"), decided=False)
    first = ProcessingRequest.FromString(messages[0])
    said = Struct()
    said.update({contract.SHADOW_ROLLOUT: "chat"})
    first.metadata_context.filter_metadata[contract.SHADOW_NAMESPACE].CopyFrom(said)
    copy = Copy(4096, NOW)
    for message in (first.SerializeToString(), *messages[1:]):
        copy.take(read_copy(message))
    assert copy.assigned is not None
    assert (copy.assigned.rollout, copy.assigned.arm, copy.assigned.reason) == ("chat", Arm.CANARY, Reason.SHADOW)
    gathered = copy.end()
    assert gathered is not None
    made = Sampler(Redactor(), None).sample(gathered, chosen)
    assert (made.purpose if made is not None else None) == (Purpose.SHADOW if chosen else None)


# ---------------------------------------------------------------------------------------------------------------------- comparing
@pytest.mark.parametrize(("preference", "value"), [(Preference.A, 0.0), (Preference.TIE, 0.5), (Preference.B, 1.0)])
def test_a_pair_is_written_down_compared_and_read(tmp_path: Path, preference: Preference, value: float) -> None:
    """A is stable: from two halves to what the brain reads, and to what people see. Scores of single answers are none of it."""
    bench = Preferring(tmp_path, preference)
    bench.pipeline.put(half(1))
    bench.pipeline.put(half(1, canary=True))
    asyncio.run(bench.run())
    log = ScoreLog(bench.path, 0.0)
    assert log.news() == []
    (said,) = log.preferences()
    assert (said.request, said.rollout, said.generation, said.unit, said.value) == ("request-1", "chat", 2, UNIT, value)
    assert log.preferences() == []
    assert bench.pipeline.document()["ends"] == {"compared": 1}
    assert bench.pipeline.document()["spent"] == {"chat": 0.02}
    assert bench.pipeline.document()["why"] == ""
    ((stable, canary, found, reason),) = SampleReader(bench.path).pairs("chat", 5)
    assert (stable.answer, canary.answer, found, reason) == ("stable's", "the canary's", value, "A says more")
    assert len(pairs_picture([(stable, canary, found, reason)])) == 2


def test_what_is_shown_differs_in_the_answers_alone(tmp_path: Path) -> None:
    """The same conversation on both sides, redacted by one hand, and no word of arm, model or rollout."""
    bench = Preferring(tmp_path, Preference.TIE)
    bench.pipeline.put(half(1))
    bench.pipeline.put(half(1, canary=True, turns=(("user", "cut otherwise"),)))
    asyncio.run(bench.run())
    ((a, b),) = bench.seen
    assert replace(a, answer="") == replace(b, answer="")


def test_half_a_pair_is_not_kept(tmp_path: Path) -> None:
    """Nothing of a request is in the file before both answers are."""
    bench = Preferring(tmp_path, Preference.TIE)
    bench.pipeline.put(half(1))
    asyncio.run(bench.run())
    assert SampleReader(bench.path).latest("chat", 5) == []


@pytest.mark.parametrize("canary", [False, True])
def test_a_pair_with_a_broken_answer_is_kept_and_not_compared(tmp_path: Path, canary: bool) -> None:
    """An answer that broke off says nothing of how good it would have been: that it broke is in the access log."""
    bench = Preferring(tmp_path, Preference.TIE)
    for one in (False, True):
        bench.pipeline.put(half(1, one, **({"ending": "aborted"} if one is canary else {})))
    asyncio.run(bench.run())
    assert (bench.seen, bench.pipeline.document()["ends"]) == ([], {"aborted": 1})
    assert len(SampleReader(bench.path).latest("chat", 5)) == 2


def test_a_judge_that_is_away_compares_nothing(tmp_path: Path) -> None:
    """No data, and why."""
    bench = Preferring(tmp_path, None)
    bench.pipeline.put(half(1))
    bench.pipeline.put(half(1, canary=True))
    asyncio.run(bench.run())
    assert ScoreLog(bench.path, 0.0).preferences() == []
    assert bench.pipeline.document()["ends"] == {"unreachable": 1}
    assert bench.pipeline.document()["why"] == "it does not answer"


def test_money_of_a_release_bounds_comparisons_too(tmp_path: Path) -> None:
    """What is spent is spent, on scores or on pairs."""
    bench = Preferring(tmp_path, Preference.TIE, per_release=0.05)
    for number in range(20):
        bench.pipeline.put(half(number))
        bench.pipeline.put(half(number, canary=True))
    asyncio.run(bench.run())
    ends = bench.pipeline.document()["ends"]
    assert ends["compared"] + ends["over_budget"] == 20
    assert 3 <= ends["compared"] <= 5, "three may be asked at once"


def test_a_person_is_forgotten_with_both_halves(tmp_path: Path) -> None:
    """Samples and preference, whatever the canary was told."""
    bench = Preferring(tmp_path, Preference.A)
    for number, unit in ((1, UNIT), (2, "00000000000000bb")):
        bench.pipeline.put(half(number, unit=unit))
        bench.pipeline.put(half(number, canary=True))
    asyncio.run(bench.run())
    assert forget(bench.path, UNIT) == (2, 1)
    assert [one.request for one, *_ in SampleReader(bench.path).pairs("chat", 5)] == ["request-2"]


def test_shadow_and_phases_share_one_judge(tmp_path: Path) -> None:
    """Scores and comparisons in any order, each in its own place."""
    bench = Preferring(tmp_path, Preference.B)
    bench.judge.verdict = good
    made = [half(1), half(1, canary=True), sample(7), half(2, canary=True), sample(8), half(2)]
    Random(2).shuffle(made)
    for one in made:
        bench.pipeline.put(one)
    asyncio.run(bench.run())
    assert sorted(one.request for one in ScoreLog(bench.path, 0.0).preferences()) == ["request-1", "request-2"]
    assert bench.ratings() == [0.75, 0.75]
