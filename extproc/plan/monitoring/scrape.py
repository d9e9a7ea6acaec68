"""What Prometheus scrapes: the controller and the routers; Envoy and models have metrics of their own, which nothing here reads."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import Infrastructure, Spec
from extproc.plan.yamltext import yaml_text

EVERY: Final = "15s"
"""The shortest window of the alerts is a minute: four scrapes."""
PORTS: Final = {"controller": contract.DEFAULT_API_PORT, "router": contract.DEFAULT_METRICS_PORT}
"""Where they serve /metrics, by job: on loopback alone."""
POD_PORT: Final = "metrics"
"""In Kubernetes the Envoy of a pod hands their metrics on, at the container port of this name: /metrics/controller, /metrics/router."""


def scrape(spec: Spec) -> str:
    """A whole prometheus.yml, with the rules beside it."""
    told = spec.alerts
    pods = spec.application.infrastructure is Infrastructure.KUBERNETES
    document = {
        "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
        "rule_files": ["rules.yaml"],
        **({"alerting": {"alertmanagers": [{"static_configs": [{"targets": [told.alertmanager]}]}]}} if told is not None else {}),
        "scrape_configs": [_pods(spec, name) if pods else _static(name) for name in PORTS],
    }
    return yaml_text(documents=[document])


def _static(name: str) -> dict[str, Any]:
    """On the same machine, or in the same instance."""
    return {"job_name": f"extproc-{name}", "static_configs": [{"targets": [f"127.0.0.1:{PORTS[name]}"]}]}


def _pods(spec: Spec, name: str) -> dict[str, Any]:
    """The application's pods that have a controller; one that has none says another path."""
    meta = "__meta_kubernetes_pod"
    labels = [f"{meta}_label_app_kubernetes_io_instance", f"{meta}_container_port_name", f"{meta}_annotation_prometheus_io_path"]
    kept = {"source_labels": labels, "regex": f"{spec.application.name};{POD_PORT};/metrics/controller", "action": "keep"}
    named = {"source_labels": [f"{meta}_name"], "target_label": "pod"}
    return {
        "job_name": f"extproc-{name}",
        "metrics_path": f"/metrics/{name}",
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [kept, named],
    }
