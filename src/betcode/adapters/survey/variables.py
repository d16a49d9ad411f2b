"""Which variables claude gets and which are kept from it, by their names (PS-10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from betcode.adapters.environment import child_environment
from betcode.keeper.tree import MARK_NAME
from betcode.model.rows import Options

TRACE = "TRACEPARENT"


@dataclass(frozen=True, slots=True)
class Variables:
    """Names only. `added` are those of `gets` that BetCode sets itself."""

    gets: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]


def sort_out(
    source: Iterable[str], options: Options, env_pass: Iterable[str], *, actual: Iterable[str] = ()
) -> Variables:
    """What becomes of variables with these names.

    Args:
        source: names that the daemon has, or that one started from here would have.
        options: of the session.
        env_pass: names that the settings let pass.
        actual: names that a running claude was started with; they count more than what would be passed now.
    """
    before = frozenset(source)
    passed = child_environment(dict.fromkeys(before, ""), options, env_pass, options.trace_id)
    gets = frozenset(actual) or frozenset(passed) | {MARK_NAME}
    return Variables(tuple(sorted(gets)), tuple(sorted(before - gets)), tuple(sorted(gets - before)))
