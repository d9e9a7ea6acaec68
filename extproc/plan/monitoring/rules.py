"""Rules for Prometheus, and their tests for `promtool test rules`."""

from __future__ import annotations

import math
from typing import Any, Final

from extproc.domain import Spec
from extproc.domain.seconds import MINUTE
from extproc.plan.monitoring import world
from extproc.plan.monitoring.alert import Alert
from extproc.plan.monitoring.alerts import Group, groups
from extproc.plan.monitoring.windows import written
from extproc.plan.yamltext import yaml_text

RULES: Final = "rules.yaml"
STEADY: Final = 8
"""Minutes of a test after which rates are what they are, before an alert begins to wait."""


def rules(spec: Spec) -> str:
    """Recording and alerting rules, a group for each phase."""
    made = [{"name": one.name, "rules": [*one.recordings, *(_rule(spec, alert) for alert in one.alerts)]} for one in groups(spec)]
    return yaml_text(documents=[{"groups": made}])


def _rule(spec: Spec, alert: Alert) -> dict[str, Any]:
    wait = {"for": written(alert.wait)} if alert.wait else {}
    return {"alert": alert.name, "expr": alert.expr, **wait, "labels": alert.all_labels, "annotations": alert.annotations(spec)}


def rules_test(spec: Spec) -> str:
    """Each alert fires in a world in which one thing is wrong; in one in which all is well none does."""
    tests = [test for group in groups(spec) for test in (_quiet(spec, group), *(_fires(spec, group, alert) for alert in group.alerts))]
    return yaml_text(documents=[{"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests}])


def _fires(spec: Spec, group: Group, alert: Alert) -> dict[str, Any]:
    expected = [{"exp_labels": alert.all_labels, "exp_annotations": alert.annotations(spec)}]
    series = {**world.good(spec, group.rollout, group.phase), **alert.bad}
    return _test(f"{group.name}: {alert.name} fires", series, [_expected(alert, expected)])


def _quiet(spec: Spec, group: Group) -> dict[str, Any]:
    good = world.good(spec, group.rollout, group.phase)
    return _test(f"{group.name}: all is well", good, [_expected(alert, []) for alert in group.alerts])


def _test(name: str, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [{"series": one, "values": values} for one, values in series.items()]
    return {"name": name, "interval": "1m", "input_series": inputs, "alert_rule_test": expected}


def _expected(alert: Alert, expected: list[dict[str, Any]]) -> dict[str, Any]:
    minutes = min(world.MINUTES, STEADY + math.ceil(alert.wait / MINUTE))
    return {"eval_time": f"{minutes}m", "alertname": alert.name, "exp_alerts": expected}
