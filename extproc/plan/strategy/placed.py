"""Where the release runs and who is told: the lines of PLAN.md about what is deployed, by what each overlay and each service needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from extproc.domain import Alerts, Deploy, Infrastructure, Model, Overlay, Receiver, Spec
from extproc.plan.markdown import code, prose

OVERLAYS: Final[Mapping[Overlay, str]] = {
    Overlay.EDGE: "one pod with Envoy, router and controller in front of everything",
    Overlay.SIDECAR: "the three of them in the application's own pod",
    Overlay.SCALED: "Envoys behind an autoscaler, and one pod with router and controller",
    Overlay.ISTIO: "router and controller in the pod of an Istio gateway",
    Overlay.ENVOY_GATEWAY: "router and controller in the pod of an Envoy Gateway",
}
MACHINE: Final = "virtual machines: Envoy, router and controller are processes of one machine, with a store on its disk"
INSTANCE: Final = "Cloud Run: one instance that is always on, Envoy in front, router and controller beside it"


def place(spec: Spec) -> str:
    """What runs where."""
    infrastructure, deploy = spec.application.infrastructure, spec.deploy
    if infrastructure is Infrastructure.VM:
        return MACHINE
    if infrastructure is Infrastructure.CLOUD_RUN:
        account = f", as {code(deploy.service_account)}" if deploy is not None and deploy.service_account else ""
        return f"{INSTANCE}{account}"
    if deploy is None:
        return "Kubernetes; without `deploy` in the Spec there are no manifests"
    ways = "; ".join(f"{code(overlay.value)}: {OVERLAYS[overlay]}{_needs(deploy, overlay)}" for overlay in deploy.overlays)
    return f"Kubernetes, namespace {code(deploy.namespace)}: {ways}"


def _needs(deploy: Deploy, overlay: Overlay) -> str:
    """What an overlay has beside that."""
    if overlay is Overlay.SIDECAR:
        return f" ({code(deploy.application_image)}, port {deploy.application_port})"
    if overlay is Overlay.SCALED:
        return f", mutual TLS by the Secret {code(deploy.router_tls)}"
    return f" (class {code(deploy.gateway_class)})" if overlay is Overlay.ENVOY_GATEWAY else ""


def rows(spec: Spec) -> Iterator[tuple[str, str]]:
    """(label, what is said) of images, address, keys and storage, where there are manifests; and of alerts."""
    deploy, infrastructure = spec.deploy, spec.application.infrastructure
    if deploy is not None and infrastructure is not Infrastructure.VM:
        yield "Images", f"extproc {code(deploy.image)}, Envoy {code(deploy.envoy_image)}"
        run = infrastructure is Infrastructure.CLOUD_RUN
        yield from _instance(deploy) if run else _cluster(deploy)
    yield "Alerts", _told(spec.alerts)


def _instance(deploy: Deploy) -> Iterator[tuple[str, str]]:
    yield "Reached at", f"{code(deploy.domain)}; TLS ends in front of the service"
    yield "Storage", f"State and Journal are on the instance, with a copy each minute in the bucket {code(deploy.backup_bucket)}"


def _cluster(deploy: Deploy) -> Iterator[tuple[str, str]]:
    tls = f"TLS ends in Envoy, by the Secret {code(deploy.tls_secret)}" if deploy.tls_secret else "TLS ends in front of Envoy"
    yield "Reached at", f"{code(deploy.domain)}; {tls}"
    keys = f"keys are in the Secret {code(deploy.secret)}"
    yield "Secrets and metrics", f"{keys}; metrics are read from the namespace {code(deploy.monitoring_namespace)}"
    kept = f"State and Journal have {code(deploy.storage)} of {code(deploy.storage_class) if deploy.storage_class else 'the usual class'}"
    yield "Storage", f"{kept}; geoip databases on the claim {code(deploy.databases)}" if deploy.databases else kept


def _told(alerts: Alerts | None) -> str:
    if alerts is None:
        return "nobody is told: the Spec has no `alerts`"
    runbooks = f"; they link to {prose(alerts.runbooks)}" if alerts.runbooks else ""
    datadog = f"; Datadog names {prose(alerts.datadog)}" if alerts.datadog else ""
    sent = f"by the Alertmanager at {code(alerts.alertmanager)}"
    return f"pages to {_receiver(alerts.page)}, tickets to {_receiver(alerts.ticket)}, {sent}{runbooks}{datadog}"


def _receiver(receiver: Receiver) -> str:
    ways = [
        *([f"Slack {prose(receiver.slack.channel)} (address in {code(receiver.slack.webhook_file)})"] if receiver.slack else []),
        *([f"PagerDuty (key in {code(receiver.pagerduty_key_file)})"] if receiver.pagerduty_key_file else []),
        *([f"a webhook ({code(receiver.webhook.url or receiver.webhook.url_file or '')})"] if receiver.webhook else []),
        *([f"{prose(receiver.email.to)} from {prose(receiver.email.sender)}"] if receiver.email else []),
    ]
    return " and ".join(ways) or "nobody"


def served(spec: Spec, model: Model) -> str:
    """Who serves a model, and with how much of what: a vendor, or we ourselves."""
    ours = spec.deploy.models.get(model.name) if spec.deploy is not None else None
    serving, said = model.serving, []
    if ours is not None:
        at = ours.servers[ours.serving]
        said.append(
            f"{at.replicas} {ours.serving.value} replicas of {code(at.image)}, {ours.gpus} GPUs, {ours.cpu} CPUs and {ours.memory} each"
        )
        if ours.most_replicas:
            said.append(f"up to {ours.most_replicas}, one more from {ours.requests_per_replica} open requests each")
        if ours.weights:
            said.append(f"files on the claim {code(ours.weights)}")
    if serving is not None:
        gpus = f"{serving.gpus_per_replica} GPUs" if serving.gpus_per_replica > 1 else "one GPU"
        said.append(f"paid by the hour: {gpus} a replica at \\${serving.gpu_hour:f}, {serving.concurrency} answers at once")
    return "; ".join(said) or "somebody else"
