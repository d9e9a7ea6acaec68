"""One question to a flag service: its URL, its key, its answer as text. What it answers is a stranger's: bounded in time and size."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from urllib.parse import urlsplit

import httpx

from extproc.credentials import CredentialError, read_credential
from extproc.domain import Credential, FlagSource
from extproc.errors import ExtprocError, Problem

TIMEOUT: Final = 10.0
"""Seconds that a service has for its whole answer, however slowly it drips."""
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of an answer; more is a mistake in the URL."""

log = logging.getLogger(__name__)


class PollError(ExtprocError):
    """A service did not answer with flags that can be used."""


def refused(source: FlagSource, what: str) -> PollError:
    """Why an answer is of no use."""
    hint = "look at the URL, the key and the service; nothing has changed meanwhile"
    return PollError(Problem("flags.poll", f"flags.{source.name}.poll", f"{_shown(source)} {what}", hint))


def _shown(source: FlagSource) -> str:
    """The address without what may be secret in it."""
    parts = urlsplit(source.poll.url if source.poll is not None else "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def new_client() -> httpx.AsyncClient:
    """With the proxies of the environment, or without where those cannot be used. No redirect is followed: keys go where the Spec says."""
    try:
        return httpx.AsyncClient(follow_redirects=False)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        said = "the proxies of the environment cannot be used, flags are asked for without: %s; look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY"
        log.error(said, type(error).__name__)
        return httpx.AsyncClient(follow_redirects=False, trust_env=False)


async def fetched(client: httpx.AsyncClient, source: FlagSource, etag: str) -> tuple[str | None, str]:
    """The text of an answer (None: not changed) and its ETag; raises PollError."""
    assert source.poll is not None
    headers = {"accept": "application/json", **_key(source.name, source.poll.credential), **({"if-none-match": etag} if etag else {})}
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _answer(client, source, headers, etag)
    except TimeoutError as error:
        raise refused(source, f"has not answered within {TIMEOUT:.0f} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise refused(source, f"does not answer ({type(error).__name__})") from error
    except UnicodeDecodeError as error:
        raise refused(source, "answers with bytes that are no text") from error


async def _answer(client: httpx.AsyncClient, source: FlagSource, headers: dict[str, str], etag: str) -> tuple[str | None, str]:
    assert source.poll is not None
    body = bytearray()
    async with client.stream("GET", source.poll.url, headers=headers, timeout=TIMEOUT) as answer:
        if answer.status_code == httpx.codes.NOT_MODIFIED and etag:
            return None, etag
        if answer.status_code != httpx.codes.OK:
            raise refused(source, f"answers with status {answer.status_code}")
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > LARGEST:
                raise refused(source, f"answers with more than {LARGEST >> 20} MiB")
    return body.decode(), answer.headers.get("etag", "")


def _key(name: str, reference: Credential | None) -> dict[str, str]:
    """The header that carries it; raises PollError."""
    if reference is None:
        return {}
    try:
        return {reference.header: reference.prefix + read_credential(reference)}
    except CredentialError as error:
        hint = "put the key there, alone in one line" if error.found else "set it for the controller, which asks the service"
        raise PollError(Problem("flags.credential", f"flags.{name}.poll.credential", str(error), hint)) from error
