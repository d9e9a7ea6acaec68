"""Where commands are typed, and how they reach extproc and Envoy: on a machine, in Kubernetes, on Cloud Run.

On a machine everything is on loopback. In Kubernetes `extproc` runs in the controller's container, and Envoy's admin interface, which
listens inside of its pod alone, is reached by a forwarded port: that needs no tool in Envoy's image. On Cloud Run nobody can enter an
instance: people act through the revisions of the service.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from extproc import contract
from extproc.domain import Infrastructure, Model, Rollout, Spec
from extproc.plan.playbook.markdown import Command

LOOK_TWICE: Final = 5
"""Seconds between two looks at a counter that must not grow."""
FORWARDED: Final = 20_000
"""The first local port for Envoy's admin interface in a pod; the next pod has the next one."""
ENVOYS: Final = "app.kubernetes.io/component=envoy"
"""Label of pods in which an Envoy runs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Of one Spec."""

    infrastructure: Infrastructure
    admin_port: int
    namespace: str
    """Of Kubernetes; the name of the service on Cloud Run."""

    @classmethod
    def of(cls, spec: Spec) -> Place:
        """Where this Spec runs."""
        return cls(spec.application.infrastructure, spec.listener.admin_port, re.sub(r"[._]+", "-", spec.application.name).strip("-"))

    @property
    def typed(self) -> str:
        """Where commands are typed, as a sentence."""
        match self.infrastructure:
            case Infrastructure.KUBERNETES:
                return f"Type them where `kubectl` may enter pods of the namespace `{self.namespace}`."
            case Infrastructure.CLOUD_RUN:
                return "Type them where `gcloud` may change the service; what says `extproc` runs where the controller runs."
            case _:
                return (
                    f"Type them on the machine that runs extproc and Envoy, as the user of extproc: the API's token is "
                    f"`{contract.DEFAULT_STORE.partition(':')[2]}.token`, or in `${contract.TOKEN_ENVIRONMENT}`. Another address of the "
                    f"API goes into `${contract.API_ENVIRONMENT}`, another store into `${contract.STORE_ENVIRONMENT}`."
                )

    def extproc(self, *words: str, fed: bool = False) -> str:
        """The command `extproc` with these words; `fed`: it reads standard input."""
        said = shlex.join(("extproc", *words))
        if self.infrastructure is Infrastructure.KUBERNETES:
            enter = "exec --stdin" if fed else "exec"
            return f"kubectl --namespace {self.namespace} {enter} deploy/extproc-controller --container controller -- {said}"
        return said

    def switch(self, *settings: str) -> Command:
        """Set runtime keys (`KEY=PERCENT`) of every Envoy; needs neither router nor controller."""
        asked = [self._curl(f"/runtime_modify?{one}", "-X POST ") for one in settings]
        return Command(self._on_each(asked), "\n".join("OK" for _ in settings))

    def counted(self, model: Model) -> Command:
        """Requests that a model's clusters have had, twice: equal numbers are what is wanted."""
        clusters = "|".join(backend.cluster.replace(".", r"\.") for backend in model.backends)
        look = self._curl(f"/stats?filter=^cluster\\.({clusters})\\.upstream_rq_total$")
        return Command(self._on_each([look, f"sleep {LOOK_TWICE}", look]))

    @property
    def entered(self) -> bool:
        """True where extproc runs in a container that is entered for each command: its files are not on this side."""
        return self.infrastructure is Infrastructure.KUBERNETES

    @property
    def has_admin(self) -> bool:
        """True where a person can reach Envoy's admin interface."""
        return self.infrastructure is not Infrastructure.CLOUD_RUN

    def _curl(self, path: str, how: str = "") -> str:
        """A question to an Envoy's admin interface."""
        if not self.entered:
            return f"curl -s {how}'http://127.0.0.1:{self.admin_port}{path}'"
        return f'curl -s {how}--retry 10 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$port{path}"'

    def _on_each(self, commands: Sequence[str]) -> str:
        """These for every Envoy; where there are several, at the same time."""
        if not self.entered:
            return "\n".join(commands)
        kubectl = f"kubectl --namespace {self.namespace}"
        return "\n".join(
            (
                f"port={FORWARDED}",
                f"for pod in $({kubectl} get pods --selector {ENVOYS} --output name); do",
                "  port=$((port + 1))",
                f'  ( {kubectl} port-forward "$pod" "$port:{self.admin_port}" > /dev/null & forward=$!',
                *(f"    {one}" for one in commands),
                '    kill "$forward" ) &',
                "done; wait",
            )
        )


def chooses_models(rollout: Rollout) -> bool:
    """True where Envoy has a switch for it: other layers are read by the application."""
    return rollout.layer == contract.MODEL_LAYER
