"""Where commands are typed, and how they reach extproc and Envoy: on a machine, in Kubernetes, on Cloud Run.

On a machine everything is on loopback. In Kubernetes `extproc` runs in the controller's container, and Envoy's admin interface, which
listens inside of its pod alone, is reached by a forwarded port: that needs no tool in Envoy's image. On Cloud Run people enter the
instance once, and from there on everything is on loopback; the image has no curl, so Python asks in its place.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from extproc import contract
from extproc.domain import Infrastructure, Model, Rollout, Spec
from extproc.plan.playbook.markdown import Command

FOLLOWS: Final = 1
"""Seconds before the first look: routers follow within a tenth of that."""
LOOK_TWICE: Final = 5
"""Seconds between two looks at a counter that must not grow."""
FORWARDED: Final = 20_000
"""The first local port for Envoy's admin interface in a pod; the next pod has the next one."""
CONTAINER: Final = "controller"


@dataclass(frozen=True, slots=True)
class Pods:
    """How one way to run it in Kubernetes names things."""

    component: str
    """Label of the pods in which Envoy runs."""
    brain: str
    """End of the name of the controller's Deployment; empty: somebody else names it, and its pod is found by its label."""
    admin_port: int = 0
    """Of Envoy's admin interface; 0: the Spec says it."""


EDGE: Final = "edge"
OVERLAYS: Final = {
    EDGE: Pods("edge", "edge"),
    "sidecar": Pods("application", "app"),
    "scaled": Pods("envoy", "brain"),
    "istio": Pods("istio", "istio", 15_000),
    "envoy-gateway": Pods("gateway", "", 19_000),
}
"""By overlay; the two gateways' Envoys have admin ports of their own."""


@dataclass(frozen=True, slots=True)
class Place:
    """Of one Spec."""

    infrastructure: Infrastructure
    application: str
    """Name of the application; of the service on Cloud Run."""
    admin_port: int
    namespace: str = ""
    """Of Kubernetes, as the next one is."""
    overlay: str = EDGE
    """The way to run it in Kubernetes."""

    @classmethod
    def of(cls, spec: Spec) -> Place:
        """Where this Spec runs; of several ways to run it in Kubernetes the first that the Spec names."""
        name, port = spec.application.name, spec.listener.admin_port
        if spec.application.infrastructure is not Infrastructure.KUBERNETES:
            return cls(spec.application.infrastructure, name, port)
        deploy = spec.deploy
        overlay = str(deploy.overlays[0].value) if deploy is not None and deploy.overlays else EDGE
        admin_port = OVERLAYS[overlay].admin_port or port
        return cls(Infrastructure.KUBERNETES, name, admin_port, name if deploy is None else deploy.namespace, overlay)

    @property
    def pods(self) -> Pods:
        """How things are named in Kubernetes."""
        return OVERLAYS[self.overlay]

    @property
    def entered(self) -> bool:
        """True where a container is entered for each command: its files and its loopback are not on this side."""
        return self.infrastructure is Infrastructure.KUBERNETES

    @property
    def typed(self) -> str:
        """Where commands are typed, as a sentence."""
        match self.infrastructure:
            case Infrastructure.KUBERNETES:
                return (
                    f"Names are those of the overlay `{self.overlay}`. Type the commands in `bash`, where `kubectl` may enter pods of the "
                    f"namespace `{self.namespace}` and forward their ports."
                )
            case Infrastructure.CLOUD_RUN:
                return (
                    f"Enter the instance first, and put your name into `${contract.ACTOR_ENVIRONMENT}`: the Journal has it. What is "
                    "written to a file there ends with the instance, so copy it."
                )
            case Infrastructure.VM:
                return (
                    "Type them on the machine that runs extproc and Envoy, as the user of extproc: the API's token is in "
                    f"`{contract.DEFAULT_STORE.partition(':')[2]}.token`, or in `${contract.TOKEN_ENVIRONMENT}`. Another address of the "
                    f"API goes into `${contract.API_ENVIRONMENT}`, another store into `${contract.STORE_ENVIRONMENT}`, your name, where "
                    f"the user does not say it, into `${contract.ACTOR_ENVIRONMENT}`."
                )

    @property
    def enter(self) -> Command | None:
        """What is typed once, before everything else; None: nothing."""
        if self.infrastructure is not Infrastructure.CLOUD_RUN:
            return None
        return Command(f"gcloud beta run services ssh {self.application} --container={CONTAINER}")

    def extproc(self, *words: str, fed: bool = False) -> str:
        """The command `extproc` with these words; `fed`: it reads standard input."""
        said = shlex.join(("extproc", *words))
        if not self.entered:
            return said
        brain = f"deploy/{self.application}-{self.pods.brain}" if self.pods.brain else f"$({self._listed} | head -n 1)"
        # In the image everybody has the same name: who acts says his own.
        named = f'env "{contract.ACTOR_ENVIRONMENT}=$USER" ' if "--why" in words else ""
        return f"{self._kubectl} {'exec --stdin' if fed else 'exec'} {brain} --container {CONTAINER} -- {named}{said}"

    @property
    def _kubectl(self) -> str:
        return f"kubectl --namespace {self.namespace}"

    @property
    def _listed(self) -> str:
        """All pods in which an Envoy runs."""
        labels = f"app.kubernetes.io/instance={self.application},app.kubernetes.io/component={self.pods.component}"
        return f"{self._kubectl} get pods --selector {labels} --output name"

    def switch(self, *settings: str) -> Command:
        """Set runtime keys (`KEY=PERCENT`) of every Envoy; needs neither router nor controller."""
        asked = [self._asked(f"/runtime_modify?{one}", posts=True) for one in settings]
        return Command(self._on_each(asked), "\n".join("OK" for _ in settings))

    def counted(self, model: Model) -> Command:
        """Requests that a model's clusters have had, twice: equal numbers are what is wanted."""
        clusters = "|".join(backend.cluster.replace(".", r"\.") for backend in model.backends)
        look = self._asked(f"/stats?filter=^cluster\\.({clusters})\\.upstream_rq_total$")
        return Command(self._on_each([f"sleep {FOLLOWS}", look, f"sleep {LOOK_TWICE}", look]))

    def _asked(self, path: str, posts: bool = False) -> str:
        """A question to an Envoy's admin interface."""
        how = "-X POST " if posts else ""
        match self.infrastructure:
            case Infrastructure.KUBERNETES:
                return f'curl -s {how}--retry 10 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$port{path}"'
            case Infrastructure.CLOUD_RUN:
                asked = f"Request(r'http://127.0.0.1:{self.admin_port}{path}', method='{'POST' if posts else 'GET'}')"
                return f'python -c "from urllib.request import *; print(urlopen({asked}).read().decode().strip())"'
            case Infrastructure.VM:
                return f"curl -s {how}'http://127.0.0.1:{self.admin_port}{path}'"

    def _on_each(self, commands: Sequence[str]) -> str:
        """These for every Envoy; where there are several, at the same time."""
        if not self.entered:
            return "\n".join(commands)
        return "\n".join(
            (
                f"port={FORWARDED}",
                f"for pod in $({self._listed}); do",
                "  port=$((port + 1))",
                f'  ( {self._kubectl} port-forward "$pod" "$port:{self.admin_port}" > /dev/null & forward=$!',
                *(f"    {one}" for one in commands),
                '    kill "$forward" ) &',
                "done; wait",
            )
        )


def chooses_models(rollout: Rollout) -> bool:
    """True where Envoy has a switch for it: other layers are read by the application."""
    return rollout.layer == contract.MODEL_LAYER
