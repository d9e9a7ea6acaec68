"""Datadog: what its agent scrapes and how that is called there, a dashboard, and monitors; the same questions as Grafana's and Prometheus'.

Plain data: Datadog's own client is 95 MB, and is asked in the tests whether it would take these documents.
"""

from __future__ import annotations

from typing import Any

import orjson

from extproc.domain import Spec
from extproc.plan.monitoring.datadog_monitors import monitors
from extproc.plan.monitoring.panels import Panel, Row, overview_rows, rollout_rows
from extproc.plan.monitoring.scrape import PORTS
from extproc.plan.monitoring.series import NAMESPACE, Expression, Gauge, Ratio, datadog_name, metrics_of
from extproc.plan.yamltext import yaml_text


def files(spec: Spec) -> dict[str, str]:
    """File name -> text."""
    made = monitors(spec)
    asked = [query.asked for row in _rows(spec) for panel in row.panels for query in panel.queries]
    asked += [part for one in made for part in one.parts]
    return {
        "dashboard.json": dashboard(spec),
        "monitors.json": _json([one.document for one in made]),
        "openmetrics.yaml": openmetrics(spec, asked),
    }


def openmetrics(spec: Spec, asked: list[Expression]) -> str:
    """conf.d/openmetrics.d/conf.yaml of the agent beside extproc: every metric that is asked for. A counter is named without `_total`."""
    families = sorted({metric.removesuffix("_total") for one in asked for metric in metrics_of(one)})
    instances = [
        {
            "openmetrics_endpoint": f"http://127.0.0.1:{port}/metrics",
            "namespace": NAMESPACE,
            "metrics": [{family: datadog_name(family)} for family in families],
            # Quantiles of all routers together: a distribution can be added up, a percentile cannot.
            "histogram_buckets_as_distributions": True,
            "collect_counters_with_distributions": True,
            "tags": [f"service:{spec.application.name}", f"extproc_job:{job}"],
        }
        for job, port in PORTS.items()
    ]
    return yaml_text(documents=[{"init_config": {}, "instances": instances}])


def _rows(spec: Spec) -> tuple[Row, ...]:
    return (*overview_rows(spec), *(row for rollout in spec.rollouts.values() for row in rollout_rows(spec, rollout)))


# ------------------------------------------------------------------------------------------------------------------ dashboard
def dashboard(spec: Spec) -> str:
    """One for all: a group of widgets for each row of Grafana's."""
    rollouts = list(spec.rollouts.values())
    rows = [(row.title, row) for row in overview_rows(spec)]
    rows += [(f"{rollout.name}: {row.title}", row) for rollout in rollouts for row in rollout_rows(spec, rollout)]
    document = {
        "title": f"{spec.application.name}: releases",
        "description": "Written by extproc plan from the Spec.",
        "layout_type": "ordered",
        "widgets": [_group(title, row) for title, row in rows],
    }
    return _json(document)


def _group(title: str, row: Row) -> dict[str, Any]:
    widgets = [{"definition": _widget(panel)} for panel in row.panels]
    return {"definition": {"type": "group", "title": title, "layout_type": "ordered", "widgets": widgets}}


def _widget(panel: Panel) -> dict[str, Any]:
    queries: list[dict[str, Any]] = []
    formulas: list[dict[str, Any]] = []
    for query in panel.queries:
        parts = query.asked.parts if isinstance(query.asked, Ratio) else (query.asked,)
        names = [f"query{len(queries) + number}" for number, _ in enumerate(parts, 1)]
        for name, part in zip(names, parts, strict=True):
            more = {"aggregator": "last" if isinstance(part, Gauge) else "sum"} if panel.number else {}
            queries.append({"data_source": "metrics", "name": name, "query": part.datadog(), **more})
        formulas.append({"formula": " / ".join(names), "alias": query.legend.replace("{{", "").replace("}}", "")})
    if panel.number:
        # A number is one formula; several stand in a table.
        request = {"response_format": "scalar", "queries": queries, "formulas": formulas}
        kind = "query_value" if len(formulas) == 1 and not _by(panel) else "query_table"
        return {"type": kind, "title": panel.title, "requests": [request]}
    request = {"response_format": "timeseries", "display_type": "line", "queries": queries, "formulas": formulas}
    axis = {"yaxis": {"scale": "log", "include_zero": False}} if panel.logarithmic else {}
    return {"type": "timeseries", "title": panel.title, "show_legend": True, "requests": [request], **axis}


def _by(panel: Panel) -> bool:
    return any(not isinstance(query.asked, Ratio) and query.asked.by for query in panel.queries)


def _json(document: Any) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"
