"""What a demo leaves: its rounds as a picture, and as a page that holds the picture and all numbers."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from demo.course import Course
from demo.errors import PictureError

RESULTS = Path(__file__).resolve().parent.parent / "demo-results"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind people too (Okabe and Ito)
MARKS = "os^D"
GLOBAL_STYLES = ({"color": "#000000", "marker": "*"}, {"color": "#7f7f7f", "marker": "P", "ls": "-."})
DPI = 110
PANEL_INCHES = (5.6, 4.0)
LEGEND_INCHES = 0.25  # a line of the legend
LEGEND_COLUMNS = 5

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.4rem; }}
div {{ overflow-x: auto; }}
img {{ width: 100%; min-width: 44rem; height: auto; background: white; border-radius: 6px; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }}
th, td {{ padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }}
th:nth-child(2), td:nth-child(2) {{ text-align: left; }}
tr.global {{ font-weight: 600; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }}
dt {{ opacity: .7; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{told}</p>
<div><img alt="{alt}" src="data:image/png;base64,{png}"></div>
<div><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
<dl>{facts}</dl>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Story:
    """What a page tells beside the rounds.

    Attributes:
        title: what was shown.
        told: what it came to.
        facts: more, by what they are.
    """

    title: str
    told: str
    facts: Mapping[str, str]


def leave(course: Course, story: Story, name: str, folder: Path = RESULTS) -> Path:
    """Write name.png and name.html, in place of what an earlier demo has left; returns the page.

    Raises:
        PictureError: the folder cannot be written.
    """
    png = drawn(course, story.title)
    page = folder / f"{name}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / f"{name}.png", png)
        _put(page, written(course, story, png).encode(errors="replace"))  # a folder's name may be no text
    except OSError as exc:
        raise PictureError(f"{folder}: no picture can be written there ({exc.strerror}); --results names another") from exc
    return page


def drawn(course: Course, title: str) -> bytes:
    """The picture, as PNG."""
    buffer = io.BytesIO()
    figure(course, title).savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def figure(course: Course, title: str) -> Any:
    """A panel a metric, in which each client has a line for training and one for validation, and global models have theirs."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - at the end of a demo alone
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - as above

    metrics = course.metrics
    rows = 1 if len(metrics) <= 2 else 2  # noqa: PLR2004 - accuracies above, losses below
    columns = -(-len(metrics) // rows)
    made = Figure(layout="constrained")
    for axes, metric in zip(made.subplots(rows, columns, squeeze=False).flat, metrics, strict=False):
        for colour, mark, client in _styled(course.clients):
            style = {"color": colour, "marker": mark, "markersize": 5}
            axes.plot(*course.line(client, metric, "training"), label=f"{client}, training", **style)
            axes.plot(*course.line(client, metric, "validation"), label=f"{client}, validation", **style, ls="--", mfc="white")
        for look, (model, values) in zip(GLOBAL_STYLES, course.held_out.get(metric, {}).items(), strict=False):
            axes.plot(*zip(*values.items(), strict=True), **look, lw=2.5, ms=9, label=f"{model}, held out")
        axes.set(title=metric.replace("_", " "), xlabel="round", ylabel=metric.rpartition("_")[2])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if metric.endswith("loss"):
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))  # with room for the mark of a loss of 0
    made.suptitle(title, wrap=True)
    handles = {label: handle for axes in made.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    lines = max(2, -(-len(handles) // LEGEND_COLUMNS))  # filled from above: training and validation of a client in a column
    style = {"ncols": -(-len(handles) // lines), "columnspacing": 1.2, "frameon": False}
    made.legend(handles.values(), handles.keys(), loc="outside lower center", **style)
    made.set_size_inches(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + LEGEND_INCHES * lines)
    return made


def written(course: Course, story: Story, png: bytes) -> str:
    """The page, which needs no other file and no server."""
    metrics = course.metrics
    heads = ["round", "client", "held out", "samples", *(f"{part}{name}" for name in metrics for part in ("", "val_"))]
    lines = ", ".join(dict.fromkeys([*course.clients, *(model for models in course.held_out.values() for model in models)]))
    alt = f"{', '.join(metrics)} by round, of {lines}; the table below has the numbers"
    return _PAGE.format(
        title=escape(story.title),
        told=escape(story.told),
        alt=escape(alt),
        png=base64.b64encode(png).decode(),
        heads="".join(f'<th scope="col">{escape(head)}</th>' for head in heads),
        rows="\n".join(_rows(course, metrics)),
        facts="".join(f"<dt>{escape(what)}</dt><dd>{escape(fact)}</dd>" for what, fact in story.facts.items()),
    )


def show(page: Path, environ: Mapping[str, str] = os.environ) -> subprocess.Popen[bytes] | None:
    """Have a page opened in the browser that webbrowser finds; None where that cannot be begun.

    A process of its own, in a session of its own, looks for the browser: the demo waits for none, and takes none along when it
    ends. It has no terminal, so that a browser that draws into one does not take the place of what the demo has told.
    """
    command = [sys.executable, "-I", "-m", "webbrowser", page.resolve().as_uri()]
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environ, start_new_session=True)
    except OSError:
        return None


def has_person(environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether somebody would see a browser: at a terminal, which is not that of a CI, with a screen beside it.

    Args:
        environ: with DISPLAY or WAYLAND_DISPLAY where there is a screen; macOS has one, but not for who comes by SSH.
        is_terminal: whether what the demo prints goes to a terminal.
    """
    is_at_a_mac = sys.platform == "darwin" and not environ.get("SSH_CONNECTION")
    has_screen = bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")) or is_at_a_mac
    return is_terminal and has_screen and not environ.get("CI")


def _styled(clients: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for index, client in enumerate(clients):
        yield COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)], client


def _rows(course: Course, metrics: Sequence[str]) -> Iterator[str]:
    rounds = list(dict.fromkeys(answer.round for answer in course.answers))
    for number in rounds:
        for answer in (one for one in course.answers if one.round == number):
            numbers = [part.get(name) for name in metrics for part in (answer.training, answer.validation)]
            yield _row("", number, answer.client, "", answer.samples, *map(_shown, numbers))
        for metric, models in course.held_out.items():
            for model, values in models.items():
                what = model if metric == "accuracy" else f"{model}, {metric.replace('_', ' ')}"
                yield _row(' class="global"', number, what, _shown(values.get(number)), "", *[""] * (2 * len(metrics)))


def _row(kind: str, *cells: object) -> str:
    return f"<tr{kind}>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"


def _put(path: Path, content: bytes) -> None:
    """Write a file as a whole, or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}", delete=False) as file:
        try:
            file.write(content)
            file.close()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(file.name).unlink()
            raise
