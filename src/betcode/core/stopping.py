"""Telling a claude process to end: the one way there is, whoever decides that it must."""

from __future__ import annotations

from betcode.core.draft import Draft
from betcode.core.effects import EndProcess
from betcode.core.life import Process


def end_process(draft: Draft, how: Process = Process.STOPPING) -> None:
    """SIGTERM, and SIGKILL of the tree after the grace. `how`: STOPPING if it is wanted, FAILING if it is a crash."""
    starting = draft.session.process is Process.STARTING
    draft.set(process=how, ready_by_s=None)
    if not starting:  # one that is being started has no keeper yet: it is ended when it is there
        draft.do(EndProcess(draft.session.run, draft.policy.stop_grace_s))
