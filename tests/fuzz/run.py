"""All targets under atheris for a while: `python -m tests.fuzz.run --minutes 30 [--target NAME]`. Exit code 1 where an input failed.

Each target is a process of its own, two at a time; the time is shared out evenly. A failing input is saved and printed; so is what the
fuzzer reached and how its memory grew. Needs the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT: Final = Path(__file__).parents[2]
LANES: Final = 2
"""Targets at a time: the cores of the machine that the proof is made for."""
GROWTH: Final = 64
"""MiB by which a target's memory may grow after its first minute: libFuzzer's corpus and coverage tables, nothing of ours."""
LONGEST_INPUT: Final = 4096
HANG: Final = 10
"""Seconds after which one input is a hang; the usual takes a millisecond."""
MEMORY: Final = 1024
"""MiB of a process that are taken for a leak at once."""
SAY_EVERY: Final = 30
"""Seconds between two lines of progress."""

_EXCEPTION = re.compile(r"^\S*(Violation|Error|Fault)\b|ERROR: libFuzzer: (timeout|out-of-memory)")
_DONE = re.compile(r"Done (\d+) runs")
_STATUS = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+.*?exec/s: (\d+)")


@dataclass
class Report:
    """What became of one target."""

    target: str
    seconds: float = 0.0
    executions: int = 0
    coverage: int = 0
    """Edges of the instrumented code that were reached."""
    features: int = 0
    corpus: int = 0
    per_second: int = 0
    rss_first: float = 0.0
    """MiB resident after the first minute (or half of the time, where that is less)."""
    rss_last: float = 0.0
    failed: bool = False
    inputs: list[Path] = field(default_factory=list)
    """Inputs that failed."""
    said: list[str] = field(default_factory=list)
    """The last lines of the process."""

    @property
    def problems(self) -> list[str]:
        """What was promised and not seen."""
        found = []
        if self.failed:
            told = [line for line in self.said if _EXCEPTION.search(line)]
            said = told[-1].strip() if told else "no exception was printed"
            found.append(f"{self.target}: {said} (input: {', '.join(map(str, self.inputs)) or 'none saved'})")
        if self.rss_last - self.rss_first > GROWTH:
            found.append(f"{self.target}: memory grew from {self.rss_first:.0f} to {self.rss_last:.0f} MiB")
        if not self.failed and self.executions < 100:
            found.append(f"{self.target}: {self.executions} executions are no fuzzing")
        return found

    def note(self, line: str) -> None:
        """A line of libFuzzer."""
        self.said = [*self.said[-60:], line]
        status = _STATUS.match(line)
        if status is not None:
            self.executions, self.coverage, self.features, self.corpus, self.per_second = map(int, status.groups())
        elif done := _DONE.match(line):
            self.executions = int(done[1])


def fuzz(target: str, seconds: float, artifacts: Path, say: Callable[[str], None] = print) -> Report:
    """One target for so many seconds; failing inputs go to `artifacts`."""
    report, begun = Report(target), time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{target}-") as corpus:
        for number, seed in enumerate(seeds(target)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        options = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST_INPUT}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}"]
        command = [sys.executable, "-m", "tests.fuzz.fuzz_native", target, *options, f"-artifact_prefix={artifacts}/{target}-", corpus]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        reader = threading.Thread(target=_read, args=(child, report), daemon=True)
        reader.start()
        try:
            _watch(child, report, seconds, say)
        finally:
            child.kill()
            report.failed = child.wait() != 0
            reader.join(10)
    report.seconds = time.monotonic() - begun
    report.inputs = sorted(artifacts.glob(f"{target}-*"))
    return report


def _read(child: subprocess.Popen[str], report: Report) -> None:
    for line in child.stdout or ():
        report.note(line.rstrip())


def _watch(child: subprocess.Popen[str], report: Report, seconds: float, say: Callable[[str], None]) -> None:
    """Until it ends: memory each second, a line now and then. libFuzzer ends by itself; the deadline is for one that does not."""
    begun = said = time.monotonic()
    while child.poll() is None and time.monotonic() - begun < seconds + 60:
        time.sleep(1)
        now, resident = time.monotonic(), _resident(child.pid)
        if resident:
            report.rss_last = resident
            if now - begun <= min(60.0, seconds / 2) or not report.rss_first:
                report.rss_first = resident
        if now - said >= SAY_EVERY:
            said = now
            say(
                f"{report.target:13} {now - begun:6.0f} s {report.executions:10,} runs {report.per_second:6,}/s "
                f"{report.coverage:5,} edges {report.corpus:5,} inputs {resident:5.0f} MiB"
            )


def _resident(pid: int) -> float:
    """MiB; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def fuzz_all(targets: Sequence[str], minutes: float, artifacts: Path, say: Callable[[str], None] = print) -> list[Report]:
    """Targets, two at a time, in so many minutes altogether."""
    seconds = 60 * minutes * min(LANES, len(targets)) / len(targets)
    with ThreadPoolExecutor(LANES) as pool:
        return list(pool.map(lambda target: fuzz(target, seconds, artifacts, say), targets))


def section(minutes: float = 30, targets: Sequence[str] = tuple(TARGETS), artifacts: Path | None = None) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen. Failing inputs are kept, and named in the problems."""
    kept = artifacts.resolve() if artifacts is not None else Path(tempfile.mkdtemp(prefix="fuzz-failed-"))
    kept.mkdir(parents=True, exist_ok=True)
    reports = fuzz_all(targets, minutes, kept)
    lines = [
        f"atheris (libFuzzer) for {minutes:g} minutes, {LANES} targets at a time; inputs of at most {LONGEST_INPUT:,} bytes, a hang is",
        f"{HANG} s, memory may grow by {GROWTH} MiB after the first minute (libFuzzer's corpus). Targets: `tests/fuzz/targets.py`.",
        "",
        "| target | seconds | executions | edges | features | corpus | MiB, first minute -> end | failed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in reports:
        lines.append(
            f"| {one.target} | {one.seconds:,.0f} | {one.executions:,} | {one.coverage:,} | {one.features:,} | {one.corpus:,} "
            f"| {one.rss_first:.0f} -> {one.rss_last:.0f} | {'yes' if one.failed else 'no'} |"
        )
    problems = [problem for one in reports for problem in one.problems]
    if artifacts is None and not any(kept.iterdir()):
        kept.rmdir()
    return lines, problems


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Fuzz the native transport and the reading of requests.")
    parser.add_argument("--minutes", type=float, default=30.0, help="altogether, shared by the targets")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="this one only; may be repeated")
    parser.add_argument("--artifacts", type=Path, help="where failing inputs are saved; default: a temporary directory")
    arguments = parser.parse_args()
    lines, problems = section(arguments.minutes, arguments.target or tuple(TARGETS), arguments.artifacts)
    print("\n".join(lines))
    for problem in problems:
        print(f"✘ {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
