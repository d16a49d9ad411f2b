"""Between a program of the Agent SDK and one session of the daemon: who hears what, and when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from betcode.cli.claude_arguments import ClaudeArguments
from betcode.cli.claude_input import ControlAsked, Decided, Nothing, Unusable, UserText, read_input
from betcode.cli.follow import running
from betcode.cli.output import remark
from betcode.cli.raw_denials import Denials
from betcode.cli.raw_turn import head, printed, uuids_of
from betcode.client.client import Client
from betcode.client.session_view import Durable
from betcode.client.tap import Tap
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Answer, Interrupt, Release, Send
from betcode.model.ids import SessionId, permission_id
from betcode.model.states import FINAL_MESSAGE_STATES

REFUSED = "is not supported through betcode"
UUIDS_KEPT = 64 * (limits.ATTEMPTS_FOLLOWED + 1)
"""Of the newest messages: more cannot wait in a session, and a program waits for the result of each."""
STATE_VARIABLE = "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS"
"""With it set the program wants to hear whether claude is idle."""


class Bridge:
    """One program in one session."""

    def __init__(self, client: Client, session: str, arguments: ClaudeArguments) -> None:
        self._client = client
        self._session = session
        self._arguments = arguments
        self._tap: Tap = client.tap(session)
        self._states = bool(os.environ.get(STATE_VARIABLE))
        self._asked: dict[str, str] = {}
        """request id of claude's open question -> our id of it"""
        self._open: set[str] = set()
        """Keys of messages without an outcome."""
        self._unread: set[str] = set()
        """Keys of messages whose outcome is known and whose result line has not come yet."""
        self._read: set[str] = set()
        """Keys named in claude's result lines."""
        self._resulted: set[str] = set()
        """Keys of messages that claude gave a result for."""
        self._keys: dict[str, str] = {}
        """uuid under which claude knows a message -> its key"""
        self._denials = Denials()
        self._news = asyncio.Event()
        self._failed = False
        """The last result was an error: then claude's exit status would be 1."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Print claude's lines beside the block."""
        stream = self._client.stream(self._session, from_end=True)
        await anext(stream)
        await self._tap.begin()
        async with (
            contextlib.aclosing(stream),
            running(self._lines(), "claude's lines"),
            running(self._events(stream), "events"),
        ):
            yield

    async def take(self, line: bytes) -> None:
        """One line of standard input."""
        match read_input(line):
            case UserText() as message:
                await self._send(message)
            case ControlAsked() as asked:
                await self._control(asked)
            case Decided() as decided:
                await self._decide(decided)
            case Unusable(why):
                remark(f"betcode-claude: {why}")
                self._result(why)
            case Nothing():
                pass

    async def end(self) -> int:
        """After the end of standard input: wait until every message is answered. Returns the exit status."""
        while self._open:
            await self._changed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.RESULT_WAIT_S):
                while self._unread:
                    await self._changed()
        return 1 if self._failed else 0

    async def _changed(self) -> None:
        self._news.clear()
        await self._news.wait()

    # --- to the daemon ------------------------------------------------------------------------------------------

    async def _send(self, message: UserText) -> None:
        key = message.uuid or str(uuid.uuid4())
        self._open.add(key)
        self._keys.update(dict.fromkeys(uuids_of(key), key))
        while len(self._keys) > UUIDS_KEPT:
            del self._keys[next(iter(self._keys))]
        try:
            await self._client.request(Send(session=self._session, key=key, text=message.text))
        except BetcodeError as error:
            self._open.discard(key)
            remark(f"betcode-claude: {error}")
            self._result(f"{error} ({error.hint})")

    async def _control(self, asked: ControlAsked) -> None:
        unsupported = [name for name in ("hooks", "agents", "skills") if asked.request.get(name)]
        match asked.subtype:
            case "initialize" if unsupported:
                self._answer(asked, error=f"{', '.join(unsupported)}: this {REFUSED}; see docs/sdk.md")
            case "initialize":
                self._answer(asked, {"commands": [], "agents": [], "output_style": "default", "pid": os.getpid()})
            case "interrupt":
                await self._interrupt(asked)
            case "end_session":
                self._answer(asked, {})
            case other:
                self._answer(asked, error=f"{other} {REFUSED}")

    async def _interrupt(self, asked: ControlAsked) -> None:
        """As in claude: what waits goes on after the interrupted turn, and with nothing to stop nothing happens."""
        try:
            await self._client.request(Interrupt(session=self._session))
            await self._client.request(Release(session=self._session))
        except BetcodeError as error:
            if error.code != "session.nothing_to_interrupt":
                self._answer(asked, error=f"{error} ({error.hint})")
                return
        self._answer(asked, {"still_queued": []})

    async def _decide(self, decided: Decided) -> None:
        name = self._asked.pop(decided.request_id, None)
        if name is None:
            return  # settled meanwhile, or never asked: claude ignores such an answer too
        answer = decided.response or {"behavior": "deny", "message": f"Permission request failed: {decided.error}"}
        allow = answer.get("behavior") == "allow"
        changes = answer.get("updatedPermissions") or []
        if changes:
            remark(f"betcode-claude: updatedPermissions {REFUSED}; this one call is decided, no rule is kept")
        updated = answer.get("updatedInput")
        request = Answer(
            permission=name,
            allow=allow,
            message="" if allow else str(answer.get("message") or ""),
            updated_input=updated if allow and isinstance(updated, dict) else None,
            interrupt=bool(answer.get("interrupt")),
        )
        try:
            await self._ask_patiently(request)
        except BetcodeError as error:
            remark(f"betcode-claude: {error}")

    async def _ask_patiently(self, request: Answer) -> None:
        """A daemon that was just started may not have read the question again yet."""
        end_s = asyncio.get_running_loop().time() + limits.RESULT_WAIT_S
        while True:
            try:
                await self._client.request(request)
                return
            except BetcodeError as error:
                if error.code != "permission.not_found" or asyncio.get_running_loop().time() > end_s:
                    raise
                await asyncio.sleep(limits.RECONNECT_FIRST_S)

    # --- to the program -----------------------------------------------------------------------------------------

    async def _lines(self) -> None:
        async for line in self._tap:
            found = head(line.data)
            if found.type == "control_request":
                self._question(line.data, line.run)
            elif found.type == "control_cancel_request":
                self._withdrawn(line.data)
            elif found.kind == "system/session_state_changed":
                if self._states:
                    _put(line.data)
            elif found.type == "result" and found.is_refused:
                continue  # the daemon goes on with it, and its result comes then
            elif printed(found, partial=self._arguments.partial):
                for denied in self._denials.before(line.data) if found.type == "user" else []:
                    _put(denied)
                _put(line.data)
            if found.type == "result":
                self._failed = bool(found.is_error)
                uuids = found.user_message_uuids or [found.user_message_uuid or ""]
                named = {self._keys.get(name, name) for name in uuids}
                self._read |= named
                self._unread -= named
                self._news.set()

    def _question(self, line: bytes, run: int) -> None:
        """claude asks whether it may run a tool: the program decides, if it said that it wants to."""
        if not self._arguments.asks_program:
            self._denials.asked(line)
            return
        value = msgspec.json.decode(line)
        if value.get("request", {}).get("subtype") != "can_use_tool":
            return
        request_id = str(value.get("request_id"))
        self._asked[request_id] = permission_id(SessionId(self._session), run, request_id)
        _put(line)

    def _withdrawn(self, line: bytes) -> None:
        if self._asked.pop(str(msgspec.json.decode(line).get("request_id")), None) is not None:
            _put(line)

    async def _events(self, stream: Any) -> None:
        async for item in stream:
            if isinstance(item, Durable):
                self._event(item.event)

    def _event(self, event: dict[str, Any]) -> None:
        match event["kind"]:
            case "turn_ended" if event["outcome"] != "refused":
                self._unread |= self._open & set(event["message_ids"]) - self._read
                self._resulted |= set(event["message_ids"])
            case "message_state" if event["message_id"] in self._open and event["state"] in FINAL_MESSAGE_STATES:
                key = event["message_id"]
                self._open.discard(key)
                if event["state"] != "completed" and key not in self._resulted:
                    self._result(event.get("reason") or f"the message is {event['state']}")
                self._news.set()
            case "permission_settled":
                self._settled(event["permission_id"])
            case "notice" if event["severity"] in ("error", "warning"):
                remark(f"betcode-claude: {event['message']}")
            case _:
                pass

    def _settled(self, name: str) -> None:
        """Somebody else decided, or it is too late: the program need not decide any more."""
        for request_id in [r for r, open_name in self._asked.items() if open_name == name]:
            del self._asked[request_id]
            _put_json({"type": "control_cancel_request", "request_id": request_id})

    def _result(self, why: str) -> None:
        """A result in claude's form for what never came to one."""
        self._failed = True
        _put_json(
            {
                "type": "result",
                "subtype": "error_during_execution",
                "is_error": True,
                "duration_ms": 0,
                "duration_api_ms": 0,
                "num_turns": 0,
                "session_id": self._session,
                "total_cost_usd": 0.0,
                "errors": [why],
            }
        )

    def _answer(self, asked: ControlAsked, response: dict[str, Any] | None = None, *, error: str = "") -> None:
        body: dict[str, Any] = {"subtype": "error" if error else "success", "request_id": asked.request_id}
        body |= {"error": error} if error else {"response": response}
        _put_json({"type": "control_response", "response": body})


def _put_json(value: dict[str, Any]) -> None:
    _put(json.dumps(value, ensure_ascii=True).encode())


def _put(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
