"""What a worker loads when it starts, and how it ends."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from utils import without_collection

ROOT = Path(__file__).parents[2]
OUTLETS = ("prometheus_client", "tensorboard", "opentelemetry", "mlflow")  # what outlets need that nobody has asked for
HEAVY = ("tensorflow", "keras", "tf_keras", "avro", "fastavro", "orjson", "scipy", "sklearn", "h5py", *OUTLETS)


def loaded(code: str) -> set[str]:
    """Which of HEAVY a process has loaded after some code."""
    asked = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    return set(done.stdout.split())


def test_nothing_heavy_is_loaded_before_the_settings_are_found_good() -> None:
    assert loaded("import wiring") == set()


@pytest.mark.parametrize(
    ("input_format", "config", "expected"),
    [
        ("RAW", {"data_type": "uint8", "label_type": "uint8"}, set()),
        ("JSON", {}, {"orjson"}),
        (
            "AVRO",
            {
                side: {"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]}
                for side in ("data_scheme", "label_scheme")
            },
            {"avro", "fastavro"},
        ),
    ],
)
def test_a_format_loads_its_own_libraries_alone(input_format: str, config: dict[str, object], expected: set[str]) -> None:
    assert loaded(f"from decoders import make_decoder\nmake_decoder({input_format!r}, {config!r})") == expected


def test_a_process_ends_with_its_status_while_a_thread_goes_on() -> None:
    code = (
        "import time, ending, utils\nutils.in_background('sleep', lambda: time.sleep(60))\nprint('out')\nending.end_process(76)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603
    assert (done.returncode, done.stdout) == (76, "out\n")


@pytest.mark.parametrize("output", ["> /dev/full", "| true", ">&-"], ids=["full disk", "reader gone", "closed"])
def test_a_log_that_cannot_be_written_does_not_cost_the_status(output: str) -> None:
    code = "import logging, ending, utils\nutils.configure_logging('INFO')\nlogging.info('a line')\nending.end_process(76)"
    command = [
        "bash",
        "-c",
        f'env -u PYTHONUNBUFFERED "$1" -c "$2" 2> /dev/null {output}; exit ${{PIPESTATUS[0]}}',
        "bash",
        sys.executable,
        code,
    ]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=20).returncode == 76  # noqa: S603


def test_the_collector_waits_for_the_last_of_those_that_spare_it() -> None:
    assert gc.isenabled()
    with without_collection():
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_work_in_the_background_raises_comes_with_its_result() -> None:
    code = "import utils\nutils.in_background('work', lambda: 1 / 0).result()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603
    assert done.stderr.strip().endswith("ZeroDivisionError: division by zero")
