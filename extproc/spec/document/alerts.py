"""Who is told when something is wrong: for the files that `extproc plan` writes. Nothing here changes a release."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from extproc.spec.document.base import Block, Text


class SlackBlock(Block):
    """A channel of Slack."""

    channel: Annotated[Text, Field(description="Channel, such as #llm-releases.")]
    webhook_file: Annotated[Text, Field(description="File with the incoming webhook's address, on the Alertmanager's machine.")]


class PagerDutyBlock(Block):
    """A service of PagerDuty."""

    routing_key_file: Annotated[Text, Field(description="File with the routing key, on the Alertmanager's machine.")]


class WebhookBlock(Block):
    """Whatever takes the Alertmanager's JSON: exactly one of url and url_file."""

    url: Annotated[Text | None, Field(pattern="^https?://", description="Address; one that is a secret belongs into a file.")] = None
    url_file: Annotated[Text | None, Field(description="File with the address; the Alertmanager must be 0.26 or newer.")] = None

    @model_validator(mode="after")
    def _one(self) -> WebhookBlock:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("name exactly one of url and url_file")
        return self


class EmailBlock(Block):
    """A mailbox."""

    to: Annotated[Text, Field(pattern="@", description="Address that is written to.")]
    sender: Annotated[Text, Field(alias="from", pattern="@", description="Address that writes.")]
    smarthost: Annotated[Text, Field(pattern=":[0-9]+$", description="HOST:PORT of the mail server.")]
    username: Annotated[Text | None, Field(description="Name at the mail server.")] = None
    password_file: Annotated[Text | None, Field(description="File with the password, on the Alertmanager's machine.")] = None


class ReceiverBlock(Block):
    """Whom to tell; everybody who is named is told."""

    slack: Annotated[SlackBlock | None, Field(description="A channel of Slack.")] = None
    pagerduty: Annotated[PagerDutyBlock | None, Field(description="A service of PagerDuty.")] = None
    webhook: Annotated[WebhookBlock | None, Field(description="Another system, by a webhook.")] = None
    email: Annotated[EmailBlock | None, Field(description="A mailbox.")] = None

    @model_validator(mode="after")
    def _somebody(self) -> ReceiverBlock:
        if not (self.slack or self.pagerduty or self.webhook or self.email):
            raise ValueError("name at least one of slack, pagerduty, webhook and email")
        return self


class AlertsBlock(Block):
    """Receivers of alerts, and the address of the playbook that they link to."""

    page: Annotated[ReceiverBlock, Field(description="For what cannot wait.")]
    ticket: Annotated[ReceiverBlock | None, Field(description="For what can wait for a working day; those of page by default.")] = None
    runbooks: Annotated[
        Text | None, Field(pattern="^https?://", description="Address of the folder with PLAYBOOK.md; links are relative by default.")
    ] = None
    alertmanager: Annotated[Text, Field(pattern=":[0-9]+$", description="HOST:PORT at which Prometheus finds the Alertmanager.")] = (
        "127.0.0.1:9093"
    )
    datadog: Annotated[Text | None, Field(pattern="^@", description="Whom Datadog's monitors tell, such as @pagerduty-llm.")] = None
