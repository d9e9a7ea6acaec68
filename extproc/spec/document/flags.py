"""Blocks about feature flags of other systems."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from extproc.domain import AttributeType, FlagVendor
from extproc.spec.document.base import COOKIE_PATTERN, Block, Claim, Duration, Header, Text
from extproc.spec.document.models import CredentialBlock


def _by_word(value: Any) -> Any:
    return {"unit": True} if value == "unit" else value


class AttributeBlock(Block):
    """Where an attribute comes from: exactly one of unit, header, cookie and claim."""

    unit: Annotated[bool, Field(description="true: the unit's id. `unit` alone says the same.")] = False
    header: Annotated[Header | None, Field(description="Request header.")] = None
    cookie: Annotated[Text | None, Field(pattern=COOKIE_PATTERN, description="Cookie.")] = None
    claim: Annotated[Claim | None, Field(description="JWT claim (dotted path).")] = None
    type: Annotated[AttributeType, Field(strict=False, description="As what the flag sees it: string, number or boolean.")] = (
        AttributeType.STRING
    )

    @model_validator(mode="after")
    def _one_source(self) -> AttributeBlock:
        if self.unit + sum(one is not None for one in (self.header, self.cookie, self.claim)) != 1:
            raise ValueError("name exactly one of unit, header, cookie and claim")
        return self


class PollBlock(Block):
    """The service's own HTTP API; the controller asks, and keeps the last good answer."""

    url: Annotated[Text, Field(pattern="^https?://", description="Where the flags' JSON is.")]
    credential: Annotated[CredentialBlock | None, Field(description="Key to send, by reference; read by the controller.")] = None
    every: Annotated[Duration, Field(ge=1, le=3600, description="Time between questions.", json_schema_extra={"default": "15s"})] = 15.0


class FlagSourceBlock(Block):
    """Feature flags of another system, evaluated as its own SDK would."""

    vendor: Annotated[FlagVendor, Field(strict=False, description="unleash, launchdarkly, growthbook or flagd.")]
    file: Annotated[Text | None, Field(description="JSON file, beside the Spec.")] = None
    poll: Annotated[PollBlock | None, Field(description="Ask the service.")] = None
    attributes: Annotated[
        dict[Text, Annotated[AttributeBlock, BeforeValidator(_by_word)]],
        Field(description="The vendor's attribute: where its value comes from. The unit's id is there by default."),
    ] = {}

    @model_validator(mode="after")
    def _one_place(self) -> FlagSourceBlock:
        if (self.file is None) == (self.poll is None):
            raise ValueError("name exactly one of file and poll")
        return self
