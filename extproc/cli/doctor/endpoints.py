"""Is somebody there? A socket's file, its owner, who connects, and what grpc.health.v1 says."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import ssl
import stat
from pathlib import Path
from typing import Final

import grpc

from extproc import contract
from extproc.cli.doctor.seen import EndpointSeen
from extproc.errors import SettingsError
from extproc.transport import Address, parse_address

TIMEOUT: Final = 2.0
SERVING: Final = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse with status SERVING."""


async def look_at(name: str, address: str) -> EndpointSeen:
    """One endpoint. A collector has no health service: it is there if it speaks gRPC."""
    try:
        where = parse_address(address)
    except SettingsError as error:
        return EndpointSeen(name, address, "unreachable", error.problems[0].message)
    owner, mode = "", None
    if where.path:
        try:
            found = os.stat(where.path)
        except OSError as error:
            return EndpointSeen(name, address, "missing", os.strerror(error.errno or 0))
        owner, mode = _owner(found), stat.S_IMODE(found.st_mode)
        if not stat.S_ISSOCK(found.st_mode):
            return EndpointSeen(name, address, "no-socket", "", owner, mode)
    problem, detail = await _connects(where)
    if not problem:
        problem, detail = await _answers(where, health=name != "collector")
        if problem == "silent" and await _speaks_tls(where):
            problem, detail = "tls", ""
    return EndpointSeen(name, address, problem, detail, owner, mode)


def _owner(found: os.stat_result) -> str:
    try:
        return f"{pwd.getpwuid(found.st_uid).pw_name}:{grp.getgrgid(found.st_gid).gr_name}"
    except KeyError:
        return f"{found.st_uid}:{found.st_gid}"


async def _connects(where: Address) -> tuple[str, str]:
    opening = asyncio.open_unix_connection(where.path) if where.path else asyncio.open_connection(where.host.strip("[]"), where.port)
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await opening
    except PermissionError as error:
        return "forbidden", os.strerror(error.errno or 0)
    except ConnectionRefusedError:
        return ("stale" if where.path else "refused"), ""
    except TimeoutError:
        return "silent", f"did not accept in {TIMEOUT:g} s"
    except OSError as error:
        return "unreachable", str(error)
    writer.close()
    return "", ""


async def _answers(where: Address, health: bool) -> tuple[str, str]:
    target = f"unix:{Path(where.path).absolute()}" if where.path else str(where)
    async with grpc.aio.insecure_channel(target) as channel:
        check = channel.unary_unary(contract.HEALTH_CHECK_METHOD, None, None)
        try:
            answer = await check(b"", timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if not health and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return "", ""
            return "silent", f"{error.code().name}: {_first_line(error.details())}"
    return ("", "") if answer == SERVING else ("not-serving", "")


async def _speaks_tls(where: Address) -> bool:
    """Whether it is who it says is Envoy's to check: here only how it speaks is of interest."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(TIMEOUT):
            if where.path:
                _, writer = await asyncio.open_unix_connection(where.path, ssl=context, server_hostname="")
            else:
                _, writer = await asyncio.open_connection(where.host.strip("[]"), where.port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0][:120]
