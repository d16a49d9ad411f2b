"""The text of a systemd user unit for the daemon.

What it promises: a stop or restart ends the daemon alone, and keepers and their claudes go on (KillMode=process); one
process that runs out of memory ends nothing else (OOMPolicy=continue); it is started again after a crash and after a
silence of its watchdog, a few times in a row, and never where a restart cannot help.
"""

from __future__ import annotations

from betcode.core.service.service import LASTING, Service
from betcode.model import limits

_TEMPLATE = """\
# Written by `betcode daemon install`; `betcode daemon uninstall` removes it. Changes of your own belong into
# `systemctl --user edit {name}`, which this command leaves alone.
[Unit]
Description=BetCode daemon, which keeps Claude Code sessions
Documentation=man:systemd.service(5)
StartLimitIntervalSec={starts_s}
StartLimitBurst={starts}

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=kill -HUP $MAINPID
{environment}WorkingDirectory=/
# Only the daemon is stopped: keepers and the claudes under them go on, and the next daemon takes them over.
KillMode=process
OOMPolicy=continue
Restart=on-failure
RestartSec={pause_s}
RestartPreventExitStatus={lasting}
# A daemon that hangs tells its stacks in the journal; its memory, where keys may be, is not written anywhere.
LimitCORE=0:infinity
WatchdogSec={watchdog_s:.0f}
TimeoutStartSec={start_s}
TimeoutStopSec={stop_s}
# Where no scope can be had, all processes of all sessions count here.
TasksMax=infinity

[Install]
WantedBy=default.target
"""


def unit_name(service: Service) -> str:
    """The unit's file name."""
    return f"{service.name}.service"


def unit_text(service: Service) -> str:
    """The whole file."""
    program, *words = service.argv  # the program is the one word in which a dollar means nothing
    lines = [f"Environment={quoted(f'{name}={value}')}" for name, value in service.environment]
    if service.environment_file:
        lines.append(f"EnvironmentFile=-{service.environment_file.replace('%', '%%')}")
    return _TEMPLATE.format(
        name=service.name,
        command=" ".join([quoted(program), *(quoted(word).replace("$", "$$") for word in words)]),
        environment="".join(f"{line}\n" for line in lines),
        lasting=" ".join(str(int(status)) for status in LASTING),
        starts=limits.SERVICE_STARTS_MAX,
        starts_s=limits.SERVICE_STARTS_S,
        pause_s=limits.SERVICE_RESTART_S,
        watchdog_s=limits.WATCHDOG_S,
        start_s=limits.SERVICE_START_S,
        stop_s=limits.SERVICE_STOP_S,
    )


def quoted(word: str) -> str:
    """One word of a unit file: nothing in it means anything to systemd."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{safe}"'
