"""The command line of `betcode run`: what contradicts itself, and what a new session is made with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from betcode.cli.claude_flags import further_directory, mcp_config
from betcode.cli.invocation import Invocation
from betcode.cli.new_session import account_dir, check_model, check_name
from betcode.cli.output import remark
from betcode.cli.rule_list import rules_of
from betcode.config.load import load
from betcode.config.settings import number
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options as they were given; None or empty where they were not."""

    prompt: str | None
    output_format: str | None
    resume: str | None
    continue_: bool
    allow: tuple[str, ...]
    model: str | None
    max_turns: int | None
    timeout: float | None
    on_rate_limit: str
    directory: str | None
    name: str | None
    permission_ttl: float | None
    stream: bool | None
    raw: bool
    partial: bool
    claude_config_dir: str | None
    allowed_tools: tuple[str, ...]
    disallowed_tools: tuple[str, ...]
    permission_mode: str | None
    system_prompt: str | None
    append_system_prompt: str | None
    add_dir: tuple[str, ...]
    mcp_config: tuple[str, ...]
    strict_mcp_config: bool
    setting_sources: str | None
    session_id: str | None
    passed_on: tuple[str, ...]

    def check(self) -> None:
        """Refuse what contradicts itself, before anything is started. Raises BetcodeError `request.usage`."""
        if self.resume and self.continue_:
            _no("--resume and --continue exclude each other", "Use one of them.")
        if self.raw and self.output_format:
            _no("--raw and --output-format exclude each other", "--raw prints claude's lines, in claude's own form.")
        if self.timeout is not None and math.isnan(self.timeout):
            _no("--timeout is no number", "Give seconds, such as --timeout 300.")
        low, high = limits.PERMISSION_TTL_RANGE_S
        if self.permission_ttl is not None and not low <= self.permission_ttl <= high:
            allowed = f"allowed are {number(low)} to {number(high)} seconds"
            _no(f"--permission-ttl {number(self.permission_ttl)}: {allowed}", "Leave it out for the default.")
        check_name(self.name)
        check_model(self.model)
        if self.resume and self.directory:
            hint = "Leave one of them out; a session stays in the directory that it was started in."
            _no("--dir and --resume exclude each other", hint)
        if self.fixed and (self.resume or self.continue_):
            hint = "Leave it out, or start a new session without --resume and --continue."
            _no(f"{', '.join(self.fixed)} can be chosen only for a new session", hint)

    @property
    def fixed(self) -> list[str]:
        """The options given that only a new session can take."""
        named: Mapping[str, object] = {
            "--allow": self.allow,
            "--allowedTools": self.allowed_tools,
            "--disallowedTools": self.disallowed_tools,
            "--model": self.model,
            "--max-turns": self.max_turns,
            "--name": self.name,
            "--permission-ttl": self.permission_ttl,
            "--permission-mode": self.permission_mode,
            "--system-prompt": self.system_prompt,
            "--append-system-prompt": self.append_system_prompt,
            "--add-dir": self.add_dir,
            "--mcp-config": self.mcp_config,
            "--setting-sources": self.setting_sources,
            "--session-id": self.session_id,
            "--claude-config-dir": self.claude_config_dir,
        }
        given = [name for name, value in named.items() if value not in (None, ())]
        given += ["--strict-mcp-config"] if self.strict_mcp_config else []
        return given + [option.partition("=")[0] for option in self.passed_on]

    def session(self, invocation: Invocation, directory: Path, *, interactive: bool) -> Options:
        """What a new session is made with: the command line, else the settings for its directory."""
        env = invocation.env
        loaded = load(flags={}, env=env, project_dir=directory, paths=invocation.paths)
        for warning in loaded.warnings:
            remark(f"warning: {warning}")
        settings = loaded.config
        ttl_s = settings.permission.ttl_s if interactive else settings.permission.headless_ttl_s
        more = [f"--mcp-config={mcp_config(given)}" for given in self.mcp_config]
        if self.strict_mcp_config:
            more.append("--strict-mcp-config")
        return Options(
            model=self.model or settings.agent.model,
            allow=(*self.allow, *rules_of(self.allowed_tools)),
            disallow=rules_of(self.disallowed_tools),
            permission_ttl_s=ttl_s if self.permission_ttl is None else self.permission_ttl,
            permission_mode=self.permission_mode or "",
            system_prompt=self.system_prompt,
            append_system_prompt=self.append_system_prompt or "",
            add_dirs=tuple(further_directory(given) for given in self.add_dir),
            setting_sources=self.setting_sources,
            background=not interactive,
            path=env.get("PATH", ""),
            virtual_env=env.get("VIRTUAL_ENV", ""),
            max_turns=self.max_turns or 0,
            claude_config_dir=account_dir(self.claude_config_dir, settings.agent.config_dir, env),
            more=(*more, *self.passed_on),
        )


def _no(what: str, hint: str) -> None:
    raise BetcodeError("request.usage", what, hint=hint)
