"""A rollout as a picture in the terminal: phase track, both arms, evidence against its limits, journal. Pure: documents in, rich out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from extproc.cli.findings import bar, findings_picture
from extproc.cli.shadowed import shadow_picture
from extproc.cli.told import processor_picture, readiness_picture, xds_picture

EXPOSED = ("progressing", "paused", "awaiting_approval")
STYLES = {
    "pending": "dim",
    "shadow": "magenta",
    "progressing": "cyan",
    "paused": "yellow",
    "awaiting_approval": "bold yellow",
    "completed": "bold green",
    "rolled_back": "bold red",
}

SEEN: Final = 5.0
"""Seconds without a word after which a controller is shown in red: it tells once a second."""


def picture(status: dict[str, Any], journal: Sequence[dict[str, Any]], lines: int = 6) -> RenderableType:
    """What is wrong with the Spec's file, the store and polled flags, every rollout, the routers, and the newest lines of the Journal."""
    parts: list[RenderableType] = []
    if (file := status["spec_file"])["problems"]:
        told = "is not in force, the last good one stays: mend the file or undo the change"
        parts.append(_wrong(f"Spec {file['path']}", told, file["problems"]))
    if (store := status["store"])["problem"] is not None:
        failures = ", ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in store["failures"].items() if count)
        told = f"cannot be used: nothing moves until it can (failures so far: {failures})"
        parts.append(_wrong(f"Store {store['url']}", told, [store["problem"]]))
    parts += [_wrong(f"Flags {name}", _flags_told(one), one["problems"]) for name, one in status["flags"].items() if one["problems"]]
    parts += [_rollout(name, rollout) for name, rollout in status["rollouts"].items()]
    if status["flags"]:
        parts.append(Panel(_flags(status), title="Flags", title_align="left", border_style="dim", padding=(0, 1)))
    if status["judge"] is not None:
        parts.append(Panel(_judge(status["judge"]), title="Judge", title_align="left", border_style="dim", padding=(0, 1)))
    if status["users"]["feedback"] is not None:
        parts.append(Panel(users_picture(status["users"]), title="Users", title_align="left", border_style="dim", padding=(0, 1)))
    parts.append(Panel(_routers(status), title="Routers", title_align="left", border_style="dim", padding=(0, 1)))
    if len(status.get("controllers", ())) > 1:
        parts.append(Panel(_controllers(status), title="Controllers", title_align="left", border_style="dim", padding=(0, 1)))
    parts += xds_picture(status)
    parts.append(Panel(journal_table(journal[:lines]), title="Journal", title_align="left", border_style="dim"))
    return Group(*_silence(status["stale"]), *processor_picture(status), *readiness_picture(status), *parts)


def _wrong(title: str, told: str, problems: Sequence[dict[str, Any]]) -> RenderableType:
    lines = [Text(told, style="bold red")]
    for problem in problems:
        where = f"{problem['path']} (line {problem['line']})" if problem["line"] else problem["path"]
        lines.append(Text.assemble((where, "bold"), f": {problem['message']} ", (f"[{problem['id']}]", "dim")))
        if problem["hint"]:
            lines.append(Text(f"    {problem['hint']}", style="yellow"))
    return Panel(Group(*lines), title=Text(title, style="bold"), title_align="left", border_style="bold red", padding=(0, 1))


def _flags_told(source: dict[str, Any]) -> str:
    if source["digest"] is None:
        return "have never been read: whoever they would let in stays on stable, whoever they might exclude is excluded"
    return f"are not the service's last answer: the last good ones stay ({source['failures']:,} answers of no use so far)"


def _flags(status: dict[str, Any]) -> RenderableType:
    """One line for each polled source."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, source in status["flags"].items():
        good = source["good_at"]
        said = f"read {duration(max(0.0, status['at'] - good))} ago" if good is not None else "not read since the controller has started"
        table.add_row(name, source["vendor"], source["digest"] or "-", Text(said, "" if good is not None else "yellow"))
    return table


def _judge(judge: dict[str, Any]) -> RenderableType:
    """What it has read, what it costs, how far it can be believed, and why it is silent where it is."""
    ends = judge.get("ends", {})
    unscored = ", ".join(f"{end.replace('_', ' ')} {count:,}" for end, count in sorted(ends.items()) if end != "scored")
    spent = sum(judge.get("spent", {}).values())
    parts = [f"{ends.get('scored', 0):,} answers scored", f"{judge.get('waiting', 0):,} wait", f"${spent:,.2f} spent"]
    lines = [Text("   ".join(parts + ([f"without a score: {unscored}"] if unscored else [])))]
    noise, anchors = judge.get("noise"), judge.get("anchors")
    told = [noise["sentence"] if noise else None, judge.get("people"), judge.get("same_arms")]
    lines += [Text(one, style="dim") for one in told if one]
    if anchors:
        lines.append(Text(anchors["sentence"], style="bold yellow" if anchors["changed"] else "dim"))
    lines += [Text(f"{name}: {one['why']}", style="bold yellow") for name, one in judge.get("by_arm", {}).items() if one["why"]]
    if judge["silent"]:
        lines.append(Text(judge["silent"], style="bold yellow"))
    return Group(*lines)


def users_picture(users: dict[str, Any]) -> RenderableType:
    """How many answers of each arm are spoken of: who speaks chooses to, so that a difference is a bias of its own."""
    feedback = users["feedback"]
    lines = [Text(f"{feedback['waiting']:,} answers that users spoke of are not old enough yet")]
    for rollout, arms in feedback["response"].items():
        said = ", ".join(f"{arm} {one['rate']:.1%} (of {one['requests']:,})" for arm, one in sorted(arms.items()))
        lines.append(Text(f"{rollout}: spoken of: {said or 'nothing yet'}"))
    lost = ", ".join(f"{what.replace('_', ' ')} {count:,}" for what, count in users["lost"].items() if count)
    if lost:
        lines.append(Text(f"not looked at: {lost}", style="dim"))
    if feedback["problem"]:
        lines.append(Text(feedback["problem"], style="bold yellow"))
    return Group(*lines)


def _rollout(name: str, rollout: dict[str, Any]) -> RenderableType:
    style = STYLES.get(rollout["status"], "")
    head = Text.assemble(
        (f"{rollout['status'].replace('_', ' ')}", style),
        f"   {rollout['stable']} → {rollout['canary']}   canary share ",
        (f"{rollout['share'] * 100:.4g}%", "bold"),
        f"   for {duration(rollout['seconds'])}   attempt {rollout['attempt']}   generation {rollout['generation']}",
    )
    shadow = rollout["shadow"] if rollout["status"] == "shadow" else None
    parts: list[RenderableType] = [head, _track(rollout), _arms((shadow or rollout)["arms"])]
    if shadow is not None:
        parts.append(shadow_picture(shadow))
    if rollout["findings"]:
        parts.append(findings_picture(rollout))
    parts += _told(rollout)
    if rollout["restart"] is not None and rollout["status"] in EXPOSED:
        parts.append(Text(restart(rollout["restart"]), style="dim"))
    if rollout["looked_at_one_in"] > 1 and rollout["status"] in EXPOSED:
        parts.append(Text(f"comparisons look at one unit in {rollout['looked_at_one_in']:,}: there are many outcomes", style="dim"))
    if rollout["advice"]:
        parts.append(Text(rollout["advice"], style="yellow"))
    return Panel(Group(*parts), title=f"[bold]{name}[/bold]", title_align="left", border_style=style or "none", padding=(0, 1))


def _told(rollout: dict[str, Any]) -> list[RenderableType]:
    """What is done or waited for now; who is out; for how long a person answers for missing evidence."""
    parts: list[RenderableType] = []
    if rollout["page"]:
        parts.append(Text.assemble(("PAGE ", "bold white on red"), (rollout["now"], "bold red")))
    elif rollout["status"] in ("progressing", "shadow") and rollout["waiting_for"]:
        parts.append(Text("waits for", style="bold"))
        parts += [Text(f"  · {one}") for one in rollout["waiting_for"]]
    else:
        parts.append(Text(rollout["now"] if rollout["status"] in ("progressing", "pending") else rollout["why"]))
    if rollout["cohorts_out"]:
        parts.append(Text(f"on stable, rolled back by themselves: {', '.join(rollout['cohorts_out'])}", style="bold yellow"))
    if rollout["override"] is not None:
        left = duration(rollout["override"]["seconds"])
        parts.append(Text(f"a person answers for missing evidence, for {left} more; harm still rolls back", style="bold yellow"))
    return parts


def _controllers(status: dict[str, Any]) -> RenderableType:
    """One line each: who leads, and whether all have one version."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "", "seen", "version"):
        table.add_column(column, justify="left" if not column else "right")
    versions = {one["version"] for one in status["controllers"]}
    for one in status["controllers"]:
        leads = Text("leads", "bold green") if one["leader"] else Text("stands by", "dim")
        age = Text(f"{seconds(one['age'])} ago", "bold red" if one["age"] > SEEN else "")
        table.add_row(Text(one["name"]), leads, age, Text(one["version"], "yellow" if len(versions) > 1 else ""))
    return table


def _routers(status: dict[str, Any]) -> RenderableType:
    """One line each: what its workers use, how fresh that is, what they do."""
    if not status["routers"]:
        return Text("none tells of itself: is one running, on this machine and with this store?", style="yellow")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "workers", "generation", "age", "heartbeat", "clock", "decisions/s", "failed", "restarts", ""):
        table.add_column(column, justify="left" if not column else "right")
    for router in status["routers"]:
        table.add_row(*_router(router, status["generation"]))
    undecided = status["collector"]["undecided"]
    line = Text(f"{undecided:,} requests ended without a decision (no rollout matched, or Envoy failed open to its default)", style="dim")
    return Group(table, line) if undecided else table


def _router(router: dict[str, Any], generation: int) -> tuple[Text, ...]:
    behind = router["generations"] != [generation]
    dead = router["workers"] - router["serving"]
    said = Text()
    if router["silent"] is not None:
        said.append(f"silent for {duration(router['silent'])}", "bold red")
    elif router["withdrawn"]:
        said.append(f"canary on stable, nobody can watch: {', '.join(router['withdrawn'])}", "bold red")
    elif router.get("shed"):
        said.append(f"was behind: {router['shed']:,} requests were given up before it came to them", "yellow")
    return (
        Text(router["router"]),
        Text(f"{router['serving']} of {router['workers']}", "bold red" if dead else ""),
        Text(" ".join(map(str, router["generations"])), "yellow" if behind else ""),
        Text(seconds(router["age"])),
        Text(seconds(router["heartbeat_age"])),
        Text(f"{router['skew']:+.1f} s", "yellow" if abs(router["skew"]) > 1 else ""),
        Text(f"{router['decisions_per_second']:,.0f}"),
        Text(f"{router['errors']:,}", "red" if router["errors"] else ""),
        Text(str(sum(router["restarts"].values()))),
        said,
    )


def _silence(stale: float) -> list[RenderableType]:
    """Loud where all of this is old."""
    if not stale:
        return []
    said = (
        f"the controller has not answered for {duration(stale)}: nothing is decided, and this is the last that is known; "
        "canary traffic goes to stable after watch_lease (see `extproc doctor`)"
    )
    return [
        Panel(Text(said, style="bold red"), title="[bold]Controller[/bold]", title_align="left", border_style="bold red", padding=(0, 1))
    ]


def _track(rollout: dict[str, Any]) -> Text:
    """`1% ━━ 5% ━━ [25%] ── 50% ── 100%`, and how much of the dwell was watched."""
    text = Text()
    exposed = rollout["status"] in EXPOSED
    if rollout["status"] == "shadow":
        text.append("[shadow]", "bold reverse").append(" ── ", "dim")
    elif rollout["shadow"] is not None and rollout["status"] != "pending":
        text.append("shadow", "green").append(" ━━ ", "green")
    for index, phase in enumerate(rollout["phases"]):
        done = rollout["status"] == "completed" or (exposed and index < rollout["phase_index"])
        here = exposed and index == rollout["phase_index"]
        if index:
            text.append(" ━━ " if done or here else " ── ", "green" if done or here else "dim")
        if done:
            text.append(f"✔ {phase['name']}", "green")
        elif here:
            text.append(f"[{phase['name']}]", "bold reverse")
        else:
            text.append(phase["name"], "dim")
    if exposed and rollout["min_dwell"]:
        share = min(1.0, rollout["watched"] / rollout["min_dwell"])
        text.append("     watched ").append_text(bar(share, 12, "cyan"))
        text.append(f" {duration(rollout['watched'])} of {duration(rollout['min_dwell'])}")
        text.append(f"   units {rollout['canary_units']:,} of {rollout['min_units']:,}")
    return text


def _arms(arms: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for column in ("requests", "failed", "error rate", "p50", "p95", "first token p50", "tokens out"):
        table.add_column(column, justify="right")
    for name, style in (("canary", "bold"), ("stable", "")):
        arm = arms[name]
        rate = "-" if arm["error_rate"] is None else f"{arm['error_rate']:.2%}"
        table.add_row(
            Text(name, style=style),
            f"{arm['requests']:,}",
            Text(f"{arm['failures']:,}", style="red" if arm["failures"] else ""),
            rate,
            seconds(arm["p50"]),
            seconds(arm["p95"]),
            seconds(arm["ttft_p50"]),
            f"{arm['output_tokens']:,}",
        )
    return table


def journal_table(entries: Sequence[dict[str, Any]]) -> Table:
    """Entries, newest first."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for entry in entries:
        at = datetime.fromtimestamp(entry["at"], UTC).strftime("%H:%M:%S")
        there = entry["numbers"].get("to", {})
        what = f"{entry['action'].replace('_', ' ')}" + (f" → {there['phase']}" if entry["action"] in ("start", "advance") else "")
        table.add_row(at, entry["rollout"], what, entry["actor"], entry["why"])
    return table


def restart(found: dict[str, Any]) -> str:
    """`restarted 12:03:04: outcomes of 3.4 s not looked at (about 340)`."""
    at = datetime.fromtimestamp(found["at"], UTC).strftime("%H:%M:%S")
    return f"restarted {at}: outcomes of {seconds(found['seconds'])} not looked at (about {found['outcomes']:,})"


def seconds(value: float | None) -> str:
    """`340 ms`, `2.1 s`, or `-`."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def duration(value: float) -> str:
    """`45 s`, `12 min 00 s`, `3 h 20 min`, `6 d 4 h`."""
    whole = int(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 172800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
