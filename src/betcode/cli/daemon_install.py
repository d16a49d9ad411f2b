"""`betcode daemon install` and `uninstall`: everything or nothing, and every step shown."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from betcode.adapters.supervisor import Supervisor
from betcode.adapters.survey.machine import look_at_linger
from betcode.cli.daemon_end import stop_daemon
from betcode.cli.invocation import Invocation
from betcode.cli.service import Site, unavailable
from betcode.client import brief
from betcode.client.start import rehearse, start_through
from betcode.config.paths import prepare
from betcode.core.diagnosis.finding import Severity
from betcode.core.diagnosis.programs import Linger, judge_linger
from betcode.core.service.service import Service
from betcode.model.errors import BetcodeError


@dataclass(slots=True)
class Installed:
    """What was done, or would be."""

    kind: str
    service: str
    file: str
    text: str
    commands: list[list[str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pid: int | None = None

    def fields(self) -> dict[str, Any]:
        """As one JSON object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def plan(invocation: Invocation) -> Installed:
    """What an installation from here would write; nothing is asked and nothing changed. Raises `config.invalid`."""
    site = invocation.site()
    runs, service = site.supervisor(), site.service()
    unfit = service.unfit()
    if unfit:
        raise BetcodeError(
            "config.invalid",
            f"a service cannot be given {unfit[:200]!a}: it holds a character that its file cannot",
            hint="Change that path or variable and try again.",
        )
    return Installed(runs.kind, service.name, str(runs.file(service)), runs.text(service))


def install(invocation: Invocation) -> Installed:
    """Write the service, start it, have it started at each login; a daemon that runs hands over, turns go on.

    Raises:
        BetcodeError: `service.unavailable`, `service.failed`, or why no daemon can start; then all is as before.
    """
    done = plan(invocation)
    site = invocation.site()
    runs, service = site.supervisor(), site.service()
    if problem := runs.problem():
        raise unavailable(problem)
    left_out = site.kept_out(runs)
    prepare(invocation.paths)
    asyncio.run(check_start(invocation))
    file = Path(done.file)
    before = file.read_bytes() if file.exists() else None
    stopped = False
    try:
        _write(file, done.text.encode())
        runs.register(service)
        stopped = stop_stray(invocation, runs, service)
        begin(invocation, runs, service)
    except BaseException as error:  # also when somebody presses ctrl-c meanwhile
        left = _undo(runs, service, file, before)
        if stopped and before is None:
            with suppress(BetcodeError):  # the first error is what people must know
                asyncio.run(invocation.start_daemon())
        if isinstance(error, BetcodeError):
            raise BetcodeError(error.code, f"{error}\n{left}", hint=error.hint) from error
        raise
    done.commands = runs.tools.ran
    linger = look_at_linger(invocation.env, invocation.paths.runtime)
    done.warnings = [*linger_words(linger), *_left_out(site, left_out)]
    done.pid = runs.pid(service)
    return done


def uninstall(invocation: Invocation) -> Installed | None:
    """End the service's daemon and remove the service; data and sessions stay. None when there was none.

    Raises BetcodeError `service.failed`.
    """
    found = invocation.site().installed()
    if found is None:
        return None
    runs, service = found
    file = runs.file(service)
    done = Installed(runs.kind, service.name, str(file), "")
    problem = runs.problem()
    if problem:
        done.warnings.append(f"{problem}: only its files were removed, and a daemon that runs goes on")
        for link in runs.links(service):
            _remove(link)
    else:
        runs.withdraw(service)
    _remove(file)
    if not problem:
        runs.forget(service)
    done.commands = runs.tools.ran
    return done


async def check_start(invocation: Invocation) -> None:
    """Raise BetcodeError unless a daemon could start from here."""
    await rehearse(
        invocation.daemon_argv(),
        env=dict(invocation.env),
        stderr_path=invocation.paths.stderr,
        socket_path=invocation.paths.socket,
    )


def stop_stray(invocation: Invocation, runs: Supervisor, service: Service) -> bool:
    """Stop a daemon that runs and is not the service's, so that the service's can take over. Whether there was one."""
    socket = invocation.paths.socket
    if not brief.answers(socket):
        return False
    if int(brief.ask(socket, "status")["daemon"]["pid"]) == runs.pid(service):
        return False
    stop_daemon(socket, end_sessions=False)
    return True


def begin(invocation: Invocation, runs: Supervisor, service: Service) -> None:
    """Start the service, or start it again, and return when its daemon answers. Raises BetcodeError."""
    asyncio.run(start_through(lambda: runs.restart(service), socket_path=invocation.paths.socket, always=True))


def _write(file: Path, content: bytes) -> None:
    """The whole file or none. Raises BetcodeError `config.unwritable`."""
    new = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(content)
        new.chmod(0o600)
        os.replace(new, file)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise BetcodeError(
            "config.unwritable",
            f"cannot write {str(file)!r}: {error.strerror}",
            hint=f"Let your user write {file.parent}, then try again.",
        ) from error


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise BetcodeError(
            "config.unwritable", f"cannot remove {str(file)!r}: {error.strerror}", hint=f"rm '{file}'"
        ) from error


def _undo(runs: Supervisor, service: Service, file: Path, before: bytes | None) -> str:
    """Bring back what was there. What could be brought back, in words."""
    try:
        if before is not None:
            _write(file, before)
            runs.register(service)
            runs.restart(service)
            return "The service is as it was before."
        with suppress(BetcodeError):  # it may not know of it yet
            runs.withdraw(service)
        _remove(file)
        runs.forget(service)
    except BetcodeError as error:
        return f"Taking back what was done failed too: {error}. See {file}."
    return "Nothing was installed."


def linger_words(found: Linger) -> list[str]:
    """What people must know when their services and sessions end with their logout."""
    judged = judge_linger(found, service=True)
    return [] if judged.severity is Severity.OK else [f"{judged.what}. Mend it with: {judged.hint}"]


def _left_out(site: Site, names: list[str]) -> list[str]:
    if not names:
        return []
    what = f"the service does not have these variables of this shell, which may hold secrets: {', '.join(names)}"
    if site.supervisor().kind == "systemd":
        how = f"write NAME=value lines into {site.environment_file} (chmod 600)"
    else:
        how = "launchctl setenv NAME value"
    return [f"{what}. If claude needs them: {how}, then: betcode daemon restart"]
