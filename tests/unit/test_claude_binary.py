"""Which claude is used, and which is refused (PS-12)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from betcode.adapters.claude_binary import ClaudeBinary, find_claude
from betcode.adapters.launcher import arguments
from betcode.model.errors import BetcodeError
from betcode.model.ids import ClaudeSessionId, SessionId
from betcode.model.rows import Options, SessionRow


def program(path: Path, version: str = "2.1.330") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version} (Claude Code)'\n")
    path.chmod(0o700)
    return path


@pytest.mark.req("PS-12")
def test_the_configured_one_wins_over_path_and_path_over_the_package(tmp_path: Path) -> None:
    configured, on_path = program(tmp_path / "a" / "mine"), program(tmp_path / "b" / "claude")
    assert find_claude(str(configured), str(on_path.parent)) == configured
    assert find_claude("", str(on_path.parent)) == on_path
    assert find_claude("", str(tmp_path / "empty")).name == "claude"
    assert "_bundled" in str(find_claude("", str(tmp_path / "empty")))


@pytest.mark.req("PS-12")
def test_a_configured_name_is_looked_up_on_path(tmp_path: Path) -> None:
    found = program(tmp_path / "b" / "claude-beta")
    assert find_claude("claude-beta", str(found.parent)) == found


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "version, code",
    [("2.1.221", "claude.too_old"), ("1.9.999", "claude.too_old"), ("none", "claude.version_unknown")],
)
def test_an_unsafe_version_is_refused_with_what_to_do(tmp_path: Path, version: str, code: str) -> None:
    binary = ClaudeBinary(str(program(tmp_path / "claude", version)))
    with pytest.raises(BetcodeError) as caught:
        asyncio.run(binary.checked("", {"PATH": "/usr/bin:/bin"}))
    assert caught.value.code == code
    assert "2.1.222" in caught.value.hint


@pytest.mark.req("PS-12")
def test_a_changed_executable_is_asked_for_its_version_again(tmp_path: Path) -> None:
    binary = ClaudeBinary(str(program(tmp_path / "claude")))
    asyncio.run(binary.checked("", {"PATH": "/usr/bin:/bin"}))
    program(tmp_path / "claude", "2.1.100 older")
    with pytest.raises(BetcodeError, match="too old"):
        asyncio.run(binary.checked("", {"PATH": "/usr/bin:/bin"}))


@pytest.mark.req("SE-2")
def test_no_value_of_a_user_can_become_an_option_of_claude() -> None:
    evil = "--dangerously-skip-permissions"
    options = Options(model=evil, allow=("Bash",), system_prompt=evil, append_system_prompt=evil, add_dirs=(evil,))
    row = SessionRow(
        id=SessionId("s"),
        claude_session_id=ClaudeSessionId("u"),
        directory="/",
        name="",
        created_at="",
        options=options,
        state="NEW",
        reason="",
        epoch=1,
        seq=0,
        run=1,
        offset=0,
        checkpoint=0,
        life={},
    )
    argv = arguments(Path("/claude"), row, resume=False)
    assert evil not in argv
    assert all(argument.startswith(("-p", "--")) for argument in argv[1:])
    assert f"--model={evil}" in argv
