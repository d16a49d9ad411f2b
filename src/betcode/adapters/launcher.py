"""Starts claude under a keeper, and finds keepers that are alive (`engine.ports.Launcher`)."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import betcode.keeper
from betcode.adapters.claude_binary import ClaudeBinary
from betcode.adapters.environment import child_environment
from betcode.adapters.keeper_link import KeeperLink, pid_of
from betcode.adapters.log import JsonLog
from betcode.adapters.other_claudes import others
from betcode.adapters.scope_memory import no_memory_controller, scope_memory_bytes
from betcode.adapters.session_files import SessionFiles
from betcode.adapters.systemd_scope import Scopes, detect
from betcode.adapters.transcripts import has_transcript, read_conversation, transcript_size
from betcode.core.inputs import Sighted
from betcode.keeper.journal import JournalGap
from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import SessionRow


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a session's processes may use (PS-9)."""

    memory_bytes_max: int = limits.SESSION_MEMORY_BYTES_MAX
    """Above what claude itself is measured to need."""
    files_max: int = limits.PROCESS_FILES_MAX
    """Open files of each process."""


USUAL_BOUNDS = Bounds()
KEEPER = Path(betcode.keeper.__file__).parent / "__main__.py"
RERUN_VARIABLE = "CLAUDE_CODE_RESUME_INTERRUPTED_TURN"
"""Makes a resumed claude go on with the turn that was cut off. It calls a tool again whose result is not stored."""
CLEANUP_DAYS = 3650
"""`cleanupPeriodDays` for the CLI: it must not delete the transcript of a session that waits."""


class KeeperLauncher:
    """Starts and finds the keepers of one data directory."""

    def __init__(
        self,
        sessions: Path,
        claude: ClaudeBinary,
        *,
        generation: int,
        environment: Mapping[str, str],
        log: JsonLog,
        env_pass: Iterable[str] = (),
        bounds: Bounds = USUAL_BOUNDS,
    ) -> None:
        """`sessions`: DATA/sessions. `environment`: the daemon's own, from which children get the allowed part."""
        self._sessions = sessions
        self._claude = claude
        self._generation = generation
        self._environment = environment
        self._log = log
        self._sizes: dict[SessionId, int] = {}
        """Length of each conversation when it was last looked at."""
        self._scopes: Scopes | None = None
        """Found out before the first keeper starts."""
        self.env_pass = tuple(env_pass)
        self.bounds = bounds

    def files(self, row: SessionRow) -> SessionFiles:
        """The files of this session."""
        return SessionFiles(self._sessions / row.id)

    async def start(self, row: SessionRow, *, rerun: bool = False) -> KeeperLink:
        """Start claude as `row.run`; with `rerun` it goes on with its interrupted turn by itself.

        When an earlier claude of the session still lived, it is ended and nothing is started: what it left in the
        conversation has to be read first, so the link says `Gone`, with that.

        Raises BetcodeError: `claude.*`, `request.directory`, `agent.spawn_failed`.
        """
        trace = f"00-{row.options.trace_id}-{secrets.token_hex(8)}-01" if row.options.trace_id else ""
        env = child_environment(self._environment, row.options, self.env_pass, trace)
        if rerun:
            env[RERUN_VARIABLE] = "1"
        claude = await self._claude.checked(env.get("PATH", ""), env)
        if not await asyncio.to_thread(os.path.isdir, row.directory):
            raise BetcodeError(
                "request.directory",
                f"the session's directory {row.directory!r} is gone",
                hint="Create it again, or start a session in another directory.",
            )
        files = self.files(row)
        try:
            files.prepare()
        except OSError as error:
            raise _spawn_failed(f"cannot create {files.directory}: {error.strerror}") from error
        resume = await asyncio.to_thread(has_transcript, env, row.claude_session_id)
        spec = {
            "session_dir": str(files.directory),
            "run": row.run,
            "argv": arguments(claude, row, resume=resume),
            "env": env,
            "cwd": row.directory,
            "socket": str(files.socket()),
            "generation": self._generation,
            "mark": files.mark(row.run),
            "memory_bytes_max": self.bounds.memory_bytes_max,
            "files_max": self.bounds.files_max,
        }
        unit = f"betcode-{row.id}-{row.run}"
        said = await self._run_keeper(spec, unit)
        if said.get("code") == "lock_held":
            await asyncio.to_thread(files.kill_leftovers, row.run - 1)
            if await files.lock_gets_free():  # its keeper still read the rest and wrote its report
                return self._link(row, 0)
        if not said.get("ok"):
            raise _spawn_failed(f"{said.get('message') or said.get('code') or 'the keeper did not start'}")
        link = self._link(row, 0)
        link.keeper_pid, link.claude_pid = pid_of(said.get("keeper_pid")), pid_of(said.get("claude_pid"))
        return link

    async def _run_keeper(self, spec: dict[str, object], unit: str) -> dict[str, object]:
        """Run the keeper's launcher, in a scope if there are any; it ends at once and leaves the keeper behind."""
        scopes = await self._find_scopes()
        argv = [sys.executable, "-I", "-S", str(KEEPER)]
        properties = (f"MemoryMax={scope_memory_bytes(self.bounds.memory_bytes_max)}",)
        command = scopes.wrap(argv, name=unit, properties=properties)
        out, err = await _run(command, scopes.env, spec | {"scope": not scopes.problem})
        if not out and not scopes.problem:  # the user's systemd is gone, or refuses: the keeper was not even begun
            self._scopes = Scopes(problem=f"systemd-run failed: {err.strip()[-500:]}")
            self._log.warning("keepers get no scope of their own from now on", detail=self._scopes.problem)
            out, err = await _run(argv, {}, spec)
        try:
            return msgspec.json.decode(out, type=dict[str, object])
        except msgspec.DecodeError as error:
            raise _spawn_failed(f"the keeper failed: {err[-500:]}") from error

    @property
    def kernel_holds_no_memory(self) -> str:
        """Why only the keepers hold the memory of sessions; empty where the kernel does so too."""
        if self._scopes is None:
            return "no session was started by this daemon yet"
        return self._scopes.problem or no_memory_controller()

    async def _find_scopes(self) -> Scopes:
        if self._scopes is None:
            self._scopes = await asyncio.to_thread(detect, self._environment)
            if self._scopes.problem:
                self._log.info("keepers share the cgroup of the daemon", detail=self._scopes.problem)
            else:
                self._log.info("each keeper gets a scope of its own in the user's systemd")
        return self._scopes

    async def look(self, row: SessionRow, own_pid: int | None, *, prompts: bool) -> Sighted:
        """Who else works on the session's conversation; with `prompts` also what it holds, which reads the file."""
        env = child_environment(self._environment, row.options, self.env_pass)
        own = {own_pid} if own_pid is not None else set()
        found = await asyncio.to_thread(others, env, row.claude_session_id, own)
        if not prompts:
            return Sighted(found)
        size = await asyncio.to_thread(transcript_size, env, row.claude_session_id)
        if own_pid is not None and self._sizes.get(row.id) == size:
            return Sighted(found)  # as it was at the last look
        self._sizes[row.id] = size
        return Sighted(found, (await asyncio.to_thread(self.conversation, row)).prompts)

    async def adopt(self, row: SessionRow) -> KeeperLink:
        """Take over `row.run` from `row.offset`, alive or dead."""
        return self._link(row, row.offset)

    def _link(self, row: SessionRow, offset: int) -> KeeperLink:
        return KeeperLink(
            self.files(row),
            row.run,
            generation=self._generation,
            offset=offset,
            conversation=lambda: self.conversation(row),
        )

    def conversation(self, row: SessionRow) -> Conversation:
        """What claude has stored of the session's conversation; if that cannot be read, nothing is sure. Blocks."""
        try:
            env = child_environment(self._environment, row.options, self.env_pass)
            found = read_conversation(env, row.claude_session_id)
            if found.damaged:
                self._log.warning("claude's transcript has damaged lines", session_id=row.id, lines=found.damaged)
            return found
        except BetcodeError as error:
            self._log.error("what claude has stored cannot be read", error_type=error.code, detail=str(error))
            return Conversation(found=True, whole=False)

    async def read_raw(self, session: SessionId, run: int, offset: int, count: int) -> tuple[int, bytes]:
        """Up to `count` journal bytes from `offset`, and where they really begin: later, when some are missing."""
        files = SessionFiles(self._sessions / session)
        try:
            return offset, await asyncio.to_thread(files.read, run, offset, count)
        except JournalGap as gap:
            return (offset if gap.resume_at is None else gap.resume_at), b""

    async def read_back(self, row: SessionRow, start: int) -> bytes:
        """A piece of the journal from `start` on, before `row.offset`; empty at that end or when it is missing."""
        end = min(row.offset, start + limits.JOURNAL_READ_BYTES)
        return await asyncio.to_thread(self.files(row).read_back, row.run, start, end)


def arguments(claude: Path, row: SessionRow, *, resume: bool) -> list[str]:
    """The command line of claude. Nothing that a user chose can become an option: values follow their option."""
    options = row.options
    rules = {"allow": list(options.allow), "deny": list(options.disallow)}
    settings = {"cleanupPeriodDays": CLEANUP_DAYS, "permissions": {k: v for k, v in rules.items() if v}}
    argv = [
        str(claude),
        "-p",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        "--permission-prompt-tool=stdio",
        f"--settings={msgspec.json.encode(settings).decode()}",
        f"--resume={row.claude_session_id}" if resume else f"--session-id={row.claude_session_id}",
    ]
    chosen: dict[str, str | None] = {
        "model": options.model or None,
        "max-turns": str(options.max_turns) if options.max_turns else None,
        "permission-mode": options.permission_mode or None,
        "system-prompt": options.system_prompt,
        "append-system-prompt": options.append_system_prompt or None,
        "setting-sources": options.setting_sources,
    }
    argv += [f"--{name}={value}" for name, value in chosen.items() if value is not None]
    return argv + [f"--add-dir={directory}" for directory in options.add_dirs] + list(options.more)


async def _run(argv: Sequence[str], env: Mapping[str, str], spec: dict[str, object]) -> tuple[bytes, str]:
    """What the command printed, on standard output and on standard error. Raises BetcodeError `agent.spawn_failed`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=dict(env),
        )
    except OSError as error:
        raise _spawn_failed(f"cannot run {argv[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(limits.KEEPER_START_WAIT_S):
            out, err = await process.communicate(msgspec.json.encode(spec))
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise _spawn_failed(f"the keeper did not report within {limits.KEEPER_START_WAIT_S:.0f} s") from error
    return out, err.decode("utf-8", "replace")


def _spawn_failed(what: str) -> BetcodeError:
    return BetcodeError(
        "agent.spawn_failed", what, hint="It is tried again by itself; the daemon's log has more: betcode daemon logs"
    )
