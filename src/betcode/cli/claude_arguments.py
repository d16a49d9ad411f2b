"""The command line that a program of the Agent SDK gives to `claude`, as options of a session (pure).

What BetCode cannot do is refused with a sentence, never left out silently.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from betcode.cli.rule_list import rules_of
from betcode.model.errors import BetcodeError
from betcode.model.rows import PASSED_ON, Options

WITH_VALUE = sorted(PASSED_ON - {"strict-mcp-config"})
"""Options with a value that claude gets as they are (`Options.more`)."""


@dataclass(frozen=True, slots=True)
class ClaudeArguments:
    """What was asked for. `resume` is the id that claude gave the conversation, or ours."""

    options: Options
    resume: str = ""
    session_id: str = ""
    continues: bool = False
    partial: bool = False
    asks_program: bool = False
    """Questions for permission go to the program on standard output."""
    version: bool = False
    help: bool = False


HELP = """\
Usage: betcode-claude [options of claude -p with stream-json on both sides]

Stands in for claude under a program of the Claude Agent SDK, and keeps its session in the daemon of betcode. It is
started by the program, not by hand: ClaudeAgentOptions(cli_path=shutil.which("betcode-claude")).

It takes lines of JSON on standard input and prints claude's lines, until standard input ends and all is answered.
BETCODE_DATA_DIR, BETCODE_RUNTIME_DIR and BETCODE_CONFIG_DIR say which daemon it uses; none runs, and it starts one.

Options (what is not here is refused):
"""
CHECKPOINTS = "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING"
"""The SDK sets it for `enable_file_checkpointing`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BetcodeError("request.usage", f"betcode-claude: {message}", hint="See docs/sdk.md for what it supports.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="betcode-claude", add_help=False, allow_abbrev=False)
    flag, value = parser.add_argument, parser.add_argument
    flag("-v", "--version", action="store_true")
    flag("-h", "--help", action="store_true", dest="help_")
    flag("-p", "--print", action="store_true", dest="print_")
    flag("--verbose", action="store_true")
    flag("--include-partial-messages", action="store_true")
    flag("-c", "--continue", action="store_true", dest="continues")
    flag("--strict-mcp-config", action="store_true")
    value("--output-format", choices=["stream-json"])
    value("--input-format", choices=["stream-json"])
    value("--permission-prompt-tool", choices=["stdio"])
    for name in ("--model", "--permission-mode", "--append-system-prompt", "--setting-sources"):
        value(name, default="" if name != "--setting-sources" else None)
    value("--system-prompt")
    value("--max-turns", type=int, default=0)
    value("-r", "--resume", default="")
    value("--session-id", default="")
    value("--add-dir", action="append", default=[])
    value("--allowedTools", "--allowed-tools", action="append", default=[])
    value("--disallowedTools", "--disallowed-tools", action="append", default=[])
    for name in WITH_VALUE:
        value(f"--{name}", action="append", default=[])
    return parser


def read_arguments(argv: Sequence[str], env: Mapping[str, str]) -> ClaudeArguments:
    """What the program asks for; `env` is its environment.

    Raises:
        BetcodeError: `request.usage` for what is unknown or not supported.
    """
    given = _parser().parse_args(list(argv))
    if env.get(CHECKPOINTS, "").lower() in ("1", "true", "yes", "on") and not (given.help_ or given.version):
        raise BetcodeError(
            "request.usage",
            "betcode-claude: enable_file_checkpointing is not supported through betcode",
            hint="rewind_files would not reach claude. Leave it out, or use claude itself. See docs/sdk.md.",
        )
    _refuse_inner_servers(given.mcp_config)
    more = [f"--{name}={text}" for name in WITH_VALUE for text in vars(given)[name.replace("-", "_")]]
    if given.strict_mcp_config:
        more.append("--strict-mcp-config")
    options = Options(
        model=given.model,
        allow=rules_of(given.allowedTools),
        disallow=rules_of(given.disallowedTools),
        max_turns=given.max_turns,
        permission_mode=given.permission_mode,
        add_dirs=tuple(given.add_dir),
        system_prompt=given.system_prompt,
        append_system_prompt=given.append_system_prompt,
        setting_sources=given.setting_sources,
        background=True,
        path=env.get("PATH", ""),
        virtual_env=env.get("VIRTUAL_ENV", ""),
        claude_config_dir=env.get("CLAUDE_CONFIG_DIR", ""),
        more=tuple(more),
    )
    return ClaudeArguments(
        options,
        resume=given.resume,
        session_id=given.session_id,
        continues=given.continues,
        partial=given.include_partial_messages,
        asks_program=given.permission_prompt_tool == "stdio",
        version=given.version,
        help=given.help_,
    )


def help_text() -> str:
    """What it is for, and the options that it takes."""
    options = [", ".join(a.option_strings) for a in _parser()._actions]
    return HELP + "".join(f"  {names}\n" for names in options)


def _refuse_inner_servers(configs: Sequence[str]) -> None:
    """MCP servers of type `sdk` live in the program, which the session outlives."""
    for text in configs:
        try:
            servers = msgspec.json.decode(text, type=dict[str, dict[str, dict[str, object]]]).get("mcpServers", {})
        except (ValueError, RecursionError):  # the name of a file, or something that claude will judge
            continue
        inner = [name for name, server in servers.items() if server.get("type") == "sdk"]
        if inner:
            raise BetcodeError(
                "request.usage",
                f"betcode-claude: MCP servers inside the program are not supported through betcode: {', '.join(inner)}",
                hint="Run them as servers of their own, or use claude itself. See docs/sdk.md.",
            )
