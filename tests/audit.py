"""`python -m tests.audit` asks an index of advisories about every pinned package; further arguments are pip-audit's own.

A package with a known vulnerability is an error. Where no index answers, or it knows none of the packages, as a mirror of the
packages alone does not, a line says that nothing was audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parent.parent / "constraints.txt"
LIMIT_S = 30.0
OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--desc", "off", "--format", "json")
# How the libraries below pip-audit tell of a network that is not there.
_UNREACHED = ("requests.exceptions.", "Could not connect", "ServiceError")


def audit(options: Sequence[str] = (), pinned: Path = PINNED) -> tuple[int, str]:
    """Audit a file of pinned packages; returns an exit status, and what to tell."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pinned), *OPTIONS, *options]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return 0, f"audit skipped: the index of advisories did not answer within {LIMIT_S:g} s"
    if ended.stdout.startswith("{"):
        return judge(json.loads(ended.stdout)["dependencies"])
    reason = (ended.stderr.splitlines() or ["it said nothing"])[-1]
    if any(sign in reason for sign in _UNREACHED):
        return 0, f"audit skipped: no index of advisories can be reached ({reason:.200})"
    return ended.returncode or 1, f"pip-audit failed:\n{ended.stderr}"


def judge(packages: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """Judge what pip-audit reports of each package; returns an exit status, and what to tell."""
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    if found:
        return 1, "\n".join([*found, "raise their pins, or give make AUDIT='--ignore-vuln ID' and say why beside it"])
    if len(unknown) == len(packages):
        return 0, f"audit skipped: the index that answers here has no advisories on any of the {len(packages)} pinned packages"
    told = f"audit: {len(packages) - len(unknown)} pinned packages, none with a known vulnerability"
    return 0, told + (f"; the index does not know {', '.join(unknown)}" if unknown else "")


if __name__ == "__main__":
    status, text = audit(sys.argv[1:])
    print(text, file=sys.stderr if status else sys.stdout)
    sys.exit(status)
