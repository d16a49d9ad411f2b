"""Which claude is used, and which is refused (PS-12)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from betcode.adapters.claude_binary import ClaudeBinary, find_claude
from betcode.adapters.launcher import arguments
from betcode.model.errors import BetcodeError
from betcode.model.ids import ClaudeSessionId, SessionId
from betcode.model.limits import CLAUDES_KNOWN_MAX
from betcode.model.rows import Options, SessionRow

ENV = {"PATH": "/usr/bin:/bin"}


def program(path: Path, version: str = "2.1.330") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version} (Claude Code)'\n")
    path.chmod(0o700)
    return path


def counting(path: Path, asked: Path, version: str) -> Path:
    """A program that notes each time that it is asked."""
    program(path, version)
    path.write_text(f"#!/bin/sh\necho {path} >> {asked}\necho {version}\n")
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
        asyncio.run(binary.checked("", ENV))
    assert caught.value.code == code
    assert "2.1.222" in caught.value.hint


@pytest.mark.req("PS-12")
def test_a_changed_executable_is_asked_for_its_version_again(tmp_path: Path) -> None:
    binary = ClaudeBinary(str(program(tmp_path / "claude")))
    asyncio.run(binary.checked("", ENV))
    program(tmp_path / "claude", "2.1.100 older")
    with pytest.raises(BetcodeError, match="too old"):
        asyncio.run(binary.checked("", ENV))


@pytest.mark.req("PS-12")
def test_a_file_of_the_same_size_and_time_is_noticed_too(tmp_path: Path) -> None:
    claude = program(tmp_path / "claude", "2.1.330")
    binary = ClaudeBinary(str(claude))
    asyncio.run(binary.checked("", ENV))
    before = claude.stat()
    program(tmp_path / "new", "2.1.222").replace(claude)
    os.utime(claude, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (claude.stat().st_size, claude.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    asyncio.run(binary.checked("", ENV))
    assert binary.version == "2.1.222"


@pytest.mark.req("PS-12")
def test_a_link_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    versions = [program(tmp_path / version / "claude", version) for version in ("2.1.330", "2.1.221")]
    link = tmp_path / "claude"
    link.symlink_to(versions[0])
    binary = ClaudeBinary(str(link))
    asyncio.run(binary.checked("", ENV))
    link.unlink()
    link.symlink_to(versions[1])
    with pytest.raises(BetcodeError, match="too old"):
        asyncio.run(binary.checked("", ENV))


@pytest.mark.req("PS-12")
def test_each_change_is_told_once_and_a_file_that_stays_is_not_asked_again(tmp_path: Path) -> None:
    claude, asked = tmp_path / "claude", tmp_path / "asked"
    told: list[tuple[str, str, bool]] = []
    binary = ClaudeBinary(str(counting(claude, asked, "2.1.330")))
    binary.noticed = lambda before, now: told.append((before.version if before else "", now.version, not now.problem))
    for version in ("2.1.330", "2.1.330", "2.1.332", "2.1.332", "2.1.221", "2.1.221", "2.1.332"):
        if claude.read_text().find(version) < 0:
            counting(claude, asked, version)
        with contextlib.suppress(BetcodeError):
            asyncio.run(binary.checked("", ENV))
    assert told == [
        ("", "2.1.330", True),
        ("2.1.330", "2.1.332", True),
        ("2.1.332", "2.1.221", False),
        ("2.1.221", "2.1.332", True),
    ]
    assert len(asked.read_text().splitlines()) == len(told)


@pytest.mark.req("PS-12")
def test_sessions_with_a_path_of_their_own_do_not_make_each_other_ask_again(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    paths = [counting(tmp_path / name / "claude", asked, "2.1.330").parent for name in ("a", "b")]
    binary = ClaudeBinary("")
    for path in [*paths, *paths, *paths]:
        assert asyncio.run(binary.checked(str(path), ENV)).parent == path
    assert len(asked.read_text().splitlines()) == 2


@pytest.mark.req("INV-8")
def test_no_more_executables_are_remembered_than_there_is_room_for(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    binary = ClaudeBinary("")
    paths = [counting(tmp_path / str(n) / "claude", asked, "2.1.330").parent for n in range(CLAUDES_KNOWN_MAX + 1)]
    for path in [*paths, paths[-1], paths[0]]:
        asyncio.run(binary.checked(str(path), ENV))
    assert len(asked.read_text().splitlines()) == len(paths) + 1, "the one that was seen first is forgotten"


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
