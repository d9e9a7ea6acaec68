"""The report document -> one HTML file that needs nothing else: no script, no asset, no network. Pure.

Every text in it may have been written by a stranger who knew that it would stand here: each goes through `_text`, and the page forbids
itself scripts and everything foreign besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from extproc.judge.offline import report as report_room
from extproc.judge.offline.style import CSS

WORDS: Final = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE", "no_data": "NO DATA"}
MARKS: Final = {"pass": "✓", "fail": "✗", "inconclusive": "?", "no_data": "–"}
"""A verdict is a word and a sign before it is a colour."""
_MEANS: Final = {
    "pass": "The canary is no worse than the margin allows.",
    "fail": "The canary is worse.",
    "inconclusive": "Neither harm nor safety is shown.",
    "no_data": "There is nothing to decide by.",
}
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_UNSEEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, changes of direction, and halves of letters: they could make a line look like another one."""


def page(report: Mapping[str, Any]) -> str:
    """The whole file."""
    title = f"{report['rollout']}: {WORDS[report['verdict']]}"
    parts = [
        _head(report),
        _findings(report["findings"]),
        _scores(report),
        _votes(report),
        _counts(report),
        _judge(report["judge"]),
        _worst(report),
        _all(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>{CSS}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def _text(value: object) -> str:
    """A text that may stand anywhere in the page."""
    return escape(_UNSEEN.sub("\ufffd", str(value)), quote=True)


def _badge(verdict: str) -> str:
    return f'<span class="badge {_text(verdict)}">{MARKS[verdict]} {WORDS[verdict]}</span>'


# ------------------------------------------------------------------------------------------------------------------------- summary
def _head(report: Mapping[str, Any]) -> str:
    verdict, arms = report["verdict"], report["arms"]
    beside = f", beside stable <b>{_text(arms['stable']['model'])}</b>" if "stable" in arms else ", alone"
    needed = report["needed_prompts"]
    more = f"<p>About <b>{needed:,}</b> prompts like these would be needed to pass.</p>" if needed is not None else ""
    early = f"<p><b>The run is not complete</b> ({_text(report['ended'])}): {_text(report['why'])}</p>" if report["ended"] != "done" else ""
    texts = "texts redacted" if report["texts"] == "redacted" else "texts kept as they were: treat this file as confidential"
    return (
        f"<h1>Offline judge: {_text(report['rollout'])}</h1>"
        f'<p class="soft">canary <b>{_text(arms["canary"]["model"])}</b>{beside}; {len(report["prompts"])} prompts, '
        f"{_text(report['application'])}; {_text(report['at'])}; {texts}</p>"
        f'<section class="card verdict {_text(verdict)}"><span class="word">{MARKS[verdict]} {WORDS[verdict]}</span>'
        f"<p>{_MEANS[verdict]}</p>{more}{early}"
        f'<p class="soft small">Spent {_usd(report["usd"])} of ${report["max_usd"]:,.2f}.</p></section>'
    )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    rows = [[_text(one["gate"]), _badge(one["verdict"]), _text(one["sentence"])] for one in findings]
    return "<h2>What decides</h2>" + _table(["", "Verdict", "Numbers"], rows)


def _scores(report: Mapping[str, Any]) -> str:
    """Means by side and criterion, as numbers and on a scale from 0 to 1."""
    arms = report["arms"]
    rows = []
    for name in ("", *report["criteria"]):
        for side, arm in arms.items():
            found = arm["score"] if not name else arm["criteria"].get(name)
            label = (
                "<b>all together</b>" if not name else f'<span title="{_text(report["criteria"][name]["question"])}">{_text(name)}</span>'
            )
            weight = "" if not name else f"{report['criteria'][name]['weight']:.0%}"
            rows.append([label, weight, _side(side), *_mean(found, side)])
    heads = ["Criterion", "Weight", "Arm", "Mean", "95 % interval", "0 … 1"]
    return "<h2>Scores</h2>" + _table(heads, rows, numbers=(1, 3, 4))


def _mean(found: Mapping[str, Any] | None, side: str) -> list[str]:
    if found is None:
        return ["–", "–", ""]
    value, low, high = found["mean"], found["low"], found["high"]
    interval, span = "–", ""
    if low is not None and high is not None:
        interval, span = f"{low:.3f} to {high:.3f}", f'<i style="left:{low:.1%};width:{high - low:.1%}"></i>'
    return [f"{value:.3f}", interval, f'<span class="scale {_text(side)}" aria-hidden="true">{span}<b style="left:{value:.1%}"></b></span>']


def _votes(report: Mapping[str, Any]) -> str:
    pairs = report["pairs"]
    if pairs is None:
        return ""
    total = pairs["wins"] + pairs["ties"] + pairs["losses"]
    if not total:
        return '<h2>Side by side</h2><p class="soft">No two answers were compared.</p>'
    parts = (("pass", "wins", "won"), ("no_data", "ties", "tied"), ("fail", "losses", "lost"))
    bar = "".join(f'<span class="{kind}" style="flex:{pairs[key]}">{pairs[key]} {word}</span>' for kind, key, word in parts if pairs[key])
    said = (
        f"Asked in both orders which answer is better, the judge let the canary win {pairs['wins']}, tie {pairs['ties']} and lose "
        f"{pairs['losses']} of {total}. By scores it is ahead in {pairs['higher']}, level in {pairs['equal']}, behind in {pairs['lower']}."
    )
    return f'<h2>Side by side</h2><div class="votes" role="img" aria-label="{_text(said)}">{bar}</div><p>{said}</p>'


def _counts(report: Mapping[str, Any]) -> str:
    """Failures, tripwires, tokens, time, money, by side."""
    arms = report["arms"]
    rows: list[list[str]] = []

    def row(name: str, shown: Iterable[str]) -> None:
        rows.append([name, *shown])

    row("asked", (f"{arm['asked']:,}" for arm in arms.values()))
    row("failed (not judged)", (_failed(arm) for arm in arms.values()))
    row("answered after more than one try", (f"{arm['retried']:,}" for arm in arms.values()))
    row("scored", (f"{arm['scored']:,}" for arm in arms.values()))
    for wire in dict.fromkeys(wire for arm in arms.values() for wire in arm["tripwires"]):
        row(f"tripwire: {_text(wire.replace('_', ' '))}", (f"{arm['tripwires'].get(wire, 0):,}" for arm in arms.values()))
    if not any(arm["tripwires"] for arm in arms.values()):
        row("tripwires", ("none" for _ in arms))
    row("tokens in / out", (f"{_number(arm['input_tokens'])} / {_number(arm['output_tokens'])}" for arm in arms.values()))
    row("seconds p50 / p95", (f"{_seconds(arm['seconds']['p50'])} / {_seconds(arm['seconds']['p95'])}" for arm in arms.values()))
    row("USD", (_usd(arm["usd"]) for arm in arms.values()))
    heads = ["", *(f"{_side(side)} {_text(arm['model'])}" for side, arm in arms.items())]
    return "<h2>Beyond the scores</h2>" + _table(heads, rows, numbers=tuple(range(1, len(heads))))


def _failed(arm: Mapping[str, Any]) -> str:
    reasons = "".join(f'<br><span class="soft small">{count} × {_text(why)}</span>' for why, count in arm["failures"].items())
    return f"{arm['failed']:,}{reasons}"


def _judge(judge: Mapping[str, Any]) -> str:
    names = ", ".join(f"{_text(name)}" + (f" ({_text(model)})" if model != name else "") for name, model in judge["judges"].items())
    lines = [
        f"{names}, by the rubric <b>{_text(judge['rubric'])}</b>: {judge['questions']:,} verdicts, "
        f"{judge['input_tokens']:,} tokens in, {judge['output_tokens']:,} out, {_usd(judge['usd'])}",
        _text(judge["noise_said"]),
        _text(judge["places_said"]),
        *(f"{count} × no score: {_text(why)}" for why, count in judge["unscored_why"].items()),
    ]
    return "<h2>The judge</h2>" + f'<div class="card">{"".join(f"<p>{line}</p>" for line in lines if line)}</div>'


# ------------------------------------------------------------------------------------------------------------------------- prompts
def _worst(report: Mapping[str, Any]) -> str:
    rows = report_room.worst(report)
    if not rows:
        return '<h2>The worst for the canary</h2><p class="soft">It is nowhere behind.</p>'
    shown = "".join(f'<article class="card">{_title(row)}{_prompt(row)}</article>' for row in rows)
    return f'<h2>The worst for the canary</h2><p class="soft">{len(rows)} of {len(report["prompts"])}, the worst first.</p>{shown}'


def _all(report: Mapping[str, Any]) -> str:
    shown = "".join(f'<details class="prompt"><summary>{_title(row)}</summary>{_prompt(row)}</details>' for row in report["prompts"])
    return f'<h2>All prompts</h2><div class="card">{shown}</div>'


def _title(row: Mapping[str, Any]) -> str:
    tags = "".join(f' <span class="tag">{_text(tag)}</span>' for tag in row["tags"])
    scores = ", ".join(f"{side} {_score(answer)}" for side, answer in row["answers"].items())
    apart = f" ({row['difference']:+.3f})" if row["difference"] is not None else ""
    preferred = {"canary": "canary preferred", "stable": "stable preferred", "tie": "tie"}.get(row["preferred"] or "", "")
    said = "; ".join(part for part in (f"{scores}{apart}", preferred) if part)
    return f'<span class="id">{_text(row["id"])}</span>{tags} <span class="soft small">{said}</span>'


def _score(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "not asked"
    if answer["ending"] != "whole":
        return "failed"
    return "no score" if answer["score"] is None else f"{answer['score']:.3f}"


def _prompt(row: Mapping[str, Any]) -> str:
    turns = "".join(
        f'<div class="turn"><span class="role">{_text(role)}</span><pre dir="auto" tabindex="0">{_text(text)}</pre></div>'
        for role, text in row["turns"]
    )
    tools = f'<p class="soft small">tools: {_text(", ".join(row["tools"]))}</p>' if row["tools"] else ""
    why = f'<p class="reason"><b>Compared:</b> {_text(row["preferred_why"])}</p>' if row["preferred_why"] else ""
    answers = "".join(_answer(side, answer) for side, answer in row["answers"].items() if answer is not None)
    return f'{turns}{tools}<div class="pair">{answers}</div>{why}'


def _answer(side: str, answer: Mapping[str, Any]) -> str:
    failed = answer["ending"] != "whole"
    parts = [f"<h3>{_text(side)} · {_score(answer)}</h3>"]
    if failed:
        parts.append(f"<p>{_badge('fail')} {_text(answer['ending'])}: {_text(answer['why'])}</p>")
    if answer["answer"] or not failed:
        parts.append(f'<pre dir="auto" tabindex="0">{_text(answer["answer"]) or "(no text)"}</pre>')
    parts += [f'<pre dir="auto" tabindex="0">calls {_text(name)} {_text(arguments)}</pre>' for name, arguments in answer["calls"]]
    if answer["tripwires"]:
        wires = " ".join(f'<span class="badge inconclusive">! {_text(wire.replace("_", " "))}</span>' for wire in answer["tripwires"])
        parts.append(f"<p>{wires}</p>")
    if answer["reason"]:
        marks = ", ".join(f"{_text(name)} {value:.2f}" for name, value in answer["criteria"].items())
        parts.append(f'<p class="reason"><span class="soft small">{marks}</span><br>{_text(answer["reason"])}</p>')
    tokens = f"{_number(answer['input_tokens'])} / {_number(answer['output_tokens'])} tokens"
    parts.append(
        f'<p class="soft small">{_seconds(answer["seconds"])}, {tokens}, {_usd(answer["usd"])}, finish {_text(answer["finish"])}</p>'
    )
    return f'<section class="answer {_text(side)}">{"".join(parts)}</section>'


# --------------------------------------------------------------------------------------------------------------------------- pieces
def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already."""

    def kind(place: int) -> str:
        return ' class="number"' if place in numbers else ""

    head = "".join(f'<th scope="col"{kind(place)}>{cell}</th>' for place, cell in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{cell}</th>' if not place else f"<td{kind(place)}>{cell}</td>" for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="card wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _side(side: str) -> str:
    return f'<span class="{_text(side)}">{_text(side)}</span>'


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _usd(value: float | None) -> str:
    return "no prices" if value is None else f"${value:,.4f}"
