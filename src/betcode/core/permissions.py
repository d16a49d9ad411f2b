"""Life of permission questions: asked once, settled once, delivered at most once; doubt is a denial (INV-3, PM-2).

      PENDING --answer--> ALLOWED | DENIED
         |----deadline--> EXPIRED            (a denial)
         |----withdrawn-> CANCELLED          (claude no longer asks, or its process is gone)

A settled question that claude must be told of has delivery SENDING until the keeper wrote the answer's line. When the
process ends first it is LOST: the decision is never applied to another process by itself. While other sessions have
all slots it is withheld: claude would go on with its turn (PS-8).
"""

from __future__ import annotations

from msgspec.structs import replace as change

from betcode.core.draft import Draft
from betcode.core.effects import Allow, Command, Deny, RefuseControl, Write
from betcode.core.inputs import Answer
from betcode.core.instant import iso
from betcode.core.turn import Fate, with_fate
from betcode.model import limits
from betcode.model.events import PermissionAsked, PermissionSettled
from betcode.model.facts import ControlRequest, PermissionRequest, RequestWithdrawn
from betcode.model.ids import permission_id
from betcode.model.rows import Permission
from betcode.model.states import Delivery, PermissionState

DENIED_TEXT = "The user refused this tool call."
EXPIRED_TEXT = (
    "Nobody answered the permission question in time, so the tool was not run. "
    "Go on without it, or tell the user what you need; the user can send a message to continue."
)
AGAIN_TEXT = "This question was asked and settled before under the same id; it was not asked again and nothing was run."
WITHHELD = "the answer is stored; other sessions have all slots, and this one goes on first"
WITHHELD_API = "the answer is stored; this session is the first to go on when the API can be asked again"
TOO_MANY_TEXT = "Too many permission questions are open in this session; the tool was not run."


def on_request(draft: Draft, fact: PermissionRequest) -> None:
    """Store and show a question."""
    session = draft.session
    name = permission_id(session.id, session.run, fact.request_id)
    if any(p.id == name for p in session.permissions):
        return
    if name in session.settled:
        draft.do(Write(session.run, f"again:{fact.request_id}", Deny(fact.request_id, AGAIN_TEXT)))
        return
    ttl_s = session.options.permission_ttl_s or draft.policy.permission_ttl_s
    deadline = draft.now.unix_s + ttl_s
    question = Permission(
        id=name,
        session=session.id,
        run=session.run,
        request_id=fact.request_id,
        tool=fact.tool,
        input=fact.input,
        state=PermissionState.PENDING,
        asked_at_unix_s=draft.now.unix_s,
        deadline_unix_s=deadline,
        tool_use_id=fact.tool_use_id,
        description=fact.description,
        agent_id=fact.agent_id,
        reason=fact.reason,
    )
    draft.emit(
        PermissionAsked(
            permission_id=name,
            tool=fact.tool,
            input=fact.input,
            tool_use_id=fact.tool_use_id,
            description=fact.description,
            agent_id=fact.agent_id,
            reason=fact.reason,
            expires_at=iso(deadline),
        )
    )
    draft.put_permission(question)
    _fate(draft, question, Fate.ASKED)
    if len(draft.session.permissions) > limits.PERMISSIONS_OPEN_MAX:
        _settle(draft, question, PermissionState.DENIED, by="limit", message=TOO_MANY_TEXT)


def answer(draft: Draft, request: Answer) -> None:
    """Apply the first valid answer; tell later ones who settled it."""
    question = next((p for p in draft.session.permissions if p.id == request.permission_id), None)
    if question is None:
        draft.refuse(
            request.ticket,
            "permission.not_found",
            f"no open question {request.permission_id} in this session",
            "List the open ones: betcode permissions list",
        )
        return
    if question.state is not PermissionState.PENDING:
        draft.refuse(request.ticket, "permission.already_settled", *settled_text(question))
        return
    if draft.now.unix_s >= question.deadline_unix_s:
        expire(draft)
        draft.refuse(
            request.ticket,
            "permission.already_settled",
            "the question expired before this answer came",
            "Send a message to go on.",
        )
        return
    settled = _settle(
        draft,
        change(
            question,
            updated_input=request.updated_input,
            for_session=request.for_session,
            interrupt=request.interrupt,
        ),
        PermissionState.ALLOWED if request.allow else PermissionState.DENIED,
        by=request.by,
        message=request.message or ("" if request.allow else DENIED_TEXT),
    )
    draft.reply(request.ticket, permission_id=settled.id, state=settled.state.value)


def settled_text(question: Permission) -> tuple[str, str]:
    """Message and hint for whoever answers a question that has its outcome."""
    by = f" by {question.by}" if question.by else ""
    return f"the question was already settled: {question.state}{by}", "Nothing more to do; the first answer counts."


def _settle(draft: Draft, question: Permission, state: PermissionState, *, by: str, message: str) -> Permission:
    settled = change(question, state=state, by=by, message=message, settled_at=draft.now.iso, delivery=Delivery.SENDING)
    draft.emit(PermissionSettled(permission_id=settled.id, state=state.value, by=by, message=message))
    draft.put_permission(settled)
    _fate(draft, settled, Fate.ALLOWED if state is PermissionState.ALLOWED else Fate.REFUSED)
    passes = draft.session.gate.goes_on and draft.session.passage.begins
    if passes or draft.session.closing:
        draft.do(Write(settled.run, line_id(settled), command(settled)))
    else:
        draft.set(withheld=(*draft.session.withheld, settled.id))
        draft.tell(WITHHELD if draft.session.passage.begins else f"{WITHHELD_API}. {draft.session.passage.why}")
    draft.set(read_s=draft.now.steady_s)  # until now nothing could come
    return settled


def go_on(draft: Draft) -> None:
    """There is a slot: tell claude the answers that were withheld."""
    session = draft.session
    if not session.withheld or not (session.gate.goes_on and session.passage.begins):
        return
    draft.set(withheld=(), read_s=draft.now.steady_s)
    for question in session.permissions:
        if question.id in session.withheld:
            draft.do(Write(question.run, line_id(question), command(question)))
    draft.tell("it goes on with what was answered")


def _fate(draft: Draft, question: Permission, fate: Fate) -> None:
    """Note what was decided about the call that the question is about."""
    turn = draft.session.turn
    if turn is not None and question.tool_use_id:
        draft.set(turn=with_fate(turn, question.tool_use_id, fate))


def line_id(question: Permission) -> str:
    """Id of the one line that answers this question in its run."""
    return f"answer:{question.request_id}"


def command(question: Permission) -> Command:
    """The line's content. Only ALLOWED allows; whatever else is stored here denies."""
    if question.state is PermissionState.ALLOWED:
        updated = question.input if question.updated_input is None else question.updated_input
        rules = ({"toolName": question.tool},) if question.for_session else ()
        return Allow(question.request_id, updated, rules)
    return Deny(question.request_id, question.message or DENIED_TEXT, question.interrupt)


def expire(draft: Draft) -> None:
    """Deny every question whose deadline has passed."""
    for question in draft.session.permissions:
        if question.state is PermissionState.PENDING and draft.now.unix_s >= question.deadline_unix_s:
            _settle(draft, question, PermissionState.EXPIRED, by="time", message=EXPIRED_TEXT)


def deny_all(draft: Draft, *, by: str, message: str) -> None:
    """Deny every pending question, because the session closes."""
    for question in draft.session.permissions:
        if question.state is PermissionState.PENDING:
            _settle(draft, question, PermissionState.DENIED, by=by, message=message)


def on_withdrawn(draft: Draft, fact: RequestWithdrawn) -> None:
    """claude no longer asks; an answer that is under way will find no taker."""
    for question in draft.session.permissions:
        if question.request_id == fact.request_id and question.run == draft.session.run:
            if question.state is PermissionState.PENDING:
                _cancel(draft, question, by="claude", message="claude withdrew the question")
                _fate(draft, question, Fate.REFUSED)
            else:
                draft.set(withheld=tuple(name for name in draft.session.withheld if name != question.id))
                draft.put_permission(change(question, delivery=Delivery.LOST))


def _cancel(draft: Draft, question: Permission, *, by: str, message: str) -> None:
    draft.emit(
        PermissionSettled(permission_id=question.id, state=PermissionState.CANCELLED.value, by=by, message=message)
    )
    draft.put_permission(
        change(question, state=PermissionState.CANCELLED, by=by, message=message, settled_at=draft.now.iso)
    )


def delivered(draft: Draft, written_id: str) -> None:
    """The keeper wrote the answer's line."""
    for question in draft.session.permissions:
        if question.delivery is Delivery.SENDING and line_id(question) == written_id:
            draft.put_permission(change(question, delivery=Delivery.DELIVERED))


def written_again(draft: Draft) -> None:
    """After the link to the keeper came back: repeat the answers it may not have got."""
    for question in draft.session.permissions:
        sends = question.delivery is Delivery.SENDING and question.id not in draft.session.withheld
        if sends and question.run == draft.session.run:
            draft.do(Write(question.run, line_id(question), command(question)))


def on_process_gone(draft: Draft, written: frozenset[str]) -> None:
    """The process that asked has ended. No answer is ever moved to another process by itself."""
    draft.set(withheld=(), read_s=draft.now.steady_s)
    for question in draft.session.permissions:
        if question.state is PermissionState.PENDING:
            _cancel(draft, question, by="claude", message="the claude process that asked has ended")
        elif line_id(question) in written:
            draft.put_permission(change(question, delivery=Delivery.DELIVERED))
            if question.state is PermissionState.ALLOWED:
                draft.notice(
                    "warning",
                    "agent.unknown_outcome",
                    f"{question.tool} was allowed and claude ended; whether it ran is unknown",
                    "Check what it was to do. It is not repeated by itself.",
                )
        else:
            _fate(draft, question, Fate.ASKED)  # claude never heard of the answer
            draft.put_permission(change(question, delivery=Delivery.LOST))
            draft.notice(
                "warning",
                "agent.unknown_outcome",
                f"the answer to {question.tool} ({question.state}) came too late: claude had ended",
                "Nothing was run because of it. Send a message to go on.",
            )


def on_control_request(draft: Draft, fact: ControlRequest) -> None:
    """A question BetCode did not invite. Hooks are never answered with an error: that could let a tool run."""
    if fact.subtype == "hook_callback":
        draft.notice(
            "error",
            "internal",
            "claude asked a hook that BetCode did not register; it is left unanswered and times out",
            "Report this with `betcode version` and the session's events.",
        )
        return
    draft.do(
        Write(
            draft.session.run,
            f"refuse:{fact.request_id}",
            RefuseControl(fact.request_id, f"BetCode does not support {fact.subtype}"),
        )
    )
