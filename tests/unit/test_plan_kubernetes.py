"""Manifests: valid by the schemas of what reads them, built by kustomize, whole, without a placeholder and without a secret."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc import spec
from extproc.cli.flags import flags as render_flags
from extproc.domain import Overlay, Spec
from extproc.plan import flags, kubernetes
from extproc.plan.kubernetes.capacity import DECISIONS, OUTCOMES, envoys, peak, workers
from extproc.plan.kubernetes.mounts import keys_of_all
from extproc.render import RenderError
from tests.support.manifests import EXAMPLES, ROOT, Document, built, changed, check, documents, files, loaded, of_kind, templates, written
from tests.support.patched import patched

PLACEHOLDER = re.compile(r"TODO|FIXME|CHANGEME|REPLACE_|your-|example\.com|xxx|<[a-z][a-z -]*>", re.IGNORECASE)
OVERLAYS = [
    (name, path.split("/")[2])
    for name in EXAMPLES
    for path in files(name)
    if path.startswith("kubernetes/overlays/") and path.endswith("/kustomization.yaml")
]


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[Document]]:
    """(example, overlay) -> what kustomize makes of it."""
    folders = {name: written(files(name), tmp_path_factory.mktemp(name)) for name in EXAMPLES}
    return {(name, overlay): built(folders[name] / "kubernetes" / "overlays" / overlay) for name, overlay in OVERLAYS}


# ---------------------------------------------------------------------------------------------------------------------------- all of them
def test_every_kind_of_overlay_is_in_an_example() -> None:
    """What follows looks at each of them."""
    assert {overlay for _, overlay in OVERLAYS} == {"edge", "sidecar", "scaled", "istio", "envoy-gateway"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_spec_gives_the_same_bytes(name: str) -> None:
    """Nothing depends on an order, a clock or a machine."""
    again = spec.read(str(EXAMPLES[name]))
    made = kubernetes.files(again) | flags.files(again)
    assert made == {path: text for path, text in files(name).items() if path not in kubernetes.spec_paths(again)}
    assert list(made) == [path for path in files(name) if path in made]


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_placeholder_is_left(name: str) -> None:
    """What a file needs is in the Spec."""
    for path, text in files(name).items():
        found = PLACEHOLDER.search(text)
        assert found is None, f"{path}: {found}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_key_comes_by_reference(name: str) -> None:
    """Each credential of the Spec is asked for under its name, from the Secret, by who reads it; no file has a value, or a Secret."""
    one, asked = loaded(name), set()
    for path, text in files(name).items():
        if not path.endswith(".yaml") or path in kubernetes.spec_paths(one):
            continue
        for document in documents(text):
            assert document.get("kind") != "Secret"
            for template in templates([document]):
                for variable in (each for container in template["spec"]["containers"] for each in container.get("env", ())):
                    if variable["name"] in keys_of_all(one):
                        assert "value" not in variable
                        assert variable["valueFrom"]["secretKeyRef"]["key"] in (variable["name"], "latest")
                        asked.add(variable["name"])
    assert asked == set(keys_of_all(one))


@pytest.mark.parametrize(("name", "overlay"), OVERLAYS)
def test_kustomize_builds_valid_objects(name: str, overlay: str, overlays: dict[tuple[str, str], list[Document]]) -> None:
    """Each overlay is a whole: every object fits its schema, and no two have the same name."""
    found = overlays[name, overlay]
    for document in found:
        check(document)
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))
    # A namespace among them would be deleted with them, and with it what others have there.
    assert "Namespace" not in {kind for kind, _ in names}
    assert {one["metadata"].get("namespace") for one in found} == {loaded(name).deploy.namespace}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_file_of_objects_is_valid_by_itself(name: str) -> None:
    """What kustomize does not build is looked at too: Cloud Run's service, the Services of a switch, the kustomizations themselves."""
    looked_at = 0
    for path, text in files(name).items():
        if path.endswith(".yaml") and path not in kubernetes.spec_paths(loaded(name)):
            for document in documents(text):
                if "apiVersion" in document:
                    check(document)
                    looked_at += 1
    assert looked_at > 0


def test_the_schemas_find_faults() -> None:
    """A schema that lets everything through would prove nothing."""
    for name, path, place, value in (
        ("chatbot", "kubernetes/overlays/edge/deployment.yaml", ("spec", "template", "spec", "containers", 0, "imagee"), "x"),
        ("chatbot", "kubernetes/overlays/envoy-gateway/extension-policy.yaml", ("spec", "extProc", 0, "failopen"), True),
        ("search", "cloud-run/service.yaml", ("spec", "template", "spec", "containers", 0, "livenessProbe"), {"exec": {"command": ["x"]}}),
    ):
        document = copy.deepcopy(documents(files(name)[path])[0])
        inner: Any = document
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        with pytest.raises(Exception, match=r"not allowed|unevaluated|not one of|not valid"):
            check(document)


# ------------------------------------------------------------------------------------------------------------------------------- patches
def _filters(made: Document) -> list[str]:
    listener = made["static_resources"]["listeners"][0]
    chain = listener.get("default_filter_chain") or listener["filter_chains"][0]
    return [one["name"] for one in chain["filters"][0]["typed_config"]["http_filters"]]


@pytest.mark.parametrize("name", ["chatbot", "content-generation"])
def test_patches_find_their_place_in_what_was_recorded(name: str) -> None:
    """Without TLS and with it: ours are between Istio's own filters and the router; the policy's filter is where Envoy Gateway puts it."""
    one, made = loaded(name), files(name)
    istio = _filters(patched(made, "istio", one))
    ours = istio[istio.index("istio.stats") + 1 : -1]
    assert istio[:4] == ["istio.metadata_exchange", "envoy.filters.http.cors", "envoy.filters.http.fault", "istio.stats"]
    assert istio[-1] == "envoy.filters.http.router"
    decision = f"envoy.filters.http.ext_proc/envoyextensionpolicy/{one.deploy.namespace}/{one.application.name}-gateway/extproc/0"
    gateway = _filters(patched(made, "envoy-gateway", one))
    assert gateway == [*(decision if each == "envoy.filters.http.ext_proc" else each for each in ours), "envoy.filters.http.router"]


def test_a_patch_without_a_place_is_seen() -> None:
    """Istio would say nothing of it, Envoy Gateway refuse all patches: here both fail."""
    one, made = loaded("chatbot"), files("chatbot")
    path = "kubernetes/overlays/istio/envoy-filter.yaml"
    for before, after in (
        ("chat.acme.test:80", "chat.acme.test:8080"),
        ("name: envoy.filters.http.router", "name: envoy.router"),
        ("context: GATEWAY", "context: SIDECAR_INBOUND"),
    ):
        assert before in made[path]
        with pytest.raises(AssertionError):
            patched({**made, path: made[path].replace(before, after)}, "istio", one)
    path = "kubernetes/overlays/envoy-gateway/patch-policy.yaml"
    for before, after in (("extproc/0", "ext-proc/0"), ("chat/chat-gateway/clients", "chat/chat-gateway/http")):
        assert before in made[path]
        with pytest.raises(AssertionError):
            patched({**made, path: made[path].replace(before, after)}, "envoy-gateway", one)


# -------------------------------------------------------------------------------------------------------------------------------- inside
@pytest.mark.parametrize(("name", "overlay"), OVERLAYS)
def test_containers_may_nothing_that_they_need_not(name: str, overlay: str, overlays: dict[tuple[str, str], list[Document]]) -> None:
    """uid 10001, no privilege, a root that cannot be written, memory bounded; what others build (Istio, Envoy Gateway) says so itself."""
    for template in templates(overlays[name, overlay]):
        pod = template["spec"]
        for container in pod["containers"]:
            if container["name"] == "istio-proxy" or (overlay == "envoy-gateway" and container["name"] == "envoy"):
                continue
            security = {**pod.get("securityContext", {}), **container["securityContext"]}
            assert security["runAsUser"] == 10001
            assert security["runAsNonRoot"] is True
            assert security["readOnlyRootFilesystem"] is True
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert not re.search(r":latest$|^[^:@]+$", container["image"]), container["image"]


@pytest.mark.parametrize(("name", "overlay"), OVERLAYS)
def test_nothing_refers_to_what_is_not_there(name: str, overlay: str, overlays: dict[tuple[str, str], list[Document]]) -> None:
    """Mounts have volumes, volumes have maps and claims, selectors have pods, autoscalers have Deployments."""
    found, one = overlays[name, overlay], loaded(name)
    there = {(document["kind"], document["metadata"]["name"]) for document in found}
    known_claims = {model.weights for model in one.deploy.models.values()} | {one.deploy.databases}
    pods = templates(found)
    for template in pods:
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in there or claim in known_claims
        mounted = {mount["name"] for container in template["spec"]["containers"] for mount in container.get("volumeMounts", ())}
        assert mounted == set(volumes)
        assert len({container["name"] for container in template["spec"]["containers"]}) == len(template["spec"]["containers"])
    labels = [template["metadata"]["labels"] for template in pods]
    for document in found:
        for selector in _selectors(document):
            assert any(selector.items() <= one.items() for one in labels), (document["kind"], document["metadata"]["name"], selector)
    for scaler in of_kind(found, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in there
        # Who has an autoscaler has no number of its own, which applying again would set back.
        scaled = next(one for one in of_kind(found, "Deployment") if one["metadata"]["name"] == target["name"])
        assert "replicas" not in scaled["spec"]


def _selectors(document: Document) -> Iterator[dict[str, str]]:
    inside = document.get("spec", {})
    if document["kind"] == "Service":
        yield inside["selector"]
    if document["kind"] == "PodDisruptionBudget":
        yield inside["selector"]["matchLabels"]
    if document["kind"] == "NetworkPolicy":
        yield inside["podSelector"]["matchLabels"]
    if document["kind"] == "EnvoyFilter":
        yield inside["workloadSelector"]["labels"]
    if document["apiVersion"].startswith("networking.istio.io") and document["kind"] == "Gateway":
        yield inside["selector"]


@pytest.mark.parametrize(("name", "overlay"), OVERLAYS)
def test_the_store_has_one_writer(name: str, overlay: str, overlays: dict[tuple[str, str], list[Document]]) -> None:
    """Whoever mounts it is one pod, which ends before the next begins; the account, a policy and a probe by `extproc health` are there."""
    found = overlays[name, overlay]
    writers = [one for one in of_kind(found, "Deployment") if any(v["name"] == "store" for v in one["spec"]["template"]["spec"]["volumes"])]
    proxies = [one["spec"]["provider"]["kubernetes"]["envoyDeployment"] for one in of_kind(found, "EnvoyProxy")]
    assert [(one["replicas"], one["strategy"]["type"]) for one in [*(w["spec"] for w in writers), *proxies]] == [(1, "Recreate")]
    assert of_kind(found, "ServiceAccount")
    assert of_kind(found, "NetworkPolicy")
    probed = {
        container["name"]: container["livenessProbe"]["exec"]["command"]
        for template in templates(found)
        for container in template["spec"]["containers"]
        if container["name"] in ("router", "controller")
    }
    assert {command[1] for command in probed.values()} == {"health"}
    assert set(probed) == {"router", "controller"}


def test_the_sidecar_names_its_store_and_its_backup(overlays: dict[tuple[str, str], list[Document]]) -> None:
    """The application's pod has the store on a claim, and copies it to another one; the application is told where its models are."""
    pod = templates(overlays["chatbot", "sidecar"])[0]["spec"]
    containers = {one["name"]: one for one in pod["containers"]}
    claims = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
    assert claims == {"store": "chat-store", "backup": "chat-backup"}
    assert "extproc backup sqlite:/var/lib/extproc/extproc.db /var/lib/extproc-backup/" in containers["backup"]["command"][-1]
    assert containers["application"]["env"] == [{"name": "LLM_BASE_URL", "value": "http://127.0.0.1:8080"}]
    config = yaml.safe_load(files("chatbot")["kubernetes/overlays/sidecar/envoy.yaml"])
    assert config["static_resources"]["listeners"][0]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_an_internal_listener_is_for_the_cluster_alone(overlays: dict[tuple[str, str], list[Document]]) -> None:
    """An edge is open to everybody, by a load balancer; an internal listener to pods, by a cluster's address."""
    for name, kind, open_to_all in (("chatbot", "LoadBalancer", True), ("code-assistant", "ClusterIP", False)):
        found = overlays[name, "edge"]
        front = next(one for one in of_kind(found, "Service") if one["metadata"]["name"].endswith("-edge"))
        policy = next(one for one in of_kind(found, "NetworkPolicy") if one["metadata"]["name"].endswith("-edge"))
        assert front["spec"]["type"] == kind
        assert ("from" not in policy["spec"]["ingress"][0]) is open_to_all


def test_tls_of_clients_ends_in_envoy_where_the_spec_names_a_secret() -> None:
    """The certificate is read from the Secret's files, by a file that Envoy watches."""
    made = files("content-generation")
    config = yaml.safe_load(made["kubernetes/overlays/edge/envoy.yaml"])
    context = config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"]["typed_config"]
    source = context["common_tls_context"]["tls_certificate_sds_secret_configs"][0]["sds_config"]["path_config_source"]["path"]
    assert source == "/etc/envoy/tls.yaml"
    assert "kubernetes/overlays/edge/tls.yaml" in made
    assert "transport_socket" not in files("chatbot")["kubernetes/overlays/edge/envoy.yaml"].split("clusters:")[0]


# ------------------------------------------------------------------------------------------------------------------------------ capacity
def test_the_numbers_come_from_what_was_measured() -> None:
    """Decisions per second and outcomes per second are no more than the proofs have."""
    bench = (ROOT / "docs" / "proof" / "bench.md").read_text(encoding="utf-8")
    row = next(line for line in bench.splitlines() if line.startswith("| native | everything |"))
    assert int(row.split("|")[6].strip().replace(",", "")) >= DECISIONS
    collector = (ROOT / "docs" / "proof" / "collector.md").read_text(encoding="utf-8")
    seen = [int(line.split("|")[6].replace(",", "")) for line in collector.splitlines() if re.match(r"\| [0-9]+% \|", line)]
    assert min(seen) >= OUTCOMES


def test_more_requests_get_more_workers_and_more_envoys() -> None:
    """A thousand times the example's volume is no longer carried by the least that there is."""

    def grown(values: Any) -> None:
        values["application"] |= {"daily_requests": 4_000_000_000, "daily_units": 100_000_000}

    small, large = loaded("code-assistant"), changed("code-assistant", grown)
    assert (workers(small), envoys(small)) == (2, (2, 6))
    assert peak(large) == pytest.approx(3 * 4_000_000_000 / 86_400)
    assert workers(large) == 4
    assert envoys(large) == (139, 417)
    made = kubernetes.files(large)
    scaler = documents(made["kubernetes/overlays/scaled/autoscaler.yaml"])[0]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (139, 417)
    brain = documents(made["kubernetes/overlays/scaled/brain.yaml"])
    assert [port["name"] for port in brain[1]["spec"]["ports"]] == [*(f"router-{number}" for number in range(4)), "collector"]


def test_a_higher_peak_gets_more_of_everything() -> None:
    """The same requests, in fewer hours of the day: more Envoys and more CPU, and more than one instance of Cloud Run bears."""

    def crowded(values: Any) -> None:
        values["application"]["peak"] = 900

    usual, busy = loaded("code-assistant"), changed("code-assistant", crowded)
    assert (envoys(usual), envoys(busy)) == ((2, 6), (5, 15))
    before, after = ({path: text.replace(one.digest, "") for path, text in kubernetes.files(one).items()} for one in (usual, busy))
    assert {path for path in before if before[path] != after[path]} == {
        "kubernetes/overlays/edge/deployment.yaml",
        "kubernetes/overlays/istio/deployment.yaml",
        "kubernetes/overlays/scaled/autoscaler.yaml",
        "kubernetes/overlays/scaled/brain.yaml",
    }
    assert refused("search", lambda values: values["application"].update(peak=50)) == ["plan.one-instance"]


# --------------------------------------------------------------------------------------------------------------------------- blue, green
@pytest.mark.parametrize("service", ["coder-32b", "coder-next"])
def test_switch_and_switch_back_change_the_selector_alone(service: str) -> None:
    """Blue's Service and green's differ in one label of the selector; the one that the Spec names is what the base has."""
    made = files("code-assistant")
    blue, green = (documents(made[f"kubernetes/switch/{service}-{colour}.yaml"])[0] for colour in ("blue", "green"))
    assert (blue["spec"]["selector"].pop("extproc/colour"), green["spec"]["selector"].pop("extproc/colour")) == ("blue", "green")
    assert blue == green
    blue["spec"]["selector"]["extproc/colour"] = "blue"
    assert documents(made[f"kubernetes/base/model-{service}.yaml"])[0] == blue

    def switched(values: Any) -> None:
        values["deploy"]["models"][service]["serving"] = "green"

    stable, moved = loaded("code-assistant"), changed("code-assistant", switched)
    before, after = ({path: text.replace(one.digest, "") for path, text in kubernetes.files(one).items()} for one in (stable, moved))
    assert {path for path in before if before[path] != after[path]} == {f"kubernetes/base/model-{service}.yaml"}
    old, new = (documents(one[f"kubernetes/base/model-{service}.yaml"]) for one in (before, after))
    assert old[1:] == new[1:]
    old[0]["spec"]["selector"]["extproc/colour"] = "green"
    assert old[0] == new[0]


def test_both_colours_are_kept_ready(overlays: dict[tuple[str, str], list[Document]]) -> None:
    """The colour that nobody asks has as many replicas as the other one, its own Service to look at it, and its own budget."""
    found = overlays["code-assistant", "edge"]
    for colour in ("blue", "green"):
        name = f"coder-32b-{colour}"
        kinds = {one["kind"] for one in found if one["metadata"]["name"] == name}
        assert kinds == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
        scaler = next(one for one in of_kind(found, "HorizontalPodAutoscaler") if one["metadata"]["name"] == name)
        assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (4, 8)
        # 70 % of the 64 places that the load test gave it.
        assert scaler["spec"]["metrics"][0]["pods"]["target"] == {"type": "AverageValue", "averageValue": "44"}
        container = next(one for one in of_kind(found, "Deployment") if one["metadata"]["name"] == name)["spec"]["template"]["spec"][
            "containers"
        ][0]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_affinity_lets_envoy_see_every_replica(overlays: dict[tuple[str, str], list[Document]]) -> None:
    """A Service with an address of its own would hide from Envoy which replica has a conversation's cache."""
    front = next(one for one in of_kind(overlays["code-assistant", "edge"], "Service") if one["metadata"]["name"] == "coder-32b")
    assert front["spec"]["clusterIP"] == "None"


# ----------------------------------------------------------------------------------------------------------------------------- Cloud Run
def test_cloud_run_has_one_instance_that_begins_with_the_last_copy() -> None:
    """One writer of State; three sidecars; the controller waits for nobody, and everybody for it."""
    service = documents(files("search")["cloud-run/service.yaml"])[0]
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert (annotations["autoscaling.knative.dev/minScale"], annotations["autoscaling.knative.dev/maxScale"]) == ("1", "1")
    containers = {one["name"]: one for one in service["spec"]["template"]["spec"]["containers"]}
    assert [name for name, one in containers.items() if "ports" in one] == ["envoy"]
    order = json.loads(annotations["run.googleapis.com/container-dependencies"])
    assert all("startupProbe" in containers[needed] for waited in order.values() for needed in waited)
    assert "cp /backup/extproc.db /var/lib/extproc/extproc.db" in containers["controller"]["args"][0]
    assert "mv /backup/extproc.db.new /backup/extproc.db" in containers["backup"]["args"][0]
    reference = containers["envoy"]["env"][0]["valueFrom"]["secretKeyRef"]
    assert (containers["envoy"]["env"][0]["name"], reference["name"]) == ("GEMINI_API_KEY", "gemini-api-key")


# ------------------------------------------------------------------------------------------------------------------------------- refused
def refused(name: str, change: Any) -> list[str]:
    """Identities of the problems after a change."""
    with pytest.raises(RenderError) as caught:
        kubernetes.files(changed(name, change))
    assert all(problem.hint for problem in caught.value.problems)
    return [problem.id for problem in caught.value.problems]


def test_what_the_spec_lacks_is_said() -> None:
    """By path, with what to write."""
    assert refused("chatbot", lambda values: values.pop("deploy")) == ["plan.no-deploy"]
    geoip = {"listener": {"kind": "edge", "geoip": {"database": "/etc/geo/country.mmdb"}}}
    assert refused("chatbot", lambda values: values.update(geoip)) == ["plan.geoip"]
    assert refused("search", lambda values: values.update(geoip)) == ["plan.geoip"]
    assert refused("search", lambda values: values["deploy"].pop("backup_bucket")) == ["plan.backup"]
    assert refused("search", lambda values: values["application"].update(daily_requests=90_000_000)) == ["plan.one-instance"]


def test_what_cannot_work_is_refused() -> None:
    """A judge beside an Envoy elsewhere, a failover on an older Envoy, files that no volume can bring."""

    def judged(values: Any) -> None:
        values["deploy"] |= {"overlays": ["scaled"], "router_tls": "tls"}

    def failing_over(values: Any) -> None:
        values["rollouts"]["gpt-5-mini"]["on_canary_failure"] = "stable"

    def filed(values: Any) -> None:
        values["models"]["gpt-4o"]["credential"] = {"file": "/tmp/key"}
        values["models"]["gpt-5-mini"]["credential"] = {"file": "keys/key"}

    def elsewhere(values: Any) -> None:
        del values["models"]["gpt-4o"]["endpoint"], values["models"]["gpt-4o"]["credential"]

    assert refused("chatbot", judged) == ["plan.scaled-judge"]
    assert refused("chatbot", failing_over) == ["plan.core", "plan.core"]
    assert refused("chatbot", filed) == ["plan.file-place", "plan.file-place"]
    assert refused("chatbot", elsewhere) == ["plan.no-endpoint"]


def test_keys_in_files_are_mounted_where_the_spec_says() -> None:
    """A file is a key of the Secret, by its name, in a directory of its own."""

    def filed(values: Any) -> None:
        values["models"]["gpt-4o"]["credential"] = {"file": "/etc/extproc/keys/openai"}
        values["feedback"]["keys_file"] = "/etc/extproc/feedback/keys"

    made = kubernetes.files(changed("chatbot", filed))
    pod = documents(made["kubernetes/overlays/edge/deployment.yaml"])[0]["spec"]["template"]["spec"]
    volumes = {one["name"]: one.get("secret") for one in pod["volumes"]}
    assert volumes["envoy-files-0"] == {"secretName": "chat-keys", "defaultMode": 0o440, "items": [{"key": "openai", "path": "openai"}]}
    mounts = {one["name"]: [(m["name"], m["mountPath"]) for m in one["volumeMounts"]] for one in pod["containers"]}
    assert ("envoy-files-0", "/etc/extproc/keys") in mounts["envoy"]
    assert ("controller-files-0", "/etc/extproc/feedback") in mounts["controller"]


def test_a_virtual_machine_has_no_manifests() -> None:
    """Neither Kubernetes nor Cloud Run: nothing is written, and nothing is asked for."""

    def on_a_machine(values: Any) -> None:
        values["application"]["infrastructure"] = "vm"
        del values["deploy"]

    one: Spec = changed("chatbot", on_a_machine)
    assert (kubernetes.files(one), kubernetes.spec_paths(one)) == ({}, ())


def test_what_deploy_leaves_out_is_made_from_the_application() -> None:
    """Namespace and Secret have its name; one overlay is written."""
    deploy = loaded("search").deploy
    assert deploy is not None
    assert (deploy.namespace, deploy.secret, deploy.overlays, deploy.envoy_image) == (
        "search", "search-keys", (Overlay.EDGE,), "envoyproxy/envoy:v1.40.0",
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------------------- guide
def test_the_guide_speaks_of_what_is_there() -> None:
    """Its block is a Spec's, its paths are made, its names are those of the files."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(deploy:.*?)```", guide, re.DOTALL)
    assert block is not None
    assert kubernetes.files(changed("chatbot", lambda values: values.update(yaml.safe_load(block[1]))))
    made = {path for name in EXAMPLES for path in files(name)}
    folders = {path.rpartition("/")[0] for path in made}
    for path in re.findall(r"release/((?:kubernetes|cloud-run)[a-z0-9/.-]*)", guide):
        assert path in made | folders | {"kubernetes", "cloud-run"}, path
    objects = {one["metadata"]["name"] for name in EXAMPLES for path in files(name) if path.endswith(".yaml")
               for one in documents(files(name)[path]) if "metadata" in one}  # fmt: skip
    for name in re.findall(r"deployment/([a-z0-9-]+)", guide):
        assert name in objects, name
    assert {"chat-keys", "chat-brain.chat.svc"} <= set(re.findall(r"chat-[a-z.]+[a-z]", guide))


# --------------------------------------------------------------------------------------------------------------------------------- flags
def test_flags_are_what_render_flags_writes(tmp_path: Path) -> None:
    """The same documents, and a README that says which people they see; what a vendor cannot say is named with its reason."""
    render_flags(EXAMPLES["chatbot"], tmp_path)
    made = {path.removeprefix("flags/"): text for path, text in files("chatbot").items() if path.startswith("flags/")}
    readme = made.pop("README.md")
    assert made == {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert "gpt-5-mini.openfeature.py" in made
    assert "gpt-5-mini.flagd.json" in readme
