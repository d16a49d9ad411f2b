"""What tests ask of the doctor's findings."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from betcode.core.diagnosis.finding import Finding

LIMIT_S = 60.0


def found(findings: Finding | Sequence[Finding], name: str) -> Finding:
    """The one finding of this id, whose hint a shell understands."""
    (one,) = [f for f in ([findings] if isinstance(findings, Finding) else findings) if f.id == name]
    assert_a_shell_understands(one)
    return one


def assert_a_shell_understands(one: Finding) -> None:
    """A hint is a command, at least in its form. Raises AssertionError."""
    if one.hint:
        done = subprocess.run(["/bin/sh", "-n", "-c", one.hint], capture_output=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, (one.hint, done.stderr)
