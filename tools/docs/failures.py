"""docs/failures.md: what each failure means for the next try, and what to do about it."""

from __future__ import annotations

import errno

from tools.docs.markdown import bullets, literal, mark, page, table

from betcode.core.failures import api, codes, raw
from betcode.model.failures import Failure, FailureClass, Strategy

INTRODUCTION = """\
# Failures

Every failure has a *class*, which says what the next try may expect, and a *strategy*: what BetCode does by itself.
What is persistent is never tried again by itself, however often it is asked for."""

CLASSES = {
    FailureClass.TRANSIENT: "It passes by itself.",
    FailureClass.PERSISTENT: "It stays until somebody changes something.",
    FailureClass.CORRUPTION: "Something that was stored or printed is damaged.",
    FailureClass.CASCADING: "Too much is asked at once, or something else failed first: load is taken away.",
}
STRATEGIES = {
    Strategy.RETRY: "It is tried again, later each time, with a bound.",
    Strategy.WAIT: "It is tried again at the time that is known or counted, by one session first.",
    Strategy.PAUSE: "Nothing more is tried until the cause has changed; people are told once.",
    Strategy.STOP: "This one thing is given up, and whoever asked for it is told.",
    Strategy.REPAIR: "It is replaced or rebuilt from what else is kept.",
    Strategy.SHED: "What matters least is refused or let go of.",
}
HEAD = ("failure", "class", "strategy", "what happened", "what to do")


def render() -> str:
    """The page."""
    kinds = [(literal(kind.value), api.failure_of(kind).failure) for kind in api.TABLE]
    names = [(literal(errno.errorcode[number]), failure) for number, failure in raw.OS_ERRORS.items()]
    return page(
        mark("src/betcode/core/failures/"),
        INTRODUCTION,
        "## Classes",
        bullets(f"{literal(name.value)}: {text}" for name, text in CLASSES.items()),
        "## Strategies",
        bullets(f"{literal(name.value)}: {text}" for name, text in STRATEGIES.items()),
        "## The model API",
        "What it says of a request, by HTTP status or as the connection ends.",
        _rows(kinds),
        "## Error codes",
        "The codes of [errors.md](errors.md).",
        _rows([(literal(code), failure) for code, failure in codes.rows().items()]),
        "## Files, processes and sockets",
        "By the system's name of the error; one that is not listed is persistent.",
        _rows(names),
        "## The database",
        "By the label of `betcode_sqlite_errors_total`.",
        _rows([(literal(name), failure) for name, failure in raw.SQLITE.items()]),
    )


def _rows(found: list[tuple[str, Failure]]) -> str:
    return table(HEAD, [(name, f.failure_class.value, f.strategy.value, f.what, f.hint) for name, f in found])
