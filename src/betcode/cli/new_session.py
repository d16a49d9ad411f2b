"""Which session a conversation in this directory is about: one that is there, or a new one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betcode.cli.invocation import Invocation
from betcode.cli.output import remark
from betcode.client.client import Client
from betcode.config.load import load
from betcode.config.settings import NotAllowedError, settings, shown
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create, ListSessions, Show
from betcode.model.rows import Options
from betcode.model.states import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line says. At most one of `resume`, `continue_` and `new` is given."""

    resume: str | None = None
    continue_: bool = False
    new: bool = False
    model: str | None = None
    allow: tuple[str, ...] = ()
    name: str | None = None
    claude_config_dir: str | None = None

    def check(self) -> None:
        """Raise BetcodeError `request.usage` for what contradicts itself."""
        check_name(self.name)
        check_model(self.model)
        ways = {"--resume": self.resume, "--continue": self.continue_, "--new": self.new}
        given = [name for name, value in ways.items() if value]
        if len(given) > 1:
            raise BetcodeError("request.usage", f"{' and '.join(given)} exclude each other", hint="Use one of them.")
        if self.fixed and (self.resume or self.continue_):
            raise BetcodeError(
                "request.usage",
                f"{', '.join(self.fixed)} can be chosen only for a new session",
                hint=f"Leave it out, or start a new session instead of {given[0]}.",
            )

    @property
    def fixed(self) -> list[str]:
        """The options given that only a new session can take."""
        options = {
            "--model": self.model,
            "--allow": self.allow,
            "--name": self.name,
            "--claude-config-dir": self.claude_config_dir,
        }
        return [name for name, value in options.items() if value]


async def find_session(
    client: Client, invocation: Invocation, choice: Choice, directory: str
) -> tuple[dict[str, Any], bool]:
    """The summary of the session to talk in, and whether it is new.

    Without a word on the command line it is this directory's newest session that is not closed. Raises BetcodeError.
    """
    if choice.resume:
        return (await client.request(Show(session=choice.resume)))["session"], False
    if not (choice.new or choice.fixed):
        listed = (await client.request(ListSessions(limit=limits.LIST_MAX, closed=False)))["sessions"]
        here = [s for s in listed if s["dir"] == directory and s["state"] != SessionState.CLOSED]
        if here:
            return here[0], False
        if choice.continue_:
            raise BetcodeError(
                "session.not_found",
                f"no session has been started in {directory}",
                hint="Start one with: betcode; all of them: betcode sessions list",
            )
    create = Create(
        directory=directory,
        name=choice.name or "",
        options=_options(choice, invocation, Path(directory)),
        key=str(uuid.uuid4()),
    )
    return (await client.request(create))["session"], True


def _options(choice: Choice, invocation: Invocation, directory: Path) -> Options:
    """What a new session with a person at it is made with: the command line, else the settings for its directory."""
    env = invocation.env
    loaded = load(flags={}, env=env, project_dir=directory, paths=invocation.paths)
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    agent = loaded.config.agent
    return Options(
        model=choice.model or agent.model,
        allow=choice.allow,
        permission_ttl_s=loaded.config.permission.ttl_s,
        path=env.get("PATH", ""),
        virtual_env=env.get("VIRTUAL_ENV", ""),
        claude_config_dir=account_dir(choice.claude_config_dir, agent.config_dir, env),
    )


def check_name(name: str | None) -> None:
    """Raise BetcodeError `request.usage` for a name that shows nothing."""
    if name is not None and not name.strip():
        raise BetcodeError("request.usage", "--name is empty", hint="Give a name, or leave --name out.")


def check_model(model: str | None) -> None:
    """Raise BetcodeError `request.usage` for what the setting `agent.model` would not take either."""
    setting = settings()["agent.model"]
    try:
        setting.parse(model or "")
    except NotAllowedError as error:
        raise BetcodeError(
            "request.usage",
            f"--model {shown(model)} is not allowed; allowed: {setting.range_text}",
            hint="For example: --model opus",
        ) from error


def account_dir(given: str | None, setting: str, env: Mapping[str, str]) -> str:
    """`CLAUDE_CONFIG_DIR` of a new session: the flag, else the setting, else this environment; empty: claude's own."""
    chosen = os.path.abspath(os.path.expanduser(given)) if given else setting  # the daemon works in another directory
    if chosen and not os.path.isdir(chosen):
        remark(f"warning: the account's directory {chosen} does not exist; claude makes it, and is not logged in there")
    return chosen or env.get("CLAUDE_CONFIG_DIR", "")
