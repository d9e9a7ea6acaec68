"""Blocks that say which requests a cohort is about."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from extproc.spec.document.base import (
    COOKIE_PATTERN,
    Asn,
    Block,
    Claim,
    CountryOrGroup,
    Header,
    Name,
    Percent,
    RegionCode,
    Text,
    Texts,
    headers,
    listed,
)

CookieName = Annotated[str, Field(pattern=COOKIE_PATTERN)]


class FlagBlock(Block):
    """A feature flag of another system."""

    source: Annotated[Name, Field(description="One of `flags`.")]
    key: Annotated[Text, Field(description="The flag's key there.")]
    variants: Annotated[Texts | None, Field(description="Variants that count; without them, the flag must be on.")] = None


class SelectorBlock(Block):
    """A test of requests: all that is given must hold."""

    country: Annotated[list[CountryOrGroup] | None, Field(min_length=1, description="ISO codes, or groups such as EU; upper case.")] = None
    region: Annotated[list[RegionCode] | None, Field(min_length=1, description="ISO 3166-2 codes, such as GB-ENG.")] = None
    asn: Annotated[list[Asn] | None, Field(min_length=1, description="Numbers of autonomous systems.")] = None
    tier: Annotated[Texts | None, Field(description="Values of the tier header.")] = None
    header: Annotated[dict[Header, Texts] | None, BeforeValidator(headers), Field(min_length=1, description="Header: exact values.")] = None
    cookie: Annotated[dict[CookieName, Texts] | None, Field(min_length=1, description="Cookie: exact values.")] = None
    claim: Annotated[dict[Claim, Texts] | None, Field(min_length=1, description="JWT claim (dotted path): exact values.")] = None
    model: Annotated[Texts | None, Field(description="Values of `model` in the request body.")] = None
    path: Annotated[Texts | None, Field(description="Path prefixes.")] = None
    ids: Annotated[list[Text] | None, BeforeValidator(listed), Field(min_length=1, description="Ids of units.")] = None
    ids_file: Annotated[Text | None, Field(description="File with an id a line, beside the Spec; # begins a comment.")] = None
    random: Annotated[Percent | None, Field(gt=0, description="A random share of units.")] = None
    flag: Annotated[FlagBlock | None, Field(description="A feature flag of another system.")] = None
    all: Annotated[list[SelectorBlock] | None, Field(min_length=1, description="All of these hold.")] = None
    any: Annotated[list[SelectorBlock] | None, Field(min_length=1, description="One of these holds.")] = None
    not_: Annotated[SelectorBlock | None, Field(alias="not", description="This does not hold.")] = None


SELECTING = frozenset(SelectorBlock.model_fields)
"""Fields that narrow."""


class CohortBlock(SelectorBlock):
    """A named slice of traffic; all conditions given must hold; the first cohort that matches counts."""

    name: Annotated[Name, Field(description="Name in metrics and reports.")]
    from_: Annotated[
        Text | None,
        Field(alias="from", description="Phase (by name) from which the cohort takes part; before it, its requests stay on stable."),
    ] = None
    share: Annotated[Percent | None, Field(gt=0, description="Its own share, whatever the phase's is.")] = None
    shares: Annotated[dict[Text, Percent] | None, Field(min_length=1, description="Its own share by phase, never falling.")] = None
    multiplier: Annotated[float | None, Field(gt=0, le=100, strict=False, description="Its share is the phase's times this.")] = None
    exclude: Annotated[SelectorBlock | None, Field(description="Who is never in, at no phase.")] = None
