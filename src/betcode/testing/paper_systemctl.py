"""A `systemctl --user` on paper: for machines without systemd, as far as the daemon's unit needs one.

It reads the unit that was written, starts its ExecStart with the unit's variables and a notify socket, waits for READY
as Type=notify does, and stops the main process alone, as KillMode=process does. It starts nothing again by itself.
Every call is recorded; a file `fail-VERB` beside it makes that verb fail with the file's text.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from betcode.testing.limits import PAPER_START_S, PAPER_STOP_S

_POLL_S = 0.02
WATCHDOG_S = 120.0
"""What a unit without WatchdogSec is told; ours has one, which is read."""


class PaperSystemd:
    """One user's systemd: its state is in `folder`."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists."""
        self.folder = folder

    def run(self, arguments: Sequence[str]) -> int:
        """One call of `systemctl --user`. Returns its exit status."""
        with (self.folder / "calls.ndjson").open("a") as calls:
            calls.write(json.dumps(list(arguments)) + "\n")
        words = [word for word in arguments if not word.startswith("--")]
        verb, unit = words[0], words[1] if len(words) > 1 else ""
        planned = self.folder / f"fail-{verb}"
        if planned.exists():
            sys.stderr.write(planned.read_text())
            return 1
        match verb:
            case "show":
                return self._show(unit, arguments)
            case "show-environment":
                sys.stdout.write(f"HOME={os.environ['HOME']}\nPATH={os.defpath}\n")
            case "daemon-reload" | "reset-failed":
                pass
            case "enable":
                return self._enable(unit)
            case "disable":
                self._stop(unit)
                self._wants(unit).unlink(missing_ok=True)
            case "stop":
                self._stop(unit)
            case "start" | "restart":
                if verb == "restart":
                    self._stop(unit)
                return 0 if self._pid(unit) else self._start(unit)
            case _:
                raise ValueError(f"this systemctl is on paper and cannot {verb}")
        return 0

    def _file(self, unit: str) -> Path:
        home = os.environ.get("XDG_CONFIG_HOME") or f"{os.environ['HOME']}/.config"
        return Path(home) / "systemd/user" / unit

    def _wants(self, unit: str) -> Path:
        return self._file("default.target.wants") / unit

    def _enable(self, unit: str) -> int:
        if not self._file(unit).exists():
            sys.stderr.write(f"Failed to enable unit: Unit file {unit} does not exist.\n")
            return 1
        self._wants(unit).parent.mkdir(exist_ok=True)
        self._wants(unit).unlink(missing_ok=True)
        self._wants(unit).symlink_to(self._file(unit))
        return 0

    def _state(self, unit: str) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads((self.folder / f"{unit}.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def _note(self, unit: str, **state: str) -> None:
        (self.folder / f"{unit}.json").write_text(json.dumps(state))

    def _show(self, unit: str, arguments: Sequence[str]) -> int:
        asked = next(word for word in arguments if word.startswith("--property=")).removeprefix("--property=")
        known = {"Version": "252", "ControlGroup": "/", **self._state(unit), "MainPID": str(self._pid(unit))}
        for name in asked.split(","):
            sys.stdout.write(known.get(name, "") if "--value" in arguments else f"{name}={known.get(name, '')}\n")
        return 0

    def _pid(self, unit: str) -> int:
        """0 when it does not run."""
        pid = int(self._state(unit).get("MainPID", "0"))
        return pid if pid and _runs(pid) else 0

    def _stop(self, unit: str) -> None:
        pid = self._pid(unit)
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)
        if not _wait(pid, PAPER_STOP_S):
            os.kill(pid, signal.SIGKILL)
        self._note(unit, MainPID="0", Result="success")

    def _start(self, unit: str) -> int:
        settings = _read(self._file(unit))
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            notify.settimeout(_POLL_S)
            watchdog_us = int(1e6 * float((settings.get("WatchdogSec") or [str(WATCHDOG_S)])[0]))
            child = subprocess.Popen(
                shlex.split(settings["ExecStart"][0].replace("%%", "%").replace("$$", "$")),
                env=_environment(settings) | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": str(watchdog_us)},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            told = self._until_ready(child, notify)
        if child.poll() is None and "READY" in told:
            self._note(unit, MainPID=str(child.pid), StatusText=told.get("STATUS", ""))
            return 0
        self._note(
            unit, StatusText=told.get("STATUS", ""), Result="exit-code", ExecMainStatus=str(child.returncode or 0)
        )
        sys.stderr.write(f"Job for {unit} failed because the control process exited with error code.\n")
        return 1

    def _until_ready(self, child: subprocess.Popen[bytes], notify: socket.socket) -> dict[str, str]:
        told: dict[str, str] = {}
        end = time.monotonic() + PAPER_START_S
        while "READY" not in told and time.monotonic() < end:
            ended = child.poll() is not None
            try:
                lines = notify.recv(65_536).decode().splitlines()
            except TimeoutError:
                if ended:
                    break
                continue
            told |= {name: value for name, _, value in (line.partition("=") for line in lines)}
        return told


def _read(file: Path) -> dict[str, list[str]]:
    """The settings of a unit; each may stand several times."""
    found: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def _environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """What the unit's process gets: nothing of the caller's but its home, as with systemd."""
    env = {"HOME": os.environ["HOME"], "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "")}
    for value in settings.get("Environment", []):
        for pair in shlex.split(value.replace("%%", "%")):
            name, _, text = pair.partition("=")
            env[name] = text
    for place in settings.get("EnvironmentFile", []):
        file = Path(place.removeprefix("-").replace("%%", "%"))
        if file.exists():
            env |= dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    return env


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def _wait(pid: int, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while _runs(pid):
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_S)
    return True


def main() -> None:
    """The command: `systemctl --user VERB [UNIT]`, from a script in the folder that holds its state."""
    sys.exit(PaperSystemd(Path(sys.argv[0]).parent).run(sys.argv[1:]))
