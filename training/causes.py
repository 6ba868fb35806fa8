"""What Keras and TensorFlow say of a fault, in one line: the cause without the way there."""

from __future__ import annotations

import re

MAX_LENGTH = 500

# Frames of a graph's traceback, and the marks around them.
_WAY_THERE = re.compile(r'\s*(File ".*|Detected at node.*|<stack traces.*|in user code:|\[\[\{\{.*|\(\d+\) \w+:|\s*)')
_CODE_AFTER_FRAME = re.compile(r'^([ \t]*File ".*", line \d+, in .*)\n[ \t]+\S.*$', re.MULTILINE)


def cause(exc: BaseException) -> str:
    """The text of an exception on one line, without stack frames; where it is long, its end, in which the cause stands."""
    text = _CODE_AFTER_FRAME.sub(r"\1", str(exc))
    lines = [line.strip() for line in text.splitlines() if not _WAY_THERE.fullmatch(line)]
    joined = " ".join(lines) or type(exc).__name__
    return joined if len(joined) <= MAX_LENGTH else "… " + joined[-MAX_LENGTH:]
