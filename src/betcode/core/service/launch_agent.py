"""The property list of a launchd agent for the daemon.

What it promises is what launchd can: the daemon starts at the login and again after it failed; what it left running,
its keepers and their claudes, is not ended with it (AbandonProcessGroup). launchd restarts after every exit status but
0, so the daemon is told (`--calm`) to end with 0 where a restart cannot help.
"""

from __future__ import annotations

import plistlib
from typing import Any

from betcode.core.service.service import Service
from betcode.model import limits

_PAUSE_S = 10
"""launchd's own shortest pause between two starts."""


def label(service: Service) -> str:
    """The agent's name for launchd, and its file's without the suffix."""
    return f"{service.name}.daemon"


def agent_text(service: Service) -> str:
    """The whole file."""
    content: dict[str, Any] = {
        "Label": label(service),
        "ProgramArguments": [*service.argv, "--calm"],
        "EnvironmentVariables": dict(service.environment),
        "WorkingDirectory": "/",
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": _PAUSE_S,
        "AbandonProcessGroup": True,
        "ExitTimeOut": limits.SERVICE_STOP_S,
        "ProcessType": "Interactive",
    }
    if service.log:
        content["StandardErrorPath"] = service.log
    return plistlib.dumps(content, sort_keys=False).decode()
