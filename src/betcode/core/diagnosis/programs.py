"""What runs: Python, this package, claude and its login, and whether the system lets it run on after a logout."""

from __future__ import annotations

from dataclasses import dataclass

from betcode.core.diagnosis.finding import Finding, command, error, info, ok, size_text, warning

Version = tuple[int, ...]

LOGIN_HINT = "claude auth login"


@dataclass(frozen=True, slots=True)
class Program:
    """This program: `installed` is the version that the package's own record names; None when there is no record."""

    python: Version
    python_path: str
    version: str
    installed: str | None
    place: str


@dataclass(frozen=True, slots=True)
class Claude:
    """The claude that this shell leads to. `problem` and `hint` say why there is none, or none that can be driven."""

    path: str = ""
    version: Version = ()
    oldest: Version = ()
    tested: Version = ()
    problem: str = ""
    hint: str = ""
    weakness: str = ""
    """Why an old version is not driven."""


@dataclass(frozen=True, slots=True)
class RunningClaude:
    """The claude that the daemon found when it last looked. `problem`, `hint`: why it starts none with it."""

    path: str = ""
    version: str = ""
    before: str = ""
    """The version that was there when the daemon first looked, if it was another."""
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """Names of what lets claude in. `daemon_variables` is None where the daemon's environment cannot be read."""

    variables: frozenset[str] = frozenset()
    daemon_variables: frozenset[str] | None = None
    files: tuple[str, ...] = ()
    service_file: str = ""
    """Where a daemon that is a service gets more variables from; empty when it is none."""
    hidden: bool = False
    """Whether this system keeps logins where they cannot be seen (a keychain)."""


@dataclass(frozen=True, slots=True)
class Linger:
    """Whether processes live on after the last logout. `lingers` is None where nobody can tell."""

    systemd: bool = False
    lingers: bool | None = None
    user: str = ""
    socket_at_risk: bool = False
    """Whether the daemon's socket is in a directory that goes away with the last logout."""


@dataclass(frozen=True, slots=True)
class MemoryHold:
    """What holds the memory of sessions.

    `not_by_kernel` says why the kernel does not; empty: it does, None: no daemon tells. `used_bytes`: as it tells.
    """

    session_bytes: int
    total_bytes: int
    not_by_kernel: str | None = None
    used_bytes: int | None = None


PYTHON_NEEDED: Version = (3, 11)
BUNDLED = "/_bundled/"
"""In the path of a claude that came with the Python package."""


def judge_program(found: Program) -> list[Finding]:
    """Python and this package."""
    python = f"Python {_dotted(found.python)}, {found.python_path}"
    if found.python < PYTHON_NEEDED:
        needed = _dotted(PYTHON_NEEDED)
        first = error("installation.python", f"{python}: {needed} is needed", f"pipx install --python {needed} betcode")
    else:
        first = ok("installation.python", python)
    if found.installed is not None and found.installed != found.version:
        second = warning(
            "installation.package",
            f"betcode {found.version} runs from {found.place}, but the package that is installed is {found.installed}",
            "pip install --force-reinstall betcode",
        )
    else:
        second = ok("installation.package", f"betcode {found.version}, {found.place}")
    return [first, second]


def judge_claude(found: Claude) -> list[Finding]:
    """Whether claude is there, can be executed, and is neither too old nor newer than what was tried."""
    if not found.path:
        return [error("claude.found", found.problem, found.hint)]
    there = ok("claude.found", f"claude is {found.path}")
    if not found.version:
        return [there, error("claude.version", found.problem, found.hint)]
    version, oldest, tested = _dotted(found.version), _dotted(found.oldest), _dotted(found.tested)
    between = f"needed {oldest} or later, tried up to {tested}"
    if found.version < found.oldest:
        update = 'pip install --upgrade "betcode[claude]"' if BUNDLED in found.path else f"{command(found.path)} update"
        why = f"it {found.weakness}; " if found.weakness else ""
        judged = error("claude.version", f"claude {version} is too old: {why}{between}", update)
    elif found.version > found.tested:
        judged = info("claude.version", f"claude {version} is newer than what this version was tried with: {between}")
    else:
        judged = ok("claude.version", f"claude {version}: {between}")
    return [there, judged]


def judge_running_claude(found: RunningClaude) -> list[Finding]:
    """What the daemon says of its claude: nothing to say where there is no daemon."""
    if found.problem:
        what = f"the daemon starts no new claude: {found.problem}; those that run go on"
        return [error("claude.daemon", what, found.hint or "betcode doctor")]
    if found.before:
        what = f"claude was replaced while the daemon ran: {found.version} now, {found.before} at its start"
        return [info("claude.daemon", f"{what}; a session gets it with its next process")]
    return [ok("claude.daemon", f"the daemon found claude {found.version}, {found.path}")] if found.version else []


def judge_login(found: Login) -> Finding:
    """Whether claude has anything to log in with. Only names are known here, never values."""
    places = [*sorted(found.variables), *found.files]
    if found.files:
        return ok("claude.login", f"claude can log in with {', '.join(places)}; values are not looked at")
    if found.daemon_variables is not None and found.variables - found.daemon_variables and not found.daemon_variables:
        names = ", ".join(sorted(found.variables))
        what = f"this shell has {names}, and the daemon was started without: claude cannot log in"
        if found.service_file:
            file, one = command(found.service_file), sorted(found.variables)[0]
            copy = f"(umask 077; env | grep '^{one}=' >> {file}) && betcode daemon restart"
            return warning("claude.login", what, copy)
        return warning("claude.login", what, "betcode daemon upgrade")
    if places or found.daemon_variables:
        names = ", ".join(places or sorted(found.daemon_variables or ()))
        return ok("claude.login", f"claude can log in with {names}; values are not looked at")
    if found.hidden:
        return info("claude.login", "no key in the environment; a login in the keychain cannot be seen from here")
    return warning("claude.login", "no login of claude and no ANTHROPIC_API_KEY was found", LOGIN_HINT)


def judge_linger(found: Linger, *, service: bool = False) -> Finding:
    """Whether sessions outlive the logout of their user. `service`: the daemon is one of systemd's."""
    if not found.systemd:
        return ok("system.linger", "no systemd: nothing ends your processes when you log out")
    if found.lingers:
        return ok("system.linger", "your processes live on when you log out (linger is enabled)")
    enable = f"loginctl enable-linger {found.user}".rstrip()
    if found.lingers is None:
        return info("system.linger", "whether your processes live on after a logout could not be found out", enable)
    if service:
        what = (
            "linger is off: at your last logout systemd ends the service with all its sessions, and after a boot it"
            " starts the service only when you log in"
        )
        return warning("system.linger", what, enable)
    if found.socket_at_risk:
        what = "linger is off: at your last logout the daemon's socket is removed, and your processes may be ended"
        return warning("system.linger", what, enable)
    return info("system.linger", "linger is off: your processes may be ended at your last logout", enable)


def judge_memory(found: MemoryHold) -> Finding:
    """Whether the kernel stands behind the keepers' looks at what their sessions use (PS-9)."""
    each, together = size_text(found.session_bytes), size_text(found.total_bytes)
    used = "" if found.used_bytes is None else f", of which {size_text(found.used_bytes)} are used"
    bounds = f"{each} above what claude itself needs for each session, {together} for all together{used}"
    if found.not_by_kernel == "":
        return ok("system.memory", f"keepers watch the memory, and the kernel holds it, in scopes: {bounds}")
    why = f". The kernel does not hold it: {found.not_by_kernel}" if found.not_by_kernel else ""
    return ok("system.memory", f"keepers watch the memory: {bounds}{why}")


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
