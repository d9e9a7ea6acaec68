"""The controller's API as the commands use it: address and token from flags or environment, refusals as Problems."""

from __future__ import annotations

import inspect
import os
import ssl
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import httpx
import orjson
import typer

from extproc import contract
from extproc.controller.token import read_token, token_path
from extproc.errors import ExtprocError, Problem, SettingsError

LINES_WITHIN = 60.0
"""Seconds until the next line of a list: those that are looked through before it take their time."""
DEFAULT_API = f"http://127.0.0.1:{contract.DEFAULT_API_PORT}"
ApiOption = Annotated[str, typer.Option("--api", envvar=contract.API_ENVIRONMENT, help="The controller's API.")]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", help=f"File with the API's token; ${contract.TOKEN_ENVIRONMENT} is used first.")
]


_CaOption = Annotated[
    str,
    typer.Option(
        "--ca", metavar="FILE", envvar=contract.API_CA_ENVIRONMENT, help="An https API: authorities (PEM) that signed its certificate."
    ),
]
_CertOption = Annotated[
    str, typer.Option("--cert", metavar="FILE", envvar=contract.API_CERT_ENVIRONMENT, help="An https API: your certificate chain (PEM).")
]
_KeyOption = Annotated[str, typer.Option("--key", metavar="FILE", envvar=contract.API_KEY_ENVIRONMENT, help="Its key (PEM).")]


@dataclass(frozen=True, slots=True)
class _Files:
    """What a command was given for an API that speaks TLS; empty: not given."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    def context(self, address: str) -> ssl.SSLContext | bool:
        """What the connection is checked with; raises SettingsError where the files contradict each other or cannot be used."""
        if not address.startswith("https://"):
            return True
        if bool(self.cert) != bool(self.key):
            missing = "--key" if self.cert else "--cert"
            raise SettingsError(Problem("settings.tls", missing, "certificate and key belong together", f"add {missing}"))
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            hint = "PEM files: authorities, and your certificate with its chain and its key"
            raise SettingsError(Problem("settings.tls", "--ca, --cert, --key", f"cannot be used: {error}", hint)) from error
        return context


_files: ContextVar[_Files] = ContextVar("files")


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with --ca, --cert and --key, which every Client made in it has; no command has to hand them on."""

    @wraps(command)
    def reaches(*arguments: Any, ca: str = "", cert: str = "", key: str = "", **options: Any) -> None:
        _files.set(_Files(ca, cert, key))
        command(*arguments, **options)

    kind = inspect.Parameter.KEYWORD_ONLY
    named = {"ca": _CaOption, "cert": _CertOption, "key": _KeyOption}
    signature = inspect.signature(command, eval_str=True)
    more = [inspect.Parameter(name, kind, default="", annotation=option) for name, option in named.items()]
    reaches.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    return reaches


class Client:
    """One controller."""

    def __init__(self, address: str, token_file: Path | None, beside: bool = True) -> None:
        """`token_file`: by default, with `beside`, the one beside the store; whoever shows a certificate needs no token."""
        store = os.environ.get(contract.STORE_ENVIRONMENT) or contract.DEFAULT_STORE
        files = _files.get(_Files())
        token = os.environ.get(contract.TOKEN_ENVIRONMENT)
        if not (token or token_file or files.cert or beside):
            hint = f"put a token into ${contract.TOKEN_ENVIRONMENT}, or give --token-file, or --cert and --key"
            raise SettingsError(
                Problem("api.token", address, "nothing to show: the token beside the store is for this machine's API", hint)
            )
        if not token and (token_file is not None or not files.cert):
            token = read_token(token_file or token_path(store))
        self._address = address.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(headers=headers, timeout=10.0, trust_env=False, verify=files.context(address))

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        """See controller.view.status_document."""
        return self._ask("GET", "/v1/status")

    def journal(self, rollout: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Entries of the Journal, newest first."""
        parameters = {"limit": str(limit), **({"rollout": rollout} if rollout is not None else {})}
        entries: list[dict[str, Any]] = self._ask("GET", "/v1/journal", params=parameters)["entries"]
        return entries

    def exposures(self, parameters: Mapping[str, str]) -> Iterator[bytes]:
        """Lines of the list of exposures as controller.exposure_lists writes them, of as many answers as it takes."""
        after: int | None = 0
        while after is not None:
            last = b""
            for last in self._lines("/v1/exposures", {**parameters, "after": str(after)}):
                yield last
            after = None
            with suppress(ValueError, KeyError, TypeError):
                after = orjson.loads(last)["summary"]["next"]

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

    def _lines(self, path: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        try:
            with self._http.stream("GET", self._address + path, params=parameters, timeout=LINES_WITHIN) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer)
                for line in answer.iter_lines():
                    yield line.encode()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _ask(self, method: str, path: str, tries: int = 2, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._address + path, **arguments)
        except httpx.TransportError as error:
            if tries > 1 and isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
                return self._ask(method, path, tries - 1, **arguments)
            raise self._unreachable(error) from error
        if answer.status_code != 200:
            raise self._refused(answer)
        try:
            document: dict[str, Any] = answer.json()
        except ValueError as error:
            raise SettingsError(_foreign(self._address, answer.status_code)) from error
        return document

    def _unreachable(self, error: httpx.TransportError) -> SettingsError:
        hint = "is the controller running? Give its address with --api. Without it, an Envoy switch rolls back: see the README"
        return SettingsError(Problem("api.unreachable", self._address, str(error) or type(error).__name__, hint))

    def _refused(self, answer: httpx.Response) -> ExtprocError:
        """What an answer says that is not 200."""
        document = None
        with suppress(ValueError):
            document = answer.json()
        if not isinstance(document, dict) or "problems" not in document:
            return SettingsError(_foreign(self._address, answer.status_code))
        return ExtprocError([Problem(**problem) for problem in document["problems"]])


def _foreign(address: str, status: int) -> Problem:
    return Problem("api.foreign", address, f"answered {status}", "is this extproc's API, or something in front of it?")
