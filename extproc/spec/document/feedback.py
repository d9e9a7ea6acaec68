"""What users say of answers, in so many words: who may post it, and for how long it counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from extproc.spec.document.base import ORIGIN_PATTERN, Block, Duration, Text

Origin = Annotated[Text, Field(pattern=ORIGIN_PATTERN)]


class FeedbackBlock(Block):
    """POST /v1/feedback through Envoy. Without this block nobody listens, and no answer has a name."""

    window: Annotated[
        Duration,
        Field(
            ge=1,
            le=86400,
            json_schema_extra={"default": "1h"},
            description="Feedback counts for so long after its answer, for the phase that gave it; then it is looked at.",
        ),
    ] = 3600.0
    tokens: Annotated[
        bool, Field(description="Answers carry x-extproc-feedback, a signed token: whoever was answered may speak, and needs no key.")
    ] = False
    origins: Annotated[list[Origin], Field(description="Pages of other hosts that may post, such as https://chat.example.com.")] = []
    keys_file: Annotated[Text | None, Field(description="File of feedback keys, one a line: servers that name answers by request id.")] = (
        None
    )
    allow_request_ids_from_browsers: Annotated[
        bool, Field(description="A request id alone is enough: whoever knows one may speak of that answer.")
    ] = False
