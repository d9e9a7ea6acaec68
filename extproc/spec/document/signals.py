"""What users tell without a word: how long their sessions are, and that they ask again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from extproc.spec.document.base import COOKIE_PATTERN, Block, Duration, Header, Text


class SessionsBlock(Block):
    """Where the id of a session is. Without this block nobody counts sessions."""

    header: Annotated[Header | None, Field(description="Request header with its id, such as x-session-id.")] = None
    cookie: Annotated[Text | None, Field(pattern=COOKIE_PATTERN, description="Or the cookie that has it.")] = None
    lasts: Annotated[
        Duration,
        Field(
            ge=1,
            le=86400,
            json_schema_extra={"default": "30m"},
            description="Its requests are counted for so long from the first one; then it is looked at, whether it goes on or not.",
        ),
    ] = 1800.0

    @model_validator(mode="after")
    def _one_place(self) -> SessionsBlock:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("a session's id is in a header or in a cookie: name one of them")
        return self


class RetriesBlock(Block):
    """What counts as asking again."""

    within: Annotated[
        Duration,
        Field(
            gt=0,
            le=3600,
            json_schema_extra={"default": "2m"},
            description="The same request of the same unit is a retry when it begins so soon after the one before.",
        ),
    ] = 120.0
