"""Where a server listens: `unix:PATH` or `HOST:PORT`."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.errors import Problem, SettingsError


@dataclass(frozen=True, slots=True)
class Address:
    """Either a Unix socket (`path`) or a host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`unix:/run/extproc/router.sock` or `127.0.0.1:9000`; raises SettingsError otherwise."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(path=text[len("unix:") :])
    host, colon, port = text.rpartition(":")
    if colon and host and port.isdecimal() and int(port) < 65536:
        return Address(host=host, port=int(port))
    raise SettingsError(
        Problem("settings.address", "address", f"{text!r} is no address", "write unix:/path/to.sock (recommended) or HOST:PORT")
    )
