"""E-mail addresses, written plainly or with (at) and (dot)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from extproc.judge.redact.finds import Find, Kind

LONGEST_LOCAL: Final = 128
"""Characters before the @ that are looked at: RFC 5321 allows 64."""

_LOCAL: Final = re.compile(r"[A-Za-z0-9\u00c0-\u024f._%+'~=&/-]*[A-Za-z0-9\u00c0-\u024f_]|[^\W_][\w.+-]*")
"""A local part, read from its end; Latin first: in Chinese no blank parts it from the words before."""
_DOMAIN: Final = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,30}|[A-Za-z]{2,24}(?![A-Za-z0-9])|[^\W\d_]{2,24})"
    r"|\[\d{1,3}(?:\.\d{1,3}){3}\]",
    re.IGNORECASE,
)
_FILES: Final = frozenset(
    [
        *("png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico"),
        *("css", "js", "ts", "jsx", "tsx", "map", "json", "html", "py", "go", "rs"),
    ]
)
"""Endings of files, as in logo@2x.png."""

_AT: Final = r"(?:at|ät|bei|arroba|chiocciola|arobase|@)"
_DOT: Final = r"(?:dot|punkt|punto|point|ponto|\.)"
_BRACKETED: Final = re.compile(rf"[(\[{{<]\s?{_AT}\s?[)\]}}>]")
"""Quick to look for; what is around it is not."""
_WORDS: Final = (" dot ", " punto ", " point ", " ponto ", " punkt ")
_HIDDEN: Final = re.compile(
    rf"(?<![\w.+-])[\w.+-]{{1,64}}\s{{0,3}}[(\[{{<]\s?{_AT}\s?[)\]}}>]\s{{0,3}}"
    rf"[\w-]{{1,63}}(?:(?:\s{{0,3}}[(\[{{<]\s?{_DOT}\s?[)\]}}>]\s{{0,3}}|\s{_DOT}\s|\.)[\w-]{{1,63}}){{1,5}}",
    re.IGNORECASE,
)
_ENDINGS: Final = "com|org|net|edu|gov|io|ai|dev|app|info|biz|eu|de|fr|es|it|nl|pl|se|ch|at|uk|us|br|in|ca|au|jp|example|test|invalid"
_SPOKEN: Final = re.compile(
    rf"(?<![\w.+-])[\w.+-]{{1,64}}(?: dot [\w-]{{1,40}}){{0,3}} (?:at|arroba|arobase) (?!the |that |this |a |an |its |their )"
    rf"[\w-]{{2,63}}(?: (?:dot|punto|point|ponto|punkt) [\w-]{{1,40}}){{0,3}} (?:dot|punto|point|ponto|punkt) (?:{_ENDINGS})(?!\w)",
    re.IGNORECASE,
)
_SPACED: Final = re.compile(rf"(?<![\w.+-])[\w.+-]{{1,64}} ?@ ?(?:[\w-]{{1,63}} ?\. ?){{1,4}}(?:{_ENDINGS})(?!\w)", re.IGNORECASE)


def emails(text: str, low: str) -> Iterator[Find]:
    """`low`: the text in lower case."""
    at = text.find("@")
    while at >= 0:
        found = _around(text, at)
        if found is not None:
            yield found
        at = text.find("@", at + 1)
    if "@" in text and (" @" in text or "@ " in text):
        yield from _of(_SPACED, text)
    if _BRACKETED.search(low):
        yield from _of(_HIDDEN, text)
    if any(word in low for word in _WORDS):
        yield from _of(_SPOKEN, text)


def _of(pattern: re.Pattern[str], text: str) -> Iterator[Find]:
    return (Find(found.start(), found.end(), Kind.EMAIL) for found in pattern.finditer(text))


def _around(text: str, at: int) -> Find | None:
    domain = _DOMAIN.match(text, at + 1)
    if domain is None:
        return None
    local = _LOCAL.match(text[max(0, at - LONGEST_LOCAL) : at][::-1])
    if local is None:
        return None
    start, end = at - local.end(), domain.end()
    if domain[0].rpartition(".")[2].lower() in _FILES or text[end : end + 1] == "(":
        return None
    if text[start:at] == "git" and text[end : end + 1] in (":", "/"):
        return None
    return Find(start, end, Kind.EMAIL)
