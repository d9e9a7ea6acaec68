"""Envoy's messages <-> our nouns. The only room that knows how ext_proc and the access log look.

Facts relied on (all seen on Envoy 1.40): Envoy sends and honours `raw_value` only; a header value with CR or LF would be answered to
the client with 500, so values come from the checked Spec and never from a request; dynamic metadata without a header mutation does
not clear the route cache, so every reply that names a model sets a header.
"""

from extproc.wire.assigned import Assigned
from extproc.wire.copies import AnswerBegins, Piece, RequestBegins, Told, read_copy
from extproc.wire.effects import set_headers
from extproc.wire.outcomes import read_outcomes
from extproc.wire.relayed import Relayed, Taken, read_relayed, read_taken, write_relayed, write_taken
from extproc.wire.replies import (
    AFFINITY_PREFIX,
    HASH_DIGITS,
    KEEP_ROUTE,
    encode_cookie,
    encode_feedback,
    encode_reply,
    encode_token,
    matching_empty_reply,
)
from extproc.wire.requests import read_subject

__all__ = [
    "AFFINITY_PREFIX",
    "HASH_DIGITS",
    "KEEP_ROUTE",
    "AnswerBegins",
    "Assigned",
    "Piece",
    "Relayed",
    "RequestBegins",
    "Taken",
    "Told",
    "encode_cookie",
    "encode_feedback",
    "encode_reply",
    "encode_token",
    "matching_empty_reply",
    "read_copy",
    "read_outcomes",
    "read_relayed",
    "read_subject",
    "read_taken",
    "set_headers",
    "write_relayed",
    "write_taken",
]
