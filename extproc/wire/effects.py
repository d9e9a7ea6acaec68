"""A reply, read back: which headers it makes Envoy set. For those who explain a decision; COLD."""

from __future__ import annotations

from extproc.pb.ext_proc_pb2 import ProcessingResponse


def set_headers(reply: bytes) -> tuple[tuple[str, str], ...]:
    """(name, value) of each request header that a complete reply sets, in its order."""
    mutation = ProcessingResponse.FromString(reply).request_headers.response.header_mutation
    return tuple((one.header.key, one.header.raw_value.decode("utf-8", "replace")) for one in mutation.set_headers)
