"""The picture and the page that a demo leaves."""

from __future__ import annotations

import base64
import html
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.image import imread

from demo import classic, picture
from demo.broker import KAFKA
from demo.course import Course
from demo.errors import PictureError
from demo.picture import Story, figure, has_person, leave, show, written
from demo.rounds import Reply
from demo.run import facts
from demo.workers import REPOSITORY

STORY = Story("Two <clients>", "80 % & more", {"when": "today"})
NAMES = {"FED-a": "<one>", "FED-b": "two"}


def reply(client: str, *metrics: str, validation: float | None = 0.5) -> Reply:
    lasts = {"training": 0.25, "validation": validation}
    return Reply(client, 1, {part: {name: [9.0, last] for name in metrics} for part, last in lasts.items()}, 40, ())


def course(*metrics: str) -> Course:
    made = Course()
    for number in range(3):
        made.add(number, [reply("FED-b", *metrics), reply("FED-a", *metrics)], NAMES)
        made.note(number, 0.7 + number / 10, metrics[-1])
    return made


SINGLE = course("loss", "accuracy")


def panels(of: Course) -> dict[str, list[str]]:
    return {axes.get_title(): [line.get_label() for line in axes.lines] for axes in figure(of, "t").axes}


def test_a_panel_a_metric_has_two_lines_a_client_and_one_of_the_global_model() -> None:
    clients = [f"{name}, {part}" for name in ("<one>", "two") for part in ("training", "validation")]
    assert panels(SINGLE) == {"accuracy": [*clients, "global model, held out"], "loss": clients}


def test_lines_hold_the_last_epoch_of_each_round() -> None:
    accuracy, loss = figure(SINGLE, "t").axes
    assert [list(line.get_ydata()) for line in loss.lines[:2]] == [[0.25] * 3, [0.5] * 3]
    assert [list(line.get_xdata()) for line in accuracy.lines] == [[0, 1, 2]] * 5
    assert list(accuracy.lines[-1].get_ydata()) == pytest.approx([0.7, 0.8, 0.9])
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in (accuracy, loss)] == [("round", "accuracy"), ("round", "loss")]


def test_rounds_are_whole_numbers() -> None:
    ticks = [tick for axes in figure(course("accuracy", "loss"), "t").axes for tick in axes.get_xticks()]
    assert [tick for tick in ticks if tick != int(tick)] == []


def test_lines_can_be_told_apart_without_colours() -> None:
    accuracy, _loss = figure(SINGLE, "t").axes
    assert len({(line.get_marker(), line.get_linestyle()) for line in accuracy.lines}) == 5


def test_each_output_of_a_model_has_its_panels_accuracies_first() -> None:
    outputs = course("loss", "edge_loss", "cloud_loss", "edge_accuracy", "cloud_accuracy")
    assert list(panels(outputs)) == ["edge accuracy", "cloud accuracy", "edge loss", "cloud loss"]


def test_a_part_without_numbers_has_a_line_without_points() -> None:
    alone = Course()
    alone.add(0, [reply("FED-a", "loss", validation=None)], NAMES)
    [loss] = figure(alone, "t").axes
    assert [len(line.get_xdata()) for line in loss.lines] == [1, 0]


def test_a_loss_of_zero_is_above_the_edge_of_its_panel() -> None:
    perfect = Course()
    for number, loss in enumerate((0.5, 0.0)):
        perfect.add(number, [Reply("FED-a", 1, {part: {"loss": [loss]} for part in ("training", "validation")}, 40, ())], NAMES)
    [axes] = figure(perfect, "t").axes
    assert axes.get_ylim()[0] < 0


def test_a_client_has_a_column_of_the_legend_which_fits_the_picture() -> None:
    crowd = Course()
    crowd.add(0, [reply(name, "accuracy", "loss") for name in ("device-1", "device-1-semi", "device-2", "device-2-semi")], {})
    for model in ("labelled alone", "with pseudo-labels"):
        crowd.note(0, 0.9, model=model)
    made = figure(crowd, "t")
    made.draw_without_rendering()
    [legend] = made.legends
    lefts = [round(text.get_window_extent().x0) for text in legend.get_texts()]
    assert lefts[::2] == lefts[1::2] == sorted(set(lefts))
    assert legend.get_window_extent().width <= made.bbox.width


class Read(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.images: list[dict[str, str | None]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in {"th", "td"}:
            self.rows[-1][-1] += data


def test_the_page_has_all_rounds_and_needs_no_other_file(tmp_path: Path) -> None:
    page = leave(SINGLE, STORY, "classic", tmp_path)
    read = Read(page.read_text())
    head, *rows = read.rows
    assert head == ["round", "client", "held out", "samples", "accuracy", "val_accuracy", "loss", "val_loss"]
    assert rows[0] == ["0", "<one>", "", "40", "0.2500", "0.5000", "0.2500", "0.5000"]
    assert rows[2] == ["0", "global model", "0.7000", "", "", "", "", ""]
    assert [row[:2] for row in rows] == [
        [str(number), name] for number in range(3) for name in ("<one>", "two", "global model")
    ]
    assert "Two <clients>" in read.text
    assert "80 % & more" in read.text
    [image] = read.images
    png = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"))
    assert png == (tmp_path / "classic.png").read_bytes()
    assert image["alt"] == "accuracy, loss by round, of <one>, two, global model; the table below has the numbers"
    assert re.findall(r"""(?:src|href)=(?!"data:)|url\(|@import|<script""", page.read_text()) == []
    high, wide, _ = imread(io.BytesIO(png)).shape
    assert wide > high > 300


def test_a_later_demo_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    leave(SINGLE, STORY, "classic", tmp_path)
    leave(course("loss"), STORY, "classic", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classic.html", "classic.png"]
    assert "accuracy" not in Read((tmp_path / "classic.html").read_text()).rows[0]


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = re.escape(f"{tmp_path}/file/results: no picture can be written there (Not a directory); --results names another")
    with pytest.raises(PictureError, match=told):
        leave(SINGLE, STORY, "classic", tmp_path / "file/results")


def test_a_command_that_is_no_text_is_told_as_far_as_it_is_one(tmp_path: Path) -> None:
    command = os.fsdecode(b"--results r\xe9sum\xe9")
    page = leave(SINGLE, Story("title", "told", {"command": command}), "classic", tmp_path)
    assert "--results r?sum?" in page.read_text()


A_BAD_DEMO = """
import sys
from types import SimpleNamespace
from demo import run
from demo.course import Answer, Course
from demo.stage import Outcome

outcome = Outcome("accuracy 0.10", Course([Answer(0, "a", 1, {"loss": 0.5}, {})]), "less than 0.80")
sys.modules["demo.classic"] = SimpleNamespace(run=lambda dialect: outcome, ROUNDS=1, TRAINING_SETTINGS={})
sys.exit(run.main())
"""


def bad_demo(results: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", A_BAD_DEMO, "--results", str(results)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own


def test_a_result_is_told_as_not_good_also_where_no_picture_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = bad_demo(tmp_path / "file/results")
    assert ended.returncode == 1
    assert ended.stdout.startswith("accuracy 0.10, after ")
    told = ended.stderr.splitlines()
    assert (told[0], len(told)) == ("less than 0.80: something is wrong", 2)
    assert "no picture can be written there" in told[1]


def test_the_page_has_the_command_as_a_shell_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "my results"
    assert bad_demo(folder).returncode == 1
    assert html.escape(f"python -m demo.run --results '{folder}'") in (folder / "classic.html").read_text()


def browser(folder: Path, script: str) -> dict[str, str]:
    """An environment in which a script is the browser."""
    program = folder / "browser"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {**os.environ, "BROWSER": str(program), "TOLD": str(folder / "told")}


def test_the_page_is_opened_in_the_persons_browser(tmp_path: Path) -> None:
    opened = show(tmp_path / "a page.html", browser(tmp_path, 'echo "$1" > "$TOLD"'))
    assert opened is not None
    assert opened.wait(10) == 0
    assert (tmp_path / "told").read_text() == f"file://{tmp_path}/a%20page.html\n"


def test_a_browser_has_no_terminal_and_a_session_of_its_own(tmp_path: Path) -> None:
    look = 'found=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo "$found" > "$TOLD"'
    opened = show(tmp_path / "page.html", browser(tmp_path, look))
    assert opened is not None
    assert os.getsid(opened.pid) == opened.pid
    assert opened.wait(10) == 0
    assert (tmp_path / "told").read_text().split() == ["/dev/null"] * 3


SCREEN = {"DISPLAY": ":0"}


@pytest.mark.parametrize("environ", [SCREEN, {"WAYLAND_DISPLAY": "wayland-0"}])
def test_at_a_terminal_with_a_screen_there_is_a_person(environ: dict[str, str]) -> None:
    assert has_person(environ, is_terminal=True)


def test_where_output_goes_to_a_file_there_is_no_person() -> None:
    assert not has_person(SCREEN, is_terminal=False)


@pytest.mark.skipif(sys.platform == "darwin", reason="there a screen needs no variable")
@pytest.mark.parametrize("environ", [{}, {"DISPLAY": ""}])
def test_without_a_screen_there_is_no_person(environ: dict[str, str]) -> None:
    assert not has_person(environ, is_terminal=True)


def test_open_no_keeps_the_page_closed() -> None:
    told = [
        subprocess.run(["make", "--dry-run", "demo", *more], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout  # noqa: S603, S607
        for more in ([], ["OPEN=no"])
    ]
    assert ["--no-open" in one for one in told] == [False, True]


def test_in_ci_there_is_no_person() -> None:
    assert not has_person({**SCREEN, "CI": "true"}, is_terminal=True)


def test_a_title_that_is_long_does_not_widen_the_picture() -> None:
    assert figure(SINGLE, "word " * 60).get_size_inches()[0] == 2 * picture.PANEL_INCHES[0]
    assert "word word" in written(SINGLE, Story("word " * 60, "", {}), b"")


def test_matplotlib_is_loaded_when_a_picture_is_drawn_and_not_before() -> None:
    look = "import sys, demo.picture; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], cwd=REPOSITORY, check=True)  # noqa: S603


def test_a_page_tells_the_version_of_the_kafka_that_its_demo_started() -> None:
    assert facts(classic, "keras3", {})["with"].startswith(f"Apache Kafka {KAFKA.split(':')[2]}, Python ")


def test_a_page_claims_no_version_of_a_kafka_that_ran_already() -> None:
    told = facts(classic, "keras3", {"KAFKA_BOOTSTRAP": "127.0.0.1:9092"})["with"]
    assert told.startswith("a Kafka that ran already, Python ")
