"""What was proved of a Spec's gates, beside the Spec: which have been seen to block, and of which definition of theirs that is true."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final

from extproc.domain import Rollout
from extproc.errors import Problem
from extproc.release.gate import ceiling_name, weights
from extproc.release.simulate.prove import Proof, compared

VERSION: Final = 1
Known = Mapping[str, Proof]
"""By key, see `keys`."""


def keys(rollout: Rollout) -> Iterator[tuple[str, str, int, str]]:
    """(key, path, index of the phase, name) of everything that can block. A key changes with whatever its proof depends on."""
    share = weights(rollout)
    for index, phase in enumerate(rollout.phases):
        path = f"rollouts.{rollout.name}.phases[{index}]"
        about: list[Any] = [rollout.alpha, rollout.stable, rollout.canary, rollout.holdback, phase.share]
        for gate in phase.gates if compared(rollout, index) else ():
            yield _key([*about, asdict(gate), share[gate.measure]]), f"{path}.gates.{gate.measure}", index, gate.measure
        for ceiling in phase.ceilings:
            key = _key([*about, asdict(ceiling)])
            yield key, f"{path}.ceilings.{ceiling.name or ceiling.measure}", index, ceiling_name(ceiling)


def _key(about: list[Any]) -> str:
    return sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]


def unproven(rollout: Rollout, known: Known) -> list[Problem]:
    """What has never been seen to block."""
    found = []
    for key, path, index, name in keys(rollout):
        proof = known.get(key)
        if proof is None:
            found.append(Problem("gate.unproven", path, f"{name} has never been seen to block at {rollout.phases[index].name}"))
        elif not proof.blocked:
            said = f"{name} did not block a bad canary at {rollout.phases[index].name} in a simulation"
            found.append(Problem("gate.does-not-block", path, said, "a larger share, more weight, or a ceiling on the same measure"))
    return found


def to_json(known: Known) -> dict[str, Any]:
    """The document that is written beside a Spec."""
    return {"version": VERSION, "proofs": {key: asdict(proof) for key, proof in sorted(known.items())}}


def from_json(document: dict[str, Any]) -> dict[str, Proof]:
    """What `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
    if document["version"] != VERSION:
        raise ValueError(f"proofs of version {document['version']}, not {VERSION}")
    return {str(key): Proof(**proof) for key, proof in document["proofs"].items()}
