"""The daemon as a user unit of systemd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from betcode.adapters.service_notice import read_failure
from betcode.adapters.supervisor import Done, Tools, failed
from betcode.adapters.systemd_scope import runtime_directory
from betcode.core.service.service import Service, names_in
from betcode.core.service.systemd_unit import unit_name, unit_text
from betcode.model import limits
from betcode.model.errors import CODES, BetcodeError

_CALL = ("systemctl", "--user")


class UserSystemd:
    """Fulfils `Supervisor`."""

    kind = "systemd"

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env`: of this process. A shell that lacks XDG_RUNTIME_DIR (su, cron) is given it."""
        self._env = env
        self.tools = Tools({**env, "XDG_RUNTIME_DIR": str(runtime_directory(env))})

    def problem(self) -> str:
        """As `Supervisor`."""
        if not self.tools.has("systemctl"):
            return "this system has no systemctl"
        asked = self.tools.ask(*_CALL, "show", "--property=Version", "--value")
        if asked.status == 0:
            return ""
        said = " ".join(asked.err.split()) or "it does not answer"
        return f"no systemd runs for this user (systemctl --user: {said})"

    def file(self, service: Service) -> Path:
        """As `Supervisor`."""
        home = self._env.get("XDG_CONFIG_HOME") or f"{self._env.get('HOME') or Path.home()}/.config"
        return Path(home) / "systemd/user" / unit_name(service)

    def links(self, service: Service) -> list[Path]:
        """As `Supervisor`."""
        return [self.file(service).parent / "default.target.wants" / unit_name(service)]

    def text(self, service: Service) -> str:
        """As `Supervisor`."""
        return unit_text(service)

    def register(self, service: Service) -> None:
        """As `Supervisor`."""
        self.tools.must(*_CALL, "daemon-reload")
        self.tools.must(*_CALL, "enable", unit_name(service))

    def start(self, service: Service) -> None:
        """As `Supervisor`. Starts that failed before are forgotten: somebody asks for this one."""
        self._begin(service, "start")

    def restart(self, service: Service) -> None:
        """As `Supervisor`."""
        self._begin(service, "restart")

    def withdraw(self, service: Service) -> None:
        """As `Supervisor`."""
        wait_s = limits.SERVICE_STOP_S + limits.SERVICE_TOOL_S
        self.tools.must(*_CALL, "disable", "--now", unit_name(service), wait_s=wait_s)

    def forget(self, service: Service) -> None:
        """As `Supervisor`."""
        self.tools.change(*_CALL, "reset-failed", unit_name(service))  # says no when nothing had failed
        self.tools.must(*_CALL, "daemon-reload")

    def pid(self, service: Service) -> int | None:
        """As `Supervisor`."""
        number = self._show(service, "MainPID").get("MainPID", "")
        return int(number) if number.isdecimal() and int(number) else None

    def variables(self) -> list[str]:
        """As `Supervisor`."""
        return names_in(self.tools.ask(*_CALL, "show-environment").out)

    def _begin(self, service: Service, verb: str) -> None:
        unit = unit_name(service)
        self.tools.change(*_CALL, "reset-failed", unit)
        done = self.tools.change(*_CALL, verb, unit, wait_s=limits.SERVICE_STOP_S + limits.DAEMON_READY_WAIT_S)
        if done.status != 0:
            raise self._why(service, done)

    def _why(self, service: Service, done: Done) -> BetcodeError:
        """What the daemon itself said of its start, or else what systemctl says."""
        shown = self._show(service, "StatusText", "Result", "ExecMainStatus")
        told = read_failure(shown.get("StatusText", ""))
        if told is not None and told[0] in CODES:
            return BetcodeError(told[0], told[1], hint=told[2])
        error = failed(done)
        ended = f"result {shown.get('Result')}, exit status {shown.get('ExecMainStatus')}"
        hint = f"journalctl --user -u {unit_name(service)} has more, and `betcode daemon logs`."
        return BetcodeError(error.code, f"{error} ({ended})", hint=hint)

    def _show(self, service: Service, *names: str) -> dict[str, str]:
        asked = self.tools.ask(*_CALL, "show", f"--property={','.join(names)}", unit_name(service))
        return {name: value for name, _, value in (line.partition("=") for line in asked.out.splitlines())}
