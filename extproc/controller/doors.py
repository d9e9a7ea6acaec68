"""Where a controller can be reached from a network: what keeps each such port from being safe, and who may do what there.

One certificate, one key and one authority stand for all of them. A Unix socket and loopback stay as they are: to open one port changes no
other. The API may have an authority of its own, so that who may act is not who may send outcomes.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from extproc.controller.access import read_access
from extproc.errors import Problem, SettingsError
from extproc.runtime.http import listening
from extproc.transport import PRIVATE, Security, beyond, parse_address, problems

OUTCOMES_HARM: Final = "whoever reaches it could make outcomes up, and so decide what is rolled back and what is not"
COPIES_HARM: Final = "texts of users would go over it unprotected"
FEEDBACK_HARM: Final = "whoever reaches it could post past Envoy, under any address"
CONFIGURATION_HARM: Final = "whoever reaches it learns where models are and how Envoy is set up"
API_HARM: Final = "tokens would go over it in the clear"


@dataclass(frozen=True, slots=True)
class Doors:
    """How a network may reach a controller, and who may do what at its API."""

    security: Security = PRIVATE
    """Of every port that a network reaches."""
    api: str = ""
    """HOST:PORT of the API beside its port on loopback; empty: there is none."""
    api_client_ca: str = ""
    """Authorities of the API's clients; empty: those of everybody's."""
    access: str = ""
    """File that says who may do what; empty: whoever has the token beside the store may do everything."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Doors:
        """From plain values, as they were written into JSON."""
        return cls(**{**given, "security": Security(**given["security"])})

    @property
    def api_security(self) -> Security:
        """Of the API's second port: TLS wherever there is a certificate, on loopback too, because it was named on purpose."""
        security = replace(self.security, client_ca=self.api_client_ca or self.security.client_ca)
        return security if security.certificate or not self.api else beyond(parse_address(self.api), security)

    def check(self, collector: str, sampler: str, feedback: str, xds: str = "") -> None:
        """Raise SettingsError with everything that keeps a port from being safe, or from starting; addresses as the flags say them."""
        found: list[Problem] = []
        for flag, address, security, harm in (
            ("--collector", collector, self.security, OUTCOMES_HARM),
            ("--sampler", sampler, self.security, COPIES_HARM),
            ("--feedback-listen", feedback, self.security, FEEDBACK_HARM),
            ("--xds", xds, self.security, CONFIGURATION_HARM),
            ("--api-listen", self.api, self.api_security, API_HARM),
        ):
            if address:
                found += [one for one in problems(parse_address(address), security, flag, harm) if one not in found]
        if self.api.startswith("unix:"):
            found.append(Problem("settings.address", "--api-listen", "HTTP is spoken over TCP alone", "write HOST:PORT"))
        if self.api_client_ca and not self.api:
            found.append(Problem("settings.tls", "--api-client-ca", "there is no port that it would guard", "add --api-listen HOST:PORT"))
        if self.access:
            try:
                read_access(self.access)
            except SettingsError as error:
                found += error.problems
        if found:
            raise SettingsError(found)

    async def listening(self) -> list[socket.socket]:
        """The API's second port, to be served by its process; none where none was asked for. Raises SettingsError."""
        if not self.api:
            return []
        address = parse_address(self.api)
        return [await listening(address.host.strip("[]"), address.port)]
