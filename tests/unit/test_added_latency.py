"""What the filter adds: the statistics agree with scipy, files that are cut short are refused, and no broken promise is passed over."""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from scipy import stats

from extproc.transport import TransportName
from loadtest.added_latency import QUANTILES, AddedLatency, Block, added, lines
from loadtest.occupancy import Ticks, others_share
from loadtest.open_loop import Seen, UnreadableError, read, schedule, write
from loadtest.student import interval, quantile, t_central, t_point


# ----------------------------------------------------------------------------------------------------------------- statistics
@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 19, 30, 101])
def test_student(degrees: int) -> None:
    """Student's t is scipy's, for even and odd degrees of freedom."""
    for t in (0.0, 0.3, 1.0, 2.5, 12.0):
        assert t_central(t, degrees) == pytest.approx(stats.t.cdf(t, degrees) - stats.t.cdf(-t, degrees), abs=1e-12)
    assert t_point(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_interval() -> None:
    """The interval of a mean is scipy's."""
    random = Random(7)
    values = [random.gauss(300e-6, 40e-6) for _ in range(10)]
    low, high = stats.t.interval(0.95, 9, statistics.fmean(values), stats.sem(values))
    assert interval(values) == pytest.approx((statistics.fmean(values), low, high))


def test_interval_covers() -> None:
    """19 of 20 intervals over ten pairs contain what is true."""
    random, runs = Random(3), 2000
    inside = 0
    for _ in range(runs):
        _, low, high = interval([random.gauss(5.0, 2.0) for _ in range(10)])
        inside += low <= 5.0 <= high
    assert 0.935 < inside / runs < 0.965


def test_quantile() -> None:
    """The smallest value that the share does not exceed: an observed one, the last only where it must be."""
    values = [float(one) for one in range(1, 1001)]
    assert [quantile(values, q) for q in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 500, 990, 999, 1000]
    assert quantile([4.0], 0.999) == 4.0
    assert quantile([1.0, 2.0], 0.51) == 2.0


def test_schedule() -> None:
    """A Poisson process at the given rate: as many as asked for, gaps with a deviation as long as their mean; the same for one seed."""
    instants = schedule(400, 60, Random(1))
    gaps = [after - before for before, after in pairwise(instants)]
    assert len(instants) == pytest.approx(24_000, abs=4 * 24_000**0.5)
    assert statistics.stdev(gaps) == pytest.approx(1 / 400, rel=0.03)
    assert instants == sorted(instants)
    assert instants[-1] < 60
    assert instants == schedule(400, 60, Random(1))


def test_others_share() -> None:
    """The machine's work that is not ours; what the kernel rounds never makes it negative."""
    before = Ticks(1000, 300, 100)
    assert others_share(before, Ticks(2000, 800, 350)) == 0.25
    assert others_share(before, Ticks(2000, 400, 203)) == 0.0


# ----------------------------------------------------------------------------------------------------------------- block files
SEEN = Seen(sent=12, errors=2, measured=10, late=1, latencies=tuple(one * 1e-6 for one in range(401, 410)))


def test_file_round_trip(tmp_path: Path) -> None:
    """What is written is read, to the nanosecond."""
    file = tmp_path / "block.json"
    write(file, SEEN)
    seen = read(file)
    assert replace(seen, latencies=()) == replace(SEEN, latencies=())
    assert seen.latencies == pytest.approx(SEEN.latencies, abs=1e-9)


@pytest.mark.parametrize(
    "contradiction",
    [
        replace(SEEN, latencies=SEEN.latencies[:5]),  # five missing, two failed
        replace(SEEN, measured=8),
        replace(SEEN, measured=13, latencies=SEEN.latencies + SEEN.latencies[:2]),
        replace(SEEN, late=11),
        replace(SEEN, latencies=(-1e-6, *SEEN.latencies[1:])),
    ],
)
def test_contradicting_file(tmp_path: Path, contradiction: Seen) -> None:
    """Latencies that are missing without an error, or counts that cannot be, are refused."""
    file = tmp_path / "block.json"
    write(file, contradiction)
    with pytest.raises(UnreadableError, match=r"block\.json"):
        read(file)


def test_damaged_file(tmp_path: Path) -> None:
    """A file that is missing, empty, cut short or of another kind is refused, whatever is cut."""
    file = tmp_path / "block.json"
    with pytest.raises(UnreadableError):
        read(file)
    write(file, SEEN)
    whole = file.read_bytes()
    for text in [whole[:end] for end in range(len(whole))] + [b"[]", b"{}", b'{"sent": "x"}', whole.replace(b"401000", b"null")]:
        file.write_bytes(text)
        with pytest.raises(UnreadableError):
            read(file)


# ------------------------------------------------------------------------------------------------------------------------ result
def _result(shifts: tuple[float, ...], sla: float = 8.0) -> AddedLatency:
    """Pairs whose blocks differ by these seconds, on a machine that itself drifts from pair to pair."""
    blocks = []
    for pair, shift in enumerate(shifts):
        base = 400e-6 + pair * 100e-6
        off = Block(pair, False, 7000, 6000, 0, 0, 0, 0, 0, 0.0, (base, 3 * base, 5 * base))
        on = replace(off, filter_on=True, streams=7000, answered=7000, quantiles=tuple(one + shift for one in off.quantiles))
        blocks += [off, on] if pair % 2 == 0 else [on, off]
    requests = sum(block.measured for block in blocks)
    return AddedLatency(TransportName.NATIVE, 400.0, 15.0, len(shifts), requests, 0, 0, 0, 0.0, sla, added(blocks), tuple(blocks))


def test_differences_within_pairs() -> None:
    """A machine that becomes slower from pair to pair changes nothing in what is added, whichever block of a pair comes first."""
    result = _result((300e-6,) * 10)
    for q in QUANTILES:
        one = result.at(q)
        assert (one.mean, one.low, one.high) == pytest.approx((300e-6,) * 3)
        assert one.on - one.off == pytest.approx(300e-6)
    assert result.problems == []


def test_promises() -> None:
    """More than 1 ms at p99, more than a thousandth of the SLA, errors, fail-open: each is a problem of its own."""
    (too_slow,) = _result((1.2e-3, 1.0e-3, 1.1e-3)).problems
    assert too_slow.startswith("p99 added is 1,100 µs (at most 1,348), more than 1,000 µs")
    (of_sla,) = _result((300e-6, 310e-6), sla=0.2).problems
    assert "more than 200 µs: 0.1% of the example's SLA of 0.2 s" in of_sla
    assert replace(_result((1e-4, 1e-4)), errors=3, failed_open=2).problems == ["3 requests failed", "2 requests failed open"]


def test_filter_was_not_what_it_should_have_been() -> None:
    """A block with the filter in which a request had no stream, and one without in which one had: both are told."""
    result = _result((3e-4, 3e-4))
    off, on, *rest = result.blocks
    wrong = replace(result, blocks=(replace(off, streams=1), replace(on, streams=6999), *rest))
    assert wrong.problems == [
        "pair 1, filter off: 1 streams for 7000 requests, expected 0",
        "pair 1, filter on: 6999 streams for 7000 requests, expected 7000",
    ]


def test_lines() -> None:
    """The Markdown has a row for each quantile with its interval, and says when client or machine spoiled the run."""
    result = _result((300e-6, 320e-6, 310e-6))
    text = "\n".join(lines(result))
    assert "| p99.9 | 2,500 | 2,810 | **310** | 285 to 335 |" in text
    assert "measure again" not in text
    assert "partly its own" not in text
    spoiled = "\n".join(lines(replace(result, late=result.requests // 500, others=0.4)))
    assert "late with 0.20% of its sends, on either side: that is in the figures, and the tail is partly its own." in spoiled
    assert "Other processes used 40% of the machine" in spoiled
