"""Alertmanager: pages and tickets go to the Spec's receivers; without any, alerts are shown and nobody is told."""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import Receiver, Spec
from extproc.plan.monitoring.alert import Severity
from extproc.plan.yamltext import yaml_text

NOBODY: Final = "nobody-is-told"
"""A receiver that sends nothing: the name says so to whoever looks."""
TITLE: Final = "{{ .CommonAnnotations.summary }}"
TEXT: Final = "{{ range .Alerts }}{{ .Annotations.description }}\n{{ .Annotations.runbook_url }}\n{{ end }}"


def alertmanager(spec: Spec) -> str:
    """The whole configuration."""
    alerts = spec.alerts
    told = {Severity.PAGE: alerts.page, Severity.TICKET: alerts.ticket} if alerts is not None else {}
    routes = [{"matchers": [f'severity="{severity.value}"'], "receiver": severity.value} for severity in told]
    document: dict[str, Any] = {
        "route": {
            "receiver": Severity.PAGE.value if told else NOBODY,
            # One message for what one fault sets off, and not for what two rollouts do.
            "group_by": ["alertname", "rollout"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "4h",
            **({"routes": routes} if routes else {}),
        },
        # While nobody watches, what is measured of the canary says nothing.
        "inhibit_rules": [{"source_matchers": ['alertname="ControllerSilent"'], "target_matchers": ['alertname=~"Canary.*"']}],
        "receivers": [{"name": severity.value, **_receiver(one)} for severity, one in told.items()] or [{"name": NOBODY}],
    }
    return yaml_text(documents=[document])


def _receiver(receiver: Receiver) -> dict[str, Any]:
    slack, webhook, email = receiver.slack, receiver.webhook, receiver.email
    made: dict[str, Any] = {}
    if slack is not None:
        said = {"channel": slack.channel, "api_url_file": slack.webhook_file, "send_resolved": True, "title": TITLE, "text": TEXT}
        made["slack_configs"] = [said]
    if receiver.pagerduty_key_file is not None:
        made["pagerduty_configs"] = [{"routing_key_file": receiver.pagerduty_key_file, "description": TITLE}]
    if webhook is not None:
        where = {"url": webhook.url} if webhook.url is not None else {"url_file": webhook.url_file}
        made["webhook_configs"] = [{**where, "send_resolved": True}]
    if email is not None:
        login = {"auth_username": email.username} if email.username is not None else {}
        login |= {"auth_password_file": email.password_file} if email.password_file is not None else {}
        made["email_configs"] = [{"to": email.to, "from": email.sender, "smarthost": email.smarthost, **login, "send_resolved": True}]
    return made
