"""One turn of a model claude: answers in blocks, tool calls with their questions, the result."""

from __future__ import annotations

import asyncio
from typing import Any

from betcode.testing.simulator import claude_lines as lines
from betcode.testing.simulator.claude import Dead, ModelClaude
from betcode.testing.simulator.truth import Question, TurnOutcome

WORDS = ("so ", "far ", "\u00e4\u00f6 ", "\U0001f600 ", "line\n", "and ", "", "\u2028", "\\u0000 ")
FREE_TOOL = "Read"
"""Claude's own rules allow it: it is never asked for."""


CLI_UUID = "00000000-0000-4000-8000-00000000c11c"
"""Under which claude reports on a turn that it goes on with by itself."""


class Refused(Exception):
    """A person denied a tool and stopped the turn with it."""


class ApiRefused(Exception):
    """The API did not answer the request."""


class TalkingClaude(ModelClaude):
    """A model claude that takes turns."""

    async def take_turn(self, *, own: bool, again: str = "") -> None:
        """Run one turn for all messages that wait, or one of its own, or go on with that of the message `again`."""
        self._uuids: tuple[str, ...] = (again,) if again else ()
        self._again = bool(again)
        self._block: tuple[str, int, str] | None = None
        self._tool: str = ""
        try:
            if again:
                self.print(lines.run_state("running"))
                self.print(lines.lifecycle(CLI_UUID, "started"))
            elif not own:
                self._join_queue()
            self.print(lines.run_state("running"))
            self.print(lines.init(self.conversation.name, self._uuids))
            try:
                await self._answer()
            except asyncio.CancelledError:
                if not self.aborting or not self.alive:
                    raise
                self._abort()
            except Refused:
                self._abort()
            except ApiRefused:
                self._result("failed")
            self.print(lines.run_state("idle"))
        except Dead:
            return
        finally:
            self.aborting = False
            self.questions = {k: v for k, v in self.questions.items() if v[1].done()}

    def _join_queue(self) -> None:
        """Take the waiting messages into this turn."""
        taken, self.queue = self.queue, []
        for uuid in taken:
            self.print(lines.lifecycle(uuid, "started"))
            if not self.conversation.has_user(uuid):
                self.conversation.append("user", (uuid,), self.stage.now_s, self.rng.uniform(0.0, 0.5))
        self._uuids += tuple(taken)

    async def _pause(self, most_s: float) -> None:
        await self.silence()
        await asyncio.sleep(self.rng.uniform(0.0, most_s))

    async def _answer(self) -> None:
        calls = self.rng.choice((1, 1, 2, 2, 3))
        for number in range(calls):
            last = number == calls - 1
            tools = await self._message(tools=0 if last else self.rng.choice((0, 1, 1, 2)))
            for tool_use_id, tool, given in tools:
                await self._call(tool_use_id, tool, given)
            if tools and self.queue:
                self._join_queue()
            if not self.setting.gentle and self.stage.plan.chance(self.rng, "claude", 0.08):
                self._result("failed")
                return
        self._result("completed")

    async def _message(self, *, tools: int) -> list[tuple[str, str, dict[str, Any]]]:
        """One answer of the model. Returns the tools that it calls."""
        self.numbers += 1
        message = f"msg_{self.record.session}_{self.record.run}_{self.numbers}"
        self.print(lines.status("requesting"))
        await self._pause(0.5)
        if self.stage.plan.api_refuses(self.stage.now_s):
            raise ApiRefused
        self.print(lines.message_start(message))
        index = 0
        for kind in self.rng.choice((("text",), ("text",), ("thinking", "text"))):
            await self._text(message, index, kind)
            index += 1
        calls: list[tuple[str, str, dict[str, Any]]] = []
        for _ in range(tools):
            calls.append(await self._tool_use(message, index))
            index += 1
        self.print(lines.message_stop())
        return calls

    async def _text(self, message: str, index: int, kind: str) -> None:
        block = f"{message}:{index}"
        self.print(lines.block_start(index, kind))
        self._block = (message, index, kind)
        self.truth.streamed[block] = ""
        for _ in range(self.rng.randint(1, 4)):
            await self._pause(0.1)
            text = "".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, 3)))
            self.truth.streamed[block] += text
            self.print(lines.delta(index, kind, text))
        if self.stage.plan.chance(self.rng, "garbage", 0.3):
            self._garbage()
        self._print_block(aborted=False)
        self.print(lines.block_stop(index))

    def _print_block(self, *, aborted: bool) -> None:
        if self._block is None:
            return
        message, index, kind = self._block
        self._block = None
        text = self.truth.streamed[f"{message}:{index}"]
        line = lines.assistant(message, {"type": kind, kind: text}, aborted=aborted)
        self.print(line, kind="assistant", key=f"{message}:{index}", text=text)
        self._remember("assistant")

    def _remember(self, kind: str, name: str = "") -> None:
        self.conversation.append(kind, self._uuids, self.stage.now_s, self.rng.uniform(0.05, 2.5), name)

    def _garbage(self) -> None:
        kind, data = lines.garbage(self.rng, self.stage.plan.line_bytes_max)
        self.print(data, kind=kind)

    async def _tool_use(self, message: str, index: int) -> tuple[str, str, dict[str, Any]]:
        self.numbers += 1
        tool_use_id = f"toolu_{self.record.session}_{self.record.run}_{self.numbers}"
        tool = self.rng.choice(("Bash", "Bash", "Edit", FREE_TOOL))
        given = {"command": f"touch {tool_use_id}", "n": self.rng.choice((1, 0.5, 1e300, "\u2028", None))}
        self.print(lines.block_start(index, "tool_use"))
        part = '{"command":'
        self.truth.streamed[f"{message}:{index}"] = part
        self.print(lines.delta(index, "tool_use", part))
        await self._pause(0.05)
        block = {"type": "tool_use", "id": tool_use_id, "name": tool, "input": given}
        self.truth.calls[tool_use_id] = self._uuids
        self.record.tool_lines.append((self.record.bytes_printed + 1, self._uuids))  # corrected below
        data = lines.assistant(message, block)
        self.record.tool_lines[-1] = (self.record.bytes_printed + len(data), self._uuids)
        self.print(data, kind="tool_call", key=tool_use_id)
        self._remember("call", tool_use_id)
        self.print(lines.block_stop(index))
        return tool_use_id, tool, given

    async def _call(self, tool_use_id: str, tool: str, given: dict[str, Any]) -> None:
        question: Question | None = None
        self._tool = tool_use_id
        if tool != FREE_TOOL and tool not in self.rules:
            question, body = await self._ask(tool_use_id, tool, given)
            if body.get("behavior") != "allow":
                self._tool_over(str(body.get("message")), is_error=True)
                if body.get("interrupt"):
                    raise Refused
                return
            if any(update.get("type") == "addRules" for update in body.get("updatedPermissions") or ()):
                self.rules.add(tool)
        early = self.rng.random() < 0.5
        if early:
            self._run_tool(tool_use_id, tool, question)
        await asyncio.sleep(self.rng.choice((0.01, 0.2, 1.0, 5.0)))
        if not early:
            self._run_tool(tool_use_id, tool, question)
        self._tool_over("done", is_error=False)

    def _run_tool(self, tool_use_id: str, tool: str, question: Question | None) -> None:
        free = question is None and (tool == FREE_TOOL or tool in self.rules)
        self.truth.tool_ran(self.record, tool_use_id, question, free=free)

    def _tool_over(self, text: str, *, is_error: bool) -> None:
        tool_use_id, self._tool = self._tool, ""
        line = lines.tool_result(tool_use_id, text, is_error=is_error)
        self.print(line, kind="tool_result", key=tool_use_id, text=text)
        self._remember("tool_result", tool_use_id)

    async def _ask(self, tool_use_id: str, tool: str, given: dict[str, Any]) -> tuple[Question, dict[str, Any]]:
        self.numbers += 1
        request_id = f"ask-{self.numbers}"
        question = Question(self.record.session, self.record.run, request_id, tool, tool_use_id, given)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.questions[request_id] = (question, answer)
        self.print(lines.run_state("requires_action"))
        self.print(lines.can_use_tool(request_id, tool, given, tool_use_id))
        body = await answer
        self.print(lines.run_state("running"))
        return question, body

    def _abort(self) -> None:
        """What a stopped turn still prints."""
        self._print_block(aborted=True)
        if self._tool:
            self._tool_over("The user doesn't want to proceed with this tool use.", is_error=True)
        self.print(lines.user_note("[Request interrupted by user]"))
        self._result("cancelled")

    def _result(self, outcome: str) -> None:
        own = not self._uuids
        if outcome == "completed" and self._uuids:
            self._remember("end")
            self.conversation.flush()  # the answer's end is stored before the result is printed
        text = "" if outcome == "cancelled" else f"answer {self.numbers}"
        data = lines.result(self._uuids, outcome, text=text, own=own)
        end = self.record.bytes_printed + len(data)
        self.record.outcomes.append(TurnOutcome(end, self._uuids, outcome))
        self.print(data)
        state = "completed" if outcome == "completed" else "cancelled"
        for uuid in (CLI_UUID,) if self._again else self._uuids:
            self.print(lines.lifecycle(uuid, state))
