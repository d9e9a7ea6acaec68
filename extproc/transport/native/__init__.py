"""gRPC over HTTP/2 for ext_proc, ours: a sans-IO core (`connection`) and a thin uvloop adapter (`server`)."""

from extproc.transport.native.server import NativeServer

__all__ = ["NativeServer"]
