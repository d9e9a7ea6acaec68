"""TLS of an HTTP server of ours, from files that are read again when they change."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from extproc.transport.security import Certificates, Security

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""
HTTP: Final = "http/1.1"
"""What clients agree on (ALPN)."""


class Renewed:
    """The TLS context of an HTTP server, its files read again when they change; None where it speaks in the clear."""

    def __init__(self, security: Security) -> None:
        """Raises SettingsError where the files cannot be used."""
        self._certificates = Certificates(security, HTTP) if security.certificate else None
        self.context: ssl.SSLContext | None = self._certificates.context if self._certificates is not None else None

    async def renew(self) -> None:
        """Forever; connections that exist keep what they were made with."""
        while self._certificates is not None:
            await asyncio.sleep(LOOK_EVERY)
            self._certificates.refresh()
