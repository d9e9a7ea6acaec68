"""Monitoring of a release: dashboards and alerts for Grafana, Prometheus, Alertmanager and Datadog, all numbers from the Spec."""

from __future__ import annotations

from extproc.domain import Spec
from extproc.plan.monitoring import alertmanager, datadog, grafana, rules, scrape


def files(spec: Spec) -> dict[str, str]:
    """Path inside the release's folder -> text."""
    name = spec.application.name
    dashboards = {f"monitoring/grafana/{board}": text for board, text in grafana.dashboards(spec).items()}
    datadogs = {f"monitoring/datadog/{file}": text for file, text in datadog.files(spec).items()}
    described = {
        "monitoring/prometheus/scrape.yaml": (f"prometheus.yml: the controller and the routers of {name}", scrape.scrape(spec)),
        "monitoring/prometheus/rules.yaml": (f"Recording and alerting rules of {name}, a group for each phase", rules.rules(spec)),
        "monitoring/prometheus/rules-test.yaml": ("promtool test rules: each alert fires, and stays quiet", rules.rules_test(spec)),
        "monitoring/alertmanager.yaml": ("Alertmanager: who is told of pages and of tickets", alertmanager.alertmanager(spec)),
        "monitoring/datadog/openmetrics.yaml": (
            "conf.d/openmetrics.d/conf.yaml of the Datadog agent beside extproc",
            datadogs.pop("monitoring/datadog/openmetrics.yaml"),
        ),
    }
    return {**dashboards, **{path: f"# {said}\n{text}" for path, (said, text) in described.items()}, **datadogs}
