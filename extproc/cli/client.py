"""The controller's API as the commands use it: address and token from flags or environment, refusals as Problems."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from extproc import contract
from extproc.controller.token import read_token, token_path
from extproc.errors import ExtprocError, Problem, SettingsError

DEFAULT_API = f"http://127.0.0.1:{contract.DEFAULT_API_PORT}"
ApiOption = Annotated[str, typer.Option("--api", envvar=contract.API_ENVIRONMENT, help="The controller's API.")]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", help=f"File with the API's token; ${contract.TOKEN_ENVIRONMENT} is used first.")
]


class Client:
    """One controller."""

    def __init__(self, address: str, token_file: Path | None) -> None:
        store = os.environ.get(contract.STORE_ENVIRONMENT) or contract.DEFAULT_STORE
        token = os.environ.get(contract.TOKEN_ENVIRONMENT) or read_token(token_file or token_path(store))
        self._address = address.rstrip("/")
        self._http = httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=10.0, trust_env=False)

    def status(self) -> dict[str, Any]:
        """See controller.view.status_document."""
        return self._ask("GET", "/v1/status")

    def journal(self, rollout: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Entries of the Journal, newest first."""
        parameters = {"limit": str(limit), **({"rollout": rollout} if rollout is not None else {})}
        entries: list[dict[str, Any]] = self._ask("GET", "/v1/journal", params=parameters)["entries"]
        return entries

    def explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """See controller.explaining, for the shape of both."""
        return self._ask("POST", "/v1/explain", json=question)

    def act(self, rollout: str, action: str, why: str, actor: str, **options: str) -> dict[str, Any]:
        """Move a rollout; returns when that is committed."""
        # With a name of its own it can be asked again: where the API was replaced between question and answer, nothing is done twice.
        body = {"why": why, "actor": actor, "request": uuid.uuid4().hex, **options}
        return self._ask("POST", f"/v1/rollouts/{rollout}/{action}", json=body)

    def switch(self, word: str, why: str, actor: str) -> dict[str, Any]:
        """Switch the processor off or on; returns when that is committed."""
        return self._ask("POST", f"/v1/processor/{word}", json={"why": why, "actor": actor, "request": uuid.uuid4().hex})

    def _ask(self, method: str, path: str, tries: int = 2, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._address + path, **arguments)
        except httpx.TransportError as error:
            if tries > 1 and isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
                return self._ask(method, path, tries - 1, **arguments)
            hint = "is the controller running? Give its address with --api. Without it, an Envoy switch rolls back: see the README"
            raise SettingsError(Problem("api.unreachable", self._address, str(error) or type(error).__name__, hint)) from error
        try:
            document: dict[str, Any] = answer.json()
        except ValueError as error:
            raise SettingsError(_foreign(self._address, answer.status_code)) from error
        if answer.status_code != 200:
            if not isinstance(document, dict) or "problems" not in document:
                raise SettingsError(_foreign(self._address, answer.status_code))
            raise ExtprocError([Problem(**problem) for problem in document["problems"]])
        return document


def _foreign(address: str, status: int) -> Problem:
    return Problem("api.foreign", address, f"answered {status}", "is this extproc's API, or something in front of it?")
