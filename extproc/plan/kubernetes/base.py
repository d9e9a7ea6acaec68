"""What every way to run it shares: account, the store's volume, the Spec.

The namespace is not among them: `kubectl delete -k` would delete it, and with it what others have in it.
"""

from __future__ import annotations

from typing import Final

from extproc.domain import Spec
from extproc.plan.kubernetes.documents import Document, Files, deploy_of, kustomization, labels, manifest, text
from extproc.plan.kubernetes.pods import account_name, release_name, store_name

RELEASE: Final = "release.yaml"


def base(spec: Spec, models: Files) -> Files:
    """kubernetes/base; `models` are the files of models that we serve ourselves."""
    deploy = deploy_of(spec)
    account = manifest(spec, "v1", "ServiceAccount", account_name(spec), "account", automountServiceAccountToken=False)
    claim: Document = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": deploy.storage}}}
    if deploy.storage_class:
        claim["storageClassName"] = deploy.storage_class
    store = manifest(spec, "v1", "PersistentVolumeClaim", store_name(spec), "store", spec=claim)
    # Without a hash in its name: the controller reads a changed Spec by itself, and no pod has to begin anew.
    generated = {"name": release_name(spec), "files": [RELEASE], "options": {"disableNameSuffixHash": True, "labels": labels(spec, "spec")}}
    resources = ["account.yaml", "store.yaml", *models]
    files = {
        "account.yaml": text(spec, account),
        "store.yaml": text(spec, store),
        **models,
        "kustomization.yaml": kustomization(spec, "What every overlay shares", resources, configMapGenerator=[generated]),
    }
    return {f"kubernetes/base/{name}": content for name, content in files.items()}
