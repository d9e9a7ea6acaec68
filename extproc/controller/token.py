"""The API's token: from the environment, or a file beside the store that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from extproc import contract
from extproc.errors import Problem, SettingsError


def token_path(store_url: str) -> Path:
    """Where the token of a store's controller lies: `<file>.token`."""
    return Path(contract.local_stem(store_url) + ".token")


def server_token(store_url: str) -> str:
    """The token that the controller asks for; written once where the environment names none."""
    given = os.environ.get(contract.TOKEN_ENVIRONMENT, "")
    if given:
        return given
    path = token_path(store_url)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return read_token(path)
    with os.fdopen(handle, "w") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


def read_token(path: Path) -> str:
    """The token in a file; raises SettingsError where there is none."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = f"the controller writes it beside its store; name it with --token-file, or set {contract.TOKEN_ENVIRONMENT}"
        raise SettingsError(Problem("settings.token", str(path), f"cannot be read: {error}", hint)) from error
    if not token:
        raise SettingsError(Problem("settings.token", str(path), "is empty", "remove it; the controller writes a new one when it starts"))
    return token
