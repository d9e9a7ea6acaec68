"""Blocks that costs and scaling are computed from: tokens of a mean request, GPUs of one's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from extproc.spec.document.base import Block, Dollars, Percent

TokenCount = Annotated[int, Field(ge=0, le=10**8)]


class TokensBlock(Block):
    """Tokens of a mean request. What is left out is taken from what is said of the application, else from its type."""

    input: Annotated[TokenCount | None, Field(description="Read, from a cache or not.")] = None
    cached_share: Annotated[Percent | None, Field(description="Part of the input that comes from a cache.")] = None
    output: Annotated[TokenCount | None, Field(description="Written, reasoning included.")] = None
    reasoning: Annotated[TokenCount | None, Field(description="Part of the output that nobody sees; without output it comes on top.")] = (
        None
    )
    uncertainty: Annotated[
        Percent | None, Field(description="So much larger or smaller the means may be; 20% where input and output are written, 50% else.")
    ] = None

    @model_validator(mode="after")
    def _reasoning_is_written(self) -> TokensBlock:
        if self.reasoning is not None and self.output is not None and self.reasoning > self.output:
            raise ValueError(f"reasoning ({self.reasoning}) is a part of output ({self.output}), and cannot be more")
        return self


class ServingBlock(Block):
    """A model on GPUs of your own, paid by the hour."""

    gpu_hour: Annotated[Dollars, Field(description="What one GPU costs in an hour.")]
    gpus_per_replica: Annotated[int, Field(ge=1, le=1024, description="GPUs of one replica.")] = 1
    replicas: Annotated[
        int | None, Field(ge=1, le=100_000, description="That run when all requests come to this model; computed by default.")
    ] = None
    concurrency: Annotated[int, Field(ge=1, le=100_000, description="Requests that one replica answers at once.")]
    tokens_per_second: Annotated[
        float, Field(gt=0, le=1e7, strict=False, description="Output tokens of one replica that answers so many, all of them together.")
    ]
    spare: Annotated[int, Field(ge=0, le=1000, description="Replicas beyond what the requests take.")] = 1
    utilization: Annotated[
        Percent,
        Field(gt=0, json_schema_extra={"default": "70%"}, description="Part of the places that may be taken at the peak."),
    ] = 0.7
