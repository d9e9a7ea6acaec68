"""etcd's requests, made short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from extproc.pb.etcd_pb2 import (
    EtcdAuthenticateRequest,
    EtcdAuthenticateResponse,
    EtcdCompare,
    EtcdDeleteRangeRequest,
    EtcdKeyValue,
    EtcdLeaseGrantRequest,
    EtcdLeaseGrantResponse,
    EtcdLeaseKeepAliveRequest,
    EtcdLeaseKeepAliveResponse,
    EtcdLeaseRevokeRequest,
    EtcdLeaseRevokeResponse,
    EtcdPutRequest,
    EtcdRangeRequest,
    EtcdRangeResponse,
    EtcdRequestOp,
    EtcdTxnRequest,
    EtcdTxnResponse,
    EtcdWatchRequest,
    EtcdWatchResponse,
)

MOST_OPERATIONS: Final = 100
"""Of one level of a transaction; etcd takes 128 (`--max-txn-ops`), and counts those of the level above against those below."""

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, R]):
    """A method of etcd's API."""

    path: str
    request: type[Q]
    response: type[R]


RANGE: Final = Method("/etcdserverpb.KV/Range", EtcdRangeRequest, EtcdRangeResponse)
TXN: Final = Method("/etcdserverpb.KV/Txn", EtcdTxnRequest, EtcdTxnResponse)
WATCH: Final = Method("/etcdserverpb.Watch/Watch", EtcdWatchRequest, EtcdWatchResponse)
GRANT: Final = Method("/etcdserverpb.Lease/LeaseGrant", EtcdLeaseGrantRequest, EtcdLeaseGrantResponse)
REVOKE: Final = Method("/etcdserverpb.Lease/LeaseRevoke", EtcdLeaseRevokeRequest, EtcdLeaseRevokeResponse)
KEEP_ALIVE: Final = Method("/etcdserverpb.Lease/LeaseKeepAlive", EtcdLeaseKeepAliveRequest, EtcdLeaseKeepAliveResponse)
AUTHENTICATE: Final = Method("/etcdserverpb.Auth/Authenticate", EtcdAuthenticateRequest, EtcdAuthenticateResponse)


def get(key: bytes, end: bytes = b"", revision: int = 0) -> EtcdRequestOp:
    """Read a key, or those from `key` to before `end`; as they are, or as they were at a revision."""
    return EtcdRequestOp(request_range=EtcdRangeRequest(key=key, range_end=end, revision=revision))


def put(key: bytes, value: bytes, lease: int = 0) -> EtcdRequestOp:
    """Write a key."""
    return EtcdRequestOp(request_put=EtcdPutRequest(key=key, value=value, lease=lease))


def delete(key: bytes, end: bytes = b"") -> EtcdRequestOp:
    """Delete a key, or those from `key` to before `end`; nothing where there is none."""
    return EtcdRequestOp(request_delete_range=EtcdDeleteRangeRequest(key=key, range_end=end))


def create(key: bytes, value: bytes) -> EtcdRequestOp:
    """Write a key where there is none; nothing else in the transaction depends on that."""
    return EtcdRequestOp(request_txn=EtcdTxnRequest(compare=[created_at(key, 0)], success=[put(key, value)]))


def created_at(key: bytes, revision: int) -> EtcdCompare:
    """True where the key is the one that was created then; 0 where there is none."""
    return EtcdCompare(result=EtcdCompare.EQUAL, target=EtcdCompare.CREATE, key=key, create_revision=revision)


def changed_at(key: bytes, revision: int) -> EtcdCompare:
    """True where the key was last written then; 0 where there is none."""
    return EtcdCompare(result=EtcdCompare.EQUAL, target=EtcdCompare.MOD, key=key, mod_revision=revision)


def together(operations: Sequence[EtcdRequestOp]) -> list[EtcdRequestOp]:
    """The same operations, in transactions inside of the transaction where they are too many for one level. Still all or nothing."""
    if len(operations) <= MOST_OPERATIONS:
        return list(operations)
    parts = (operations[first : first + MOST_OPERATIONS] for first in range(0, len(operations), MOST_OPERATIONS))
    return [EtcdRequestOp(request_txn=EtcdTxnRequest(success=part)) for part in parts]


def found(response: EtcdTxnResponse) -> list[EtcdKeyValue | None]:
    """What each `get` of one key found, in their order."""
    return [_first(one.response_range.kvs) for one in response.responses]


def _first(kvs: Iterable[EtcdKeyValue]) -> EtcdKeyValue | None:
    return next(iter(kvs), None)
