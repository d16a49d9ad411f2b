"""Which API account a claude would use: from its environment and the settings files that it reads (RL-2).

Everything here blocks and changes nothing. A file that cannot be read counts as one that is not there: claude itself
decides what that means. No credential leaves this module: keys are known by an HMAC with a secret of the installation.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from betcode.adapters.transcripts import claude_home
from betcode.model.rows import Options
from betcode.model.upstream import UpstreamId

PROVIDERS: Final = {
    "CLAUDE_CODE_USE_BEDROCK": ("bedrock", "ANTHROPIC_BEDROCK_BASE_URL"),
    "CLAUDE_CODE_USE_VERTEX": ("vertex", "ANTHROPIC_VERTEX_BASE_URL"),
    "CLAUDE_CODE_USE_FOUNDRY": ("foundry", "ANTHROPIC_FOUNDRY_BASE_URL"),
}
"""Variable that chooses a provider: its name, and the variable with its address."""
DIRECT: Final = ("anthropic", "ANTHROPIC_BASE_URL")
DEFAULT_URL: Final = "https://api.anthropic.com"
CREDENTIALS: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_FOUNDRY_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_BEARER_TOKEN_BEDROCK",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "ANTHROPIC_VERTEX_PROJECT_ID",
)
"""Variables that choose the account."""
FALSE: Final = frozenset({"", "0", "false", "no", "off"})
FILE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A settings file that is larger is not read: claude's own file of projects has been seen with some MB."""
SECRET_BYTES: Final = 32


def secret_of(path: Path) -> bytes:
    """The installation's secret, made at the first call. Where it cannot be stored it lasts as long as the daemon."""
    with contextlib.suppress(OSError):
        found = path.read_bytes()
        if len(found) == SECRET_BYTES:
            return found
    made = secrets.token_bytes(SECRET_BYTES)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(made)
    return made


def identify(env: Mapping[str, str], options: Options, directory: str, secret: bytes) -> UpstreamId:
    """The upstream of a session.

    Args:
        env: what its claude would get.
        options: whether it reads settings files at all.
        directory: where it works.
        secret: of the installation.
    """
    home = claude_home(env)
    files = _settings_files(home, options, directory)
    found = dict(env)
    helpers = []
    for path in files:
        settings = _read(path)
        more = settings.get("env")
        if isinstance(more, dict):
            found |= {str(name): str(value) for name, value in more.items()}
        helpers.append(str(settings.get("apiKeyHelper", "")))
    provider, address = next(
        (named for variable, named in PROVIDERS.items() if found.get(variable, "").lower() not in FALSE), DIRECT
    )
    url = found.get(address) or (DEFAULT_URL if provider == "anthropic" else provider)
    account = {name: found[name] for name in CREDENTIALS if found.get(name)} or _account(found, home)
    kept = (home / ".credentials.json", *files)
    return UpstreamId(
        key=_digest(secret, [provider, url, account])[:16],
        label=_label(provider, url),
        fingerprint=_digest(secret, [account, helpers, [_look(path) for path in kept]])[:16],
    )


def _settings_files(home: Path, options: Options, directory: str) -> list[Path]:
    """Those that claude reads, the one that counts most last."""
    folder = Path(directory) / ".claude"
    places = {
        "user": home / "settings.json",
        "project": folder / "settings.json",
        "local": folder / "settings.local.json",
    }
    chosen = options.setting_sources
    names = set(places) if chosen is None else {name.strip() for name in chosen.split(",")}
    return [path for name, path in places.items() if name in names]


def _account(env: Mapping[str, str], home: Path) -> Any:
    """Who is logged in, as claude's own file says; else the folder itself, which is one login."""
    path = home / ".claude.json" if env.get("CLAUDE_CONFIG_DIR") else Path(env.get("HOME", "")) / ".claude.json"
    login = _read(path).get("oauthAccount")
    if isinstance(login, dict) and login.get("accountUuid"):
        return [str(login["accountUuid"]), str(login.get("organizationUuid", ""))]
    return str(home)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _look(path: Path) -> list[int]:
    """What changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_mtime_ns, found.st_size, found.st_ino]


def _label(provider: str, url: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.hostname:
            return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return provider


def _digest(secret: bytes, parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
