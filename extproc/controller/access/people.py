"""Who is who: by a token, or by a certificate that the authority of the API's clients has signed. Pure.

    people:
      ann:
        role: operator
        token_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      prometheus:
        role: viewer
        certificate: prometheus.internal       # subject's common name, or an alternative name (DNS, URI, e-mail, address)

No token is in the file, only its digest. Tokens are 256 random bits (`extproc token` makes them), so that a plain digest is enough.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from extproc.controller.access.roles import Role
from extproc.errors import Problem, SettingsError, SpecError
from extproc.spec.yamltext import Lines, parse

AUTOMATION: Final = "extproc"
"""In the Journal this is the name of decisions that no person took."""
LONGEST_NAME: Final = 80
MOST: Final = 1_000
"""People of a file: each is compared with what a client shows."""
FIELDS: Final = ("role", "token_sha256", "certificate")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAMES: Final = ("DNS", "URI", "email", "IP Address")
"""Kinds of a certificate's alternative names, as Python's ssl calls them."""
_HINT: Final = "`extproc token NAME --role operator` prints a token and the lines for this file"


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who has shown who he is."""

    name: str
    """As the Journal says it; empty where a token was shown that is everybody's."""
    role: Role
    seal: bytes
    """Another one with another credential: what was made with it ends."""


class Access(Protocol):
    """Who may come in."""

    def by_token(self, token: str) -> Who | None:
        """Whose it is; takes as long whoever's it is, and for any other."""

    def by_certificate(self, names: frozenset[str]) -> Who | None:
        """Who has a certificate of these names."""

    def named(self, name: str) -> Who | None:
        """What somebody is today who came in under this name before."""


class OneToken:
    """Without a file: whoever has the token beside the store is an admin, under the name that he says."""

    def __init__(self, token: str) -> None:
        self._digest = digest(token)

    def by_token(self, token: str) -> Who | None:
        """See Access."""
        return self.named("") if hmac.compare_digest(digest(token), self._digest) else None

    def by_certificate(self, names: frozenset[str]) -> Who | None:
        """Nobody: there is no list of them."""
        del names
        return None

    def named(self, name: str) -> Who | None:
        """See Access."""
        return Who(name, Role.ADMIN, self._digest)


@dataclass(frozen=True, slots=True)
class Person:
    """One entry of the file."""

    name: str
    role: Role
    token: bytes | None
    """SHA-256 of it."""
    certificate: str | None


class People:
    """Those of a file, and nobody else."""

    def __init__(self, people: tuple[Person, ...]) -> None:
        self._people = people
        self._by_name = {person.name: person for person in people}
        self._by_certificate = {person.certificate: person for person in people if person.certificate is not None}

    def by_token(self, token: str) -> Who | None:
        """See Access."""
        seen = digest(token)
        found = [one for one in self._people if one.token is not None and hmac.compare_digest(one.token, seen)]
        return _who(found[0]) if found else None

    def by_certificate(self, names: frozenset[str]) -> Who | None:
        """See Access; one who has the names of several people is nobody."""
        found = [person for name, person in self._by_certificate.items() if name in names]
        return _who(found[0]) if len(found) == 1 else None

    def named(self, name: str) -> Who | None:
        """See Access."""
        person = self._by_name.get(name)
        return _who(person) if person is not None else None


def _who(person: Person) -> Who:
    return Who(person.name, person.role, person.token or digest(f"certificate {person.certificate}"))


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return sha256(token.encode(errors="replace")).digest()


def names_in(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Common name and alternative names of what `ssl.SSLSocket.getpeercert` has; empty where there is none."""
    if not certificate:
        return frozenset()
    common = [value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    return frozenset((*common, *(value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAMES)))


def read_people(path: str, text: str) -> People:
    """The people of a file; raises SettingsError with everything that is wrong with it. No token or digest is repeated."""
    try:
        document, lines = parse(text)
    except SpecError as error:
        raise SettingsError([Problem("access.yaml", path, one.message, one.hint, one.line) for one in error.problems]) from error
    problems: list[Problem] = []
    people: list[Person] = []
    entries = document.get("people") if isinstance(document, dict) and document.keys() == {"people"} else None
    if not isinstance(entries, dict) or not entries or len(entries) > MOST:
        problems.append(Problem("access.shape", path, f"has to have `people`, 1 to {MOST} of them by name, and nothing else", _HINT))
    else:
        for name, entry in entries.items():
            found = list(_wrong(name, entry, lines))
            problems += found
            if not found:
                token = entry.get("token_sha256")
                people.append(Person(name, Role(entry["role"]), bytes.fromhex(token) if token else None, entry.get("certificate")))
        problems += _twice(people, lines)
    if problems:
        raise SettingsError(problems)
    return People(tuple(people))


def name_problem(name: str) -> str:
    """Why nobody can be called so; empty where one can."""
    if not name.strip() or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        return f"a name has 1 to {LONGEST_NAME} characters, all of them visible"
    return f"{AUTOMATION!r} is the name of the automation" if name.lower() == AUTOMATION else ""


def _wrong(name: str, entry: object, lines: Lines) -> Iterator[Problem]:
    at, line = f"people.{name}", lines.of(("people", name))
    if said := name_problem(name):
        yield Problem("access.name", at, said, "the Journal names people so", line)
    if not isinstance(entry, dict):
        yield Problem("access.shape", at, "is no block", f"it has role, and token_sha256 or certificate; {_HINT}", line)
        return
    for field in entry.keys() - set(FIELDS):
        yield Problem("access.unknown-key", f"{at}.{field}", "is unknown", f"there are: {', '.join(FIELDS)}", line)
    if entry.get("role") not in list(Role):
        yield Problem("access.role", f"{at}.role", f"is {entry.get('role')!r}", f"say one of {', '.join(Role)}", line)
    if not entry.keys() & {"token_sha256", "certificate"}:
        yield Problem("access.credential", at, "has no credential", f"add token_sha256 or certificate; {_HINT}", line)
    token, certificate = entry.get("token_sha256", ""), entry.get("certificate", "-")
    if "token_sha256" in entry and not (isinstance(token, str) and _DIGEST.fullmatch(token)):
        hint = "64 hexadecimal digits in quotes, and never the token itself; " + _HINT
        yield Problem("access.digest", f"{at}.token_sha256", "is no SHA-256", hint, line)
    if not (isinstance(certificate, str) and certificate and certificate.isprintable()):
        yield Problem("access.certificate", f"{at}.certificate", "is no name", "the common name or an alternative name, as text", line)


def _twice(people: list[Person], lines: Lines) -> Iterator[Problem]:
    """One credential is one person's: else nobody would know who acted."""
    seen: dict[bytes | str, str] = {}
    for person in people:
        for credential, field in ((person.token, "token_sha256"), (person.certificate, "certificate")):
            if credential is not None and (first := seen.setdefault(credential, person.name)) != person.name:
                at = f"people.{person.name}.{field}"
                line = lines.of(("people", person.name))
                yield Problem("access.twice", at, f"is {first}'s too", "give each person a credential of their own", line)
