"""What went wrong with etcd, said so that a person can mend it: the errors of gRPC become Problems at this one place."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio

from extproc.errors import Problem

_MOVES_ON: Final = "nothing moves meanwhile, routers keep what they have, and it goes on by itself"
FAILURES: Final = (grpc.RpcError, grpc.aio.BaseError, OSError)
"""Of a call to etcd: an answer that is an error, the library's own, a file that cannot be read, and TimeoutError (an OSError too)."""
_STALE_TOKEN: Final = ("invalid auth token", "revision of auth store is old", "token is not provided", "user name is empty")


def away(url: str, why: str) -> Problem:
    """Nobody answers, or those who do have no majority."""
    hint = f"look at etcd (etcdctl endpoint health --cluster) and at the way to it; {_MOVES_ON}"
    return Problem("store.away", url, f"etcd does not answer: {why}", hint)


def unsure(url: str, why: str) -> Problem:
    """A commit was sent, and nobody knows what became of it."""
    hint = "the next one finds out: where this one was written it is a conflict (read State again and decide anew)"
    return Problem("store.unsure", url, f"etcd did not say whether the decision was written: {why}", hint)


def not_leader(url: str, leader: str) -> Problem:
    """Somebody else leads, or nobody."""
    who = f"{leader} leads" if leader else "nobody leads"
    return Problem(
        "store.not-leader", url, f"is not ours to write: {who}", "another controller decides; this one waits until it is elected"
    )


def read_only(url: str) -> Problem:
    """A watcher tries to write."""
    return Problem("store.read-only", url, "readonly: it was opened to be watched", "a controller writes; open it as a writer")


def explain(url: str, error: Exception) -> Problem:
    """One of FAILURES as a Problem."""
    if isinstance(error, grpc.RpcError):
        return _of_grpc(url, error.code(), error.details() or error.code().name)
    if isinstance(error, TimeoutError | grpc.aio.BaseError):
        return away(url, str(error) or "not in time")
    return Problem("store.file", url, str(error), "is the path of ca, cert, key and password_file right, and may this user read it?")


def goes_elsewhere(error: grpc.RpcError) -> bool:
    """True where another of etcd's nodes, or the same one a little later, may answer."""
    code = error.code()
    return code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def wants_token(error: grpc.RpcError) -> bool:
    """True where the token is too old, or was made before users were changed."""
    details: str = error.details() or ""
    return any(one in details for one in _STALE_TOKEN)


def has_no_lease(error: Exception) -> bool:
    """True where the lease that we named has ended."""
    return isinstance(error, grpc.RpcError) and "lease not found" in (error.details() or "")


def _of_grpc(url: str, code: grpc.StatusCode, details: str) -> Problem:
    if "database space exceeded" in details:
        hint = f"compact and defragment it, then etcdctl alarm disarm (docs/etcd.md); {_MOVES_ON}"
        return Problem("store.full", url, f"etcd has no room: {details}", hint)
    if "request is too large" in details or "too many operations" in details:
        return Problem(
            "store.too-large", url, details, "start etcd with --max-request-bytes and --max-txn-ops as they are by default, or more"
        )
    if "corrupt" in details:
        return Problem("store.damaged", url, details, "restore etcd from a snapshot (docs/etcd.md)")
    if (
        code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
        or "authentication" in details
        or "permission" in details
    ):
        hint = f"are user and password_file right, and may this user read and write below the prefix (docs/etcd.md)? {_MOVES_ON}"
        return Problem("store.read-only", url, f"etcd refuses: {details}", hint)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return away(url, details)
    return Problem("store.etcd", url, f"{code.name}: {details}", "look at etcd's own log; nothing was changed")
