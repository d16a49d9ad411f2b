"""Builds the daemon and runs it: lock, log, database, sessions, server; then the same backwards.

Reads from top to bottom as the system does: everything below the engine is made here and handed to it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from betcode import __version__
from betcode.adapters.claude_binary import ClaudeBinary
from betcode.adapters.clock import SystemClock
from betcode.adapters.environment import child_environment
from betcode.adapters.launcher import KeeperLauncher
from betcode.adapters.log import JsonLog, open_log, set_level
from betcode.adapters.marks import SessionMarks
from betcode.adapters.metrics import Metrics
from betcode.adapters.server import LocalServer, SocketChannel
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite.store import SqliteStore
from betcode.config.paths import Paths, prepare
from betcode.config.show import changed
from betcode.config.tree import Config
from betcode.core.instant import iso
from betcode.daemon.lock import DaemonLock, next_generation
from betcode.daemon.pages import Pages
from betcode.daemon.policy import policy_of
from betcode.daemon.report import StartReport
from betcode.engine.conversation import Conversation, Daemon
from betcode.engine.deletion import sweep_leftovers
from betcode.engine.registry import Registry
from betcode.engine.requests import Requests
from betcode.engine.restore import restore_all
from betcode.engine.slots import Slots
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options


def run_daemon(
    paths: Paths,
    config: Config,
    *,
    reload: Callable[[], Config] | None = None,
    report_fd: int | None = None,
    foreground: bool = True,
    replaces: bool = False,
) -> int:
    """Run until a signal or a client's request stops it. Returns the exit status.

    Args:
        paths: where everything is; created if missing.
        config: checked settings.
        reload: reads the settings again, for SIGHUP; may raise BetcodeError.
        report_fd: pipe to the process that started this one (`daemon.report`).
        foreground: also log to standard error.
        replaces: check what can be checked, report that, and wait until the daemon that runs now has ended.

    Raises:
        BetcodeError: the daemon could not start; also reported on `report_fd`.
    """
    report = StartReport(report_fd)
    try:
        prepare(paths)
        lock = DaemonLock(paths.lock)
        if replaces:
            asyncio.run(check_claude(config))
            report.waiting()
        lock.take(wait_s=limits.REPLACE_WAIT_S if replaces else 0.0)
        log = open_log(
            paths.log, config.daemon.log_level, bytes_max=config.daemon.log_bytes_max, to_terminal=foreground
        )
        try:
            asyncio.run(_App(paths, config, lock, log, report, reload).run())
        except BetcodeError as error:
            log.error("the daemon ends", error_type=error.code, detail=str(error))
            raise
        finally:
            lock.release()
    except BetcodeError as error:
        report.failed(error)
        raise
    except Exception as error:
        report.failed(BetcodeError("internal", repr(error), hint="Report this with the daemon's log."))
        raise
    return 0


@dataclass(slots=True)
class _App:
    """One run of the daemon."""

    paths: Paths
    config: Config
    lock: DaemonLock
    log: JsonLog
    report: StartReport
    reload: Callable[[], Config] | None = None
    apply: Callable[[Config], None] = lambda config: None
    started_with: Config = field(init=False)
    started_at: str = ""
    files: int = 0
    """Descriptors this process may have."""
    end_sessions: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    conversations: set[Conversation] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.started_with = self.config

    async def run(self) -> None:
        self.files = raise_file_limit()
        clock = SystemClock()
        self.started_at = iso(clock.now().unix_s)
        self.log = self.log.bind(trace_id=uuid.uuid4().hex, machine_id=socket.gethostname())
        metrics = Metrics()
        claude, store = await self._claude_and_store(metrics)
        try:
            self.log.info("claude found", version=claude.version)
            launcher = KeeperLauncher(
                self.paths.sessions,
                claude,
                generation=next_generation(self.paths.data / "generation", clock.now().unix_s),
                environment=dict(os.environ),
                env_pass=self.config.agent.env_pass,
            )
            world = World(
                store=store,
                launcher=launcher,
                marks=SessionMarks(self.paths.sessions),
                clock=clock,
                rng=Random(),
                log=self.log,
                meter=metrics,
                line_bytes_max=self.config.supervision.max_payload_bytes,
                slots=Slots(self.config.daemon.slots, self.config.daemon.queue),
                starts=asyncio.Semaphore(self.config.agent.starts_at_once),
                policy=policy_of(self.config),
                erase=lambda session: SessionFiles(self.paths.sessions / session).erase(),
            )
            self.apply = lambda config: _apply(config, launcher, claude, world)
            self._tell_damage(store)
            await restore_all(world, store.unstored)
            registry = Registry(world, new_uuid=lambda: str(uuid.uuid4()))
            await self._serve(registry, store, metrics)
        finally:
            await store.close()
            self.log.info("the daemon has stopped")

    async def _claude_and_store(self, metrics: Metrics) -> tuple[ClaudeBinary, SqliteStore]:
        """Both at once, since each takes a while. Raises what is wrong with claude first, else with the database."""
        opening = SqliteStore.open(
            self.paths.database, rng=Random(), observe=metrics.stored, failed=metrics.store_failed
        )
        claude, store = await asyncio.gather(check_claude(self.config), opening, return_exceptions=True)
        if isinstance(claude, BaseException):
            if isinstance(store, SqliteStore):
                await store.close()
            raise claude
        if isinstance(store, BaseException):
            raise store
        return claude, store

    def _tell_damage(self, store: SqliteStore) -> None:
        """What cannot be read of the intake log. A torn end is what a kill leaves: it was never acknowledged."""
        for problem in store.intake_problems:
            where = {"segment": problem.segment, "offset": problem.offset, "lost_bytes": problem.lost_bytes}
            if problem.torn_end:
                self.log.info("the end of the intake log was incomplete and is cut off", **where)
            else:
                self.log.error("the intake log is damaged", error_type="intake", detail=problem.detail, **where)

    async def _serve(self, registry: Registry, store: SqliteStore, metrics: Metrics) -> None:
        def status() -> dict[str, Any]:
            daemon = {"pid": os.getpid(), "version": __version__, "started_at": self.started_at}
            return {"daemon": daemon, "database": {"path": str(self.paths.database), "state": store.state}}

        requests = Requests(registry, status, resolve_directory)
        daemon = Daemon(__version__, os.getpid(), requests, self._stop, lambda: uuid.uuid4().hex)
        pages = Pages(registry, metrics, status)

        async def serve_client(channel: SocketChannel) -> None:
            conversation = Conversation(channel, registry, daemon, self.log)
            self.conversations.add(conversation)
            try:
                await conversation.serve()
            finally:
                self.conversations.discard(conversation)

        server = LocalServer(
            self.paths.socket,
            serve_client,
            pages.all(),
            clients_max=min(self.config.daemon.connections_max, clients_max(self.files)),
        )
        self._on_signals()
        busy = await registry.open()
        try:
            await server.start()
            self.log.info("the daemon serves", socket=str(self.paths.socket), sessions_taken_over=busy)
            self.report.ready(os.getpid())
            registry.beside("sweep deleted sessions", sweep_leftovers(registry))
            removed = await self._stopped_or_removed()
            self.log.info("the daemon stops", end_sessions=self.end_sessions)
            registry.stopping = True
            if self.end_sessions:
                await registry.end_processes()
            leaving = [c.leave("the daemon is stopping", limits.RECONNECT_FIRST_S) for c in list(self.conversations)]
            await asyncio.gather(*leaving)
        finally:
            await registry.close()
            await server.stop()
        if removed:
            raise BetcodeError(
                "store.failed",
                f"the data directory {str(self.paths.data)!r} was removed while the daemon ran",
                hint="Its sessions end. The next command starts a daemon with an empty data directory.",
            )

    async def _stopped_or_removed(self) -> bool:
        """Wait for the end. True when there is nothing left to serve: what would be written now would be lost."""
        while not self.stopping.is_set():
            if self.lock.is_lost:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.HOME_CHECK_S):
                    await self.stopping.wait()
        return False

    def _stop(self, end_sessions: bool) -> None:
        self.end_sessions = self.end_sessions or end_sessions
        self.stopping.set()

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, False)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self) -> None:
        """Read the settings again; use what can change, name what cannot, keep the old ones if they are wrong."""
        if self.reload is None:
            return
        try:
            new = self.reload()
        except BetcodeError as error:
            self.log.error("the settings are wrong; the old ones stay", error_type=error.code, detail=str(error))
            return
        taken = changed(self.config, new).reloadable
        later = changed(self.started_with, new).needs_restart  # as long as it runs with other values, each time
        self.config = new
        self.apply(new)
        self.log.info("settings read again", changed=taken, needs_restart=later)


async def check_claude(config: Config) -> ClaudeBinary:
    """Find claude, and refuse one that cannot be driven (PS-12). Raises BetcodeError `claude.*`."""
    claude = ClaudeBinary(config.agent.claude)
    env = child_environment(os.environ, Options(), config.agent.env_pass)
    await claude.checked(env.get("PATH", ""), env)
    return claude


def _apply(config: Config, launcher: KeeperLauncher, claude: ClaudeBinary, world: World) -> None:
    """Use the settings that can change while the daemon runs: the next decision and the next process go by them."""
    world.policy = policy_of(config)
    set_level(config.daemon.log_level)
    launcher.env_pass = config.agent.env_pass
    claude.configured = config.agent.claude
    world.slots.count, world.slots.queue = config.daemon.slots, config.daemon.queue
    world.slots.wake()


def resolve_directory(given: str) -> str:
    """The real path of a working directory. Raises BetcodeError `request.directory` (SE-2)."""
    path = Path(given)
    hint = "Give the absolute path of an existing directory of yours."
    if not path.is_absolute():
        raise BetcodeError("request.directory", f"{given!r} is not an absolute path", hint=hint)
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise BetcodeError("request.directory", f"directory {given!r} does not exist", hint=hint) from error
    if not real.is_dir():
        raise BetcodeError("request.directory", f"{given!r} is not a directory", hint=hint)
    if found.st_uid != os.getuid():
        raise BetcodeError("request.directory", f"{given!r} belongs to another user", hint=hint)
    try:
        str(real).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BetcodeError("request.directory", f"{given!r} is not valid UTF-8", hint=hint) from error
    return str(real)


def raise_file_limit() -> int:
    """Use as many descriptors as the system allows: each session needs a few. Returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if sys.platform == "linux" else min(hard, 10_240)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


def clients_max(files: int) -> int:
    """How many clients are let in: with few descriptors at most half of them, or no claude could be started."""
    return min(limits.CONNECTIONS_MAX, files // 2)
