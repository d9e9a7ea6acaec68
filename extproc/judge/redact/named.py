"""Secrets that a word beside them gives away: `password=...`, `"api_key": "..."`, `Authorization: Bearer ...`, `the password is ...`.

The words are found first; a form is then matched behind each. What only speaks of passwords, declares one or stands for one stays.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from typing import Final

from extproc.judge.redact.finds import MARK, Find, Kind

_PASSWORDS: Final = (
    *(
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "passwort",
        "kennwort",
        "_pass",
        "-pass",
        "pwd",
        "mot de passe",
        "contraseña",
        "contrasena",
    ),
    *(
        "senha",
        "wachtwoord",
        "hasło",
        "haslo",
        "lösenord",
        "losenord",
        "salasana",
        "parola",
        "пароль",
        "密码",
        "密碼",
        "パスワード",
        "비밀번호",
    ),
    *("adgangskode", "passord", "heslo", "jelszó", "şifre", "sifre", "mật khẩu", "palavra-passe", "كلمة المرور", "पासवर्ड"),
)
_SHORT: Final = ("pw", "pass")
"""Words that mean a password only as whole words, and before what looks like one: tests pass, too."""
_TOKENS: Final = (
    "token",
    "secret",
    "credential",
    "signature",
    "sessionid",
    "session_id",
    "session id",
    "jeton",
    "clé api",
    "cle api",
    "clave api",
    "chave api",
)
_KEY: Final = re.compile(
    r"(?:my|your|api|access|secret|private|auth|signing|encryption|master|account|subscription|service|shared|"
    r"clé|cle|llave|chave|schlüssel|client|license)[ _-]?$"
)
"""What makes a `key` a secret; a key of a dictionary, a cache or a sort is none."""
_SUFFIX: Final = r"(?:[_-]?(?:prod|production|dev|test|staging|live|old|new|default|base64|b64|value|[0-9]{1,3}))?"
_AFTER: Final = re.compile(
    rf"{_SUFFIX}[\"'\])]{{0,2}}"
    r"(?:[ \t]{0,4}(?P<sign>=>|:=|==?|->|:|：|＝)[ \t]{0,8}(?:\r?\n[ \t>]{0,8})?|(?P<tag>>)\s{0,4}|(?P<bar>[ \t]{0,20}\|[ \t]{0,8})"
    r"|(?P<is>(?:[ ][^\s.,;:=]{1,20}){0,6}?[ ](?:is|ist|lautet|est|es|é|è|to|är|er|on|was|war|:)[ ]?:?[ ]"
    r"|(?:[ ]?(?:是|为|は|는|은)[ :：]?))"
    r"|(?P<gap>[ \t]{1,4}))"
    r"(?P<quote>[\"']?)(?=[^\s\"'])",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(
    r"(?:[^\s\"'<,;&|]|<(?![/A-Za-z])|[,;&|](?![\s\"']|$|[\w.-]{1,40}\s?[=:])|(?<=[^\s=:>(,])['](?=[^\s,;:)}\]])){1,512}"
)
"""An unquoted secret: to the blank, the quote, or the next `name=`."""
_QUOTED: Final = {'"': re.compile(r"(?:[^\"\r\n]|\"(?=\w)){1,256}(?=\")"), "'": re.compile(r"(?:[^'\r\n]|'(?=\w)){1,256}(?=')")}
"""To the closing quote: one that a word follows was escaped, or is an apostrophe."""
_CLOSING: Final = ".,;:)]}>"
_LINE_ENDS: Final = re.compile(r"[.,;)\]}]*[ \t]*(?:$|[\r\n<\"'&;,|])")

_PLACEHOLDER: Final = re.compile(
    r"[<$%{\[(]|[xX*•._#?-]{3,}$|[A-Za-z_][\w.]*[(\[]|(?:"
    r"(?:your|enter|insert|change|replace|example|sample|dummy|redacted|hidden|masked|removed|string|varchar|integer|number|boolean|undefined|"
    r"required|optional|missing|invalid|expired|incorrect|correct|placeholder|secretstr|process|config|settings|kwargs|request|getenv|"
    r"base64|sha-?[0-9]{1,3}|md5|bcrypt|scrypt|argon2|pbkdf2|oauth|https?)"
    r"|(?:my|the|a|an|new|some|any|todo|str|text|char|int|bool|none|null|nil|true|false|empty|unset|wrong|bytes|object|input|self|this|os|env|args|"
    r"req|aes|rsa|utf|ipv|iso|ascii|jwt|uuid)(?![A-Za-z0-9]))"
    r"(?![A-Za-z0-9]*[0-9!@#$^&*+~])[\w.-]*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|[A-Z][a-z]+\[|&(?:str|mut)",
    re.IGNORECASE,
)
"""What stands for a secret, names its type or fetches it."""
_CALLED: Final = re.compile(
    r"(?:base64|sha-?[0-9]{1,3}|md5|bcrypt|argon2|pbkdf2|utf-?[0-9]|oauth2?|http|ipv[46]|[0-9]+[-\s]?(?:char|bit|digit|byte|time|hour|day))",
    re.IGNORECASE,
)
_STRONG: Final = re.compile(r"(?<![A-Za-z0-9+/_=.-])[A-Za-z0-9+/_=-]{20,512}(?![A-Za-z0-9+/_=-])")
_NEAR: Final = 48
"""Characters behind a word for a secret in which a long random string is one."""
_HEADER: Final = re.compile(
    r"[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?>(?:(?:bearer|basic|token|digest|apikey|negotiate|key)\s{1,4})?)([^\s\"'<>,;]{4,8192})", re.IGNORECASE
)
_COOKIE: Final = re.compile(r"[\"']?\s{0,2}:\s{0,2}[\"']?([\w.-]{1,64}=[^\r\n\"]{1,8192})", re.IGNORECASE)
_BEARER: Final = re.compile(r"\s{1,4}([A-Za-z0-9._~+/=-]{16,8192})")
_BASIC: Final = re.compile(r"\s{1,4}([A-Za-z0-9+/]{8,1024}={0,2})")
_LOGIN: Final = re.compile(r"(?:(?<=\s)-u|--user|--proxy-user)[ =][\"']?([\w.@%+-]{1,64}:[^\s\"']{1,256})")
_CODE: Final = re.compile(
    r"\b(?:cvv2?|cvc2?|csc)\b[^\w\n]{0,4}(?:(?:is|code|number|nummer)[^\w\n]{1,3})?([0-9]{3,4})(?![0-9])", re.IGNORECASE
)


def named(text: str, low: str) -> Iterator[Find]:
    """`low`: the text in lower case, as long as the text."""
    for word in _PASSWORDS:
        for end in _ends(low, word):
            yield from _behind(text, low, end, Kind.PASSWORD)
    for word in _SHORT:
        for end in _ends(low, word):
            if not low[end - len(word) - 1 : end - len(word)].isalnum():
                yield from _behind(text, low, end, Kind.PASSWORD, is_short=True)
    for word in _TOKENS:
        for end in _ends(low, word):
            yield from _behind(text, low, end, Kind.TOKEN)
    for word in ("key", "schlüssel", "密钥"):
        for end in _ends(low, word):
            if word != "key" or _KEY.search(low, max(0, end - 24), end - 3):
                yield from _behind(text, low, end, Kind.TOKEN)
    yield from _headers(text, low)
    if "-u" in text or "-user" in text:
        yield from (Find(found.start(1), found.end(1), Kind.PASSWORD) for found in _LOGIN.finditer(text) if found[1].strip(MARK))
    if "cv" in low or "csc" in low:
        yield from (Find(found.start(1), found.end(1), Kind.CARD) for found in _CODE.finditer(text))


def _ends(low: str, word: str) -> Iterator[int]:
    at = low.find(word)
    while at >= 0:
        yield at + len(word)
        at = low.find(word, at + len(word))


def _behind(text: str, low: str, end: int, kind: Kind, is_short: bool = False) -> Iterator[Find]:
    """The value that a word names, and long random strings close behind it."""
    found = _AFTER.match(text, end)
    if found is not None:
        find = _value(text, low, found, kind)
        if find is not None and (not is_short or _is_strong(text[find.start : find.end])):
            yield find
    if is_short:
        return
    for strong in _STRONG.finditer(text, end, end + _NEAR + 512):
        if strong.start() > end + _NEAR:
            return
        if is_random(strong[0]):
            yield Find(strong.start(), strong.end(), kind)


def _value(text: str, low: str, found: re.Match[str], kind: Kind) -> Find | None:
    start = found.end()
    quoted = _QUOTED[found["quote"]].match(text, start) if found["quote"] else None
    value = quoted or _VALUE.match(text, start)
    if value is None:
        return None
    body = value[0] if quoted else value[0].rstrip(_CLOSING)
    if len(body.strip(MARK)) < 3 or MARK in body[:1] or _stands_for(body):
        return None
    sure = bool(found["sign"]) or bool(found["tag"])
    if found["gap"] and (not quoted or kind is not Kind.PASSWORD) and low[max(0, found.start() - 24) : found.start()].rfind("--") < 0:
        return None
    if kind is Kind.PASSWORD and sure:
        is_one = bool(quoted) or _is_strong(body) or (_LINE_ENDS.match(text, start + len(body)) is not None and not _is_name(found, body))
    elif kind is Kind.PASSWORD:
        is_one = (bool(quoted) and " " not in body) or _is_strong(body)
    else:
        is_one = len(body) >= 8 and " " not in body and _is_token(body)
    return Find(start, start + len(body), kind) if is_one else None


def _stands_for(body: str) -> bool:
    """No secret, but a variable, a type, a mask or a word about secrets."""
    placeholder = _PLACEHOLDER.match(body)
    if placeholder is not None and (placeholder.end() == len(body) or body[0] in "<$%{[(" or placeholder[0][-1] in "(["):
        return (
            body[0] not in "$%[("
            or not _is_strong(body[1:].lstrip("{("))
            or body[1:2] in "{("
            or body[1:].isupper()
            or body[1:].replace("_", "").isalpha()
        )
    low = body.lower()
    return not any(char.isdigit() for char in body) and any(
        word in low for word in ("password", "passwd", "pwd", "token", "secret", "passwort")
    )


def _is_name(found: re.Match[str], body: str) -> bool:
    """A name of a program's variable: letters behind `x = `."""
    sign = found[0].rstrip("\"'")
    return "=" in sign and sign.endswith(" ") and body.replace("_", "").isalpha()


def _is_strong(body: str) -> bool:
    """Letters, and a digit or a symbol that words do not have."""
    return (
        len(body) >= 5
        and any(char.isalpha() for char in body)
        and any(char.isdigit() or char in "!@#$%^&*+=~" for char in body)
        and _CALLED.match(body) is None
    )


def _is_token(body: str) -> bool:
    return (
        any(char.isdigit() for char in body)
        and any(char.isalpha() for char in body)
        and entropy(body) >= 2.3
        and _CALLED.match(body) is None
    )


def is_random(body: str) -> bool:
    """Drawn by a machine, by the look of it: hexadecimal, or digits among letters of both cases, or many of them among small ones."""
    digits = sum(char.isdigit() for char in body)
    if digits < 3 or digits == len(body) or entropy(body) < 3.2:
        return False
    if len(body) >= 32 and not set(body.lower()) - set("0123456789abcdef"):
        return True
    has_both = body != body.lower() and body != body.upper()
    return has_both or (digits >= 4 and not set(body) & set("-_/"))


def entropy(body: str) -> float:
    """Bits for each character, by how often each occurs."""
    return -sum(n / len(body) * math.log2(n / len(body)) for n in Counter(body).values())


def _headers(text: str, low: str) -> Iterator[Find]:
    for end in _ends(low, "authorization"):
        found = _HEADER.match(text, end)
        if found is not None and not _stands_for(found[1]) and found[1].strip(MARK) and MARK not in found[1][:1]:
            yield Find(found.start(1), found.end(1), Kind.TOKEN)
    for end in _ends(low, "bearer"):
        found = _BEARER.match(text, end)
        if found is not None and _is_token(found[1]) and not _stands_for(found[1]):
            yield Find(found.start(1), found.end(1), Kind.TOKEN)
    for end in _ends(low, "basic"):
        found = _BASIC.match(text, end)
        if found is not None and _is_login(found[1]):
            yield Find(found.start(1), found.end(1), Kind.TOKEN)
    for end in _ends(low, "cookie"):
        found = _COOKIE.match(text, end)
        if found is not None and found[1].strip(MARK):
            yield Find(found.start(1), found.end(1), Kind.TOKEN)


def _is_login(body: str) -> bool:
    try:
        return ":" in b64decode(body, validate=True).decode("utf-8")
    except ValueError:
        return False
