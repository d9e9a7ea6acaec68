"""The house rules, executable: who may import whom, and what a pure room may not touch. Change a rule by an ADR, not by an exception."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "extproc"

ALLOWED: dict[str, set[str]] = {
    "contract": set(),
    "errors": set(),
    "domain": set(),
    "measures": {"domain"},
    "credentials": {"domain"},
    "wire": {"domain", "contract", "pb"},
    "runtime": set(),
    "logs": {"contract"},
    "flags": {"domain"},
    "spec": {"domain", "measures", "flags", "judge"},
    "assign": {"domain", "flags"},
    "release": {"domain", "measures"},
    "cost": {"domain", "measures", "release"},
    "judge": {"domain", "measures", "contract", "wire", "credentials"},
    "transport": {"contract"},
    "store": {"domain", "contract", "pb"},
    "render": {"domain", "measures", "contract", "flags"},
    "plan": {"domain", "measures", "contract", "release", "render", "flags", "cost"},
    "router": {"domain", "measures", "contract", "wire", "spec", "assign", "transport", "store", "runtime", "logs"},
    "controller": {"domain", "measures", "contract", "wire", "flags", "spec", "assign", "release", "cost", "judge", "store", "transport"}
    | {"runtime", "logs", "credentials", "render"},
    "pb": {"pb"},
}
"""Room -> rooms it may import besides itself and `errors`. demo and cli may import all."""
FREE = {"demo", "cli", "__main__", "__init__"}
PURE = {"contract", "errors", "domain", "measures", "wire", "flags", "spec", "assign", "release", "cost", "render", "plan", "judge"}
FILES = {
    PACKAGE / "spec" / "file.py",
    PACKAGE / "judge" / "shipped.py",
    PACKAGE / "judge" / "results.py",
    PACKAGE / "judge" / "offline" / "golden.py",
}
"""Modules of pure rooms whose one purpose is to read or keep a file."""
TALKERS = {PACKAGE / "judge" / name for name in ("client.py", "panel.py", "pipeline.py", "asking.py", "trial.py")}
"""Modules of pure rooms that ask somebody over the network, and wait."""
SANS_IO = set((PACKAGE / "transport" / "native").glob("*.py")) - {PACKAGE / "transport" / "native" / "server.py"}
"""The core of the native transport: bytes in, bytes out; its adapter alone knows sockets and clocks."""
XDS = PACKAGE / "controller" / "xds"
PURE_FILES = {
    *(PACKAGE / "controller" / "feedback" / f"{name}.py" for name in ("keys", "limits", "origins", "reading")),
    *(PACKAGE / "controller" / "console" / f"{name}.py" for name in ("history", "sessions")),
    *(PACKAGE / "controller" / "access" / f"{name}.py" for name in ("roles", "people")),
    PACKAGE / "controller" / "decision_times.py",
}
PURE_FILES |= {XDS / f"{name}.py" for name in ("resources", "stream", "messages", "fleet")}
"""The pure parts of a room that is not."""
IMPURE_MODULES = {"asyncio", "socket", "os", "time", "random", "logging", "threading", "subprocess", "pathlib", "multiprocessing"}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "pb" not in path.relative_to(PACKAGE).parts]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_its_row_names(path: Path) -> None:
    """Layers have no cycles because every arrow is in the table."""
    room = room_of(path)
    if room in FREE:
        return
    for line, name in imports(path):
        if name.startswith("extproc."):
            target = name.split(".")[1]
            assert target in ALLOWED[room] | {room, "errors"}, f"{path}:{line}: {room} must not import {target}"


@pytest.mark.parametrize(
    "path",
    [p for p in sources() if (room_of(p) in PURE and p not in FILES | TALKERS) or p in SANS_IO | PURE_FILES],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_pure_room_has_no_clock_no_chance_and_no_io(path: Path) -> None:
    """`now` and random draws are arguments: the same input always gives the same answer."""
    for line, name in imports(path):
        assert name.split(".")[0] not in IMPURE_MODULES, f"{path}:{line}: a pure room imports {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"{path}:{node.lineno}: a pure room calls {node.func.id}"


def test_assign_and_release_never_meet() -> None:
    """Who is exposed and whether it goes on are decided apart."""
    for path in sources():
        if room_of(path) in ("assign", "release"):
            other = {"assign": "release", "release": "assign"}[room_of(path)]
            assert not any(name.startswith(f"extproc.{other}") for _, name in imports(path)), path


def test_one_room_knows_envoys_messages_and_one_those_of_etcd() -> None:
    """ext_proc and access-log messages are named in wire alone, etcd's in store/etcd alone; everybody else speaks in nouns."""
    for path in sources():
        etcd = PACKAGE / "store" / "etcd" in path.parents
        for _, name in imports(path):
            if name.startswith("extproc.pb"):
                of_etcd = name.startswith("extproc.pb.etcd_pb2.")
                assert (etcd and of_etcd) or (room_of(path) == "wire" and not of_etcd), f"{path} imports {name}"


def test_one_place_knows_the_messages_of_xds() -> None:
    """xds-protos is controller/xds's alone, what that renders from is asked for nowhere else in the controller, and who does not serve
    Envoys does not import it at all (docs/adr/0020)."""
    for path in sources():
        if XDS in path.parents:
            continue
        named = {name for _, name in imports(path)}
        assert not any(name.split(".")[0] in ("envoy", "xds") for name in named), path
        if room_of(path) == "controller":
            assert not any(name.startswith("extproc.render") for name in named), path


def test_every_room_is_in_the_table() -> None:
    """A new room gets a row before it gets code."""
    assert {room_of(path) for path in sources()} <= set(ALLOWED) | FREE


def test_envoy_folder_is_no_python_package() -> None:
    """An __init__.py there would shadow the Python packages of that name."""
    assert not list((ROOT / "envoy").rglob("__init__.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_stay_small(path: Path) -> None:
    """A module that outgrows one purpose is split before it grows."""
    text = path.read_text()
    assert text.count("\n") <= LONGEST_MODULE, f"{path} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path}:{node.lineno} {node.name} has {length} lines"
