"""Programs of the Python Agent SDK run through `betcode-claude`: real SDK, real claude, scripted model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ToolPermissionContext,
    query,
)

import betcode
from betcode.model.frames import Answer
from betcode.testing.installation import Installation, installation, scripted, until, words
from betcode.testing.witness import question

TOUCH = {"tool": {"name": "Bash", "input": {"command": "touch made.txt"}}}


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as made:
        yield made


def options(made: Installation, **more: Any) -> ClaudeAgentOptions:
    """The SDK adds the variables to this process's own, so those that could lead to a real account are emptied."""
    program = made.home / "betcode-claude"
    source = Path(betcode.__file__).parent.parent
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} -P -c "
        "'import sys; from betcode.cli.claude_stdio import main; sys.exit(main())' \"$@\"\n"
    )
    program.chmod(stat.S_IRWXU)
    own = {name: "" for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_"))}
    return ClaudeAgentOptions(cli_path=program, cwd=made.project, env=own | made.env, **more)


def text_of(messages: list[Any]) -> str:
    blocks = [b for m in messages if isinstance(m, AssistantMessage) for b in m.content]
    return "".join(b.text for b in blocks if isinstance(b, TextBlock))


@contextlib.asynccontextmanager
async def connected(chosen: ClaudeAgentOptions) -> AsyncIterator[ClaudeSDKClient]:
    async with ClaudeSDKClient(chosen) as client:
        yield client


async def asked(prompt: str, chosen: ClaudeAgentOptions) -> list[Any]:
    return [m async for m in query(prompt=prompt, options=chosen)]


async def answer(client: ClaudeSDKClient) -> list[Any]:
    return [m async for m in client.receive_response()]


@pytest.mark.req("PS-6")
def test_a_query_gets_its_answer_and_its_result(made: Installation) -> None:
    messages = asyncio.run(asked(scripted("count", {"words": 5}), options(made)))
    assert text_of(messages) == words(5)
    assert isinstance(messages[-1], ResultMessage)
    assert (messages[-1].subtype, messages[-1].is_error, messages[-1].result) == ("success", False, words(5))
    assert made.model.stats()["requests_total"] == 1


@pytest.mark.req("RL-3")
def test_a_program_gets_one_result_although_the_api_refused_the_first_attempts(made: Installation) -> None:
    step = {"status": 529, "times": 2, "text": "in the end"}
    found = asyncio.run(asked(scripted("hello", step, keep=True), options(made)))
    results = [m for m in found if isinstance(m, ResultMessage)]
    assert [(r.is_error, r.result) for r in results] == [(False, "in the end")]


def test_a_conversation_remembers_and_its_texts_come_while_they_are_written(made: Installation) -> None:
    async def run() -> tuple[list[Any], list[Any]]:
        async with connected(options(made, include_partial_messages=True)) as client:
            await client.query(scripted("one", {"words": 5}))
            first = await answer(client)
            await client.query(scripted("two", {"words": 3}))
            return first, await answer(client)

    first, second = asyncio.run(run())
    assert (text_of(first), text_of(second)) == (words(5), words(3))
    assert sum(isinstance(m, StreamEvent) for m in first) > 5
    assert first[-1].session_id == second[-1].session_id
    assert len(made.runs()) == 1, "both messages went to one claude"


@pytest.mark.req("PM-8")
@pytest.mark.parametrize("allow", [True, False])
def test_the_program_decides_on_questions(made: Installation, allow: bool) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    async def decide(
        tool: str, given: dict[str, Any], _context: ToolPermissionContext
    ) -> PermissionResultAllow | PermissionResultDeny:
        asked.append((tool, given))
        return PermissionResultAllow() if allow else PermissionResultDeny(message="not today")

    async def prompts() -> AsyncIterator[dict[str, Any]]:
        text = scripted("touch", TOUCH, {"text": "ok"})
        yield {"type": "user", "message": {"role": "user", "content": text}, "parent_tool_use_id": None}

    async def run() -> list[Any]:
        chosen = options(made, can_use_tool=decide)
        async with connected(chosen) as client:
            await client.query(prompts())
            return await answer(client)

    messages = asyncio.run(run())
    assert [tool for tool, _ in asked] == ["Bash"]
    assert (made.project / "made.txt").exists() is allow
    assert text_of(messages) == "ok"
    assert len(messages[-1].permission_denials or []) == (not allow)


def test_an_interrupt_ends_the_turn_and_the_next_message_is_answered(made: Installation) -> None:
    async def run() -> tuple[list[Any], list[Any]]:
        async with connected(options(made, include_partial_messages=True)) as client:
            await client.query(scripted("long", {"words": 500, "delta_ms": 50}))
            first = []
            async for message in client.receive_response():
                first.append(message)
                if sum(isinstance(m, StreamEvent) for m in first) == 10:
                    await client.interrupt()
            await client.query(scripted("short", {"words": 3}))
            return first, await answer(client)

    first, second = asyncio.run(run())
    assert first[-1].is_error
    assert text_of(second) == words(3)


@pytest.mark.req("PS-6")
@pytest.mark.req("INV-1")
@pytest.mark.req("INV-2")
def test_a_program_does_not_notice_that_the_daemon_is_killed(made: Installation) -> None:
    async def run() -> list[Any]:
        messages: list[Any] = []
        async with connected(options(made, include_partial_messages=True)) as client:
            await client.query(scripted("long", {"words": 60, "delta_ms": 30}))
            async for message in client.receive_response():
                messages.append(message)
                if sum(isinstance(m, StreamEvent) for m in messages) == 15:
                    assert made.kill_daemon()
        return messages

    messages = asyncio.run(run())
    assert text_of(messages) == words(60)
    deltas = [m.event["delta"].get("text", "") for m in messages if isinstance(m, StreamEvent) and "delta" in m.event]
    assert "".join(deltas) == words(60)
    assert made.model.stats()["requests_total"] == 1


@pytest.mark.req("PS-6")
@pytest.mark.req("INV-3")
def test_a_question_that_is_open_when_the_daemon_is_killed_is_decided_by_the_program(made: Installation) -> None:
    async def decide(_tool: str, _given: dict[str, Any], _context: Any) -> PermissionResultAllow:
        assert made.kill_daemon()
        await until(lambda: made.daemon_pid() is not None, within_s=30, what="the next daemon")
        return PermissionResultAllow()

    async def run() -> list[Any]:
        async with connected(options(made, can_use_tool=decide)) as client:
            await client.query(scripted("touch", TOUCH, {"text": "ok"}))
            return await answer(client)

    messages = asyncio.run(run())
    assert text_of(messages) == "ok"
    assert (made.project / "made.txt").exists()


def test_an_earlier_conversation_is_resumed_by_claudes_id(made: Installation) -> None:
    async def run() -> tuple[list[Any], list[Any]]:
        first = await asked(scripted("one", {"words": 5}), options(made))
        return first, await asked(scripted("two", {"words": 3}), options(made, resume=first[-1].session_id))

    first, second = asyncio.run(run())
    assert second[-1].session_id == first[-1].session_id
    assert text_of(second) == words(3)


def test_what_is_not_supported_says_so(made: Installation) -> None:
    async def hook(*_: Any) -> Any:
        return {}

    async def run() -> None:
        chosen = options(made, hooks={"PreToolUse": [HookMatcher(hooks=[hook])]})
        async with connected(chosen):
            pass

    with pytest.raises(Exception, match="not supported through betcode"):
        asyncio.run(run())


def test_a_control_that_is_not_supported_is_refused_and_the_session_goes_on(made: Installation) -> None:
    messages: list[Any] = []

    async def run() -> None:
        async with connected(options(made)) as client:
            with pytest.raises(Exception, match="set_model is not supported"):
                await client.set_model("other")
            await client.query(scripted("count", {"words": 3}))
            messages.extend(await answer(client))

    asyncio.run(run())
    assert text_of(messages) == words(3)


@pytest.mark.req("ND-4")
def test_a_program_that_does_not_decide_hears_of_a_refused_call_as_from_claude_itself(made: Installation) -> None:
    async def refuse() -> None:
        async with made.client() as client:
            await client.request(Answer(permission=await question(client), allow=False, message="not today"))

    async def run() -> list[Any]:
        async with asyncio.TaskGroup() as group:
            group.create_task(refuse())
            return await asked(scripted("touch", TOUCH, {"text": "ok"}), options(made))

    messages = asyncio.run(run())
    (denied,) = [m.data for m in messages if isinstance(m, SystemMessage) and m.subtype == "permission_denied"]
    assert (denied["tool_name"], denied["message"]) == ("Bash", "not today")
    assert not (made.project / "made.txt").exists()


def test_file_checkpoints_are_refused_with_a_sentence(made: Installation) -> None:
    heard: list[str] = []
    chosen = options(made, enable_file_checkpointing=True, stderr=heard.append)
    with pytest.raises(Exception, match="exit code"):
        asyncio.run(asked("x", chosen))
    assert any("enable_file_checkpointing is not supported through betcode" in line for line in heard)


def test_what_is_known_of_the_server_before_the_first_message_is_said_to_be_nothing(made: Installation) -> None:
    async def run() -> dict[str, Any]:
        async with connected(options(made)) as client:
            return await client.get_server_info() or {}

    known = asyncio.run(run())
    assert (known["commands"], known["agents"]) == ([], [])
    assert "`get_server_info()` has no commands" in (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
