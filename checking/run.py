"""`--check` and `--describe`, from the environment to the last line."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TextIO

from checking.checks import check_all
from checking.desk import Desk
from checking.report import Report, width_of
from checking.vocabulary import table
from config import Settings
from protocol.errors import SettingsError
from variables import Environment


def check(out: TextIO, env: Environment | None = None) -> int:
    """Tell whether a worker with this environment would work, and how to mend what would not.

    Returns:
        The exit status that the first fault means; 0 where there is none.
    """
    env = env or Environment()
    settings = Settings.read(env)
    report = Report(out)
    with ExitStack() as stack:
        for title, finding in check_all(Desk(env, settings, stack)):
            report.tell(title, finding)
    report.end()
    if report.status == SettingsError.status:
        out.write("python federated_training.py --describe tells what each variable means\n")
    return report.status


def describe(out: TextIO, env: Environment | None = None) -> None:
    """Tell which variables there are, and what they are set to."""
    out.writelines(f"{line}\n" for line in table(env or Environment(), width_of(out)))
