"""The judge: who reads sampled answers, by which rubric, how many of them, and for how much."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from extproc.spec.document.base import Block, Dollars, Duration, Name, Percent, Text
from extproc.spec.document.models import CredentialBlock, PricesBlock

MEBIBYTE = 1 << 20


class JudgeEndpointBlock(Block):
    """One judge: any OpenAI-compatible endpoint."""

    name: Annotated[Name | None, Field(description="For reports; the model's by default.")] = None
    url: Annotated[Text, Field(pattern="^https?://", description="Address, without /chat/completions.")]
    model: Annotated[Text, Field(description="Name of the model that judges.")]
    credential: Annotated[CredentialBlock | None, Field(description="Its key, by reference; read by the judge's process.")] = None
    prices: Annotated[PricesBlock | None, Field(description="What it costs; without them no budget holds.")] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, description="Not sent by default: models that reason refuse it.")] = None
    timeout: Annotated[Duration, Field(gt=0, le=600, json_schema_extra={"default": "60s"}, description="For one whole verdict.")] = 60.0
    concurrency: Annotated[int, Field(ge=1, le=256, description="Questions that are open at once.")] = 8


class JudgeBlock(Block):
    """LLM judges of sampled answers. Without this block nothing is copied."""

    judges: Annotated[
        list[JudgeEndpointBlock], Field(max_length=9, description="One, or several that vote; [] where rules alone look (gate tripwires).")
    ]
    rubric_file: Annotated[Text | None, Field(description="Your own rubric; by default that of application.type.")] = None
    sample: Annotated[
        Percent,
        Field(gt=0, json_schema_extra={"default": "5%"}, description="Share of the canary's and of control's requests that are copied."),
    ] = 0.05
    per_hour: Annotated[Dollars, Field(gt=0, json_schema_extra={"default": "$5"}, description="What judging may cost in an hour.")] = (
        Decimal(5)
    )
    per_release: Annotated[
        Dollars, Field(gt=0, json_schema_extra={"default": "$250"}, description="What judging may cost in a release.")
    ] = Decimal(250)
    within: Annotated[
        Duration,
        Field(ge=1, le=86400, json_schema_extra={"default": "3m"}, description="Age of a request at which its score is looked at."),
    ] = 180.0
    again: Annotated[
        Percent, Field(json_schema_extra={"default": "10%"}, description="Share of answers judged twice, to see the judge's noise.")
    ] = 0.1
    language: Annotated[
        str | None, Field(pattern="^[a-z]{2}$", description="Language that every answer must have (ISO 639-1); the user's by default.")
    ] = None
    redact: Annotated[
        dict[Name, Annotated[str, Field(min_length=1, max_length=1000)]],
        Field(max_length=100, description="Patterns of your own that are taken out of samples: name, regular expression."),
    ] = {}
    retention: Annotated[
        Duration, Field(ge=60, le=366 * 86400.0, json_schema_extra={"default": "7d"}, description="How long samples are kept.")
    ] = 7 * 86400.0
    longest_body: Annotated[
        int, Field(ge=4096, le=16 * MEBIBYTE, description="Bytes of a body that are copied; a longer one is not judged.")
    ] = MEBIBYTE // 2

    @model_validator(mode="after")
    def _names(self) -> JudgeBlock:
        names = [judge.name or judge.model for judge in self.judges]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two judges are called {twice[0]!r}: give them names")
        return self
