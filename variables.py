"""Reading variables of an environment: absent, parsed, or a fault that is noted; and parsers that need no more than a text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar, cast

TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes' default terminationMessagePath
MAX_SHOWN = 100  # characters of a wrong value
MAX_LIMIT_S = 31_536_000.0  # a year
FILE = "_FILE"  # at the end of a variable that names a file, which holds what the variable would
MAX_TRANSACTION_LIMIT_S = 2_147_483  # 24 days
MAX_PORT = 65_535
MAX_SECRET_BYTES = 1_048_576  # of a file; the certificates of a system have a quarter of it
WHOLE = re.compile(r"[0-9]{1,18}")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # ends a text in C; so Python has bytes of a variable that are no UTF-8
_PATH = re.compile(r"/[ -~]{0,254}")
_ABSENT = ("", "None")  # the backend writes Python's None for what a data source left out
_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(%|[KMGT]i?|k)?")
_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

T = TypeVar("T")
C = TypeVar("C", bound=str)


def termination_log(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file for the last words of a worker; None where none is named and Kubernetes has made none.

    It is no part of the settings, since what is wrong with those goes there too.
    """
    text = Environment(environ).text("TERMINATION_LOG")
    if text is not None:
        return Path(text)
    return TERMINATION_LOG if TERMINATION_LOG.exists() else None


def is_log_json(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the log is to be JSON from its first line on: what is wrong with the settings goes there too."""
    return (Environment(environ).text("LOG_FORMAT") or "").lower() == "json"


@dataclass(frozen=True, slots=True)
class Memory:
    """An amount of memory: so many bytes, or a share, in (0, 1], of what there is."""

    bytes: int | None = None
    share: float | None = None

    def of(self, total: int) -> int:
        """Its bytes, where there are `total`."""
        return int(self.share * total) if self.bytes is None and self.share is not None else self.bytes or 0


class Environment:
    """Reads variables and keeps the faults, so that all of them can be told at once."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._faulty: set[str] = set()
        self.faults: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """The names of all variables that are there."""
        return iter(self._environ)

    def note(self, name: str, *faults: str) -> None:
        self._faulty.add(name)
        self.faults.extend(faults)

    def is_missing(self, name: str) -> bool:
        return not self._environ.get(name, "").strip()

    def are_good(self, *names: str) -> bool:
        return self._faulty.isdisjoint(names)

    def text(self, name: str) -> str | None:
        """The variable's text; None where it is absent, as the backend and a person may spell that."""
        text = self._environ.get(name, "").strip()
        return None if text in _ABSENT else text

    def text_or_file(self, name: str, suffix: str) -> str | None:
        """A secret: the variable's own text, or that of the file that the variable of the same name and a suffix names.

        None where both are absent, or a fault, which shows nothing of it, is noted. Line ends at its end are none of it.
        """
        text = None if self.text(name) is None else self._environ[name].rstrip("\r\n")
        path = self.text(name + suffix)
        if path is None:
            return None if text is None else self._secret(name, name, text)
        if text is not None:
            self.note(name, f"{name} is set, and {name}{suffix} too: give one of the two")
            return None
        # What is no path may be the secret itself, put there by mistake.
        shown = f"{name}{suffix}={path!r}" if is_path(path) else f"{name}{suffix}, which is to hold the path of a file,"
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
            text = content.decode("utf-8-sig").rstrip("\r\n")
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is no text"
            self.note(name, f"{shown} cannot be read ({why}): mount a file there that this process may read")
            return None
        if not text or len(content) > MAX_SECRET_BYTES:
            what = f"has more than {MAX_SECRET_BYTES} bytes" if text else "is empty"
            self.note(name, f"{shown} {what}: expected what {name} would hold")
            return None
        return self._secret(name, shown, text)

    def _secret(self, name: str, shown: str, text: str) -> str | None:
        if _NO_TEXT.search(text):
            self.note(name, f"{shown} holds a byte of 0, or bytes that are no UTF-8: expected a text")
            return None
        return text

    def read(self, name: str, parse: Callable[[str], T], *, default: T | None = None, remedy: str = "") -> T:
        """The parsed value, or the default where it is absent. A remedy in place of a default makes absence a fault.

        After a fault the default stands in for the value; whoever has looked at `faults` does not use it.
        """
        text = self.text(name)
        if text is None:
            if remedy:
                self.note(name, f"{name} is not set: give {remedy}")
            return cast("T", default)
        try:
            return parse(text)
        except ValueError as exc:
            shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
            self.note(name, f"{name}={shown!r} {exc}")
            return cast("T", default)

    def needs(self, name: str, package: str, requirements: str) -> None:
        """Note a variable that is set without a package that it needs."""
        try:
            distribution(package)  # what is asked for it is not imported yet
        except PackageNotFoundError:
            self.note(
                name,
                f"{name} is set, and the package {package} is not there: python -m pip install -r {requirements}, or unset it",
            )


def is_path(text: str) -> bool:
    """Whether a text looks like the path of a file, and so is no secret put in its place."""
    return _PATH.fullmatch(text) is not None


def one_of(*choices: C) -> Callable[[str], C]:
    """A parser of one of some words, whatever their case."""

    def parse(text: str) -> C:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"is unknown: choose one of {', '.join(choices)}")

    return parse


def share(text: str) -> float:
    """A share in [0, 1)."""
    value = _number(text, "a fraction, e.g. 0.2 for 20 %")
    if not 0 <= value < 1:
        raise ValueError("is outside [0, 1): give a fraction, e.g. 0.2 for 20 %")
    return value


def count(text: str) -> int:
    """A number of records, at least 1."""
    return _whole(text, "is no number of records: give a whole number above 0, or None for a stream without end")


def number(text: str) -> int:
    """A whole number, at least 1."""
    return _whole(text, "is no whole number above 0: give one, e.g. 100")


def port(text: str) -> int:
    """A TCP port that can be listened on."""
    return _whole(text, f"is no port: give a whole number from 1 to {MAX_PORT}, e.g. 9090", MAX_PORT)


def limit(text: str) -> float | None:
    """Seconds, or none for a wait without limit."""
    return None if text.lower() == "none" else seconds(text)


def seconds(text: str) -> float:
    """Seconds of a wait that has a limit."""
    value = _number(text, "seconds, e.g. 120")
    if not 0 < value <= MAX_LIMIT_S:
        raise ValueError(f"is no limit: give seconds above 0 and up to {MAX_LIMIT_S:.0f}, e.g. 120")
    return value


def transaction_seconds(text: str) -> float:
    """Seconds that a transaction may be open, as Kafka counts them: in 32 bits, in ms."""
    value = _number(text, "seconds, e.g. 300")
    if not 1 <= value <= MAX_TRANSACTION_LIMIT_S:
        raise ValueError(f"is no limit of a transaction: give seconds from 1 to {MAX_TRANSACTION_LIMIT_S}, e.g. 300")
    return value


def memory(text: str) -> Memory:
    """Bytes as Kubernetes writes them, or a percentage."""
    remedy = "give bytes as Kubernetes writes them, e.g. 512Mi or 2Gi, or a share of the container's own limit, e.g. 40%"
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"is no amount of memory: {remedy}")
    number, unit = float(match[1]), match[2]
    if unit == "%":
        if not 0 < number <= 100:  # noqa: PLR2004 - per cent
            raise ValueError(f"is outside 0 to 100 per cent: {remedy}")
        return Memory(share=number / 100)
    return Memory(bytes=int(number * _UNITS.get(unit, 1)))


def folder(text: str) -> Path:
    """A folder that can be written to."""
    path = Path(text)
    if not path.is_dir():
        raise ValueError("is no folder: create it, or mount a volume there")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError("is a folder that this process may not write to: let it, or name another one")
    return path


def file(text: str) -> Path:
    """A file that can be written to, or made."""
    path = Path(text)
    if path.is_dir():
        raise ValueError("is a folder: name a file in it")
    if not path.exists():
        try:
            folder(str(path.parent))
        except ValueError as exc:
            raise ValueError(f"cannot be made: {str(path.parent)!r} {exc}") from exc
    elif not os.access(path, os.W_OK):
        raise ValueError("is a file that this process may not write to: let it, or name another one")
    return path


def _whole(text: str, fault: str, most: int | None = None) -> int:
    if not WHOLE.fullmatch(text) or int(text) == 0 or (most is not None and int(text) > most):
        raise ValueError(fault)
    return int(text)


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"is no number: give {wanted}") from None
