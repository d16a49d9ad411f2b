"""How much the daemon and its sessions may use, from the settings and from what the system has (PS-9)."""

from __future__ import annotations

import resource

from betcode.adapters.launcher import Bounds
from betcode.adapters.system_memory import system_memory_bytes
from betcode.config.tree import Config
from betcode.model import limits


def bounds_of(config: Config) -> Bounds:
    """Those of each session."""
    return Bounds(config.agent.memory_bytes_max, config.agent.files_max)


def memory_bytes_max(config: Config) -> int:
    """That of all sessions together."""
    return int(config.daemon.memory_share * system_memory_bytes())


def raise_file_limit(config: Config) -> int:
    """Give this process the descriptors it may have, or what the system allows of them. Returns how many that are.

    It is `limits.FILES_MAX`, or more for a daemon whose settings let in more clients than usual.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(limits.FILES_MAX, 2 * config.daemon.connections_max)
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def clients_max(config: Config, files: int) -> int:
    """How many clients are let in: with few descriptors at most half of them, or no claude could be started."""
    return min(config.daemon.connections_max, files // 2)


def pool_bounds(config: Config) -> tuple[int, int, int]:
    """What the pool admits: turns at the same time, sessions that wait, processes for each slot."""
    return config.daemon.slots, config.daemon.queue, config.daemon.processes_per_slot
