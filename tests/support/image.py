"""The image, built by a builder that is there, and run as the Job in deploy/ runs it: not root, and with a root that is read-only."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

REPOSITORY = Path(__file__).parents[2]
BUILD_LIMIT_S = 1800.0
CALL_LIMIT_S = 60.0
# Programs and libraries of this machine, which take the place of those that an image from a registry would bring.
_MACHINES = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", sys.base_prefix, sys.prefix)
_LINKS = ("/bin", "/sbin", "/lib", "/lib64")
_USERS = ("passwd", "group", "shadow", "gshadow", "login.defs")
# In a namespace of its own: the container's root, the folders and the rest of the machine in it, then nothing to be written to.
_ENTER = """
root=$1; mount --bind "$root" "$root"; shift
while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --bind "$1" "$root$2"; shift 2; done; shift
mount --rbind /proc "$root/proc"; mount --rbind /dev "$root/dev"
mount -o remount,ro,bind "$root"
exec "$@"
"""


class Image(Protocol):
    """An image that is built."""

    def command(self, environment: Mapping[str, str], folders: Mapping[str, Path], *instead: str) -> Sequence[str]:
        """What starts a container of it on this machine's network.

        Args:
            folders: that it may write to, by the path at which it has them.
            instead: of its own command.
        """


@contextmanager
def built(folder: Path) -> Iterator[Image | None]:
    """Build the image; None where nothing can.

    Args:
        folder: empty, on a disk.
    """
    if _answers("docker", "info"):
        with _by_docker() as image:
            yield image
    elif os.geteuid() == 0 and shutil.which("buildah"):
        with _by_buildah(folder) as image:
            yield image
    else:
        yield None


def _answers(*command: str) -> bool:
    return shutil.which(command[0]) is not None and not subprocess.run(command, capture_output=True, check=False).returncode  # noqa: S603


def _call(*command: str, limit_s: float = CALL_LIMIT_S) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)  # noqa: S603
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class _Docker:
    """An image of a Docker engine."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._containers: list[str] = []

    def command(self, environment: Mapping[str, str], folders: Mapping[str, Path], *instead: str) -> Sequence[str]:
        for folder in folders.values():
            folder.chmod(0o777)
        variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        mounts = [part for at, folder in folders.items() for part in ("--volume", f"{folder}:{at}")]
        container = f"{self._name}-{len(self._containers)}"
        self._containers.append(container)
        options = ("--name", container, "--rm", "--read-only", "--network", "host")
        return ("docker", "run", *options, *variables, *mounts, self._name, *instead)

    def remove(self) -> None:
        for container in self._containers:
            subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)  # noqa: S603, S607
        _call("docker", "rmi", self._name)


@contextmanager
def _by_docker() -> Iterator[Image]:
    name = f"federated-training-test-{secrets.token_hex(4)}"
    _call("docker", "build", "--tag", name, str(REPOSITORY), limit_s=BUILD_LIMIT_S)
    image = _Docker(name)
    try:
        yield image
    finally:
        image.remove()


class _Buildah:
    """An image of buildah's, without an engine: the kernel's namespaces and chroot do for what an engine does.

    Args:
        root: file system of a container.
        config: of the image, as OCI has it.
    """

    def __init__(self, root: Path, config: Mapping[str, str | list[str]]) -> None:
        self._root = root
        self._config = config

    def command(self, environment: Mapping[str, str], folders: Mapping[str, Path], *instead: str) -> Sequence[str]:
        user = str(self._config["User"])
        for folder in folders.values():
            os.chown(folder, int(user), int(user))
        mounts = [part for at, folder in folders.items() for part in (str(folder), at)]
        machines = [part for path in _machines() for part in (path, path)]
        start = ["chroot", "--userspec", f"{user}:{user}", str(self._root), "env", "--ignore-environment"]
        start += ["--chdir", str(self._config["WorkingDir"]), *self._config["Env"]]
        start += [f"{name}={value}" for name, value in environment.items()]
        enter = ("unshare", "--mount", "sh", "-euc", _ENTER, "sh", str(self._root))
        return (*enter, *mounts, *machines, "--", *start, *(instead or self._config["Cmd"]))


@contextmanager
def _by_buildah(folder: Path) -> Iterator[Image]:
    buildah = ("buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"))
    base, name = _base(folder / "base", buildah), "federated-training"
    # What a build does to this machine's folders is kept apart, and forgotten.
    volumes = [part for path in _machines() for part in ("--volume", f"{path}:{path}:O")]
    _call(*buildah, "build", "--isolation", "chroot", "--from", base, *volumes, "--tag", name, str(REPOSITORY))
    container = _call(*buildah, "from", name).strip()
    root = Path(_call(*buildah, "mount", container).strip())
    config = json.loads(_call(*buildah, "inspect", "--type", "image", name))["OCIv1"]["config"]
    try:
        yield _Buildah(root, config)
    finally:
        _call(*buildah, "rm", "--all")
        _call(*buildah, "rmi", "--all", "--force")


def _base(root: Path, buildah: Sequence[str]) -> str:
    """An image of the folders that a Debian has, nearly all of them empty."""
    for link in _LINKS:
        (root / link[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / link[1:]).symlink_to(Path(link).readlink())
    for path in ("dev", "etc", "proc", "tmp", *(path[1:] for path in _machines())):
        (root / path).mkdir(parents=True, exist_ok=True)
    for name in _USERS:
        shutil.copy(f"/etc/{name}", root / "etc" / name)
    container = _call(*buildah, "from", "scratch").strip()
    _call(*buildah, "copy", container, str(root), "/")
    _call(*buildah, "config", "--env", f"PATH={sys.prefix}/bin:/usr/sbin:/usr/bin", container)
    _call(*buildah, "commit", "--rm", container, "localhost/base")
    return "localhost/base"


def _machines() -> list[str]:
    """Without those that lie in another one."""
    paths = {Path(path) for path in _MACHINES if Path(path).is_dir() and path != "/usr"}
    return sorted(str(path) for path in paths if paths.isdisjoint(path.parents))
