"""Monitoring of a release: dashboards and alerts for Grafana, Prometheus, Alertmanager and Datadog, all numbers from the Spec."""

from __future__ import annotations

from extproc.domain import Spec
from extproc.plan.monitoring import alertmanager, datadog, grafana, rules, scrape


def files(spec: Spec) -> dict[str, str]:
    """Path inside the release's folder -> text."""
    dashboards = {f"monitoring/grafana/{name}": text for name, text in grafana.dashboards(spec).items()}
    datadogs = {f"monitoring/datadog/{name}": text for name, text in datadog.files(spec).items()}
    return {
        **dashboards,
        "monitoring/prometheus/scrape.yaml": scrape.scrape(spec),
        "monitoring/prometheus/rules.yaml": rules.rules(spec),
        "monitoring/prometheus/rules-test.yaml": rules.rules_test(spec),
        "monitoring/alertmanager.yaml": alertmanager.alertmanager(spec),
        **datadogs,
    }
