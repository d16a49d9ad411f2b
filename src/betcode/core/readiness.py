"""Whether a claude that has just started may be given anything, and what it can do (PS-12).

Its file was asked for its version before the start. What counts is what the process itself says: a file can be
replaced between the two, and a wrapper can run another claude in each directory. Rules:
  1. Before it has named a version that is driven, a process gets nothing but questions about itself.
  2. Where the answer to `initialize` names none (before 2.1.308), it is asked for it; one that does not tell is ended.
  3. What a claude cannot do is found out when it is needed, told once, and done without from then on.

    UNREADY --initialize: version--> READY, or ended
        |----no version--> asked --version--> READY, or ended
"""

from __future__ import annotations

from betcode.core import messages
from betcode.core.draft import Draft
from betcode.core.effects import AskVersion, Initialize, Write
from betcode.core.life import Process
from betcode.core.stopping import end_process
from betcode.model import limits
from betcode.model.capabilities import Capabilities, refusal
from betcode.model.facts import ControlAnswer
from betcode.model.states import MessageState

READY_LINE = "init"
"""Line id of the readiness probe."""
VERSION_LINE = "version"
"""Line id of the question for the version."""


def probe(draft: Draft) -> None:
    """Ask a process that was just started, or found in its start, whether it is ready."""
    session = draft.session
    draft.set(process=Process.UNREADY, ready_by_s=draft.now.steady_s + draft.policy.ready_wait_s)
    draft.do(Write(session.run, READY_LINE, Initialize()))
    if session.probing:
        draft.do(Write(session.run, VERSION_LINE, AskVersion()))


def on_answer(draft: Draft, fact: ControlAnswer) -> None:
    """claude answered: it takes messages from now on, if it is one that may be driven."""
    session = draft.session
    if session.process is not Process.UNREADY or fact.request_id not in (READY_LINE, VERSION_LINE):
        return
    if fact.request_id == READY_LINE and not fact.offer.version:
        draft.set(probing=True)
        draft.do(Write(session.run, VERSION_LINE, AskVersion()))
        return
    wrong = refusal(fact.offer.version)
    if wrong is None:
        _ready(draft, fact.offer)
    else:
        _refuse(draft, *wrong)


def _ready(draft: Draft, offer: Capabilities) -> None:
    before = draft.session.claude
    if before.version != offer.version:
        draft.set(claude=offer)
        if before.version:
            changed = f"claude is {offer.version} now; this session's last process was {before.version}"
            draft.notice("info", "claude.changed", changed, "What each version can do: docs/compatibility.md")
    draft.set(process=Process.READY, ready_by_s=None, probing=False)
    if draft.session.rerun is not None:
        draft.set(rerun_by_s=draft.now.steady_s + limits.RERUN_WAIT_S)
    messages.pump(draft)


def _refuse(draft: Draft, code: str, what: str, hint: str) -> None:
    """End the process, which got nothing; what waits fails with this reason."""
    draft.notice("error", code, f"{what}; it was given nothing and is ended", hint)
    draft.set(probing=False, reason=what)
    for message in draft.session.waiting:
        draft.move_message(message, MessageState.FAILED, f"{code}: {what}")
    end_process(draft)
