"""The command line of `betcode-claude`."""

import json
import re

import pytest

from betcode.cli.claude_arguments import read_arguments
from betcode.cli.claude_stdio import main
from betcode.cli.rule_list import rules_of
from betcode.model.errors import BetcodeError

USUAL = ["--output-format", "stream-json", "--verbose", "--system-prompt", "", "--input-format", "stream-json"]


def test_what_the_sdk_always_gives_makes_plain_options() -> None:
    found = read_arguments(USUAL, {"PATH": "/bin", "CLAUDE_CONFIG_DIR": "/home/ada/.claude"})
    assert (found.options.system_prompt, found.options.path) == ("", "/bin")
    assert found.options.claude_config_dir == "/home/ada/.claude"
    assert not (found.partial)
    assert not (found.asks_program)
    assert not (found.resume)
    assert not (found.continues)
    assert not (found.version)


def test_choices_of_the_program_become_options_of_the_session() -> None:
    argv = ["--model", "opus", "--max-turns", "3", "--permission-mode", "plan", "--add-dir", "/a", "--add-dir", "/b"]
    argv += ["--allowedTools", "Read,Bash(git log *, x),Edit", "--disallowedTools", "WebFetch"]
    argv += ["--permission-prompt-tool", "stdio", "--include-partial-messages", "--resume=-odd"]
    found = read_arguments([*USUAL, *argv], {})
    options = found.options
    assert (options.model, options.max_turns, options.permission_mode) == ("opus", 3, "plan")
    assert options.add_dirs == ("/a", "/b")
    assert options.allow == ("Read", "Bash(git log *, x)", "Edit"), "a comma inside brackets belongs to the rule"
    assert options.disallow == ("WebFetch",)
    assert (found.asks_program, found.partial, found.resume) == (True, True, "-odd")


def test_some_options_reach_claude_as_they_are_and_bound_to_their_names() -> None:
    found = read_arguments([*USUAL, "--effort", "high", "--tools", "", "--strict-mcp-config"], {})
    assert set(found.options.more) == {"--effort=high", "--tools=", "--strict-mcp-config"}


@pytest.mark.parametrize("argv", [["--fork-session"], ["--settings", "{}"], ["--output-format", "text"], ["prompt"]])
def test_what_is_not_supported_is_refused_and_named(argv: list[str]) -> None:
    with pytest.raises(BetcodeError) as told:
        read_arguments(argv, {})
    assert told.value.code == "request.usage"
    assert argv[-1] in str(told.value) or argv[0] in str(told.value)
    assert "docs/sdk.md" in told.value.hint


def test_servers_inside_the_program_are_refused_and_others_pass() -> None:
    other = json.dumps({"mcpServers": {"files": {"command": "serve"}}})
    assert read_arguments(["--mcp-config", other], {}).options.more == (f"--mcp-config={other}",)
    assert read_arguments(["--mcp-config", "a/file.json"], {}).options.more == ("--mcp-config=a/file.json",)
    with pytest.raises(BetcodeError, match="calculator"):
        read_arguments(["--mcp-config", json.dumps({"mcpServers": {"calculator": {"type": "sdk"}}})], {})


@pytest.mark.parametrize(
    "given, rules",
    [
        (["Bash(git *),Edit"], ("Bash(git *)", "Edit")),
        (["Bash(git log, git diff) Edit(src/**)", "Read"], ("Bash(git log, git diff)", "Edit(src/**)", "Read")),
        ([" , ", ""], ()),
        (["a) b"], ("a)", "b")),
    ],
)
def test_a_list_of_rules_is_separated_by_commas_or_spaces_outside_of_brackets(
    given: list[str], rules: tuple[str, ...]
) -> None:
    assert rules_of(given) == rules


def test_what_cannot_be_honoured_is_refused_also_when_it_comes_in_the_environment() -> None:
    with pytest.raises(BetcodeError, match="enable_file_checkpointing is not supported through betcode"):
        read_arguments(USUAL, {"CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "true"})
    assert read_arguments(USUAL, {"CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": ""}).partial is False


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_says_what_it_is_for_and_names_every_option(
    flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([flag]) == 0
    shown = capsys.readouterr().out
    assert 'cli_path=shutil.which("betcode-claude")' in shown
    assert {"--model", "--resume", "--mcp-config", "--include-partial-messages"} <= set(re.split(r"[\s,]+", shown))
