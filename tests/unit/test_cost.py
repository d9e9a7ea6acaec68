"""The arithmetic of costs, checked by hand: a request, a phase, a month, the break-even, the judge, replicas, stopping and going on."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from extproc.cost.given import Given
from extproc.cost.judging import bill, question
from extproc.cost.rates import Rate, arrivals
from extproc.cost.reckon import Case, Part, Span, reckon
from extproc.cost.scaling import advice
from extproc.cost.sentences import assumptions
from extproc.cost.sheet import Sheet, Unpriced, sheets
from extproc.cost.stopping import choices
from extproc.cost.summary import summary
from extproc.cost.tokens import USUAL, Known, Load, Measured, borrow, load
from extproc.domain import Application, ApplicationType, Judge, JudgeEndpoint, Model, Prices, Rubric, Serving, Shadow, Tokens
from tests.support.specs import model, rollout, spec

D = Decimal
PLAIN = spec().application
EXACT = Load(D(1000), D(500), D(200), D(0), D(0), Known.WRITTEN)
"""1,000 tokens read, half of them from a cache, 200 written."""
DEAR = Prices(D("2.50"), D("1.25"), D("10"))
CHEAP = Prices(D("0.25"), D("0.025"), D("2"))
WRITTEN_TOKENS = Tokens(input=1000, cached_share=0.5, output=200, uncertainty=0.0)


def application(requests: int, peak: float = 3.0) -> Application:
    return replace(PLAIN, daily_requests=requests, peak=peak, tokens=WRITTEN_TOKENS)


def rate(requests: int, prices: Prices | None = None, serving: Serving | None = None, peak: float = 3.0, tokens: Load = EXACT) -> Rate:
    return Rate(model("m", prices=prices, serving=serving), tokens, application(requests, peak))


def day(share: str, hours: int = 24, part: Part = Part.PHASE) -> Span:
    return Span(part, f"{share} for {hours} h", D(share), D(hours))


def case(stable: Rate, canary: Rate, *spans: Span, **changes: Any) -> Case:
    return replace(Case(stable, canary, spans, D(0), None), **changes)


# ---------------------------------------------------------------------------------------------------------------------- a request
def test_a_request_by_prices() -> None:
    """(500 x 2.50 + 500 x 1.25 + 200 x 10) / a million = $0.003875; by the cheap prices $0.0005375. Reasoning is a part of the output."""
    assert rate(1, DEAR).request == D("0.003875")
    assert rate(1, CHEAP).request == D("0.0005375")
    assert rate(1, DEAR, tokens=replace(EXACT, reasoning=D(150))).request == D("0.003875")


def test_a_request_by_gpu_hours() -> None:
    """Ten replicas of two GPUs at $2.50 are $50 an hour, $1,200 a day: $0.012 each of 100,000. One more is free; prices do not count."""
    hosted = rate(100_000, DEAR, Serving(D("2.50"), 16, 1000.0, gpus_per_replica=2, replicas=10))
    assert (hosted.hour(D(1)), hosted.whole(), hosted.request) == (D(50), D("0.012"), D(0))


def test_tokens_are_taken_from_who_knows_best() -> None:
    """The table, over it what the Spec says of the application, over it of the model, over it what was measured."""
    usual = USUAL[ApplicationType.CHATBOT]
    assumed = load(PLAIN, model("m"))
    assert (assumed.input, assumed.output, assumed.known) == (usual.input, usual.output, Known.ASSUMED)
    assert (assumed.cached, assumed.uncertainty) == (D(450), D("0.5"))
    said = replace(PLAIN, tokens=Tokens(input=2000, cached_share=0.1))
    assert load(said, model("m")).known is Known.ASSUMED, "what is written is not said"
    written = load(said, model("m", tokens=Tokens(output=900, reasoning=600)))
    assert (written.input, written.cached, written.output, written.reasoning) == (D(2000), D(200), D(900), D(600))
    assert (written.known, written.uncertainty) == (Known.WRITTEN, D("0.2"))
    measured = load(said, model("m"), Measured(10_000, 15_000_000, 4_000_000))
    assert (measured.input, measured.cached, measured.output, measured.known) == (D(1500), D(150), D(400), Known.MEASURED)
    assert measured.uncertainty == D("0.02")
    few = load(said, model("m"), Measured(400, 600_000, 160_000))
    assert few.uncertainty == D("0.0928"), "1.96 x 0.947 / sqrt(400)"


def test_reasoning_alone_comes_on_top() -> None:
    """What people read stays as long as it was."""
    found = load(PLAIN, model("m", tokens=Tokens(reasoning=1000)))
    assert (found.output, found.reasoning) == (D(1300), D(1000))
    assert load(replace(PLAIN, tokens=Tokens(reasoning=50)), model("m", tokens=Tokens(reasoning=0))).output == D(300)


def test_beside_a_measured_model_the_table_is_not_believed() -> None:
    """A canary of which too little is known is asked what stable is asked, and answers as much; what it reasons comes on top."""
    measured = load(PLAIN, model("m"), Measured(10_000, 160_000, 200_000))
    plain = borrow(load(PLAIN, model("n")), measured, Tokens())
    assert (plain.input, plain.cached, plain.output, plain.known) == (D(16), D("4.8"), D(20), Known.BORROWED)
    assert plain.uncertainty == D("0.5")
    thinks = Tokens(reasoning=100)
    assert borrow(load(PLAIN, model("n", tokens=thinks)), measured, thinks).output == D(120)
    said = Tokens(output=70)
    assert borrow(load(PLAIN, model("n", tokens=said)), measured, said).output == D(70)
    written = load(PLAIN, model("n", tokens=Tokens(input=5, output=6)))
    assert borrow(written, measured, Tokens(input=5, output=6)) == written
    given = spec(rollout(), models={name: model(name, prices=DEAR) for name in ("old", "new")})
    (found,) = sheets(given, Given(measured={("new", "old"): Measured(10_000, 160_000, 200_000)}))
    assert isinstance(found, Sheet)
    assert found.canary.load.known is Known.BORROWED
    assert (found.stable.load.known, found.middle.saving) == (Known.MEASURED, D(0))


@pytest.mark.parametrize("counted", [Measured(99, 1000, 1000), Measured(1000, 0, 1000), Measured(1000, 1000, 0)])
def test_too_little_is_not_measured(counted: Measured) -> None:
    """Of a hundredth request on, and only where tokens were told at all."""
    assert load(PLAIN, model("m"), counted) == load(PLAIN, model("m"))


# --------------------------------------------------------------------------------------------------------------- a pair of API models
def test_a_pair_by_prices() -> None:
    """100,000 a day, $0.0033375 less each: a day at 10 % spares $33.375, at 100 % $333.75, a month $10,012.50. It pays from the first."""
    made = reckon(case(rate(100_000, DEAR), rate(100_000, CHEAP), day("0.1"), day("1")))
    assert [line.extra for line in made.lines] == [D("-33.375"), D("-333.75")]
    assert (made.lines[0].stable, made.lines[0].canary) == (D("348.75"), D("5.375"))
    assert (made.before, made.after, made.saving) == (D("11625"), D("1612.5"), D("10012.5"))
    assert (made.extra, made.break_even, made.days) == (D("-367.125"), D(0), D(2))


def test_the_other_way_round_it_never_pays() -> None:
    """The same amounts with the other sign."""
    made = reckon(case(rate(100_000, CHEAP), rate(100_000, DEAR), day("0.1"), day("1")))
    assert (made.saving, made.extra, made.break_even) == (D("-10012.5"), D("367.125"), None)


def test_a_shadow_is_paid_beside_stable_and_comes_back() -> None:
    """20 % mirrored for a day: 20,000 x $0.0005375 = $10.75. Then a day at 1 % spares $3.3375, so that $7.4125 are left; at 100 % a day
    spares $333.75: even after 2 + 7.4125 / 333.75 days."""
    made = reckon(case(rate(100_000, DEAR), rate(100_000, CHEAP), day("0.2", part=Part.SHADOW), day("0.01"), day("1")))
    assert [line.extra for line in made.lines] == [D("10.75"), D("-3.3375"), D("-333.75")]
    assert made.lines[0].stable == D("387.5"), "stable still answers everybody"
    assert made.break_even == 2 + D("7.4125") / D("333.75")
    limited = replace(day("0.2", part=Part.SHADOW), limit=D(5))
    assert [line.extra for line in reckon(case(rate(100_000, DEAR), rate(100_000, CHEAP), limited)).lines] == [D(5)]


def test_the_specs_own_shadow_is_paid() -> None:
    """As long as its pairs take, at the Spec's share, and never more than it may cost."""
    shadowed = replace(rollout(), shadow=Shadow(0.05, 7200.0, 86400.0, 200, 0, D("12.5")))
    given = replace(spec(shadowed), models={"old": model("old", prices=DEAR), "new": model("new", prices=CHEAP)})
    (made,) = sheets(given)
    assert isinstance(made, Sheet)
    first = made.case.spans[0]
    assert (first.part, first.share, first.hours, first.limit) == (Part.SHADOW, D("0.05"), D(2), D("12.5"))
    assert made.case.spans[1].part is Part.PHASE


def test_a_holdback_is_not_saved() -> None:
    """With 5 % on stable a month saves 95 % of $10,012.50."""
    made = reckon(case(rate(100_000, DEAR), rate(100_000, CHEAP), holdback=D("0.05")))
    assert made.saving == D("10012.5") * D("0.95")


def test_a_slot_moves_its_part_alone() -> None:
    """1,000,000 requests a day at $0.003875, of which 60 % go to $0.0005375: 30 x 600,000 x $0.0033375 = $60,075 a month. At 50 % of the
    slot 30 % of all requests cost the canary's price. Ten own replicas, one of them spare, shrink to ceil(9 x 40 %) + 1 = 5."""
    models = {"old": model("old", prices=DEAR), "new": model("new", prices=CHEAP)}
    slotted = {"layers": {"model": {"a": (0.0, 0.6), "b": (0.6, 0.9)}}, "application": application(1_000_000)}
    (found,) = sheets(spec(rollout(slot="a"), models=models, **slotted))
    assert isinstance(found, Sheet)
    assert found.middle.saving == D("60075")
    assert [line.span.share for line in found.middle.lines] == [D(share) * D("0.6") for share in ("0.01", "0.05", "0.25", "0.5", "1", "1")]
    assert "1,000,000 requests a day, 60% of them in the rollout's slot; shares are of all of them; a month is 30 days." in list(
        assumptions(found, Given())
    )
    hosted = {name: model(name, serving=Serving(D("2.50"), 16, 1000.0, replicas=10, spare=1)) for name in ("old", "new")}
    (found,) = sheets(spec(rollout(slot="a"), models=hosted, **slotted))
    assert isinstance(found, Sheet)
    assert "old may shrink to 5 for what is not in the rollout" in " ".join(advice(found))


# -------------------------------------------------------------------------------------------------------------- GPUs of one's own
def test_littles_law() -> None:
    """86,400 a day at a peak of 2 are 2 a second. An answer takes 2 s + 200 tokens at 100/10 a second = 22 s: 44 are open, a replica may
    have 10 x 50 % = 5 of them: 9, and one spare. At a half 5 and one; of nobody none."""
    hosted = rate(86_400, serving=Serving(D(2), 10, 100.0, utilization=0.5), peak=2.0)
    assert arrivals(hosted.application, D(1)) == D(2)
    assert (hosted.seconds(), hosted.open(D(1))) == (D(22), D(44))
    assert [hosted.replicas(D(share)) for share in ("1", "0.5", "0.01", "0")] == [10, 6, 2, 0]


def test_written_replicas_run_in_proportion() -> None:
    """Of 10, one of them spare: at a half 5 and one, at 1 % one and one. Little's law is told beside it."""
    hosted = rate(86_400, serving=Serving(D(2), 10, 100.0, replicas=10), peak=2.0)
    assert [hosted.replicas(D(share)) for share in ("1", "0.5", "0.01", "0")] == [10, 6, 2, 0]
    assert hosted.taken(D(1)) == 8, "44 / 7 places, and one spare"


def test_from_an_api_to_gpus() -> None:
    """$0.01 a request, 86,400 a day: $864 a day, $25,920 a month. The canary's ten replicas at $2 are $480 a day, $14,400 a month.

    Two days at 1 %: two replicas, $192, less 1 % of $1,728 = $174.72 in advance; then $384 are spared each day: even after
    2 + 174.72 / 384 = 2.455 days.
    """
    api = rate(86_400, Prices(D(0), D(0), D(50)), peak=2.0)
    gpus = rate(86_400, serving=Serving(D(2), 10, 100.0, utilization=0.5), peak=2.0)
    made = reckon(case(api, gpus, day("0.01", 48), day("1")))
    assert [line.extra for line in made.lines] == [D("174.72"), D("-384")]
    assert (made.before, made.after, made.saving) == (D(25920), D(14400), D(11520))
    assert made.break_even == D("2.455")
    assert reckon(case(api, gpus, day("0.01", 48))).break_even == D("2.455"), "the day after the release costs what its last day does"
    back = reckon(case(gpus, api, day("0.01", 48), day("1")))
    assert (back.saving, back.break_even) == (D(-11520), None)


def test_a_pair_on_gpus() -> None:
    """Stable: ten replicas at $2, $480 a day, kept to the end. Canary: four, at a half three.

    A day at 50 % $144, at 100 % $192, kept a day more $192: $528 in advance. Then 20 - 8 = $12 an hour are spared, $288 a day: even after
    3 + 528 / 288 days. On standby are 4 replicas ($192), then all ten ($480, $480).
    """
    stable = rate(86_400, serving=Serving(D(2), 64, 4000.0, replicas=10))
    canary = rate(86_400, serving=Serving(D(2), 64, 4000.0, replicas=4))
    made = reckon(case(stable, canary, day("0.5"), day("1"), day("1", part=Part.KEPT)))
    assert [line.extra for line in made.lines] == [D(144), D(192), D(192)]
    assert [line.standby for line in made.lines] == [D(192), D(480), D(480)]
    assert [line.canary_replicas for line in made.lines] == [3, 4, 4]
    assert (made.before, made.after, made.extra) == (D(14400), D(5760), D(528))
    assert made.break_even == 3 + D(528) / D(288)


def test_what_pays_in_more_than_ten_years_does_not() -> None:
    """A cent a month against $48 in advance."""
    stable = rate(100, Prices(D(0), D(0), D(50)))
    canary = rate(100, Prices(D(0), D(0), D("49.999")))
    made = reckon(case(stable, canary, day("1", 2400, Part.SHADOW)))
    assert made.saving > 0
    assert made.break_even is None


# ------------------------------------------------------------------------------------------------------------------------ the judge
def judge(*names: str, prices: Prices | None = None, per_hour: str = "5", per_release: str = "250") -> Judge:
    endpoints = tuple(JudgeEndpoint(name, "https://judge", name, None, prices, None, 60.0, 8) for name in names)
    limits = D(per_hour), D(per_release)
    return Judge(endpoints, Rubric("r", "", (), ""), 0.1, *limits, 180.0, 0.5, None, {}, 86400.0, 1 << 19)


def test_a_verdict_and_a_phase_of_them() -> None:
    """Read: 1,200 of rules, 1,000 asked, 200 answered; written 400: (2,400 x $1 + 400 x $10) / a million = $0.0064, twice for two judges.

    Of 10,000 requests at 25 %, canary and control are 5,000, a tenth of them 500, and half of these again: 750 x $0.0064 = $4.80.
    """
    two = judge("a", "b", prices=Prices(D(1), D(1), D(10)))
    one = replace(two, endpoints=two.endpoints[:1])
    assert (question(one, EXACT), question(two, EXACT)) == (D("0.0064"), D("0.0128"))
    told = bill(one, D("0.0064"), D(10_000), D("0.25"), D(2), D(250))
    assert (told.samples, told.usd, told.limited) == (D(500), D("4.8"), False)
    above = bill(one, D("0.0064"), D(10_000), D("0.8"), D(2), D(250))
    assert above.samples == D(1000), "control is what is left of everybody"


def test_both_limits_hold() -> None:
    """$1 an hour for two hours; and what the release has left."""
    one = judge("a", prices=Prices(D(1), D(1), D(10)), per_hour="1", per_release="7")
    assert bill(one, D("0.0064"), D(10_000), D("0.25"), D(2), D(250)).usd == D(2)
    assert bill(one, D(1), D(10_000), D("0.25"), D(9), D("0.5")).usd == D("0.5")
    made = reckon(case(rate(100_000, DEAR), rate(100_000, DEAR), day("0.5", 4), day("0.5", 4), day("1", 4, Part.KEPT), judge=one))
    assert [(line.judge.usd, line.judge.limited) for line in made.lines] == [(D(4), True), (D(3), True), (D(0), False)]
    assert made.extra == D(7), "of equal models the judge is all that is paid"


# ------------------------------------------------------------------------------------------------------------------ stop or go on
def test_stopping_and_going_on() -> None:
    """$288 a day are $8,640 a month, in six months $51,840, less $528 of the release: $51,312. Stopping loses 80 % of that; going on loses
    the phase's $144 with a chance of 20 %; it is right above 144 / (51,312 + 144)."""
    stable = rate(86_400, serving=Serving(D(2), 64, 4000.0, replicas=10))
    canary = rate(86_400, serving=Serving(D(2), 64, 4000.0, replicas=4))
    made = reckon(case(stable, canary, day("0.5"), day("1"), day("1", part=Part.KEPT)))
    first, second = choices(made, Given(chance=0.8, months=6))
    assert (first.remaining, second.remaining) == (D(528), D(384)), "what was paid is paid"
    assert (first.stopping, first.going_on) == (D("41049.6"), D("28.8"))
    assert first.least_chance == D(144) / D(51456)
    assert second.going_on == D("38.4")


def test_a_dearer_canary_is_never_right_in_money_alone() -> None:
    """Stopping loses nothing; no chance is enough."""
    made = reckon(case(rate(100_000, CHEAP), rate(100_000, DEAR), day("0.1")))
    (one,) = choices(made, Given(chance=0.5, months=1))
    assert (one.stopping, one.least_chance) == (D(0), None)
    assert one.going_on == D("0.5") * (D("10012.5") + D("33.375")) + D("0.5") * D("33.375")


def test_a_bad_canarys_cheap_answers_are_no_gain() -> None:
    """Going on with a cheaper one risks no money, and is right at every chance; so is it between equals."""
    made = reckon(case(rate(100_000, DEAR), rate(100_000, CHEAP), day("0.1")))
    (one,) = choices(made, Given(chance=0.5, months=1))
    assert (one.stopping, one.going_on, one.least_chance) == (D("0.5") * D("10045.875"), D(0), D(0))
    (equal,) = choices(reckon(case(rate(9, DEAR), rate(9, DEAR), day("0.1"))), Given())
    assert (equal.stopping, equal.going_on, equal.least_chance) == (D(0), D(0), D(0))


# ------------------------------------------------------------------------------------------------------------------- from a Spec
def made_of(old: Model, new: Model, requests: int = 1_000_000, **changes: Any) -> Sheet | Unpriced:
    given = spec(rollout(**changes), application=application(requests), models={"old": old, "new": new})
    (found,) = sheets(given)
    return found


def test_phases_run_as_long_as_the_timeline_says() -> None:
    """Share, time and holdback of the plan; then the day in which stable is kept."""
    from extproc.release.plan import plan

    given = spec(
        rollout(holdback=0.1), application=application(1_000_000), models={name: model(name, prices=DEAR) for name in ("old", "new")}
    )
    (found,) = sheets(given)
    assert isinstance(found, Sheet)
    planned = plan(given.application, given.rollouts["new"]).phases
    *phases, kept = found.middle.lines
    assert [float(line.span.hours * 3600) for line in phases] == [round(one.seconds or 3600.0) for one in planned]
    assert [float(line.span.share) for line in phases] == [0.01, 0.05, 0.25, 0.5, 0.9]
    assert (kept.span.part, kept.span.hours, kept.span.share) == (Part.KEPT, D(24), D("0.9"))


def test_the_range_is_that_of_the_corners() -> None:
    """±50 % on 1,500 read (30 % cached) and 300 written at $1, $0.1, $4 against twice that: what is read moves together.

    A request: 1,050 + 45 + 1,200 = 2,295 millionths; twice. Least is saved where stable writes little and the canary much, and little is
    read: stable 2 x (547.5 + 600) = 2,295, canary 547.5 + 1,800 = 2,347.5: -52.5. Most: 2 x (1,642.5 + 1,800) - (1,642.5 + 600) = 4,642.5.
    """
    cheap, dear = Prices(D(1), D("0.1"), D(4)), Prices(D(2), D("0.2"), D(8))
    given = spec(rollout(), models={"old": model("old", prices=dear), "new": model("new", prices=cheap)})
    (found,) = sheets(given)
    assert isinstance(found, Sheet)
    month = D(30)  # a million a day: millionths of a dollar are dollars a day
    assert (found.middle.saving, found.saving.low, found.saving.high) == (D(2295) * month, D("-52.5") * month, D("4642.5") * month)
    assert found.latest is None
    assert found.earliest == found.middle.break_even == D(0)


def test_tokens_that_are_known_leave_no_range() -> None:
    """With an uncertainty of 0 all corners are the middle."""
    found = made_of(model("old", prices=DEAR), model("new", prices=CHEAP))
    assert isinstance(found, Sheet)
    assert found.saving.low == found.saving.high == found.middle.saving
    assert found.earliest == found.latest == found.middle.break_even


@pytest.mark.parametrize(
    ("old", "new", "changes", "said"),
    [
        (None, DEAR, {}, "what old costs is not in the Spec: give it `prices`, or `serving` where you host by yourself"),
        (None, None, {}, "what old and new cost is not in the Spec: give them `prices`, or `serving` where you host by yourself"),
        (DEAR, DEAR, {"layer": "prompts"}, "is in layer prompts: it chooses variants, not models, and variants have no prices"),
    ],
)
def test_what_has_no_price_is_told(old: Prices | None, new: Prices | None, changes: dict[str, Any], said: str) -> None:
    """A sentence with what would change it."""
    assert made_of(model("old", prices=old), model("new", prices=new), **changes) == Unpriced("new", said)


# ------------------------------------------------------------------------------------------------------------------- on a page
def test_the_parts_that_a_page_shows_are_the_whole() -> None:
    """Parallel run, shadow and judge are the release's extra cost; of a rollout without prices the reason is told."""
    models = {"old": model("old", prices=DEAR), "new": model("new", prices=CHEAP)}
    shadow = Shadow(share=0.1, min_dwell=3600.0, max_dwell=7200.0, min_pairs=10, min_judged=0, per_release=None)
    given = spec(rollout(shadow=shadow), models=models)
    (sheet,) = sheets(given, Given(kept_seconds=0.0))
    assert isinstance(sheet, Sheet)
    told = summary(sheet)
    assert told["total"] == pytest.approx(float(sheet.middle.extra), abs=1e-3)
    assert told["parallel"] + told["shadow"] + told["judge"] == pytest.approx(told["total"], abs=1e-3)
    assert told["shadow"] > 0 > told["parallel"]
    assert told["low"] <= told["total"] <= told["high"]
    assert summary(Unpriced("new", "has no prices")) == {"priced": False, "why": "has no prices"}
