"""What the daemon says of its intake log: damage that was found at the start, and a size that should be looked at."""

from __future__ import annotations

from collections.abc import Iterable

from betcode.adapters.intake import Problem
from betcode.engine.ports import Log
from betcode.model import limits


def tell_damage(log: Log, problems: Iterable[Problem]) -> None:
    """Log what cannot be read.

    A torn end is what a kill leaves, and was never acknowledged. One with several records in it may also be damage
    of records that were: they stood in one append, or they did not.
    """
    for problem in problems:
        where = {"segment": problem.segment, "offset": problem.offset, "lost_bytes": problem.lost_bytes}
        if not problem.torn_end:
            log.error("the intake log is damaged", error_type="intake", detail=problem.detail, **where)
        elif problem.records > 1:
            log.warning(
                "the end of the intake log was incomplete and is cut off; more than one record began in it",
                error_type="intake",
                records=problem.records,
                **where,
            )
        else:
            log.info("the end of the intake log was incomplete and is cut off", **where)


def size_warning(size_bytes: int) -> str:
    """A sentence for people when the intake log has grown too far, else empty."""
    if size_bytes < limits.INTAKE_BYTES_TOLD:
        return ""
    return (
        f"the intake log has {size_bytes / 2**30:.1f} GiB and is not dropped by itself yet; with the daemon stopped and"
        " a copy of the data directory made, all segments but the newest may be removed (docs/files.md)"
    )
