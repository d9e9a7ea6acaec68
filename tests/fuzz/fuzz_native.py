"""One target under atheris, in a process of its own: `python -m tests.fuzz.fuzz_native TARGET [libFuzzer's options] [corpus]`.

To see a saved input fail again: `python -m tests.fuzz.fuzz_native TARGET crash-...`.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped, unused-ignore]

with atheris.instrument_imports(include=["extproc.transport", "extproc.wire", "hpack", "tests.fuzz"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Does not return: libFuzzer ends the process, with 77 where an input failed."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: target(bytes(data)) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
