"""JSON Schemas of the custom resources that we write and that nobody publishes as a package (Envoy Gateway, Flagger), or whose published
schema allows more (Cloud Run takes a part of Knative's): written after their definitions, for the fields that may be of use here. As in
those for Kubernetes' own kinds, an unknown field is a fault. Istio, Gateway API and Argo Rollouts: tests/support/published.py."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

_KUBERNETES: Final = "https://kubernetes.io/api/_definitions.json#/$defs/io.k8s.api.core.v1."
_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_TRUTH: Final[Schema] = {"type": "boolean"}
_ANY: Final[Schema] = {"type": "object"}
_WORDS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
_PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}
_NAME: Final[Schema] = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "maxLength": 253}
_LABEL: Final[Schema] = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_DURATION: Final[Schema] = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}


def _block(required: str = "", /, **properties: Schema) -> Schema:
    """An object with these keys and no others; `required` are names with blanks between."""
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": required.split()}


def _list(of: Schema, most: int = 1000, least: int = 1) -> Schema:
    return {"type": "array", "items": of, "maxItems": most, "minItems": least}


def _one_of(*words: str) -> Schema:
    return {"enum": list(words)}


def _kubernetes(kind: str) -> Schema:
    return {"$ref": f"{_KUBERNETES}{kind}"}


def _resource(spec: Schema) -> Schema:
    metadata = _block("name", name=_NAME, namespace=_LABEL, labels=_WORDS, annotations=_WORDS)
    return _block("apiVersion kind metadata spec", apiVersion=_TEXT, kind=_TEXT, metadata=metadata, spec=spec)


# -------------------------------------------------------------------------------------------------------------------------- Envoy Gateway
_REFERENCE: Final = _block("kind name", group={"type": "string"}, kind=_TEXT, name=_NAME, namespace=_LABEL)
_JSON_PATCH: Final = {
    **_block(
        "op", op=_one_of("add", "remove", "replace", "move", "copy", "test"), path={"type": "string"}, jsonPath=_TEXT, value={},
    ),
    "anyOf": [{"required": ["path"]}, {"required": ["jsonPath"]}],
}  # fmt: skip
_TARGETS: Final = _list(_block("group kind name", group={"type": "string"}, kind=_TEXT, name=_NAME, sectionName=_NAME), 16)
_PATCH_POLICY: Final = _block(
    "type targetRefs",
    type=_one_of("JSONPatch"),
    priority={"type": "integer"},
    targetRefs=_TARGETS,
    jsonPatches=_list(
        _block(
            "type name operation",
            name=_TEXT,
            operation=_JSON_PATCH,
            type=_one_of(
                "type.googleapis.com/envoy.config.listener.v3.Listener",
                "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            ),
        )
    ),
)
_DIRECTION: Final = _block(body=_one_of("Streamed", "Buffered", "BufferedPartial", "FullDuplexStreamed"), attributes=_list(_TEXT))
_EXTENSION_POLICY: Final = _block(
    "targetRefs",
    targetRefs=_TARGETS,
    extProc=_list(
        _block(
            "backendRefs",
            backendRefs=_list({**_REFERENCE, "properties": {**_REFERENCE["properties"], "port": _PORT}}, 16),
            failOpen=_TRUTH,
            messageTimeout=_DURATION,
            processingMode=_block(allowModeOverride=_TRUTH, request=_DIRECTION, response=_DIRECTION),
            metadata=_block(
                accessibleNamespaces=_list(_TEXT),
                # Envoy Gateway keeps its filters' own namespaces from them.
                writableNamespaces=_list({"type": "string", "pattern": r"^(?!envoy\.filters\.http\.)"}, 8),
            ),
        ),
        16,
    ),
)
_BACKEND: Final = _block(
    "endpoints",
    type=_one_of("Endpoints", "DynamicResolver"),
    appProtocols=_list(_one_of("gateway.envoyproxy.io/h2c", "gateway.envoyproxy.io/ws", "gateway.envoyproxy.io/wss")),
    fallback=_TRUTH,
    endpoints=_list(
        {
            **_block(
                unix=_block("path", path=_TEXT),
                ip=_block("address port", address=_TEXT, port=_PORT),
                fqdn=_block("hostname port", hostname=_NAME, port=_PORT),
            ),
            "minProperties": 1,
            "maxProperties": 1,
        },
        64,
    ),
)
_MERGE_PATCH: Final = _block("value", type=_one_of("StrategicMerge", "JSONMerge"), value=_ANY)
_ENVOY_PROXY: Final = _block(
    bootstrap=_block(type=_one_of("Merge", "Replace", "JSONPatch"), value=_TEXT, jsonPatches=_list(_JSON_PATCH)),
    provider=_block(
        "type",
        type=_one_of("Kubernetes"),
        kubernetes=_block(
            envoyDeployment=_block(
                replicas={"type": "integer", "minimum": 0},
                strategy=_block("type", type=_one_of("Recreate", "RollingUpdate"), rollingUpdate=_ANY),
                name=_TEXT,
                patch={
                    **_MERGE_PATCH,
                    "properties": {
                        **_MERGE_PATCH["properties"],
                        "value": {
                            "properties": {
                                "spec": {
                                    "properties": {
                                        "template": {
                                            "properties": {"spec": {"properties": {"containers": _list(_kubernetes("Container"))}}},
                                        }
                                    }
                                }
                            }
                        },
                    },
                },
                pod=_block(
                    labels=_WORDS,
                    annotations=_WORDS,
                    securityContext=_kubernetes("PodSecurityContext"),
                    volumes=_list(_kubernetes("Volume")),
                ),
                container=_block(
                    env=_list(_kubernetes("EnvVar")),
                    image=_TEXT,
                    resources=_ANY,
                    securityContext=_kubernetes("SecurityContext"),
                    volumeMounts=_list(_kubernetes("VolumeMount")),
                ),
            ),
            envoyService=_block(
                type=_one_of("ClusterIP", "LoadBalancer", "NodePort"),
                externalTrafficPolicy=_one_of("Local", "Cluster"),
                annotations=_WORDS,
                labels=_WORDS,
                patch=_MERGE_PATCH,
            ),
        ),
    ),
)
_ROUTE_FILTER: Final = _block(directResponse=_block(statusCode={"type": "integer"}, contentType=_TEXT, body=_ANY))

# ------------------------------------------------------------------------------------------------------------------------------ Cloud Run
_PROBE: Final = {
    **_block(
        httpGet=_block(path=_TEXT, port=_PORT),
        tcpSocket=_block("port", port=_PORT),
        grpc=_block("port", port=_PORT, service=_TEXT),
        initialDelaySeconds={"type": "integer", "minimum": 0, "maximum": 240},
        periodSeconds={"type": "integer", "minimum": 1, "maximum": 240},
        timeoutSeconds={"type": "integer", "minimum": 1, "maximum": 240},
        failureThreshold={"type": "integer", "minimum": 1},
    ),
    # No command: Cloud Run has no exec.
    "anyOf": [{"required": [kind]} for kind in ("httpGet", "tcpSocket", "grpc")],
}
_LIVENESS: Final = {**_PROBE, "properties": {key: value for key, value in _PROBE["properties"].items() if key != "tcpSocket"}}
_CLOUD_RUN: Final = _block(
    "template",
    template=_block(
        "spec",
        metadata=_block(annotations=_WORDS, labels=_WORDS, name=_LABEL),
        spec=_block(
            "containers",
            containerConcurrency={"type": "integer", "minimum": 1, "maximum": 1000},
            timeoutSeconds={"type": "integer", "minimum": 1, "maximum": 3600},
            serviceAccountName=_TEXT,
            containers=_list(
                _block(
                    "name image",
                    name=_LABEL,
                    image=_TEXT,
                    command=_list(_TEXT),
                    args=_list(_TEXT),
                    env=_list(
                        _block(
                            "name",
                            name={"type": "string", "not": {"enum": ["PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"]}},
                            value={"type": "string"},
                            valueFrom=_block("secretKeyRef", secretKeyRef=_block("name key", name=_TEXT, key=_TEXT)),
                        ),
                        least=0,
                    ),
                    ports=_list(_block("containerPort", name=_one_of("http1", "h2c"), containerPort=_PORT), 1),
                    resources=_block(limits=_WORDS),
                    startupProbe=_PROBE,
                    livenessProbe=_LIVENESS,
                    volumeMounts=_list(_block("name mountPath", name=_LABEL, mountPath=_TEXT)),
                ),
                10,
            ),
            volumes=_list(
                {
                    **_block(
                        "name",
                        name=_LABEL,
                        secret=_block("secretName", secretName=_TEXT, items=_list(_block("key path", key=_TEXT, path=_TEXT))),
                        emptyDir=_block(medium=_one_of("Memory"), sizeLimit=_TEXT),
                        csi=_block("driver", driver=_one_of("gcsfuse.run.googleapis.com"), readOnly=_TRUTH, volumeAttributes=_WORDS),
                    ),
                    "minProperties": 2,
                    "maxProperties": 2,
                }
            ),
        ),
    ),
)
_KUSTOMIZATION: Final = _block(
    "apiVersion kind resources",
    apiVersion=_one_of("kustomize.config.k8s.io/v1beta1"),
    kind=_one_of("Kustomization"),
    namespace=_LABEL,
    resources=_list(_TEXT),
    configMapGenerator=_list(_block("name files", name=_NAME, files=_list(_TEXT), options=_ANY)),
    generatorOptions=_block(disableNameSuffixHash=_TRUTH),
)

# -------------------------------------------------------------------------------------------------------------------------------- Flagger
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_HOOKS: Final = (
    *("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout", "rollback", "event"),
)
_HOOK: Final = _block(
    "name url",
    name=_TEXT,
    type=_one_of(*_HOOKS),
    url={"type": "string", "format": "url", "pattern": "^https?://"},
    timeout=_DURATION,
    muteAlert=_TRUTH,
    retries=_COUNT,
    metadata=_WORDS,
)
_CANARY_PATCH: Final = _block("analysis", analysis=_block("webhooks", webhooks=_list(_HOOK)))

_EG: Final = "gateway.envoyproxy.io/v1alpha1"
SCHEMAS: Final[dict[tuple[str, str], Schema]] = {
    (_EG, "EnvoyProxy"): _resource(_ENVOY_PROXY),
    (_EG, "EnvoyExtensionPolicy"): _resource(_EXTENSION_POLICY),
    (_EG, "EnvoyPatchPolicy"): _resource(_PATCH_POLICY),
    (_EG, "Backend"): _resource(_BACKEND),
    (_EG, "HTTPRouteFilter"): _resource(_ROUTE_FILTER),
    ("serving.knative.dev/v1", "Service"): _resource(_CLOUD_RUN),
    ("flagger.app/v1beta1", "Canary"): _resource(_CANARY_PATCH),
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"): _KUSTOMIZATION,
}
"""(apiVersion, kind) -> schema."""
