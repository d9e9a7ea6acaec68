"""Monitoring of a release: dashboards and alerts for Grafana, Prometheus, Alertmanager and Datadog, all numbers from the Spec."""

from __future__ import annotations

from extproc.domain import Spec
from extproc.plan.monitoring import grafana, rules


def files(spec: Spec) -> dict[str, str]:
    """Path inside the release's folder -> text."""
    dashboards = {f"monitoring/grafana/{name}": text for name, text in grafana.dashboards(spec).items()}
    return {
        **dashboards,
        "monitoring/prometheus/rules.yaml": rules.rules(spec),
        "monitoring/prometheus/rules-test.yaml": rules.rules_test(spec),
    }
