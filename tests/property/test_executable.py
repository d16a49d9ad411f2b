"""What people are told of the claude on disk, in any order of upgrades, downgrades, removals and repairs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.core.executable import Executable, Sight, Word, bad, good, seen, status
from betcode.model.capabilities import TESTED, dotted
from betcode.model.errors import BetcodeError

NEWER = dotted((*TESTED[:2], TESTED[2] + 1))
SIGHTS = st.builds(Sight, st.sampled_from(["/bin/claude", "/opt/claude"]), st.sampled_from(["2.1.222", NEWER]))
PROBLEMS = st.sampled_from(
    [BetcodeError(code, code, hint="install it") for code in ("claude.not_found", "claude.not_executable")]
)
NEWS = st.lists(st.one_of(SIGHTS, PROBLEMS, st.tuples(st.none() | SIGHTS, SIGHTS, st.none() | PROBLEMS)), max_size=30)


@pytest.mark.req("PS-12")
@given(first=st.none() | SIGHTS, news=NEWS)
def test_a_problem_is_told_when_it_begins_or_changes_its_end_once_and_the_status_says_what_is_so(
    first: Sight | None, news: list[Sight | BetcodeError | tuple[Sight | None, Sight, BetcodeError | None]]
) -> None:
    known, told = Executable(first, first), list[Word]()
    for one in news:
        match one:
            case Sight():
                known, words = good(known, one)
            case BetcodeError():
                known, words = bad(known, one)
            case (before, now, problem):
                known, words = seen(known, before, now, problem)
        told += words
        said = status(known)
        assert said.get("problem") == (str(known.problem) if known.problem else None)
        assert ("before" in said) == (None not in (first, known.now) and first.version != known.now.version)  # type: ignore[union-attr]
    turns = [word.fields.get("detail", "") for word in told if word.level == "error" or "again" in word.message]
    assert all(one != other for one, other in pairwise(["", *turns]))
    assert bool(turns and turns[-1]) == (known.problem is not None)
    assert sum("newer" in word.message for word in told) <= 1
