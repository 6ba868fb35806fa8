"""The Dockerfile makes an image that a Job can run as deploy/ has it: not root, and nothing to write to but the Job's volumes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Federation, announced
from tests.support.image import BUILD_LIMIT_S, Image, built
from tests.support.manifests import base, container_of, environment, pod_of

pytestmark = pytest.mark.timeout(BUILD_LIMIT_S)  # an engine that has no base image and no packages yet fetches them


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    with built(tmp_path_factory.mktemp("image")) as image:
        if image is None:
            pytest.skip(
                "the image is not built: no engine answers to docker, and there is no buildah, or it is not for root to run"
            )
        yield image


def ended(image: Image, *command: str) -> subprocess.CompletedProcess[str]:
    started = image.command({}, {}, *command)
    return subprocess.run(started, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - what a test starts


def test_its_command_is_the_worker_which_asks_for_its_settings(image: Image) -> None:
    done = ended(image)
    assert (done.returncode, "FEDERATED_MODEL_ID is not set" in done.stdout) == (78, True), done


def test_it_runs_as_its_own_user_who_can_write_nowhere(image: Image) -> None:
    done = ended(image, "sh", "-c", "id -u; touch /tmp/file /usr/src/app/file")
    assert (done.stdout, done.stderr.count("Read-only file system")) == ("10001\n", 2)


def test_a_worker_takes_part_with_nothing_to_write_to_but_the_jobs_volumes(
    image: Image, federation: Federation, tmp_path: Path
) -> None:
    job = base()
    paths = {mount["name"]: mount["mountPath"] for mount in container_of(job)["volumeMounts"]}
    folders = {paths[one["name"]]: tmp_path / one["name"] for one in pod_of(job)["volumes"] if "emptyDir" in one}
    for folder in folders.values():
        folder.mkdir()
    of_job = {name: value for name, value in environment(job).items() if value.startswith(tuple(folders))}
    settings = federation.environment(federation.write(), DATA_MEMORY_LIMIT="1k", TERMINATION_LOG="/life/message")
    program, *arguments = image.command(settings | of_job, folders)
    federation.cloud.create_topics()
    worker = federation.start({}, program=program, arguments=arguments)
    federation.cloud.announce(announced(), -1)
    [reply] = federation.cloud.collect(-1, clients=1)
    assert worker.wait() == 0, worker.log
    assert reply.num_data == 400
    assert "is kept in DATA_SPILL_FOLDER=/spill" in worker.log
    assert [(tmp_path / "life" / name).exists() for name in ("sign", "message")] == [True, True]
