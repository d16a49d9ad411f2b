"""All checks of `betcode doctor`: facts are gathered beside each other, each in its time, and judged by `core`.

A check runs in a thread of its own that nobody waits for beyond the deadline: a hung disk or daemon ends as a finding.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from betcode import __version__
from betcode.adapters.clock import SystemClock
from betcode.adapters.survey import machine, programs
from betcode.adapters.survey.database import look_at_database
from betcode.adapters.survey.intake import look_at_intake
from betcode.adapters.survey.sessions import SOCKET, look_at_folders
from betcode.adapters.system_memory import system_memory_bytes
from betcode.cli.doctor_daemon import known_sessions, look_at_daemon, settled
from betcode.cli.invocation import Invocation
from betcode.config.load import load
from betcode.config.paths import Paths
from betcode.config.tree import Config
from betcode.core.diagnosis import finding, leftovers, places
from betcode.core.diagnosis import programs as judged
from betcode.core.diagnosis.daemon import Daemon, Held, Lock, judge_daemon, judge_database, judge_intake
from betcode.core.diagnosis.finding import Finding
from betcode.core.diagnosis.service import Installed, judge_service
from betcode.core.service.service import program_in
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.ids import SESSION_ID_LENGTH

Check = Callable[[], list[Finding]]
RUNNING = ("path", "version", "before", "problem", "hint")
"""Members of `claude` in the daemon's status."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks start from."""

    invocation: Invocation
    paths: Paths
    daemon: Daemon
    body: Mapping[str, Any]
    """The daemon's answer to `status`; empty when there is none."""
    settings: places.Settings
    config: Config | None


def examine(invocation: Invocation) -> list[Finding]:
    """Look at everything. Raises nothing of its own: what cannot be looked at is a finding too."""
    deadline = time.monotonic() + limits.DOCTOR_CHECK_WAIT_S
    try:
        paths = invocation.paths
    except BetcodeError as error:
        wrong = finding.error("directories.paths", str(error), f"unset {' '.join(_variables())}")
        alone: dict[str, Check] = {"installation.python": _program, "claude.found": lambda: _claude(invocation, None)}
        return finding.in_order([wrong, *_all(alone, deadline)])
    scene, findings = _scene(invocation, paths, deadline)
    return finding.in_order([*findings, *_all(_checks(scene), deadline)])


def _variables() -> tuple[str, ...]:
    from betcode.config.paths import DIRECTORY_VARIABLES

    return DIRECTORY_VARIABLES


def _scene(invocation: Invocation, paths: Paths, deadline: float) -> tuple[Scene, list[Finding]]:
    """The daemon and the settings, which the other checks need."""
    daemon, body = Daemon(Lock(Held.HIDDEN, problem="there was no time to look"), socket=str(paths.socket)), {}
    settings, config = places.Settings(str(paths.settings), exists=False), None
    half = deadline - limits.DOCTOR_CHECK_WAIT_S / 2
    said = beside({"daemon.lock": lambda: look_at_daemon(paths), "config.settings": lambda: _load(invocation)}, half)
    findings = [late for late in said.values() if isinstance(late, Finding)]
    if isinstance(found := said["daemon.lock"], tuple):
        daemon, body = found
    if isinstance(found := said["config.settings"], tuple):
        settings, config = found
    return Scene(invocation, paths, daemon, body, settings, config), findings


def _load(invocation: Invocation) -> tuple[places.Settings, Config | None]:
    file = invocation.paths.settings
    try:
        project: Path | None = Path(os.getcwd())
    except OSError:
        project = None  # it was removed
    path, exists = str(file), file.exists()
    try:
        flags = {"agent.claude": invocation.claude_program() or None}
        loaded = load(flags=flags, env=invocation.env, project_dir=project, paths=invocation.paths)
    except BetcodeError as error:
        return places.Settings(path, exists, problem=str(error), hint=error.hint), None
    return places.Settings(path, exists, warnings=tuple(loaded.warnings)), loaded.config


def _checks(scene: Scene) -> dict[str, Check]:
    """Each check under the id that a finding has when it does not end."""
    paths, env, uid = scene.paths, scene.invocation.env, os.geteuid()
    live = scene.daemon.runs
    return {
        "installation.python": _program,
        "claude.found": lambda: _claude(scene.invocation, scene.config),
        "claude.daemon": lambda: judged.judge_running_claude(_running_claude(scene.body)),
        "claude.login": lambda: [_login(scene)],
        "directories.config": lambda: [places.judge_place(machine.look_at_place("config", paths.config), uid)],
        "directories.data": lambda: [places.judge_place(machine.look_at_place("data", paths.data), uid)],
        "directories.runtime": lambda: [places.judge_place(machine.look_at_place("runtime", paths.runtime), uid)],
        "directories.socket": lambda: places.judge_sockets(_sockets(scene)),
        "directories.files": lambda: _files(paths, uid),
        "config.settings": lambda: [places.judge_settings(scene.settings)],
        "daemon.running": lambda: judge_daemon(
            scene.daemon, client_version=__version__, database_path=os.path.realpath(paths.database)
        ),
        "daemon.service": lambda: [judge_service(_service(scene.invocation), daemon_pid=scene.daemon.pid)],
        "database.check": lambda: _database(scene, live),
        "intake.readable": lambda: judge_intake(look_at_intake(paths.intake, live=live), data=str(paths.data)),
        "sessions.leftovers": lambda: _folders(scene),
        "disk.data": lambda: [places.judge_room(machine.look_at_room("data", paths.data))],
        "disk.claude": lambda: [places.judge_room(machine.look_at_room("claude", programs.claude_home(env)))],
        "disk.filesystem": lambda: [places.judge_filesystem(machine.filesystem_of(paths.data), str(paths.data))],
        "system.memory": lambda: [judged.judge_memory(_memory(scene))],
        "system.linger": lambda: [
            judged.judge_linger(
                machine.look_at_linger(env, paths.runtime), service=scene.invocation.site().installed() is not None
            )
        ],
    }


def _program() -> list[Finding]:
    return judged.judge_program(programs.look_at_program())


def _claude(invocation: Invocation, config: Config | None) -> list[Finding]:
    """As a daemon started from here would find it; without valid settings as the options and variables say."""
    from_here = invocation.claude_program() or invocation.env.get("BETCODE_CLAUDE", "")
    configured = from_here if config is None else config.agent.claude
    env_pass = () if config is None else tuple(config.agent.env_pass)
    return judged.judge_claude(programs.look_at_claude(configured, invocation.env, env_pass))


def _memory(scene: Scene) -> judged.MemoryHold:
    config = scene.config or Config()
    total = int(config.daemon.memory_share * system_memory_bytes())
    said = scene.body.get("memory") or {}
    return judged.MemoryHold(config.agent.memory_bytes_max, total, said.get("not_by_kernel"), said.get("used_bytes"))


def _login(scene: Scene) -> Finding:
    env = scene.invocation.env
    found = programs.look_at_login(env, scene.daemon.pid)
    service = scene.invocation.site().installed()
    if service is None or service[0].kind != "systemd":
        return judged.judge_login(found)
    return judged.judge_login(replace(found, service_file=service[1].environment_file))


def _service(invocation: Invocation) -> Installed:
    found = invocation.site().installed()
    if found is None:
        return Installed()
    runs, service = found
    file = runs.file(service)
    started = program_in(file.read_text(encoding="utf-8", errors="replace"))
    gone = "" if not started or os.path.exists(started) else started
    if problem := runs.problem():
        return Installed(runs.kind, str(file), problem=problem, program=gone)
    return Installed(runs.kind, str(file), program=gone, pid=runs.pid(service))


def _running_claude(body: Mapping[str, Any]) -> judged.RunningClaude:
    """As the daemon says in its status; an older daemon says nothing."""
    said = body.get("claude", {})
    return judged.RunningClaude(**{name: str(said.get(name, "")) for name in RUNNING})


def _sockets(scene: Scene) -> places.Sockets:
    paths, invocation = scene.paths, scene.invocation
    given = invocation.flags.get("runtime_dir") or invocation.env.get("BETCODE_RUNTIME_DIR") or ""
    wanted = os.path.abspath(os.path.expanduser(given)) if given else ""
    keeper = paths.sessions / ("x" * SESSION_ID_LENGTH) / SOCKET
    return places.Sockets(
        str(paths.socket),
        len(os.fsencode(paths.socket)),
        moved_from=wanted if wanted and wanted != str(paths.runtime) else "",
        keepers_moved=len(os.fsencode(keeper)) > limits.SOCKET_PATH_BYTES_MAX,
    )


def _files(paths: Paths, uid: int) -> list[Finding]:
    if not paths.data.exists():
        return []
    private, times = machine.look_through(paths.data, SystemClock().now().unix_s)
    return [*places.judge_private(private, uid), *places.judge_clock(times)]


def _database(scene: Scene, live: bool) -> list[Finding]:
    paths = scene.paths
    left = any(_has_any(folder) for folder in (paths.sessions, paths.intake))
    found = look_at_database(paths.database, paths.sessions, live=live, others_left=left)
    return judge_database(found, daemon_state=scene.daemon.database_state, data=str(paths.data))


def _has_any(folder: Path) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def _folders(scene: Scene) -> list[Finding]:
    folders, unread, hidden = look_at_folders(scene.paths.sessions)
    known = known_sessions(scene.body) if scene.daemon.answers else None
    if known is not None:
        folders, known = settled(scene.paths, folders, known)
    return leftovers.judge_folders(folders, known, unread=unread, hidden=hidden)


# --- beside each other, in time -----------------------------------------------------------------------------------


def _all(checks: Mapping[str, Check], deadline: float) -> list[Finding]:
    findings: list[Finding] = []
    for said in beside(checks, deadline).values():
        findings += [said] if isinstance(said, Finding) else said
    return findings


def beside(work: Mapping[str, Callable[[], Any]], deadline: float) -> dict[str, Any]:
    """What each function returns, or a finding that says that it failed or did not end before `deadline`.

    `deadline` is on the monotonic clock. Threads that are late are left behind and end with the process.
    """
    done: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    def run(name: str, function: Callable[[], Any]) -> None:
        try:
            done.put((name, function()))
        except Exception as error:  # noqa: BLE001 - a check that fails must not hide the others
            what = f"this could not be checked: {type(error).__name__}: {error}"
            done.put((name, finding.warning(name, what, "betcode doctor")))

    for name, function in work.items():
        threading.Thread(target=run, args=(name, function), name=f"doctor {name}", daemon=True).start()
    said: dict[str, Any] = {}
    while len(said) < len(work):
        try:
            name, result = done.get(timeout=max(deadline - time.monotonic(), 0.0))
        except Empty:
            break
        said[name] = result
    what = f"this check did not end within {limits.DOCTOR_CHECK_WAIT_S:.0f} s: something hangs, perhaps a disk"
    return {name: said.get(name, finding.warning(name, what, "dmesg | tail")) for name in work}
