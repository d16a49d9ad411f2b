"""Where a keeper can have a scope of systemd, what it is asked for, and that a refused one is done without (PS-9).

systemd itself takes no part: a machine that runs the tests may have none. What stands for it records what it was asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shlex
import socket
import sys
from pathlib import Path

import pytest

from betcode.adapters.claude_binary import ClaudeBinary
from betcode.adapters.launcher import KeeperLauncher
from betcode.adapters.log import open_log
from betcode.adapters.scopes import Scopes, find_scopes
from betcode.adapters.system_memory import system_memory_bytes
from betcode.core.diagnosis.finding import Severity
from betcode.core.diagnosis.programs import MemoryHold, judge_memory
from betcode.keeper import limits as keeper_limits
from betcode.model import limits

MIB = 1024 * 1024


def machine(
    folder: Path,
) -> tuple[dict[str, str], dict[str, Path]]:
    """The files of a machine whose user has a systemd; its systemd-run writes down what it was asked and does it."""
    groups, runtime, tools = folder / "groups", folder / "run", folder / "bin"
    lingering = folder / "linger"
    uid = os.getuid()
    own = groups / f"user.slice/user-{uid}.slice/user@{uid}.service"
    for made in (own, runtime, tools, lingering):
        made.mkdir(parents=True)
    (groups / "cgroup.controllers").write_text("cpu memory")
    (own / "cgroup.controllers").write_text("cpu memory pids")
    (lingering / pwd.getpwuid(uid).pw_name).touch()
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(runtime / "bus"))
    tool = tools / "systemd-run"
    tool.write_text(f"""#!/bin/sh
[ "$1" = --version ] && echo "systemd 255 (255.4-1)" && exit 0
[ -e {shlex.quote(str(folder))}/refuse ] && echo "Failed to connect to bus" >&2 && exit 1
for word in "$@"; do echo "$word"; done > {shlex.quote(str(folder))}/asked
env > {shlex.quote(str(folder))}/env
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
""")
    tool.chmod(0o700)
    return {"PATH": f"{tools}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(runtime)}, {
        "groups": groups,
        "lingering": lingering,
    }


@pytest.mark.req("PS-9")
def test_scopes_are_used_only_where_the_users_systemd_may_limit_memory(tmp_path: Path) -> None:
    env, files = machine(tmp_path)
    found = find_scopes(env, **files)
    assert (found.why, found.version, Path(found.program).name) == ("", 255, "systemd-run")
    assert "systemd-run" in find_scopes({**env, "PATH": "/nowhere"}, **files).why
    assert "does not listen" in find_scopes({**env, "XDG_RUNTIME_DIR": "/nowhere"}, **files).why
    assert "not mounted" in find_scopes(env, groups=tmp_path / "none").why
    assert "last logout" in find_scopes(env, groups=files["groups"], lingering=tmp_path / "none").why
    uid = os.getuid()
    own = files["groups"] / f"user.slice/user-{uid}.slice/user@{uid}.service" / "cgroup.controllers"
    own.write_text("cpu pids")
    assert "not delegated" in find_scopes(env, **files).why
    own.unlink()
    assert "no systemd runs" in find_scopes(env, **files).why


@pytest.mark.req("PS-9")
def test_the_scope_has_room_for_the_largest_claude_and_one_process_that_the_kernel_ends_ends_no_other() -> None:
    argv = Scopes("/bin/systemd-run", "/run/user/7", version=255).command(["keeper"], name="s.1", memory_bytes_max=MIB)
    most = keeper_limits.BASE_BYTES_MAX + MIB + limits.KEEPER_BYTES_MAX
    assert f"--property=MemoryMax={most}" in argv
    assert "--property=OOMPolicy=continue" in argv
    assert {"--user", "--scope", "--collect"} <= set(argv)
    assert argv[-2:] == ["--", "keeper"]
    older = Scopes("/bin/systemd-run", "/run/user/7", version=252).command(["keeper"], name="s.1", memory_bytes_max=MIB)
    assert "OOMPolicy" not in " ".join(older), "it would refuse the scope because of that"


@pytest.fixture
def launcher(tmp_path: Path) -> tuple[KeeperLauncher, Path]:
    env, files = machine(tmp_path)
    log = open_log(tmp_path / "log", "info", bytes_max=MIB, to_terminal=False)
    made = KeeperLauncher(tmp_path, ClaudeBinary("true"), generation=1, environment=env, log=log)
    made.scopes = find_scopes(env, **files)
    return made, tmp_path


def run_keeper(made: KeeperLauncher, folder: Path) -> dict[str, object]:
    """Run the launcher with a spec that it refuses: so much of a keeper is enough here."""
    return asyncio.run(made.run_keeper({"mark": "s.1", "session_dir": str(folder)}))


@pytest.mark.req("PS-9")
def test_a_keeper_starts_in_a_scope_and_one_that_systemd_refuses_starts_without(
    launcher: tuple[KeeperLauncher, Path],
) -> None:
    made, folder = launcher
    assert run_keeper(made, folder)["code"] == "bad_spec"
    asked = (folder / "asked").read_text().splitlines()
    assert [word for word in asked if word.startswith("--unit=betcode-s.1-")]
    assert asked[asked.index("--") + 1] == sys.executable
    assert "DBUS_SESSION_BUS_ADDRESS=unix:path=" in (folder / "env").read_text()
    (folder / "asked").unlink()
    (folder / "refuse").touch()
    assert run_keeper(made, folder)["code"] == "bad_spec", "by the keeper's own launcher"
    (folder / "refuse").unlink()
    assert run_keeper(made, folder)["code"] == "bad_spec"
    assert not (folder / "asked").exists(), "asked no more"
    warnings = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    [told] = [line for line in warnings if line["level"] == "warning"]
    assert "Failed to connect to bus" in told["detail"]


@pytest.mark.req("PS-9")
def test_the_doctor_says_what_holds_the_memory() -> None:
    kernel = judge_memory(MemoryHold("", 512 * MIB, 1024 * MIB))
    assert (kernel.severity, "the kernel holds it" in kernel.what) == (Severity.OK, True)
    looks = judge_memory(MemoryHold("no systemd runs for your user", 512 * MIB, 1024 * MIB))
    assert (looks.severity, looks.what.endswith("The kernel does not: no systemd runs for your user")) == (
        Severity.INFO,
        True,
    )
    assert "512.0 MiB" in looks.what


@pytest.mark.req("PS-9")
def test_settings_keeper_and_system_agree_about_the_bounds() -> None:
    assert limits.SESSION_MEMORY_BYTES_MAX == keeper_limits.MEMORY_BYTES_MAX
    assert limits.PROCESS_FILES_MAX == keeper_limits.FILES_MAX
    assert limits.FILES_MAX == keeper_limits.FILES_HARD_MAX
    assert 64 * MIB < system_memory_bytes() < 1 << 50
