"""The URL of an etcd store: `etcd://HOST:PORT[,HOST:PORT...][/PREFIX][?local=...&ca=...&cert=...&key=...&user=...&password_file=...]`.

One string names the whole store, so it goes into command lines, environments and logs: a secret in it is refused, files name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from extproc.errors import Problem, StoreError

EXAMPLE: Final = "etcd://one:2379,two:2379,three:2379/extproc?ca=/etc/extproc/etcd-ca.pem"
DEFAULT_PREFIX: Final = "/extproc"
DEFAULT_TIMEOUT: Final = 1.0
"""Seconds that a writer waits for etcd: its caller's loop stands still meanwhile. A healthy etcd answers in milliseconds."""
LONGEST_TIMEOUT: Final = 60.0
OPTIONS: Final = ("local", "ca", "cert", "key", "user", "password_file", "timeout")
"""`local` is read by contract.local_stem, and by nobody else."""
_SECRETS: Final = ("password", "pass", "token")


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """What such a URL says."""

    url: str
    endpoints: tuple[str, ...]
    """HOST:PORT of each."""
    prefix: str
    """Begins with a slash and does not end with one."""
    ca: Path | None = None
    """PEM of the authorities of etcd's certificates; TLS is spoken where this or `cert` is named."""
    cert: Path | None = None
    key: Path | None = None
    user: str = ""
    password_file: Path | None = None
    timeout: float = DEFAULT_TIMEOUT

    @property
    def tls(self) -> bool:
        """True where the connection is encrypted."""
        return self.ca is not None or self.cert is not None


def parse_address(url: str) -> EtcdAddress:
    """What the URL says; raises StoreError with all that is wrong with it. Files are not looked at."""
    rest = url.removeprefix("etcd://")
    if rest == url:
        raise StoreError(Problem("store.url", url, "names no store", f"write {EXAMPLE}"))
    rest, _, query = rest.partition("?")
    hosts, slash, prefix = rest.partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    endpoints = tuple(hosts.split(","))
    # The credentials of a URL that is wrong must not end in a log either.
    shown = url if "@" not in hosts and not any(name in options for name in _SECRETS) else "etcd://..."
    problems = [
        *(Problem("store.url", shown, message, hint) for message, hint in _endpoint_problems(endpoints)),
        *(Problem("store.url", shown, message, hint) for message, hint in _option_problems(options)),
    ]
    if problems:
        raise StoreError(problems)
    ca, cert, key, password_file = (Path(options[name]) if name in options else None for name in ("ca", "cert", "key", "password_file"))
    named = unquote(slash + prefix).rstrip("/") or DEFAULT_PREFIX
    timeout = float(options.get("timeout", DEFAULT_TIMEOUT))
    return EtcdAddress(url, endpoints, named, ca, cert, key, options.get("user", ""), password_file, timeout)


def _endpoint_problems(endpoints: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for endpoint in endpoints:
        host, colon, port = endpoint.rpartition(":")
        if "@" in endpoint:
            yield "has a user or a password before @", "write ?user=NAME&password_file=FILE"
        elif not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
            yield f"{endpoint!r} is no HOST:PORT", f"write {EXAMPLE}"


def _option_problems(options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in options:
        if name in _SECRETS:
            yield f"has a secret in it ({name}=)", "write it into a file that its owner alone can read, and password_file=FILE"
        elif name not in OPTIONS:
            yield f"option {name!r} is unknown", f"there are {', '.join(OPTIONS)}"
        elif not options[name]:
            yield f"option {name} is empty", "give it a value, or leave it out"
    for one, other in (("cert", "key"), ("key", "cert"), ("user", "password_file"), ("password_file", "user")):
        if options.get(one) and other not in options:
            yield f"has {one} without {other}", f"add {other}=, or leave {one} out"
    if not _seconds(options.get("timeout", "1")):
        yield f"timeout={options['timeout']} is no number of seconds", f"write more than 0, at most {LONGEST_TIMEOUT:.0f}"


def _seconds(text: str) -> bool:
    try:
        return 0.0 < float(text) <= LONGEST_TIMEOUT
    except ValueError:
        return False
