"""Who is told when something is wrong, and where the playbook is. Secrets are by reference: files on the Alertmanager's machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slack:
    channel: str
    webhook_file: str
    """File that holds the incoming webhook's address."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Exactly one of both."""

    url: str | None
    url_file: str | None


@dataclass(frozen=True, slots=True)
class Email:
    to: str
    sender: str
    smarthost: str
    """HOST:PORT of the mail server."""
    username: str | None
    password_file: str | None


@dataclass(frozen=True, slots=True)
class Receiver:
    """All that are there are told."""

    slack: Slack | None = None
    pagerduty_key_file: str | None = None
    """File that holds the routing key of PagerDuty's Events API."""
    webhook: Webhook | None = None
    email: Email | None = None


@dataclass(frozen=True, slots=True)
class Alerts:
    runbooks: str
    """Address of the folder in which PLAYBOOK.md is, without a slash at its end; empty: beside the files."""
    page: Receiver
    """For what cannot wait."""
    ticket: Receiver
    """For what can wait for the next working day."""
    alertmanager: str
    """HOST:PORT at which Prometheus finds the Alertmanager."""
    datadog: str
    """Whom a Datadog monitor names, such as `@pagerduty-llm`; empty: nobody."""
