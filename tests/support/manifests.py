"""What is in deploy/, and the environment that a container of it gets."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

Manifest = Mapping[str, Any]

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl is there to build the overlays of deploy/ with")
_REFERENCE = re.compile(r"\$\((\w+)\)")


def manifests(path: Path) -> list[Manifest]:
    """The manifests of a file; none where it is kustomize's own."""
    found = [one for one in yaml.safe_load_all(path.read_text()) if isinstance(one, dict)]
    return [one for one in found if not one["apiVersion"].startswith("kustomize.")]


def built(folder: Path) -> list[Manifest]:
    """The manifests that a folder makes, by kustomize, as kubectl has it."""
    command = [KUBECTL or "", "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    return list(yaml.safe_load_all(text))


def base() -> list[Manifest]:
    """What the base makes, read without kustomize."""
    lines = (DEPLOY / "base/settings.env").read_text().splitlines()
    data = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return [
        *manifests(DEPLOY / "base/job.yaml"),
        {"kind": "ConfigMap", "metadata": {"name": "federated-training"}, "data": data},
    ]


def job_of(all_of_it: Iterable[Manifest]) -> Manifest:
    [job] = [one for one in all_of_it if one["kind"] == "Job"]
    return job


def pod_of(all_of_it: Iterable[Manifest]) -> Manifest:
    return dict(job_of(all_of_it)["spec"]["template"]["spec"])


def container_of(all_of_it: Iterable[Manifest]) -> Manifest:
    [container] = pod_of(all_of_it)["containers"]
    return dict(container)


def config_map(all_of_it: Iterable[Manifest], name: str) -> dict[str, str]:
    [data] = [one["data"] for one in all_of_it if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name]
    return dict(data)


def environment(all_of_it: Iterable[Manifest], **by_field: str) -> dict[str, str]:
    """The variables of the Job's container, as Kubernetes sets them.

    Args:
        by_field: values of those that are taken from the pod.
    """
    container, found = container_of(all_of_it), {}
    for source in container.get("envFrom", ()):
        found.update(config_map(all_of_it, source["configMapRef"]["name"]))
    for one in container.get("env", ()):
        value = one["value"] if "value" in one else by_field[one["name"]]
        found[one["name"]] = _REFERENCE.sub(lambda match: found[match[1]], value)
    return found
