"""Rules for Prometheus, and their tests for `promtool test rules`."""

from __future__ import annotations

import math
from typing import Any, Final

import yaml

from extproc.domain import Spec
from extproc.plan.monitoring import world
from extproc.plan.monitoring.alert import Alert
from extproc.plan.monitoring.alerts import Group, groups
from extproc.plan.monitoring.windows import MINUTE, written

RULES: Final = "rules.yaml"
STEADY: Final = 8
"""Minutes of a test after which rates are what they are, before an alert begins to wait."""


def rules(spec: Spec) -> str:
    """Recording and alerting rules, a group for each phase."""
    made = [{"name": one.name, "rules": [*one.recordings, *(_rule(spec, alert) for alert in one.alerts)]} for one in groups(spec)]
    return _dumped({"groups": made})


def _rule(spec: Spec, alert: Alert) -> dict[str, Any]:
    wait = {"for": written(alert.wait)} if alert.wait else {}
    return {"alert": alert.name, "expr": alert.expr, **wait, "labels": alert.all_labels, "annotations": alert.annotations(spec)}


def rules_test(spec: Spec) -> str:
    """Each alert fires in a world in which one thing is wrong; in one in which all is well none does."""
    tests = [test for group in groups(spec) for test in (_quiet(spec, group), *(_fires(spec, group, alert) for alert in group.alerts))]
    return _dumped({"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests})


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


class _Plain(yaml.CSafeDumper):
    """Says everything again where it is said twice, and long expressions in lines of their own."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def _dumped(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=1000, allow_unicode=True)
