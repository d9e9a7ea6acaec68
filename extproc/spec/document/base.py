"""What every block of a Spec is made of: words, numbers with units, and the rule that unknown keys are refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from extproc.measures import MEASURES
from extproc.spec import units

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
COUNTRY_PATTERN = r"^[A-Z]{2}$"
COUNTRY_OR_GROUP_PATTERN = r"^[A-Z][A-Z0-9_]{1,31}$"
GROUP_PATTERN = r"^[A-Z][A-Z0-9_]{2,31}$"
REGION_PATTERN = r"^[A-Z]{2}-[A-Z0-9]{1,3}$"
CLAIM_PATTERN = r"^[^\s.]{1,64}(\.[^\s.]{1,64}){0,7}$"
KEY_PATTERN = r"^[A-Za-z0-9_]{1,64}$"
COOKIE_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
ORIGIN_PATTERN = r"^https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$"
HEADER_PATTERN = r"^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$"


def printable(value: Any) -> Any:
    # Such values end up in headers, where CR or LF would be answered to clients with 500 (seen on Envoy 1.40).
    if isinstance(value, str) and any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("holds a control character")
    return value


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def headers(value: Any) -> Any:
    # Header names have no case: written twice in different case, one of them would be lost silently.
    names = [key.lower() for key in value if isinstance(key, str)] if isinstance(value, dict) else []
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"header {twice[0]!r} is there twice, in different case")
    return value


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=1024), BeforeValidator(printable)]
Name = Annotated[str, Field(pattern=NAME_PATTERN), BeforeValidator(printable)]
Header = Annotated[str, BeforeValidator(lower), Field(pattern=HEADER_PATTERN)]
Country = Annotated[str, Field(pattern=COUNTRY_PATTERN)]
CountryOrGroup = Annotated[str, Field(pattern=COUNTRY_OR_GROUP_PATTERN)]
GroupName = Annotated[str, Field(pattern=GROUP_PATTERN)]
RegionCode = Annotated[str, Field(pattern=REGION_PATTERN)]
Asn = Annotated[int, Field(ge=1, le=4294967295)]
Claim = Annotated[str, Field(pattern=CLAIM_PATTERN)]
Texts = Annotated[list[Text], BeforeValidator(listed), Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Duration = Annotated[
    float,
    BeforeValidator(units.duration),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|[smhd]) *)+$", "examples": ["500ms", "8s", "30m", "1h30m"]}),
]
Percent = Annotated[
    float,
    BeforeValidator(units.share),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *%$", "examples": ["1%", "99.9%"]}),
]
Dollars = Annotated[
    Decimal, BeforeValidator(units.money), WithJsonSchema({"type": "string", "pattern": r"^\$ *[0-9]+(\.[0-9]+)?$", "examples": ["$2.50"]})
]
MeasureName = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(MEASURES)})]


class Block(BaseModel):
    """A block of the file: unknown keys are refused, values are not converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
