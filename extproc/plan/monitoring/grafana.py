"""Dashboards for Grafana 11 and newer: an overview, and one for each rollout, made with Grafana's own Foundation SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import orjson
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, ScaleDistribution
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, GridPos

from extproc import contract
from extproc.domain import Rollout, Spec
from extproc.plan.monitoring.panels import Panel, Row, Unit, overview_rows, rollout_rows
from extproc.plan.monitoring.series import quoted

WIDTH: Final = 24
"""Columns of Grafana's grid."""
NUMBER_SIZE: Final = (4, 5)
LINES_SIZE: Final = (8, 8)
"""(width, height) of a panel."""
DATASOURCE: Final = DataSourceRef("prometheus", "${datasource}")
"""Whoever looks chooses which Prometheus."""
REFRESH: Final = "15s"


def dashboards(spec: Spec) -> dict[str, str]:
    """File name -> JSON."""
    application = spec.application.name
    marks = contract.METRIC_JOURNAL
    made = {"overview.json": _dashboard(f"{application}: releases", _uid(application, ""), overview_rows(spec), marks)}
    for name, rollout in spec.rollouts.items():
        made[f"rollout-{name}.json"] = _dashboard(
            _title(application, rollout), _uid(application, name), rollout_rows(spec, rollout), f"{marks}{{rollout={quoted(name)}}}"
        )
    return {name: orjson.dumps(one, option=orjson.OPT_INDENT_2).decode() + "\n" for name, one in made.items()}


def _title(application: str, rollout: Rollout) -> str:
    return f"{application}: {rollout.name}, from {rollout.stable} to {rollout.canary}"


def _uid(application: str, rollout: str) -> str:
    """The same for the same rollout, whatever else the Spec says: a new version replaces the old one. Grafana takes 40 characters."""
    return f"extproc-{sha256(f'{application}/{rollout}'.encode()).hexdigest()[:16]}"


def _dashboard(title: str, uid: str, rows: Iterable[Row], marks: str) -> dict[str, Any]:
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["extproc"])
        .refresh(REFRESH)
        .time("now-3h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .annotation(dashboard.AnnotationQuery().name("Journal").datasource(DATASOURCE).enable(True).icon_color("purple").expr(marks))
    )
    number, y = 1, 0
    for row in rows:
        made = made.with_row(dashboard.Row(row.title).id(number).grid_pos(GridPos(1, WIDTH, 0, y)))
        number, y, x, high = number + 1, y + 1, 0, 0
        for panel in row.panels:
            width, height = NUMBER_SIZE if panel.number else LINES_SIZE
            if x + width > WIDTH:
                x, y, high = 0, y + high, 0
            made = made.with_panel(_panel(panel).id(number).grid_pos(GridPos(height, width, x, y)))
            number, x, high = number + 1, x + width, max(high, height)
        y += high
    document: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    # The SDK's model of an annotation has no fields for these: the mark stands where the value says, in ms, and not where it was scraped.
    document["annotations"]["list"][0] |= {
        "expr": f"{marks} * 1000",
        "useValueForTime": True,
        "titleFormat": "{{rollout}}: {{action}}",
        "textFormat": "{{phase}}",
        "step": "15s",
    }
    return document


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    made: timeseries.Panel | stat.Panel
    if panel.number:
        made = stat.Panel().graph_mode(BigValueGraphMode.NONE)
    else:
        made = timeseries.Panel().fill_opacity(0)
        if panel.logarithmic:
            made = made.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    made = made.title(panel.title).description(panel.why).datasource(DATASOURCE).unit(panel.unit.value)
    if panel.unit is Unit.SHARE:
        made = made.min(0)
    for index, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.asked.promql()).legend_format(query.legend).ref_id(chr(ord("A") + index))
        made = made.with_target((target.instant() if panel.number else target.range()).datasource(DATASOURCE))
    return made
