"""One call of `betcode`: the global options, the directories they lead to, and the way to the daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from betcode.cli.service import Site
    from betcode.client.client import Client
    from betcode.config.paths import Paths

TRACE_ID_DIGITS = 32


@dataclass
class Invocation:
    """Made by the command group; verbs get it with `@pass_invocation`."""

    flags: dict[str, str | None]
    claude: str | None
    env: Mapping[str, str]

    @cached_property
    def paths(self) -> Paths:
        """The directories in use. Raises BetcodeError `config.invalid`."""
        from betcode.config.paths import find_paths

        return find_paths(self.flags, self.env)

    def daemon_argv(self) -> list[str]:
        """The command of a daemon for these directories."""
        paths = self.paths
        # -P: a file betcode.py or json.py in the user's project must not be imported instead of ours.
        argv = [sys.executable, "-P", "-m", "betcode.daemon"]
        argv += ["--config-dir", str(paths.config), "--data-dir", str(paths.data), "--runtime-dir", str(paths.runtime)]
        if self.claude:
            argv += ["--claude", self.claude_program()]
        return argv

    def claude_program(self) -> str:
        """--claude as the daemon can use it, which works in another directory: a path is made absolute."""
        import os

        given = self.claude or ""
        return os.path.abspath(os.path.expanduser(given)) if "/" in given else given

    async def start_daemon(self, *options: str) -> None:
        """Start a daemon in the background, with these options, and return when it answers. Raises BetcodeError.

        A service that is installed for these directories is started, so that it never meets a daemon beside it.
        """
        import asyncio

        from betcode.client.start import start_daemon, start_through
        from betcode.config.paths import prepare

        prepare(self.paths)
        if (service := await asyncio.to_thread(self._service, options)) is not None:
            await start_through(service, socket_path=self.paths.socket)
            return
        await start_daemon(
            [*self.daemon_argv(), *options],
            env=dict(self.env),
            stderr_path=self.paths.stderr,
            socket_path=self.paths.socket,
        )

    def site(self) -> Site:
        """Where this call stands, for whatever concerns the daemon as a service."""
        from betcode.cli.service import Site

        return Site(self.paths, self.env, tuple(self.daemon_argv()))

    def _service(self, options: tuple[str, ...]) -> Callable[[], None] | None:
        """What starts the installed service; None where none is installed, or nobody answers who could start it."""
        found = self.site().reachable()
        if found is None:
            return None
        if options:
            from betcode.model.errors import BetcodeError

            raise BetcodeError(
                "request.usage",
                f"the daemon is installed as a service, which {options[0]} does not reach",
                hint=f"Put it into the settings ({self.paths.settings}), or first: betcode daemon uninstall",
            )
        runs, service = found
        return lambda: runs.start(service)

    def client(self, *, start: bool = True, urgent: bool = False) -> Client:
        """The way to the daemon; with `start` one is started if none answers.

        `urgent`: it answers questions or stops work and does nothing else, and so is let in by a full daemon.
        """
        import secrets
        from random import Random

        from betcode import __version__
        from betcode.client.client import Client
        from betcode.model.frames import PROTOCOL, Hello

        hello = Hello(
            protocol=[PROTOCOL],
            client=self._client_name(),
            version=__version__,
            trace_id=self._trace_id(),
            person=sys.stdin.isatty() and sys.stderr.isatty(),
        )
        return Client(
            self.paths.socket,
            start_daemon=self.start_daemon if start else None,
            rng=Random(secrets.randbits(64)),
            hello=hello,
            urgent=urgent,
        )

    def _client_name(self) -> str:
        """Shown to people as who did something: the terminal, or that it is a script."""
        import os

        try:
            return f"cli {os.ttyname(0)}"
        except OSError:
            return f"cli pid {os.getpid()}"

    def _trace_id(self) -> str:
        """The caller's W3C trace id, else a new one."""
        given = self.env.get("TRACEPARENT", "").split("-")
        if len(given) == 4 and len(given[1]) == TRACE_ID_DIGITS and set(given[1]) <= set("0123456789abcdef"):
            return given[1]
        import secrets

        return secrets.token_hex(TRACE_ID_DIGITS // 2)


pass_invocation = click.make_pass_decorator(Invocation)
