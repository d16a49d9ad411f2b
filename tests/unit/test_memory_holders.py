"""How much memory a keeper's scope gets, and what people are told of who holds it (PS-9)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest

from betcode.adapters.claude_binary import ClaudeBinary
from betcode.adapters.launcher import Bounds, KeeperLauncher
from betcode.adapters.log import JsonLog
from betcode.adapters.scope_memory import no_memory_controller, scope_memory_bytes
from betcode.adapters.system_memory import system_memory_bytes
from betcode.core.diagnosis.programs import MemoryHold, judge_memory
from betcode.keeper import limits as keeper_limits
from betcode.model import limits

MIB = 1024 * 1024


@pytest.mark.req("PS-9")
def test_the_kernel_is_said_to_hold_memory_only_where_the_users_systemd_has_the_controller(tmp_path: Path) -> None:
    uid = os.getuid()
    own = tmp_path / f"user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"
    assert "not mounted" in no_memory_controller(tmp_path)
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    assert "cannot be read" in no_memory_controller(tmp_path)
    own.parent.mkdir(parents=True)
    own.write_text("cpu pids\n")
    assert "not given the memory controller" in no_memory_controller(tmp_path)
    own.write_text("cpu memory pids\n")
    assert no_memory_controller(tmp_path) == ""


@pytest.mark.req("PS-9")
def test_a_keepers_scope_has_room_for_the_largest_claude_and_it_is_told_that_it_is_in_one(tmp_path: Path) -> None:
    """systemd itself takes no part: what stands for it writes down what it is asked, and what the keeper is told."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/private").touch()
    for name, body in (
        ("systemctl", "echo /"),
        ("systemd-run", f'echo "$@" > {tmp_path}/asked; cat > {tmp_path}/told'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o700)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}
    log = JsonLog(logging.getLogger("test"), {})
    bounds = Bounds(memory_bytes_max=100 * MIB)
    made = KeeperLauncher(tmp_path, ClaudeBinary(""), generation=1, environment=env, log=log, bounds=bounds)
    assert "yet" in made.kernel_holds_no_memory
    asyncio.run(made._run_keeper({"mark": "s.1"}, "betcode-s-1"))
    most = keeper_limits.BASE_BYTES_MAX + 100 * MIB + limits.KEEPER_BYTES_MAX
    assert scope_memory_bytes(100 * MIB) == most
    assert f"--property=MemoryMax={most}" in (tmp_path / "asked").read_text().split()
    assert json.loads((tmp_path / "told").read_text())["scope"] is True
    assert "systemd-run failed" in made.kernel_holds_no_memory, "it printed no answer of a keeper"


@pytest.mark.req("PS-9")
def test_the_doctor_says_what_holds_the_memory() -> None:
    assert "the kernel holds it, in scopes" in judge_memory(MemoryHold(512 * MIB, 1024 * MIB, "")).what
    looks = judge_memory(MemoryHold(512 * MIB, 1024 * MIB, "no systemd runs for this user", 3 * MIB)).what
    assert looks.endswith("The kernel does not hold it: no systemd runs for this user")
    assert all(size in looks for size in ("512.0 MiB", "1.0 GiB", "3.0 MiB"))
    assert "kernel" not in judge_memory(MemoryHold(512 * MIB, 1024 * MIB)).what, "no daemon tells"


@pytest.mark.req("PS-9")
def test_settings_keeper_and_system_agree_about_the_bounds() -> None:
    assert limits.SESSION_MEMORY_BYTES_MAX == keeper_limits.MEMORY_BYTES_MAX
    assert limits.PROCESS_FILES_MAX == keeper_limits.FILES_MAX
    assert limits.FILES_MAX == keeper_limits.FILES_HARD_MAX
    assert 64 * MIB < system_memory_bytes() < 1 << 50
