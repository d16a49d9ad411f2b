"""The environment of a claude process: an allow-list, so that no other secret of the user reaches tools (PS-10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from betcode.model.rows import Options

ALLOWED = frozenset(
    [
        "PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "SHELL",
        "USER",
        "LOGNAME",
        "TMPDIR",
        "SSH_AUTH_SOCK",
        "VIRTUAL_ENV",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
    ]
)
"""Names that pass."""
ALLOWED_PREFIXES = ("ANTHROPIC_", "CLAUDE_", "AWS_", "GOOGLE_", "LC_")
"""Beginnings of names that pass."""
REMOVED = frozenset({"CLAUDECODE"})
"""Tells claude that it runs inside another one; it does not."""
OWN_PREFIX = "BETCODE_"
"""Our own settings are none of claude's business; removed whatever the settings say."""
FIXED = {
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",  # tells idle from waiting, also with background tasks
    "CLAUDE_CODE_MAX_RETRIES": "0",  # the daemon decides when the API is asked again, for all sessions at once (RL-5)
    "DISABLE_AUTOUPDATER": "1",  # a running fleet must not change its version by itself
}


def child_environment(
    source: Mapping[str, str], options: Options, extra_names: Iterable[str] = (), traceparent: str = ""
) -> dict[str, str]:
    """What claude gets of the daemon's environment `source`.

    PATH and VIRTUAL_ENV are those of the client that created the session; `extra_names` come from the settings, a star
    at the end stands for any rest.
    """
    names = tuple(extra_names)
    extra = {name for name in names if not name.endswith("*")}
    prefixes = (*ALLOWED_PREFIXES, *(name[:-1] for name in names if name.endswith("*")))
    env = {
        name: value
        for name, value in source.items()
        if name not in REMOVED
        and not name.startswith(OWN_PREFIX)
        and (name in ALLOWED or name in extra or name.startswith(prefixes))
    }
    if options.path:
        env["PATH"] = options.path
        env.pop("VIRTUAL_ENV", None)
    if options.virtual_env:
        env["VIRTUAL_ENV"] = options.virtual_env
    if options.claude_config_dir:
        env["CLAUDE_CONFIG_DIR"] = options.claude_config_dir
    if traceparent:
        env["TRACEPARENT"] = traceparent
    return env | FIXED
