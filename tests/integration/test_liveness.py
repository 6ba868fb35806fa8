"""A liveness probe finds a worker alive while it waits, and dead when it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.integration.conftest import Federation
from tests.support.manifests import base, container_of

AN_HOUR_S = 3600.0
LONG_S = 3 * 1.0  # beside a second, as often as it is renewed


def is_found_alive(sign: Path, limit_s: float) -> bool:
    """Whether the Job's probe passes within a time, from when the sign was an hour old."""
    os.utime(sign, (time.time() - AN_HOUR_S,) * 2)
    deadline = time.monotonic() + limit_s
    probe, environ = container_of(base())["livenessProbe"]["exec"]["command"], {**os.environ, "LIVENESS_FILE": str(sign)}
    while time.monotonic() < deadline:
        if not subprocess.run(probe, env=environ, check=False).returncode:  # noqa: S603
            return True
        time.sleep(0.05)
    return False


def test_a_worker_that_waits_is_alive_and_one_that_hangs_is_not(federation: Federation, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    federation.cloud.create_topics()
    worker = federation.start(federation.environment(federation.write(), LIVENESS_FILE=str(sign)))
    worker.await_line("waiting for the next model")
    assert is_found_alive(sign, limit_s=30)
    worker.send(signal.SIGSTOP)
    time.sleep(0.5)  # until it has stopped
    assert not is_found_alive(sign, limit_s=LONG_S)
    worker.send(signal.SIGCONT)
    assert is_found_alive(sign, limit_s=30)
