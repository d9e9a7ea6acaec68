"""grpc.aio and uvloop with nothing of ours but the decision: what the grpcio transport is compared with. For loadtest/bench.py."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import grpc
import uvloop

from extproc import contract
from loadtest.messages import example_processor


async def serve(path: str) -> None:
    """Answer on a Unix socket until killed; says one line when it listens."""
    process = example_processor().process

    async def answer(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:  # type: ignore[type-arg]
        async for message in messages:
            reply = process(message)
            if reply is not None:
                await context.write(reply)

    service, _, method = contract.PROCESS_METHOD.removeprefix("/").rpartition("/")
    server = grpc.aio.server()
    handlers = {method: grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
