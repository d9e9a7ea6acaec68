"""Receivers of alerts as written -> the nouns of `domain`, defaults filled in."""

from __future__ import annotations

from extproc.domain import Alerts, Email, Receiver, Slack, Webhook
from extproc.spec.document.alerts import AlertsBlock, ReceiverBlock


def alerts(block: AlertsBlock) -> Alerts:
    """Those of a checked block."""
    page = _receiver(block.page)
    ticket = _receiver(block.ticket) if block.ticket is not None else page
    return Alerts((block.runbooks or "").rstrip("/"), page, ticket, block.alertmanager, block.datadog or "")


def _receiver(block: ReceiverBlock) -> Receiver:
    slack, pagerduty, webhook, email = block.slack, block.pagerduty, block.webhook, block.email
    return Receiver(
        slack=Slack(slack.channel, slack.webhook_file) if slack is not None else None,
        pagerduty_key_file=pagerduty.routing_key_file if pagerduty is not None else None,
        webhook=Webhook(webhook.url, webhook.url_file) if webhook is not None else None,
        email=Email(email.to, email.sender, email.smarthost, email.username, email.password_file) if email is not None else None,
    )
