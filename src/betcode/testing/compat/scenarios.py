"""All scenarios, with the rows of the table that each of them fills."""

from __future__ import annotations

from betcode.testing.compat import endings, questions, turns
from betcode.testing.compat.product import product
from betcode.testing.compat.seen import Scenario

SCENARIOS: tuple[tuple[Scenario, tuple[str, ...]], ...] = (
    (
        turns.start,
        (
            "start.initialize",
            "start.version",
            "start.probe",
            "start.offers",
            "start.unknown_request",
            "start.ends",
        ),
    ),
    (
        turns.stream,
        (
            "stream.text",
            "stream.init_version",
            "stream.init_offers",
            "stream.lifecycle",
            "stream.named",
            "stream.states",
        ),
    ),
    (turns.odd_lines, ("lines.odd",)),
    (turns.error, ("error.told", "error.status", "error.lives")),
    (turns.resume, ("resume.history", "resume.same_id")),
    (turns.duplicate, ("duplicate.process", "duplicate.resumed", "duplicate.told")),
    (questions.edited, ("question.edited", "question.person")),
    (questions.deny, ("deny.not_run", "deny.told", "deny.listed")),
    (questions.nonsense, ("question.nonsense",)),
    (questions.input_lost, ("question.input_lost",)),
    (questions.withdrawn, ("question.withdrawn", "question.late_allow")),
    (questions.hook_unanswered, ("hook.unanswered",)),
    (questions.hook_input_lost, ("hook.input_lost",)),
    (questions.hook_error, ("hook.error",)),
    (questions.defer, ("defer.parked", "defer.asked_again")),
    (endings.interrupt, ("interrupt.ends", "interrupt.named", "interrupt.receipt", "interrupt.withdraw")),
    (endings.interrupt_tool, ("interrupt.tool",)),
    (endings.sigterm_tool, ("kill.sigterm_tool",)),
    (endings.resend, ("kill.resend",)),
    (endings.rerun, ("kill.rerun",)),
    (endings.question_lost, ("kill.quiet", "kill.told")),
    (product, ("product.guard", "product.turn")),
)
HELD = ("question.held", "question.allowed")
"""Rows of the question that is held while the others run."""
EVERYWHERE = ("lines.readable", "lines.known")
"""Rows about all lines of a version together."""
RECORDED = ("stream", "error", "deny", "withdrawn", "defer", "interrupt")
"""Scenarios whose lines are kept for the tests of the parser."""
