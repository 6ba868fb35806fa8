"""The demo, as a newcomer runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from demo.workers import REPOSITORY

LIMIT_S = 150.0
COMMAND = [sys.executable, "-m", "demo.run"]
# What the tests spare themselves, a newcomer has not set.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | {"PYTHONUNBUFFERED": "1"}


def test_the_demo_ends_with_a_global_model_that_is_right_and_its_picture(tmp_path: Path) -> None:
    command = [*COMMAND, "--results", str(tmp_path)]
    done = subprocess.run(  # noqa: S603
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count("global model ") == 5
    [last] = [line for line in done.stdout.splitlines() if line.startswith("global model: ")]
    assert float(last.removeprefix("global model: ").split("%")[0]) >= 93
    assert done.stdout.splitlines()[-1] == f"the rounds as a picture: file://{tmp_path}/classic.html"
    page = (tmp_path / "classic.html").read_text()
    assert page.count('<tr class="global">') == 5
    assert page.count("device-1-RAW") >= 5
    assert "&quot;kwargs_fit&quot;: {&quot;epochs&quot;: 3}" in page
    assert (tmp_path / "classic.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_leaves_nothing_behind() -> None:
    with subprocess.Popen(  # noqa: S603
        COMMAND, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        try:
            assert demo.stdout is not None
            started = (line for line in demo.stdout if "started as process" in line)
            pids = [int(next(started).split("started as process ")[1].split(",")[0]) for _ in range(2)]
            os.killpg(demo.pid, signal.SIGINT)
            demo.stdout.read()
            status = demo.wait(LIMIT_S)
        finally:
            demo.kill()
    assert status == 128 + signal.SIGINT
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
