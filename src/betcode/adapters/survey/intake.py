"""The intake log, read through without touching it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from betcode.adapters.intake import Problem, read_segment, segments
from betcode.core.diagnosis.daemon import Damage, Intake
from betcode.model import limits


def look_at_intake(directory: Path, *, live: bool) -> Intake:
    """Read the newest segments as far as `limits.DOCTOR_READ_S` goes. `live`: a daemon writes to it now."""
    try:
        os.listdir(directory)
    except FileNotFoundError:
        return Intake(str(directory), exists=False)
    except OSError as error:
        return Intake(str(directory), exists=True, problem=str(error.strerror))
    deadline = time.monotonic() + limits.DOCTOR_READ_S
    numbers = segments(directory)
    problems: list[Problem] = []
    records = read = 0
    for number in reversed(numbers):
        if time.monotonic() > deadline:
            break
        records += sum(1 for _ in read_segment(directory, number, problems))
        read += 1
    problems.sort(key=lambda problem: (problem.segment, problem.offset))
    return Intake(
        str(directory),
        exists=True,
        records=records,
        segments=len(numbers),
        unread=len(numbers) - read,
        damage=tuple(Damage(p.segment, p.offset, p.lost_bytes, p.torn_end, p.detail) for p in problems),
        live=live,
    )
