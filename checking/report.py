"""The report of a check, for a terminal or for a log."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from typing import TextIO, final

from checking.findings import Finding, Mark
from protocol.errors import STATUS_DONE
from protocol.words import in_a_line, shortened

LOG_WIDTH = 120  # characters, where it is no terminal
_MARKS, _TITLES = 10, 20  # widths of the first columns
_COLOURS: Mapping[Mark, str] = {Mark.PASSED: "32", Mark.WAITS: "33", Mark.NOTICE: "33", Mark.FAULT: "1;31", Mark.LEFT_OUT: "2"}


def width_of(out: TextIO) -> int:
    """Characters of a line."""
    return shutil.get_terminal_size((LOG_WIDTH, 0)).columns if out.isatty() else LOG_WIDTH


@final
class Report:
    """Writes findings as they are made, and keeps the status to end with.

    Attributes:
        status: of the first fault.
    """

    def __init__(self, out: TextIO) -> None:
        self.status = STATUS_DONE
        self._out = out
        self._counts = dict.fromkeys(Mark, 0)
        self._title = ""

    def tell(self, title: str, finding: Finding) -> None:
        """Write one finding; of several with one title the first alone shows it."""
        self._counts[finding.mark] += 1
        if finding.mark is Mark.FAULT and self.status == STATUS_DONE:
            self.status = finding.status
        name, self._title = "" if title == self._title else title, title
        text = shortened(in_a_line(finding.text))
        begin = f"{finding.mark:{_MARKS}}{name:{_TITLES}}"
        first, *others = textwrap.wrap(
            text,
            max(width_of(self._out), 2 * len(begin)),
            initial_indent=begin,
            subsequent_indent=" " * len(begin),
            break_long_words=False,
            break_on_hyphens=False,
        )
        self._write(self._coloured(finding.mark, first[:_MARKS]) + first[_MARKS:], *others)

    def end(self) -> None:
        """Write what it comes to."""
        counts = ", ".join(f"{mark.lower()}={count}" for mark, count in self._counts.items() if count)
        self._write("", f"status {self.status}: {counts}")

    def _write(self, *lines: str) -> None:
        self._out.write("".join(f"{line.rstrip()}\n" for line in lines))
        self._out.flush()  # the next one may take long

    def _coloured(self, mark: Mark, text: str) -> str:
        return f"\x1b[{_COLOURS[mark]}m{text}\x1b[0m" if self._out.isatty() else text
