"""COST.md, cost.svg, `extproc cost` and docs/cost.md: clear answers whatever the numbers are, and charts that can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from extproc import cost
from extproc import spec as specs
from extproc.cli import app, write
from extproc.cli import cost as command
from extproc.cli.write import filled_template
from extproc.controller.collector import Collector
from extproc.controller.view import status_document
from extproc.cost import Given
from extproc.cost.axis import ticks
from extproc.cost.money import change, count, day, hours, money, percent
from extproc.cost.tokens import USUAL
from extproc.domain import Prices, Serving, Spec, Tokens
from extproc.errors import SettingsError
from extproc.transport import parse_address
from tests.support.specs import model, rollout, spec
from tests.unit.test_assignment_guide import DOCS, blocks, put_into
from tests.unit.test_loop import World

D = Decimal
GUIDE = (DOCS / "cost.md").read_text(encoding="utf-8")
DEAR = Prices(D("2.50"), D("1.25"), D("10"))
CHEAP = Prices(D("0.25"), D("0.025"), D("2"))
FREE = Prices(D(0), D(0), D(0))
GPUS = Serving(D("2.50"), 32, 1500.0, gpus_per_replica=4, replicas=12)
SMALL = Serving(D("2.50"), 64, 4000.0)
SHADOW = Given(shadow_share=0.1, shadow_seconds=86400.0)

command.register(app)
write.register(app)


def pair(old: Prices | Serving, new: Prices | Serving, requests: int = 1_000_000, uncertainty: float = 0.0, **changes: Any) -> Spec:
    """Models that are paid so, with tokens known to `uncertainty`."""
    plain = spec(rollout(**changes))
    application = replace(plain.application, daily_requests=requests, tokens=Tokens(1000, 0.5, 200, 0, uncertainty))
    paid = {name: {"serving" if isinstance(one, Serving) else "prices": one} for name, one in (("old", old), ("new", new))}
    return replace(plain, application=application, models={name: model(name, **by) for name, by in paid.items()})


def first(given: Spec, more: Given = cost.NOTHING_GIVEN) -> str:
    """The sentence that matters, as COST.md has it."""
    text = cost.files(given, more)["COST.md"]
    found = re.search(r"^\*\*(.*)\*\*$", text, re.MULTILINE)
    assert found is not None
    return found[1]


LONG = "a-model-with-a-very-long-name-that-somebody-has-chosen.v20261128"[:63]
SPECS = {
    "api": pair(DEAR, CHEAP, uncertainty=0.5),
    "dearer": pair(CHEAP, DEAR, uncertainty=0.2),
    "equal": pair(DEAR, DEAR),
    "free": pair(FREE, FREE),
    "nobody": pair(DEAR, CHEAP, 0),
    "nobody on gpus": pair(GPUS, SMALL, 0),
    "gpus": pair(GPUS, SMALL, uncertainty=0.3, holdback=0.05),
    "api to gpus": pair(DEAR, SMALL, uncertainty=0.5),
    "gpus to api": pair(GPUS, CHEAP, uncertainty=0.5),
    "one request": pair(DEAR, CHEAP, 1),
    "very many": pair(DEAR, CHEAP, 10**12, uncertainty=0.5),
    "almost equal": pair(DEAR, replace(DEAR, output=D("9.99")), uncertainty=0.0),
    "late": pair(SMALL, replace(SMALL, gpu_hour=D("2.499"), replicas=6), 200_000),
}


# ---------------------------------------------------------------------------------------------------------------------- clear answers
@pytest.mark.parametrize("name", SPECS)
def test_every_pair_has_an_answer(name: str) -> None:
    """A sentence, no exception, nothing that is no number, nothing left to fill in; the same Spec gives the same bytes."""
    given = SPECS[name]
    made = cost.files(given, SHADOW)
    assert made == cost.files(given, SHADOW)
    assert list(made) == ["COST.md", "cost.svg"]
    for text in made.values():
        said = re.sub(r"(?s)<style>.*</style>", "", text)
        assert re.findall(r"\bnan\b|\binf|\d[eE][+-]?\d|None|\$-|-\$0\b(?!\.)|TODO|CHANGEME", said) == []
    assert not re.search(r"<[a-z]", made["COST.md"])
    orjson.dumps([cost.document(one, SHADOW) for one in cost.sheets(given, SHADOW)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("equal", "new costs what old costs, $116,250 a month: nothing is saved, and nothing more is spent. "
                  "The release itself costs nothing extra. There is nothing to pay back."),
        ("free", "Both models cost nothing by their prices: new saves nothing and costs nothing more than old. "
                 "The release itself costs nothing extra. There is nothing to pay back."),
        ("nobody", "There are no requests, so that no answer costs anything. Nothing is saved, and nothing is spent. "
                   "The release itself costs nothing extra. There is nothing to pay back."),
        ("api", "new saves $100,125 a month (86% of what old costs), between $38,063 and $162,188 by what tokens may be."),
        ("dearer", "new costs $100,125 a month more than old (621% of what old costs), between"),
    ],
)  # fmt: skip
def test_the_first_sentence(name: str, said: str) -> None:
    """By hand: $0.003875 a request against $0.0005375, a million a day, 30 days. At ±50 % of the tokens read is (0.001875 - 0.0001375),
    written 0.002 and 0.0004: least 0.00086875 + 0.001 - 0.0006, most 0.00260625 + 0.003 - 0.0002."""
    assert first(SPECS[name]).startswith(said)


def test_without_requests_hours_are_paid_all_the_same() -> None:
    """Stable's 12 replicas of 4 GPUs at $2.50 are $86,400 a month; the canary's one and a spare one $3,600."""
    said = first(SPECS["nobody on gpus"])
    assert "What is paid by the hour is paid all the same, a month: old $86,400, new $3,600." in said


def test_a_dearer_canary_is_told_what_it_must_be_worth() -> None:
    """$3.34 for 1,000 requests: $0.0033375 each."""
    assert first(SPECS["dearer"]).endswith("It never pays for itself in money: its answers have to be worth $3.34 more for 1,000 requests.")


def test_what_may_go_either_way_is_told_as_such() -> None:
    """Both directions with their amounts, and the best day."""
    said = first(pair(DEAR, replace(SMALL, gpu_hour=D(28)), uncertainty=0.5))
    assert "but by what tokens may be it could also be" in said
    assert re.search(r"It never pays for itself in money, or at best on day \d+: its answers", said)
    assert first(pair(DEAR, replace(SMALL, gpu_hour=D(26)), uncertainty=0.5)).endswith("; at worst never.")


def test_dates_where_the_start_is_known() -> None:
    """Counted from 1: what is paid back within the first day, is so on the day of the start."""
    start = date(2026, 12, 1)
    assert [day(D(one), start) for one in ("0", "0.2", "1", "1.01")] == ["2026-12-01 (day 1)"] * 3 + ["2026-12-02 (day 2)"]
    assert day(D("2.455"), None) == "day 3"
    given = SPECS["api to gpus"]
    assert re.search(r"Break-even: 2026-12-\d\d \(day \d+\)", first(given, replace(SHADOW, start=date(2026, 12, 1))))


def test_a_rollout_without_prices_is_told_beside_one_with_them() -> None:
    """Each has its heading; the chart is that of the priced one."""
    given = spec(rollout("a"), rollout("b", canary="third"), models={**pair(DEAR, CHEAP).models, "third": model("third")})
    made = cost.files(given)
    assert list(made) == ["COST.md", "cost-a.svg"]
    assert "Nothing can be said of b: what third costs is not in the Spec" in made["COST.md"]
    assert "](cost-a.svg)" in made["COST.md"]


def test_advice_is_about_stables_capacity_too() -> None:
    """It keeps everything until COMPLETED and until Envoy's default has moved; then it shrinks to the holdback."""
    text = cost.files(SPECS["gpus"])["COST.md"]
    assert "old keeps all of its 12 replicas until the rollout is COMPLETED and Envoy's own default has moved everywhere" in text
    assert "extproc.new.completed is 100" in text
    assert "After that old may shrink to 2 for the holdback, which frees $72,000 a month." in text
    few = cost.files(pair(DEAR, replace(SMALL, replicas=1)))["COST.md"]
    assert re.search(r"new has 1 replicas, and its peak takes \d+ by Little's law", few)
    assert "A mean answer of new takes" in cost.files(pair(DEAR, replace(SMALL, tokens_per_second=100.0)))["COST.md"]


@pytest.mark.parametrize(
    ("amount", "said"),
    [("0", "$0"), ("0.0038749", "$0.00387"), ("12.345", "$12.35"), ("-3.1", "-$3.10"), ("1234.5", "$1,235")],
)
def test_money_as_people_read_it(amount: str, said: str) -> None:
    """Three digits of what is less than a cent, cents below $100."""
    assert money(D(amount)) == said


def test_other_numbers_as_people_read_them() -> None:
    """Signs, shares, counts, hours."""
    assert (change(D(5)), change(D(-5)), change(D(0))) == ("+$5.00", "-$5.00", "$0")
    assert [percent(D(one)) for one in ("0", "0.25", "0.005", "0.00003", "1")] == ["0%", "25%", "0.5%", "0.003%", "100%"]
    assert [count(D(one)) for one in ("1500.4", "12.55", "0.234")] == ["1,500", "12.6", "0.23"]
    assert [hours(D(one)) for one in ("0.5", "2", "71.01")] == ["30 min", "2 h 00 min", "2 d 23 h"]


# ------------------------------------------------------------------------------------------------------------------------- the chart
def boxes(svg: str) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """Every text, and where it is at most: 0.62 of its size for a character."""
    sizes = {"title": 19.0, "head": 14.0, "tick": 12.0, "label": 12.0}
    for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        size = sizes.get(one.attrib["class"].split()[0], 13.0)
        x, y, width = float(one.attrib["x"]), float(one.attrib["y"]), 0.62 * size * len(one.text or "")
        left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[one.attrib.get("text-anchor", "start")]
        yield one.text or "", (left, y - 0.8 * size, left + width, y + 0.2 * size)


@pytest.mark.parametrize("name", [*SPECS, "long names"])
def test_no_two_labels_of_a_chart_meet(name: str) -> None:
    """And none leaves the picture, whatever models are called and whatever they cost."""
    given = SPECS.get(name) or pair(DEAR, SMALL, uncertainty=0.5)
    if name == "long names":
        models = {f"{role}-{LONG}"[:63]: replace(one, name=f"{role}-{LONG}"[:63]) for role, one in given.models.items()}
        old, new = models
        phases = tuple(replace(phase, name=f"a phase with a long name {phase.name}") for phase in rollout().phases)
        given = replace(given, models=models, rollouts={LONG: rollout(LONG, stable=old, canary=new, phases=phases)})
    svg = cost.files(given, replace(SHADOW, start=date(2026, 12, 1)))["cost.svg"]
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    found = list(boxes(svg))
    assert len(found) > 20
    (dashed,) = map(float, re.findall(r'<line class="until" x1="([\d.]+)"', svg))
    assert [words for words, (left, _, right, _) in found if words.startswith("break-even") and left < dashed < right] == []
    for number, (words, (left, top, right, bottom)) in enumerate(found):
        assert left >= 0, words
        assert top >= 0, words
        assert right <= width, words
        assert bottom <= height, words
        for other, (left_, top_, right_, bottom_) in found[:number]:
            assert right <= left_ or right_ <= left or bottom <= top_ or bottom_ <= top, f"{words!r} meets {other!r}"


def test_a_chart_is_for_light_and_dark_screens() -> None:
    """It has no colour of its own outside of the two palettes, and words for those who do not see it."""
    svg = cost.files(SPECS["gpus"])["cost.svg"]
    assert "prefers-color-scheme: dark" in svg
    assert set(re.findall(r"var\((--[a-z]+)\)", svg)) == set(re.findall(r"(--[a-z]+):", svg.split("@media")[1].split("} }")[0]))
    assert not re.search(r"#[0-9a-f]{6}", svg.split("</style>")[1])
    assert "<title>Costs of the release of new" in svg


@pytest.mark.parametrize(("low", "high"), [("0", "0"), ("0", "7"), ("-3", "400000"), ("-1200", "-1"), ("0", "0.0003")])
def test_marks_are_round_and_enclose_what_is_shown(low: str, high: str) -> None:
    """One digit, or 25; at least two of them."""
    found = ticks(D(low), D(high), 5)
    assert found[0] <= D(low)
    assert found[-1] >= D(high)
    assert 2 <= len(found) <= 8
    assert {str(abs(one.normalize().as_tuple().digits[0])) for one in (found[1] - found[0],)} <= {"1", "2", "5"}


# ----------------------------------------------------------------------------------------------------------------------- the command
@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "release.yaml"
    path.write_text(filled_template("chat", "old", "new"), encoding="utf-8")
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["cost", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "200"})
    return done.exit_code, done.stdout


def test_the_command_says_what_matters_first(given: Path) -> None:
    """Then the tables; and the files, where they are asked for, in a directory that it makes."""
    code, said = run(given, "--start", "2026-12-01", "-o", given.parent / "out")
    assert code == 0
    assert said.splitlines()[0].startswith("new: new saves $318,825 a month (86% of what old costs), between $123,413 and $514,238")
    for part in ("a request", "beyond stable alone", "loss of stopping", "Capacity", "What this rests on"):
        assert part in said
    assert sorted(path.name for path in (given.parent / "out").iterdir()) == ["COST.md", "cost.svg"]


def test_the_command_for_scripts(given: Path) -> None:
    """Money is text that Decimal reads without loss."""
    code, said = run(given, "--format", "json", "--shadow-share", "10%", "--shadow-duration", "24h", "--start", "2026-12-01")
    made = orjson.loads(said)["new"]
    assert code == 0
    assert made["priced"] is True
    assert D(made["month"]["saving"]) == D(318825)
    assert (made["release"]["parts"][0]["part"], D(made["release"]["parts"][0]["extra"])) == ("shadow", D("174.75"))
    assert made["break_even"]["expected"]["date"] == "2026-12-02"
    assert made["stable"]["request"] == "0.0061875"


def test_a_spec_without_prices_is_no_failure(given: Path) -> None:
    """It is told, in both forms."""
    given.write_text(re.sub(r"    prices: .*\n", "", given.read_text()), encoding="utf-8")
    code, said = run(given)
    assert (code, "nothing can be said of it: what old and new cost is not in the Spec" in said) == (0, True)
    assert orjson.loads(run(given, "--format", "json")[1])["new"]["priced"] is False


def test_options_that_are_none_are_told_together(given: Path) -> None:
    """Each by its name."""
    with pytest.raises(SettingsError) as caught:
        run(given, "--shadow-share", "10", "--kept", "soon", "--chance", "120%")
    assert [one.path for one in caught.value.problems] == ["--shadow-share", "--kept", "--chance"]
    with pytest.raises(SettingsError, match="give both"):
        run(given, "--shadow-share", "10%")
    with pytest.raises(SettingsError, match="write it as 2026-12-01"):
        run(given, "--start", "tomorrow")


def test_measured_tokens_are_those_of_a_controllers_arms(tmp_path: Path, given: Path) -> None:
    """10 read and 20 written a request, counted by a real loop; of a controller with other models nothing is taken."""
    world = World(tmp_path)
    for _ in range(8):
        world.second()
    shown = status_document(world.loop, Collector(parse_address(f"unix:{tmp_path}/c.sock"), lambda *_: None), [], world.now)
    world.store.close()
    read = specs.read(str(given))
    told = command.tokens_told(read, shown)
    assert set(told) == {("new", "old"), ("new", "new")}
    (sheet,) = cost.sheets(read, Given(measured=told))
    assert isinstance(sheet, cost.Sheet)
    assert [(rate.load.input, rate.load.output, rate.load.known) for rate in (sheet.stable, sheet.canary)] == [(10, 20, "measured")] * 2
    assert sheet.middle.saving < 318825 / 10
    shown["rollouts"]["new"]["canary"] = "other"
    with pytest.raises(SettingsError, match="knows no rollout of this Spec"):
        command.tokens_told(read, shown)


# -------------------------------------------------------------------------------------------------------------------------- the guide
@pytest.mark.parametrize("part", blocks(GUIDE, "yaml"))
def test_every_block_of_the_guide_fits_into_a_spec(part: str) -> None:
    """And is priced."""
    document = put_into(yaml.safe_load(filled_template("chat", "gpt-4o", "gpt-5-mini")), yaml.safe_load(part))
    (sheet,) = cost.sheets(specs.load(yaml.safe_dump(document)))
    assert isinstance(sheet, cost.Sheet)


def test_the_guides_table_is_the_codes() -> None:
    """Every type with its tokens and its reason."""
    rows = re.findall(r"^\| `([a-z_]+)` \| ([\d,]+) \| (\d+)% \| ([\d,]+) \| (.*) \|$", GUIDE, re.MULTILINE)
    assert rows == [
        (kind.value, f"{one.input:,}", f"{D(one.cached_share) * 100:.0f}", f"{one.output:,}", one.why) for kind, one in USUAL.items()
    ]
