"""Builds the daemon and runs it: lock, log, database, sessions, server; then the same backwards.

Reads from top to bottom as the system does: everything below the engine is made here and handed to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from betcode import __version__
from betcode.adapters.claude_binary import ClaudeBinary
from betcode.adapters.clock import SystemClock, local_day
from betcode.adapters.conversations import history
from betcode.adapters.environment import child_environment
from betcode.adapters.launcher import KeeperLauncher
from betcode.adapters.log import JsonLog, open_log, set_level
from betcode.adapters.marks import SessionMarks
from betcode.adapters.metrics import Metrics
from betcode.adapters.mounts import refuse_network_disk
from betcode.adapters.server import LocalServer, SocketChannel
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.sqlite.store import SqliteStore
from betcode.config.load import Loaded
from betcode.config.paths import Paths, prepare
from betcode.config.show import changed
from betcode.config.tree import Config
from betcode.core.instant import iso
from betcode.daemon.api import Api
from betcode.daemon.bounds import bounds_of, clients_max, memory_bytes_max, pool_bounds, raise_file_limit
from betcode.daemon.claude_watch import ClaudeWatch
from betcode.daemon.database import Database
from betcode.daemon.directory import resolve_directory
from betcode.daemon.intake_report import size_warning, tell_damage
from betcode.daemon.lock import DaemonLock, next_generation
from betcode.daemon.mending import MendingStore
from betcode.daemon.pages import Pages
from betcode.daemon.policy import policy_of
from betcode.daemon.report import StartReport
from betcode.daemon.steps import StartSteps
from betcode.daemon.watchdog import show_life
from betcode.engine.conversation import Conversation, Daemon
from betcode.engine.deletion import sweep_leftovers
from betcode.engine.lookout import watch
from betcode.engine.registry import Registry
from betcode.engine.requests import Requests
from betcode.engine.restore import restore_all
from betcode.engine.room import watch_memory
from betcode.engine.slots import Slots
from betcode.engine.spending import watch_costs
from betcode.engine.world import World
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options

NOTHING_CHOSEN = Options()


def run_daemon(
    paths: Paths,
    settings: Loaded,
    *,
    configured_in_s: float = 0.0,
    reload: Callable[[], Loaded] | None = None,
    report: StartReport,
    foreground: bool = True,
    replaces: bool = False,
    rehearses: bool = False,
) -> int:
    """Run until a signal or a client's request stops it. Returns the exit status.

    Args:
        paths: where everything is; created if missing.
        settings: checked; their warnings go into the log.
        configured_in_s: how long it took to read and check them.
        reload: reads the settings again, for SIGHUP; may raise BetcodeError.
        report: tells whoever started this one how that went.
        foreground: also log to standard error.
        replaces: check what can be checked, report that, and wait until the daemon that runs now has ended.
        rehearses: check what can be checked beside a daemon that runs, report that, and end.

    Raises:
        BetcodeError: the daemon could not start; also reported.
    """
    config = settings.config
    try:
        prepare(paths)
        if not config.storage.allow_network_disk:
            refuse_network_disk(paths.data)
        lock = DaemonLock(paths.lock)
        if replaces or rehearses:
            asyncio.run(check_claude(config))
        if rehearses:
            report.rehearsed(os.getpid())
            return 0
        if replaces:
            report.waiting()
        lock.take(wait_s=limits.REPLACE_WAIT_S if replaces else 0.0)
        log = open_log(
            paths.log, config.daemon.log_level, bytes_max=config.daemon.log_bytes_max, to_terminal=foreground
        )
        try:
            asyncio.run(_App(paths, settings, lock, log, report, reload).run(configured_in_s))
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
    settings: Loaded
    lock: DaemonLock
    log: JsonLog
    report: StartReport
    reload: Callable[[], Loaded] | None = None
    apply: Callable[[Config], None] = lambda config: None
    kernel_holds_no_memory: Callable[[], str] = lambda: ""
    config: Config = field(init=False)
    """The settings in force."""
    started_with: Config = field(init=False)
    api: Api = field(init=False)
    started_at: str = ""
    files: int = 0
    """Descriptors this process may have."""
    end_sessions: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    conversations: set[Conversation] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.config = self.started_with = self.settings.config

    async def run(self, configured_in_s: float) -> None:
        self.files = raise_file_limit(self.config)
        clock = SystemClock()
        self.started_at = iso(clock.now().unix_s)
        self.log = self.log.bind(trace_id=uuid.uuid4().hex, machine_id=socket.gethostname())
        warn_of(self.settings, self.log)
        steps = StartSteps(self.log)
        steps.took("configuration", configured_in_s)
        metrics = Metrics()
        database = Database(self.paths, self.log, metrics, lambda: self.config.agent.env_pass)
        claude, store, opened = await self._claude_and_store(database, steps)
        try:
            self.log.info("claude found", version=claude.version)
            watched = ClaudeWatch(claude, self.log, lambda: claude_environment(self.config))
            launcher = KeeperLauncher(
                self.paths.sessions,
                claude,
                generation=next_generation(self.paths.data / "generation", clock.now().unix_s),
                environment=dict(os.environ),
                log=self.log,
                env_pass=self.config.agent.env_pass,
                bounds=bounds_of(self.config),
            )
            self.api = Api(self.paths.data, self.log, metrics, lambda options: claude_environment(self.config, options))
            world = World(
                store=store,
                launcher=launcher,
                marks=SessionMarks(self.paths.sessions),
                clock=clock,
                rng=Random(),
                log=self.log,
                meter=metrics,
                line_bytes_max=self.config.supervision.max_payload_bytes,
                slots=Slots(*pool_bounds(self.config)),
                upstreams=self.api.upstreams,
                identify=self.api.identify,
                starts=asyncio.Semaphore(self.config.agent.starts_at_once),
                memory_bytes_max=memory_bytes_max(self.config),
                policy=policy_of(self.config),
                is_directory=os.path.isdir,
                day_of=local_day,
                erase=lambda session: SessionFiles(self.paths.sessions / session).erase(),
                repair=database.repair,
                history=lambda options, name: history(claude_environment(self.config, options), name).events,
            )
            self.apply = lambda config: _apply(config, launcher, claude, world)
            self.kernel_holds_no_memory = lambda: launcher.kernel_holds_no_memory
            steps.took("storage check and open", opened.opening_s[0])
            steps.took("intake compare", opened.opening_s[1])
            tell_damage(self.log, opened.intake_problems)
            with steps.step("restore"):
                await restore_all(replace(world, store=opened), opened.unstored)
            registry = Registry(world, new_uuid=lambda: str(uuid.uuid4()))
            database.bring_in = lambda new: restore_all(replace(world, store=new), new.unstored)
            database.begin_again = registry.begin_again
            await self._serve(registry, store, metrics, steps, watched, database)
        finally:
            database.stop()
            await store.close()
            self.log.info("the daemon has stopped")

    async def _claude_and_store(
        self, database: Database, steps: StartSteps
    ) -> tuple[ClaudeBinary, MendingStore, SqliteStore]:
        """Both at once, since each takes a while. Raises what is wrong with claude first, else with the database."""

        async def check() -> ClaudeBinary:
            with steps.step("claude"):
                return await check_claude(self.config)

        claude, store = await asyncio.gather(check(), database.open(self.report.repairing), return_exceptions=True)
        if isinstance(claude, BaseException):
            if not isinstance(store, BaseException):
                await store[0].close()
            raise claude
        if isinstance(store, BaseException):
            raise store
        return claude, *store

    async def _serve(
        self,
        registry: Registry,
        store: MendingStore,
        metrics: Metrics,
        steps: StartSteps,
        claude: ClaudeWatch,
        database: Database,
    ) -> None:
        def status() -> dict[str, Any]:
            more = {"claude": claude.status(), "upstreams": registry.world.upstreams.view(registry.world.clock.now())}
            return self._status(registry, store, database) | more

        requests = Requests(registry, status, resolve_directory)
        daemon = Daemon(__version__, os.getpid(), requests, self._stop, lambda: uuid.uuid4().hex)
        pages = Pages(registry, metrics, status, lambda: len(self.conversations))

        async def serve_client(channel: SocketChannel) -> None:
            conversation = Conversation(channel, registry, daemon, self.log, urgent=channel.urgent)
            self.conversations.add(conversation)
            try:
                await conversation.serve()
            finally:
                self.conversations.discard(conversation)

        server = LocalServer(
            self.paths.socket,
            serve_client,
            pages.all(),
            clients_max=clients_max(self.config, self.files),
        )
        self._on_signals()
        with steps.step("reconcile"):
            busy = await registry.open()
        try:
            with steps.step("server"):
                await server.start(rng=Random(), retrying=self._bind_failed)
            self.log.info("the daemon serves", socket=str(self.paths.socket), sessions_taken_over=busy)
            self.report.ready(os.getpid())
            self._begin_watching(registry, store, claude, database)
            removed = await self._stopped_or_removed(store)
            self.report.notice.stopping()
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

    def _status(self, registry: Registry, store: MendingStore, database: Database) -> dict[str, Any]:
        """What the daemon says of itself, of its database and of memory."""
        daemon = {"pid": os.getpid(), "version": __version__, "started_at": self.started_at}
        size = store.intake_bytes
        stored = database.status() | {"intake_bytes": size}
        stored["warnings"] = [warning for warning in [size_warning(size), *stored["warnings"]] if warning]
        total, kernel = registry.memory, self.kernel_holds_no_memory()
        memory = {"used_bytes": total.used, "max_bytes": total.limit, "not_by_kernel": kernel}
        return {"daemon": daemon, "database": stored, "memory": memory}

    def _begin_watching(self, registry: Registry, store: MendingStore, claude: ClaudeWatch, database: Database) -> None:
        self.api.watch(registry)
        registry.beside("sweep deleted sessions", sweep_leftovers(registry))
        registry.beside("look for other claudes", watch(registry.running))
        registry.beside("watch the memory of all sessions", watch_memory(registry))
        registry.beside("look at cost limits", watch_costs(registry.running, registry.world.spending.changed))
        registry.beside("show life", show_life(self.report.notice, store.works, self.log))
        registry.beside("look at the file of claude", claude.watch())
        registry.beside("keep the database well", database.upkeep.run())
        registry.beside("keep its log short", database.upkeep.run_log())
        registry.beside("look at the disk", database.watch_disk())

    def _bind_failed(self, error: BetcodeError, pause_s: float) -> None:
        self.log.warning("the socket is tried again", error_type=error.code, detail=str(error), after_s=pause_s)

    async def _stopped_or_removed(self, store: MendingStore) -> bool:
        """Wait for the end. True when there is nothing left to serve: what would be written now would be lost."""
        told = False
        while not self.stopping.is_set():
            if self.lock.is_lost:
                return True
            warning = size_warning(store.intake_bytes)
            if warning and not told:
                self.log.warning(warning, intake_bytes=store.intake_bytes)
            told = bool(warning)
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
            settings = self.reload()
        except BetcodeError as error:
            self.log.error("the settings are wrong; the old ones stay", error_type=error.code, detail=str(error))
            return
        warn_of(settings, self.log)
        new = settings.config
        taken = changed(self.config, new).reloadable
        later = changed(self.started_with, new).needs_restart  # as long as it runs with other values, each time
        self.config = new
        self.apply(new)
        self.log.info("settings read again", changed=taken, needs_restart=later)


def warn_of(settings: Loaded, log: JsonLog) -> None:
    """Log what of the settings is not used, such as an unknown key (CF-1)."""
    for warning in settings.warnings:
        log.warning("a setting is not used as it stands", detail=warning)


async def check_claude(config: Config) -> ClaudeBinary:
    """Find claude, and refuse one that cannot be driven (PS-12). Raises BetcodeError `claude.*`."""
    claude = ClaudeBinary(config.agent.claude)
    env = claude_environment(config)
    await claude.checked(env.get("PATH", ""), env)
    return claude


def claude_environment(config: Config, options: Options = NOTHING_CHOSEN) -> dict[str, str]:
    """What a claude gets whose session has chosen these options."""
    return child_environment(os.environ, options, config.agent.env_pass)


def _apply(config: Config, launcher: KeeperLauncher, claude: ClaudeBinary, world: World) -> None:
    """Use the settings that can change while the daemon runs: the next decision and the next process go by them."""
    world.policy = policy_of(config)
    world.spending.changed.set()
    set_level(config.daemon.log_level)
    launcher.env_pass = config.agent.env_pass
    launcher.bounds = bounds_of(config)
    world.memory_bytes_max = memory_bytes_max(config)
    claude.configured = config.agent.claude
    world.slots.resize(*pool_bounds(config))
