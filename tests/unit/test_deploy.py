"""What is in deploy/ is what Kubernetes takes, and says what the worker understands and does."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import kubernetes_validate
import pytest

import protocol.errors
from config import Settings
from ending import STOP_LIMIT_S
from protocol.errors import WorkerError
from tests.support.certificates import Authority
from tests.support.manifests import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    base,
    built,
    config_map,
    container_of,
    environment,
    job_of,
    manifests,
    needs_kubectl,
    pod_of,
)
from variables import TERMINATION_LOG, termination_log

ROOT = Path(__file__).parents[2]
# The oldest version in which a podFailurePolicy is stable, and the newest that there are schemas of.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
PLAIN = [path for path in sorted(DEPLOY.rglob("*.yaml")) if manifests(path)]
# Variables that others read: TensorFlow and Keras, CUDA, the container's runtime, the shell.
OTHERS = {"KERAS_HOME", "CUDA_CACHE_PATH", "NVIDIA_VISIBLE_DEVICES", "JOB_COMPLETION_INDEX"}
INDEX = {"JOB_COMPLETION_INDEX": "1"}


def check(all_of_it: Iterable[Manifest], version: str) -> None:
    for one in all_of_it:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_kubernetes_takes_each_manifest(path: Path, version: str) -> None:
    check(manifests(path), version)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_what_kustomize_makes_of_each_overlay(overlay: str) -> None:
    all_of_it = built(DEPLOY / "overlays" / overlay)
    for version in VERSIONS:
        check(all_of_it, version)


def test_what_kubernetes_would_not_take_is_found() -> None:
    job = copy.deepcopy(dict(job_of(base())))
    job["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        check([job], VERSIONS[0])


@needs_kubectl
def test_kustomize_makes_of_the_base_what_is_read_of_it_without() -> None:
    made = built(DEPLOY / "base")
    assert environment(made) == environment(base())
    assert job_of(made)["spec"]["podFailurePolicy"] == job_of(base())["spec"]["podFailurePolicy"]


def every_job() -> list[pytest.ParameterSet]:
    """All that makes a Job: the base, the overlays, and Kafka-ML's own."""
    overlays = [pytest.param(f"overlays/{name}", marks=needs_kubectl, id=name) for name in OVERLAYS]
    return [pytest.param("base", id="base"), *overlays, pytest.param("kafka-ml-job.yaml", id="kafka-ml-job")]


def made(what: str) -> list[Manifest]:
    if what == "base":
        return base()
    return manifests(DEPLOY / what) if what.endswith(".yaml") else built(DEPLOY / what)


class Asked(dict[str, str]):
    """An environment that notes which of its variables are asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override] # as far as it is used
        self.names.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("what", every_job())
def test_the_settings_are_good_and_each_variable_is_one_that_is_read(what: str, tmp_path: Path) -> None:
    all_of_it = made(what)
    environ = Asked(mounted(all_of_it, tmp_path))
    settings = Settings.from_env(environ)
    termination_log(environ)
    assert environ.keys() - environ.names - OTHERS == set()
    assert settings.client_id_source == "FEDERATED_CLIENT_ID"


def mounted(all_of_it: list[Manifest], folder: Path) -> dict[str, str]:
    """The Job's environment, with a folder of ours for each of its volumes, and with what belongs into its secrets."""
    container, environ = container_of(all_of_it), environment(all_of_it, **INDEX)
    authority = Authority()
    certificate, key = authority.issue("edge-7")
    secrets = {"ca.crt": authority.certificate, "tls.crt": certificate, "tls.key": key, "username": "u", "password": "p"}
    for mount in container.get("volumeMounts", ()):
        path = folder / mount["mountPath"].lstrip("/")
        path.mkdir(parents=True)
        for name, text in secrets.items():
            (path / name).write_text(text)
        for name, value in environ.items():
            if value == mount["mountPath"] or value.startswith(mount["mountPath"] + "/"):
                environ[name] = f"{folder}{value}"
    return environ


@pytest.mark.parametrize("what", ["base", *(pytest.param(f"overlays/{name}", marks=needs_kubectl) for name in OVERLAYS)])
class TestAJobAsItShouldBe:
    def test_permanent_faults_end_it_and_no_others(self, what: str) -> None:
        rules = job_of(made(what))["spec"]["podFailurePolicy"]["rules"]
        [values] = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] in {"FailJob", "FailIndex"}]
        kinds = [one for one in vars(protocol.errors).values() if isinstance(one, type) and issubclass(one, WorkerError)]
        assert values == sorted({one.status for one in kinds if not one.passes and one is not WorkerError})

    def test_only_volumes_are_written_to_and_each_path_lies_in_one(self, what: str) -> None:
        all_of_it = made(what)
        container = container_of(all_of_it)
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        kinds = {one["name"]: next(kind for kind in one if kind != "name") for one in pod_of(all_of_it)["volumes"]}
        held = {mount["mountPath"]: kinds[mount["name"]] for mount in container["volumeMounts"]}
        for name, value in environment(all_of_it, **INDEX).items():
            if value.startswith("/") and name != "TERMINATION_LOG":
                [kind] = [kind for path, kind in held.items() if f"{value}/".startswith(f"{path}/")]
                assert (name, kind) == (name, "secret" if name.endswith("_FILE") and name != "LIVENESS_FILE" else "emptyDir")

    def test_the_termination_message_is_where_the_worker_writes_it(self, what: str) -> None:
        all_of_it = made(what)
        told = container_of(all_of_it)["terminationMessagePath"], environment(all_of_it, **INDEX)["TERMINATION_LOG"]
        assert told == (str(TERMINATION_LOG),) * 2

    def test_it_runs_as_the_images_user_who_is_not_root(self, what: str) -> None:
        [user] = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        security = pod_of(made(what))["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, int(user))

    def test_it_is_given_the_time_to_end(self, what: str) -> None:
        assert pod_of(made(what))["terminationGracePeriodSeconds"] > STOP_LIMIT_S + 1

    @pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
    def test_its_probes_tell_a_sign_of_life_that_is_too_old(self, what: str, probe: str, tmp_path: Path) -> None:
        command = container_of(made(what))[probe]["exec"]["command"]
        sign = tmp_path / "sign"
        limit = 60 * float(re.findall(r"-mmin -(\d+)", command[-1])[0])

        def passes() -> bool:
            environ = {"PATH": os.environ["PATH"], "LIVENESS_FILE": str(sign)}
            return subprocess.run(command, env=environ, check=False, timeout=20, capture_output=True).returncode == 0  # noqa: S603

        assert not passes()  # there is none
        for age, is_young in ((0, True), (limit - 30, True), (limit + 30, False)):
            sign.touch()
            os.utime(sign, (time.time() - age,) * 2)
            assert passes() is is_young


@needs_kubectl
def test_each_index_of_the_streams_starts_a_worker_with_a_stream_and_a_client_of_its_own(tmp_path: Path) -> None:
    """By the container's own command, in a real shell, with a worker that tells of itself."""
    all_of_it = built(DEPLOY / "overlays/streams")
    job, [shell, option, script] = job_of(all_of_it), container_of(all_of_it)["command"]
    [files] = [one["configMap"]["name"] for one in pod_of(all_of_it)["volumes"] if "configMap" in one]
    for name, text in config_map(all_of_it, files).items():
        (tmp_path / name).write_text(text)
    told = "import json, os\nprint(json.dumps([os.getpid(), *map(os.environ.get, ('DATA_TOPIC', 'FEDERATED_CLIENT_ID'))]))\n"
    (tmp_path / "federated_training.py").write_text(told)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(Path(sys.executable).resolve())
    workers = set()
    for index in range(job["spec"]["completions"]):
        environ = environment(all_of_it, JOB_COMPLETION_INDEX=str(index))
        environ["PATH"] = f"{tmp_path}/bin:{os.environ['PATH']}"
        command = [shell, option, script.replace("/streams/", f"{tmp_path}/")]
        with subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            number, topic, client = json.loads(process.communicate(timeout=20)[0])
        assert number == process.pid  # Python has the shell's place, and hears the signals
        workers.add((topic, client))
    assert workers == {("digits:0:0:674", "edge-7-0"), ("digits:1:0:512", "edge-7-1"), ("digits:2:0:238", "edge-7-2")}
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["parallelism"] == len(workers)  # none waits for another to end: a federation lasts


@needs_kubectl
def test_a_folder_of_ones_own_names_an_image_and_what_is_other_than_in_the_base(tmp_path: Path) -> None:
    """As docs/operation.md has it."""
    told = (ROOT / "docs/operation.md").read_text().split("```yaml\n# kustomization.yaml\n")[1].split("```")[0]
    there = os.path.relpath(DEPLOY, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(told.replace("path/to/deploy", there))
    (tmp_path / "settings.env").write_text("FEDERATED_CLIENT_ID=edge-9\nBAD_RECORDS=skip\n")
    all_of_it = built(tmp_path)
    assert environment(all_of_it) == environment(built(DEPLOY / "overlays/cpu")) | {
        "FEDERATED_CLIENT_ID": "edge-9",
        "BAD_RECORDS": "skip",
    }
    assert container_of(all_of_it)["image"] == "registry.example/federated-training:0.1.0"


def test_kafka_mls_own_job_is_as_its_backend_makes_it() -> None:
    spec = job_of(manifests(DEPLOY / "kafka-ml-job.yaml"))["spec"]
    assert spec["ttlSecondsAfterFinished"] == 10
    assert spec["template"]["spec"]["restartPolicy"] == "OnFailure"
