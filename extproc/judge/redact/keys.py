"""Credentials that their own form gives away: vendors' keys, JWTs, private key blocks, user and password in a URL.

Each form is anchored at a literal beginning that is looked for first, so a text without any costs one `in` for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from extproc.judge.redact.finds import MARK, Find, Kind

_BODY: Final = "[A-Za-z0-9_-]"
_LETTERS: Final = "[A-Za-z0-9]"

_KEYS: Final[tuple[tuple[str, str], ...]] = (
    ("sk-", rf"{_BODY}{{16,512}}"),  # OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse
    ("pk-lf-", rf"{_BODY}{{16,64}}"),  # Langfuse
    *((id_, f"{_LETTERS}{{16}}(?![A-Za-z0-9])") for id_ in ("akia", "asia", "abia", "acca")),  # AWS
    ("aiza", rf"{_BODY}{{30,40}}"),  # Google API
    ("ya29.", r"[A-Za-z0-9_.-]{20,1024}"),  # Google OAuth
    ("gocspx-", rf"{_BODY}{{20,40}}"),
    *((f"gh{letter}_", rf"{_LETTERS}{{30,255}}") for letter in "pousr"),  # GitHub
    ("github_pat_", r"[A-Za-z0-9_]{22,255}"),
    ("glpat-", rf"{_BODY}{{20,64}}"),  # GitLab
    *((f"xox{letter}-", r"[A-Za-z0-9-]{10,255}") for letter in "abeoprs"),  # Slack
    ("xapp-", r"[A-Za-z0-9-]{20,255}"),
    ("hooks.slack.com/services/", r"[A-Za-z0-9/]{20,128}"),
    ("discord.com/api/webhooks/", r"[0-9]{10,24}/[A-Za-z0-9_-]{30,128}"),
    *((f"{kind}_{mode}_", rf"{_LETTERS}{{16,255}}") for kind in ("sk", "rk", "pk") for mode in ("live", "test")),  # Stripe
    ("whsec_", r"[A-Za-z0-9+/=]{24,64}"),
    ("sg.", r"[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"),  # SendGrid
    ("hf_", rf"{_LETTERS}{{30,64}}"),  # Hugging Face
    ("gsk_", rf"{_LETTERS}{{40,64}}"),  # Groq
    ("xai-", rf"{_LETTERS}{{40,96}}"),
    ("pplx-", rf"{_LETTERS}{{32,64}}"),
    ("r8_", rf"{_LETTERS}{{36,40}}"),  # Replicate
    ("npm_", rf"{_LETTERS}{{36}}"),
    ("pypi-", rf"{_BODY}{{50,255}}"),
    ("dop_v1_", "[a-f0-9]{64}"),  # DigitalOcean
    ("dapi", "[a-f0-9]{32}(?:-[0-9])?"),  # Databricks
    ("shpat_", "[a-f0-9]{32}"),  # Shopify
    ("sq0", r"(?:atp|csp)-[A-Za-z0-9_-]{22,50}"),  # Square
    ("hvs.", rf"{_BODY}{{24,128}}"),  # Vault
    ("lin_api_", rf"{_LETTERS}{{32,64}}"),
    ("ntn_", rf"{_LETTERS}{{40,64}}"),  # Notion
    ("figd_", rf"{_BODY}{{36,64}}"),
    ("glsa_", r"[A-Za-z0-9_]{32,64}"),  # Grafana
    ("nrak-", rf"{_LETTERS}{{24,40}}"),  # New Relic
    ("pmak-", r"[a-f0-9-]{40,64}"),  # Postman
    ("age-secret-key-1", rf"{_LETTERS}{{50,64}}"),
    ("key-", "[0-9a-f]{32}(?![A-Za-z0-9])"),  # Mailgun
)
"""Beginning in lower case -> the rest; capital letters count as small ones, as people and models change them."""
_PATTERNS: Final = tuple((start, re.compile(rest, re.IGNORECASE)) for start, rest in _KEYS)
_REST: Final = re.compile(r"[ ]?\r?\n[ \t>]{0,16}([A-Za-z0-9_-]{8,255})(?![A-Za-z0-9_-])")
_BEFORE: Final = re.compile(r"[A-Za-z0-9]")
_BOT: Final = re.compile(r"(?<![A-Za-z0-9])(?:bot)?[0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")
"""Telegram."""
_AWS_SECRET: Final = re.compile(
    r"(?<![A-Za-z0-9/+])(?=[A-Za-z0-9/+]{0,39}[0-9])(?=[^A-Z]{0,39}[A-Z])(?=[^a-z]{0,39}[a-z])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"
)

_JWT: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,16384}(?:\.[A-Za-z0-9_-]{0,16384}){1,4}", re.IGNORECASE)

_BEGIN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", re.IGNORECASE)
_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", re.IGNORECASE)
_LINES: Final = re.compile(rf"(?:[\s>|]{{0,16}}(?:[A-Za-z-]{{4,20}}: [^\n\"]{{1,80}}|[A-Za-z0-9+/={MARK}]{{1,128}}(?=[\s\"']|$)))*")
"""What follows where there is no end: headers, and lines of base64."""
_PIECE: Final = re.compile(r"[A-Za-z0-9+/=]{4,}")
LONGEST_BLOCK: Final = 16_384
"""Characters between the begin and the end of a private key; RSA with 8192 bits takes 6400."""

_USER: Final = re.compile(r"(?<=://)[^\s/?#\"'<>{}\\@:]{0,256}:[^\s/?#\"'<>\\]{1,512}@|(?<=://)[A-Za-z0-9_-]{20,255}@")
"""Up to the last @ of what may be a password; or a token alone in the place of the user."""


def keys(text: str, low: str) -> Iterator[Find]:
    """`low`: the text in lower case, as long as the text."""
    for start, rest in _PATTERNS:
        at = low.find(start)
        while at >= 0:
            found = rest.match(text, at + len(start))
            if found is not None and not _BEFORE.match(text, max(0, at - 1), at) and _is_drawn(found[0]):
                yield Find(at, _continued(text, found.end()), Kind.KEY)
            at = low.find(start, at + len(start))
    if ":aa" in low:
        yield from (Find(found.start(), found.end(), Kind.KEY) for found in _BOT.finditer(text))
    if any(word in low for word in ("akia", "asia", "aws")):
        yield from (Find(found.start(), found.end(), Kind.KEY) for found in _AWS_SECRET.finditer(text))
    if "eyj" in low:
        yield from (Find(found.start(), found.end(), Kind.TOKEN) for found in _JWT.finditer(text))
    if "-----begin" in low:
        yield from _blocks(text)


def in_urls(text: str) -> Iterator[Find]:
    """`user:password@` of URLs and connection strings, without the @."""
    if "://" in text:
        for found in _USER.finditer(text):
            password = found[0].partition(":")[2]
            if password.strip(f"{MARK}@"):
                yield Find(found.start(), found.end() - 1, Kind.PASSWORD)
            elif ":" not in found[0]:
                yield Find(found.start(), found.end() - 1, Kind.TOKEN)


def _continued(text: str, end: int) -> int:
    """Where a key ends that a line end broke: a next line that is drawn like it is its rest."""
    found = _REST.match(text, end)
    is_rest = (
        found is not None
        and sum(char.isdigit() for char in found[1]) >= 3
        and found[1] != found[1].lower()
        and found[1] != found[1].upper()
    )
    return found.end() if found is not None and is_rest else end


def _is_drawn(body: str) -> bool:
    """Not words that only begin like a key (`sk-learn-pipeline-example`): digits among letters of both cases, or many of them."""
    digits = sum(char.isdigit() for char in body)
    return digits >= 6 or (body != body.lower() and body != body.upper()) or (digits > 0 and body.isalnum())


def _blocks(text: str) -> Iterator[Find]:
    for begin in _BEGIN.finditer(text):
        end = _END.search(text, begin.end(), begin.end() + LONGEST_BLOCK)
        if end is None:
            lines = _LINES.match(text, begin.end())
            yield Find(begin.start(), lines.end() if lines else begin.end(), Kind.KEY)
        elif '"' not in text[begin.end() : end.start()]:
            yield Find(begin.start(), end.end(), Kind.KEY)
        else:
            # Lines in strings of their own, as in a JSON list: each goes, and what parts them stays.
            yield Find(begin.start(), begin.end(), Kind.KEY)
            yield from (Find(one.start(), one.end(), Kind.KEY) for one in _PIECE.finditer(text, begin.end(), end.start()))
            yield Find(end.start(), end.end(), Kind.KEY)
