"""The store of many machines: etcd, over its v3 gRPC API. Nothing else in extproc knows that there is an etcd."""

from extproc.store.etcd.store import EtcdStore

__all__ = ["EtcdStore"]
