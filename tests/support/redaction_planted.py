"""Writes tests/corpora/redaction/planted.jsonl: secrets and identifiers that are nobody's, in sentences, code, logs and documents.

    python -m tests.support.redaction_planted

Seeded: the same file each time. Check digits are right; addresses, numbers of telephones and cards are of ranges kept for examples or
drawn at random; no key is one. Beginnings of keys are written as JSON escapes, so that a scanner of this repository finds none either.
"""

# ruff: noqa: E501 - a text that is broken is another text
from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import phonenumbers
from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ch import ssn as ahv
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import ssn
from stdnum.za import idnr as south_african

PLANTED: Final = Path(__file__).parents[1] / "corpora" / "redaction" / "planted.jsonl"
SECRETIVE: Final = frozenset({"key", "token", "password"})
ALNUM: Final = string.ascii_letters + string.digits
LOWER: Final = string.ascii_lowercase + string.digits
HEX: Final = "0123456789abcdef"

PLAIN: Final = (
    "Hi, please use {s} for the booking.",
    "Bitte notiere: {s}, danke!",
    "Voici ce que j'ai : {s} ; merci de confirmer.",
    "Por favor, guarde {s} en mi ficha.",
    "Ecco: {s}.",
    "Aqui está ({s}), obrigado.",
    "Hier is het: {s}!",
    "Oto {s} i dziękuję.",
    "Här är det – {s}.",
    "こちらです: {s} です。",
    "这是 {s} ，谢谢。",
    "Вот: {s}. Спасибо!",
    "यह है {s} धन्यवाद",
    '{{"role":"user","content":"it is {s}"}}',
    'data: {{"choices":[{{"delta":{{"content":"noted, {s}, thanks"}}}}]}}',
    '"arguments":"{{\\"value\\":\\"{s}\\"}}"',
    "customer:\n  value: {s}\n  tier: gold",
    "id,value,tier\n17,{s},gold",
    "2026-03-01T10:00:00Z INFO handler value={s} status=200",
    'value = "{s}"  # from the form',
    "> On Monday you wrote:\n> {s}\n> Regards",
    "| field | value |\n|---|---|\n| v | {s} |",
    "- **{s}**",
    "Use `{s}` here",
    "<td>{s}</td>",
    "({s})",
    "Subject: {s}\nTo: desk",
    "'{s}'\n",
)


def _some(rng: random.Random, letters: str, n: int) -> str:
    return "".join(rng.choice(letters) for _ in range(n))


def _until(rng: random.Random, draw: Callable[[random.Random], str], valid: Callable[[str], bool]) -> str:
    for _ in range(100_000):
        number = draw(rng)
        if valid(number):
            return number
    raise AssertionError(f"{number} is never valid")


# --------------------------------------------------------------------------------------------------------------------- identifiers
FIRST: Final = [
    "alex",
    "kim",
    "sam",
    "noor",
    "mika",
    "luca",
    "nele",
    "jona",
    "toni",
    "robin",
    "zoe",
    "ada",
    "emil",
    "ines",
    "tariq",
    "yuki",
]
LAST: Final = ["example", "sample", "muster", "placeholder", "specimen", "testa", "probe", "demo", "fictive", "nobody"]
HOSTS: Final = [
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "corp.example.org",
    "firma.example",
    "uni.example.edu",
    "shop.example.co.uk",
    "bücher.example",
]


def emails(rng: random.Random) -> Iterator[str]:
    for i in range(60):
        who = rng.choice(("{f}.{l}", "{f}_{l}", "{f}{n}", "{f}+{l}", "{f}-{l}.{n}", "{l}%{f}", "o'{l}")).format(
            f=rng.choice(FIRST), l=rng.choice(LAST), n=rng.randrange(10, 9999)
        )
        host = rng.choice(HOSTS)
        form = i % 12
        if form == 0:
            yield f"{who}@{host}".upper()
        elif form == 1:
            yield f"{who.replace('%', '')} (at) {host.replace('.', ' (dot) ')}".replace("'", "")
        elif form == 2:
            yield f"{who.replace('%', '')}[at]{host.replace('.', '[dot]')}".replace("'", "")
        elif form == 3:
            yield f"{who.replace('%', '')}%40{host}"
        elif form == 4:
            yield f"{who}\\u0040{host}"
        elif form == 5:
            yield f"{who}&#64;{host}"
        elif form == 6:
            yield f"{who[:3]}\u200b{who[3:]}@{host}"
        elif form == 7:
            yield f"{who}＠{host}"
        elif form == 8:
            yield f"{rng.choice(FIRST)}{rng.randrange(99)} at example dot com"
        else:
            yield f"{who}@{host}"


PHONES: Final = (
    *(
        "+1 415-555-{:04d}",
        "+1 (212) 555-{:04d}",
        "(415) 555-{:04d}",
        "415-555-{:04d}",
        "212.555.{:04d}",
        "+1415555{:04d}",
        "001 415 555 {:04d}",
    ),
    *("+44 7400 12{:04d}", "07400 12{:04d}", "+44 20 7946 {:04d}", "020 7946 {:04d}"),
    *("+49 30 2312{:04d}", "030 2312{:04d}", "+49 (0)171 392{:04d}", "0171/392{:04d}", "0049 171 392{:04d}"),
    *("+33 6 12 34 {:02d} {:02d}", "06 12 34 {:02d} {:02d}", "06.12.34.{:02d}.{:02d}", "+33 1 99 00 {:02d} {:02d}"),
    *("+34 612 34{:04d}", "+39 312 345 {:04d}", "+31 6 1234{:04d}", "+48 512 34{:04d}", "+46 70 174 {:04d}", "+55 11 9{:04d}-6123"),
    *(
        "+91 98765 4{:04d}",
        "98765 4{:04d}",
        "+41 78 123 {:02d} {:02d}",
        "078 123 {:02d} {:02d}",
        "+81 90-1234-{:04d}",
        "+86 131 2345 {:04d}",
    ),
    *(
        "+61 491 570 {:03d}",
        "+353 85 012 {:04d}",
        "+90 501 234 {:02d} {:02d}",
        "+27 71 123 {:04d}",
        "+52 55 1234 {:04d}",
        "+7 912 345-{:02d}-{:02d}",
    ),
)
NAMED_PHONES: Final = (
    "Call me on {s} tonight",
    "Meine Handynummer: {s}",
    "tel: {s}",
    "mon téléphone est le {s}",
    "mi teléfono es {s}",
    "WhatsApp {s} please",
    '{{"phone": "{s}"}}',
    "电话：{s}",
)


def phones(rng: random.Random) -> Iterator[str]:
    for form in (*PHONES, *PHONES[:18]):
        fields = form.count("{")
        for _ in range(1000):
            number = form.format(*(rng.randrange(10**2 if fields == 2 else 10 ** int(form[form.index("{:0") + 3])) for _ in range(fields)))
            if any(
                phonenumbers.is_valid_number(parsed)
                for region in ("US", "GB", "DE", "FR", "IN", "CH")
                if (parsed := _parsed(number, region))
            ):
                yield number
                break
        else:
            raise AssertionError(f"{form} is no telephone number")


def _parsed(number: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None


def bare_phones(rng: random.Random) -> Iterator[str]:
    for form in (
        "415555{:04d}",
        "0740012{:04d}",
        "0171392{:04d}",
        "061234{:04d}",
        "98765{:05d}",
        "612345{:03d}",
        "0612345{:03d}",
        "312345{:04d}",
    ):
        yield form.format(rng.randrange(1000 if "3d" in form else 9999))


CARDS: Final = ("411111", "424242", "555555", "222300", "378282", "601111", "353011", "620000", "305693", "510510", "400000", "371449")


def cards(rng: random.Random) -> Iterator[str]:
    for i in range(48):
        start = CARDS[i % len(CARDS)]
        size = 15 if start[:2] in ("37",) else 14 if start[0] == "3" and start[1] == "0" else 19 if i == 31 else 16
        body = start + _some(rng, string.digits, size - 7)
        digits = body + luhn.calc_check_digit(body)
        groups = [4, 6, 5] if size == 15 else [4, 6, 4] if size == 14 else [4, 4, 4, 4, 3]
        parts, at = [], 0
        for n in groups:
            parts.append(digits[at : at + n])
            at += n
        parts = [part for part in parts if part]
        match i % 12:
            case 0 | 1 | 2:
                yield digits if size != 14 else "card " + digits
            case 3:
                yield "-".join(parts)
            case 4:
                yield "\u00a0".join(parts)
            case 5:
                yield "".join(chr(0xFF10 + int(d)) for d in digits)
            case 6:
                yield f"{parts[0]} **{parts[1]}** `{parts[2]}` {' '.join(parts[3:])}".rstrip()
            case 7:
                yield "\u200b".join(parts)
            case 8:
                yield "card " + " ".join(parts)
            case 9:
                yield "\n".join((" ".join(parts[:2]), " ".join(parts[2:])))
            case 10:
                yield " ".join(digits)
            case _:
                yield " ".join(parts)


IBANS: Final = {
    "DE": "d18",
    "GB": "a4d14",
    "FR": "d23",
    "ES": "d20",
    "IT": "a1d22",
    "NL": "a4d10",
    "PL": "d24",
    "SE": "d20",
    "CH": "d17",
    "AT": "d16",
} | {
    "BE": "d12",
    "NO": "d11",
    "PT": "d21",
    "IE": "a4d14",
    "DK": "d14",
    "FI": "d14",
    "CZ": "d20",
    "LU": "d16",
    "TR": "d22",
    "SA": "d20",
}


def ibans(rng: random.Random) -> Iterator[str]:
    for i in range(44):
        country = list(IBANS)[i % len(IBANS)]
        form = IBANS[country]
        letters = int(form[1]) if form[0] == "a" else 0
        digits = int(form.rpartition("d")[2])
        while True:
            body = _some(rng, "ABCDEFGHKLMNP", letters) + _some(rng, string.digits, digits)
            if country == "TR":
                body = "00061" + "0" + body[6:]
            number = country + iban.calc_check_digits(f"{country}00{body}") + body
            if iban.is_valid(number, check_country=False):
                break
        grouped = " ".join(number[j : j + 4] for j in range(0, len(number), 4))
        match i % 8:
            case 0:
                yield number
            case 1:
                yield number.lower()
            case 2:
                yield grouped.replace(" ", "-")
            case 3:
                yield grouped.replace(" ", "\u00a0")
            case 4:
                yield grouped[:14] + "\n" + grouped[15:]
            case 5:
                yield f"**{grouped[:9]}**{grouped[9:]}"
            case _:
                yield grouped


def _digits(n: int, first: str = string.digits) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(first) + _some(rng, string.digits, n - 1)


def _born(rng: random.Random) -> str:
    return f"{rng.randrange(40, 99):02d}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"


def _cut(number: str, sizes: tuple[int, ...], by: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return by.join(part for part in (*parts, number[at:]) if part)


def identities(rng: random.Random) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(number, its own templates, or none for all)."""
    for _ in range(4):
        number = _until(rng, _digits(9, "1234578"), ssn.is_valid)
        yield _cut(number, (3, 2, 4), "-"), ()
        yield _until(rng, _digits(9, "1234578"), ssn.is_valid), ("my social security number is {s}", "SSN: {s}", '{{"ssn": "{s}"}}')
        yield (
            f"{rng.choice('ABCEHJ')}{rng.choice('BCEHJ')} {rng.randrange(10, 99)} {rng.randrange(10, 99)} {rng.randrange(10, 99)} {rng.choice('ABCD')}",
            (),
        )
        yield (
            f"{rng.choice('LMPS')}{rng.choice('EHJLM')}{rng.randrange(100000, 999999)}{rng.choice('ABCD')}",
            ("National insurance: {s}", "nino={s};"),
        )
        yield _cut(_until(rng, _digits(11, "123456789"), idnr.is_valid), (2, 3, 3, 3), " "), ()
        yield (
            _until(rng, _digits(11, "123456789"), idnr.is_valid),
            ("Meine Steuer-ID lautet {s}.", "steuer_id: {s}\n", "Steueridentifikationsnummer {s}"),
        )
        french = _until(
            rng, lambda r: f"{r.choice('12')}{r.randrange(40, 99)}{r.randrange(1, 13):02d}75{_some(r, string.digits, 6)}", lambda _: True
        )
        french += f"{97 - int(french) % 97:02d}"
        assert nir.is_valid(french)
        yield _cut(french, (1, 2, 2, 2, 3, 3, 2), " "), ()
        yield french, ("Mon numéro de sécurité sociale : {s}", "nir,{s}")
        yield _until(rng, lambda r: _some(r, string.digits, 8) + r.choice("TRWAGMYFPDXBNJZSQVHLCKE"), dni.is_valid), ()
        yield _until(rng, lambda r: r.choice("XYZ") + _some(r, string.digits, 7) + r.choice("TRWAGMYFPDXBNJZSQVHLCKE"), nie.is_valid), ()
        yield _italian(rng), ()
        yield _until(rng, _digits(9, "123456789"), bsn.is_valid), ("Mijn BSN is {s}", '"bsn": "{s}"', "burgerservicenummer {s} (BSN)")
        yield _until(rng, lambda r: _born(r) + _some(r, string.digits, 5), pesel.is_valid), ("PESEL: {s}", "Mój PESEL to {s}.")
        yield _until(rng, lambda r: f"{_born(r)}-{_some(r, string.digits, 4)}", personnummer.is_valid), ()
        yield _cut(_until(rng, _digits(11), cpf.is_valid), (3, 3, 3), ".")[::-1].replace(".", "-", 1)[::-1], ()
        yield _until(rng, _digits(11), cpf.is_valid), ("Meu CPF é {s}", "cpf={s}&x=1")
        yield _cut(_until(rng, _digits(12, "23456789"), aadhaar.is_valid), (4, 4, 4), " "), ()
        yield _until(rng, _digits(12, "23456789"), aadhaar.is_valid), ("Aadhaar no. {s}", "मेरा आधार {s} है")
        yield _cut(_until(rng, lambda r: "756" + _some(r, string.digits, 10), ahv.is_valid), (3, 4, 4, 2), "."), ()
    for _ in range(2):
        belgian = _until(rng, lambda r: _born(r) + _some(r, string.digits, 5), nn.is_valid)
        yield f"{belgian[:2]}.{belgian[2:4]}.{belgian[4:6]}-{belgian[6:9]}.{belgian[9:]}", ()
        yield (
            _until(rng, lambda r: f"{_ddmmyy(r)}-{_some(r, string.digits, 3)}{r.choice('0123456789ABCDEFHJKLMNPRSTUVWXY')}", hetu.is_valid),
            (),
        )
        yield _until(rng, lambda r: f"{_born(r)}/{_some(r, string.digits, 4)}", rc.is_valid), ()
        yield (
            _until(
                rng,
                lambda r: f"110105{r.randrange(1950, 1999)}{_born(r)[2:]}{_some(r, string.digits, 3)}{r.choice('0123456789X')}",
                ric.is_valid,
            ),
            (),
        )
        yield _until(rng, lambda r: f"{_born(r)}-{r.choice('12')}{_some(r, string.digits, 6)}", rrn.is_valid), ()
        yield _until(rng, lambda r: f"XEXX{_born(r)}HNEXXX{r.choice('A0')}{r.randrange(10)}"[:18], curp.is_valid), ()
        yield _until(rng, _digits(10), nhs.is_valid), ("NHS number {s}", "my NHS no is {s}")
        yield (
            _until(rng, lambda r: _ddmmyy(r) + _some(r, string.digits, 5), fodselsnummer.is_valid),
            ("Fødselsnummer: {s}", "fødselsnummeret mitt er {s}"),
        )
        yield _until(rng, lambda r: r.choice("12") + _born(r) + "40" + _some(r, string.digits, 4), cnp.is_valid), ("CNP: {s}", "cnp {s}")
        yield _until(rng, _digits(11, "123456789"), tckimlik.is_valid), ("TC kimlik no: {s}", "Kimlik numaram {s}")
        yield (
            _until(rng, lambda r: _born(r) + _some(r, string.digits, 7), south_african.is_valid),
            ("ID number {s}", "my SA identity number: {s}"),
        )
        yield f"{rng.choice('CFGHJK')}{rng.randrange(10000000, 99999999)}", ("Reisepass {s}", "passport number: {s}", "Passeport n° {s}")


def _ddmmyy(rng: random.Random) -> str:
    born = _born(rng)
    return born[4:] + born[2:4] + born[:2]


def _italian(rng: random.Random) -> str:
    return _until(
        rng,
        lambda r: (
            f"{_some(r, 'BCDFGLMNPR', 6)}{r.randrange(40, 99)}{r.choice('ABCDEHLMPRST')}{r.randrange(1, 28):02d}H501{r.choice(string.ascii_uppercase)}"
        ),
        codicefiscale.is_valid,
    )


def addresses(rng: random.Random) -> Iterator[str]:
    for _ in range(12):
        yield f"{rng.choice((93, 81, 146, 178, 203, 51))}.{rng.randrange(1, 250)}.{rng.randrange(120, 250)}.{rng.randrange(1, 250)}"
    for _ in range(6):
        yield f"2a02:{_some(rng, HEX, 4)}:{_some(rng, HEX, 4)}::{_some(rng, HEX[1:], 3)}"


# ------------------------------------------------------------------------------------------------------------------------- secrets
def _key(start: str, letters: str, size: int) -> Callable[[random.Random], str]:
    return lambda rng: start + "EXAMPLE"[: 7 if letters != HEX else 0] + _some(rng, letters, size - (7 if letters != HEX else 0) - 1) + "7"


KEYS: Final = (
    *(_key("sk-proj-", ALNUM + "_-", 64), _key("sk-", ALNUM, 48), _key("sk-ant-" + "api03-", ALNUM + "_-", 80), _key("sk-or-v1-", HEX, 64)),
    *(
        _key("AKIA", string.ascii_uppercase + "234567", 16),
        _key("ASIA", string.ascii_uppercase + "234567", 16),
        _key("AIza", ALNUM + "_-", 35),
    ),
    *(_key("ghp_", ALNUM, 36), _key("github_pat_", ALNUM, 70), _key("gho_", ALNUM, 36), _key("glpat-", ALNUM, 20)),
    *(_key("xoxb-1234567890-", ALNUM, 24), _key("xapp-1-", ALNUM, 40), _key("sk_live_", ALNUM, 24), _key("rk_test_", ALNUM, 24)),
    *(_key("whsec_", ALNUM, 32), _key("SG.aaaaaaaaaaaaaaaaaaaa.", ALNUM, 43), _key("hf_", ALNUM, 34), _key("gsk_", ALNUM, 52)),
    *(_key("npm_", ALNUM, 36), _key("dop_v1_", HEX, 64), _key("shpat_", HEX, 32), _key("hvs.", ALNUM, 28), _key("lin_api_", ALNUM, 40)),
    *(_key("ya29.", ALNUM, 60), _key("GOCSPX-", ALNUM, 28), _key("glsa_", ALNUM, 36), _key("dapi", HEX, 32), _key("r8_", ALNUM, 37)),
    *(
        _key("https://hooks.slack.com/services/T0EXAMPLE/B0EXAMPLE/", ALNUM, 24),
        _key("123456789:AA", ALNUM, 33),
        _key("pypi-AgE", ALNUM, 60),
    ),
)


def keys(rng: random.Random) -> Iterator[str]:
    for draw in (*KEYS, *KEYS[:14]):
        yield draw(rng)
    for draw in KEYS[:4]:
        drawn = draw(rng)
        yield f"{drawn[:12]}\u200b{drawn[12:]}"
        drawn = draw(rng)
        yield f"{drawn[:14]}**{drawn[14:22]}**{drawn[22:]}"
    for kind in ("RSA ", "EC ", "OPENSSH ", ""):
        body = base64.b64encode(("example only, no key " * 9 + _some(rng, ALNUM, 40)).encode()).decode()
        lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
        yield f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"
        yield f"-----BEGIN {kind}PRIVATE KEY-----\\n{_some(rng, ALNUM, 64)}\\n{_some(rng, ALNUM, 64)}\\n-----END {kind}PRIVATE KEY-----"


def _jwt(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': _some(rng, string.digits, 8), 'note': 'example'})}.{_some(rng, ALNUM + '_-', 43)}"


TOKENS: Final = (
    ("Authorization: Bearer {s}", lambda r: _some(r, ALNUM, 32) + "7"),
    ('curl -H "Authorization: Bearer {s}" https://api.example.com', lambda r: _some(r, LOWER, 30) + "x9"),
    ("'authorization': 'Token {s}',", lambda r: _some(r, HEX, 40)),
    ("Authorization: Basic {s}", lambda r: base64.b64encode(f"user{r.randrange(999)}:{_some(r, ALNUM, 10)}".encode()).decode()),
    ("-H 'X-Api-Key: {s}'", lambda r: _some(r, ALNUM, 24) + "3"),
    ("api_key={s}", lambda r: _some(r, LOWER, 20) + "5k"),
    ('"apiKey": "{s}",', lambda r: _some(r, ALNUM, 26) + "4z"),
    ("API_KEY: {s}\n", lambda r: _some(r, HEX, 32)),
    ("client_secret={s}&grant_type=client_credentials", lambda r: _some(r, ALNUM, 30) + "1a"),
    ('{{"access_token":"{s}","expires_in":3600}}', lambda r: _some(r, ALNUM + "._-", 40) + "8b"),
    ("refresh_token: '{s}'", lambda r: _some(r, ALNUM, 36) + "2c"),
    ("AccountName=example;AccountKey={s};EndpointSuffix=core", lambda r: base64.b64encode(_some(r, ALNUM, 63).encode()).decode()),
    ("Mein API-Schlüssel: {s}", lambda r: _some(r, ALNUM, 28) + "6d"),
    ("la clé API est {s}.", lambda r: _some(r, ALNUM, 28) + "6e"),
    ("Here is my API key: {s}, is it right?", lambda r: _some(r, ALNUM, 28) + "6f"),
    ("the secret for the webhook is {s}", lambda r: _some(r, LOWER, 24) + "7g"),
    ("Set-Cookie: session={s}; Path=/; HttpOnly", lambda r: _some(r, ALNUM, 40) + "1"),
    ("export AUTH_TOKEN_PROD={s}", lambda r: _some(r, ALNUM, 30) + "1h"),
    ("access token -> {s}", lambda r: _some(r, ALNUM, 30) + "1i"),
    ("{s}", _jwt),
    ("id_token={s}&state=1", _jwt),
    ('data: {{"jwt":"{s}"}}\n\n', _jwt),
    ("GET /v1/me HTTP/1.1\r\nAuthorization: Bearer {s}\r\nHost: api.example.com", _jwt),
    ("--token {s} --verbose", lambda r: _some(r, ALNUM, 24) + "9j"),
    ("my credentials: {s}", lambda r: _some(r, ALNUM, 30) + "123k"),
)
PASSWORDS: Final = (
    "password={s}", "Password: {s}\n", '"password": "{s}"', "password = '{s}'", "DB_PASSWORD={s}\nDB_HOST=db", "my password is {s}",
    "my password for the router is {s}, ok?", "Mein Passwort ist {s}.", "Das Kennwort lautet {s}", "mon mot de passe est {s} !", "mi contraseña es {s}.",
    "minha senha é {s}", "la password è {s}", "mijn wachtwoord is {s}", "moje hasło to {s}", "mitt lösenord är {s}", "密码是{s}", "パスワードは{s}",
    "пароль: {s}", "--password {s}", "<password>{s}</password>", "?user=kim&password={s}&next=1", "Server=db;User Id=sa;Password={s};Encrypt=yes",
    "passwd: {s} # for the demo", "**Password:** {s}", "| password | {s} |", 'data: {{"content":"The password is \\"{s}\\"."}}', "PGPASSWORD={s} psql",
    "spring.datasource.password={s}", "auth: {{password: '{s}', user: kim}}", "userPassword => '{s}'", "the passphrase: {s}", "şifre: {s}",
)  # fmt: skip
URLS: Final = (
    "https://{s}@git.example.com/team/repo.git", "postgres://{s}@db.example.com:5432/app", "mongodb+srv://{s}@cluster0.example.net/?retry=1",
    "redis://{s}@cache.example.com:6379/0", "amqp://{s}@mq.example.com/%2f", "ftp://{s}@files.example.org/a.csv", "smtp://{s}@mail.example.com:587",
)  # fmt: skip


def passwords(rng: random.Random) -> Iterator[tuple[str, str]]:
    for i, template in enumerate((*PASSWORDS, *PASSWORDS)):
        word = rng.choice(("Tr0ub4dor", "Winter", "letmein", "Sonnen", "hunter", "qwerty", "Zebra", "Mango", "blue"))
        yield f"{word}{rng.choice('!#$%*+=?@^_~-')}{_some(rng, ALNUM, rng.randrange(3, 9))}{rng.randrange(10, 99)}", template
        if i < 6:
            yield _some(rng, string.ascii_lowercase, rng.randrange(7, 11)), template if "is {s}" not in template else "password: {s}"
    for template in (*URLS, *URLS):
        yield (
            f"svc{rng.randrange(999)}:{_some(rng, ALNUM, 8)}{rng.choice(('!', '%40', '~', '%2F', '$'))}{rng.randrange(100, 999)}",
            template,
        )


# ---------------------------------------------------------------------------------------------------------------------------- file
def planted(seed: int = 20) -> Iterator[dict[str, str]]:
    """All lines, in order."""
    rng = random.Random(seed)
    plain = _turns(PLAIN)
    for kind, secrets in (("email", emails), ("phone", phones), ("card", cards), ("iban", ibans), ("ip", addresses), ("key", keys)):
        for secret in secrets(rng):
            yield _line(kind, secret, next(plain))
    calls = _turns(NAMED_PHONES)
    for secret in bare_phones(rng):
        yield _line("phone", secret, next(calls))
    for secret, templates in identities(rng):
        yield _line("national-id", secret, rng.choice(templates) if templates else next(plain))
    for template, draw in (*TOKENS, *TOKENS):
        yield _line("token", draw(rng), template)
    for secret, template in passwords(rng):
        yield _line("password", secret, template)


def _turns(templates: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from templates


def _line(kind: str, secret: str, template: str) -> dict[str, str]:
    return {"kind": kind, "secret": secret, "text": template.format(s=secret)}


def written(line: dict[str, str]) -> str:
    """A line of the file; letters at the beginning of a key as escapes."""
    text = json.dumps(line, ensure_ascii=False)
    if line["kind"] in SECRETIVE:
        plain = json.dumps(line["secret"], ensure_ascii=False)[1:-1]
        text = text.replace(
            plain, "".join(f"\\u{ord(char):04x}" if char.isalpha() and char not in "nu" else char for char in plain[:24]) + plain[24:]
        )
    assert json.loads(text) == line
    return text


if __name__ == "__main__":
    PLANTED.parent.mkdir(parents=True, exist_ok=True)
    PLANTED.write_text("".join(f"{written(line)}\n" for line in planted()), encoding="utf-8")
