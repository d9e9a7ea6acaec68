"""What every rule needs: reading blocks whose own shape is right, and hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from extproc.spec.yamltext import Path

Found = tuple[str, Path, str, str]
"""Problem id, path, message, hint."""
AnyBlock = TypeVar("AnyBlock", bound=BaseModel)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def block(kind: type[AnyBlock], value: Any) -> AnyBlock | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def blocks(kind: type[AnyBlock], values: Any) -> list[AnyBlock | None]:
    return [block(kind, value) for value in values] if isinstance(values, list) else []


def not_reserved(path: Path, header: str) -> Iterator[Found]:
    """No header of the Spec's is one of ours."""
    if header.startswith("x-llm-"):
        yield "spec.reserved-header", path, f"header {header!r} is extproc's own", "Envoy strips x-llm-*: choose another header"


def known(identity: str, what: str, path: Path, name: Any, names: Sequence[str]) -> Iterator[Found]:
    """A name refers to something that is there."""
    if isinstance(name, str) and name not in names:
        hint = did_you_mean(name, names) if names else f"the Spec names no {what}"
        yield identity, path, f"there is no {what} {name!r}", hint


def unverified(document: Mapping[str, Any], path: Path) -> Iterator[Found]:
    """A claim is believed only where Envoy verifies tokens."""
    if mapping(document.get("listener")).get("jwt") is None:
        message = "a claim is read, but nobody verifies tokens"
        yield "spec.claim-without-jwt", path, message, "add listener.jwt with the issuer and its keys"
