"""What the decisions of `core` and `engine` go by and a user may set: one frozen value, handed in, never looked up."""

from __future__ import annotations

from dataclasses import dataclass

from betcode.model import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Each field is a setting of the same meaning in `config.tree`; the defaults are those of `model.limits`."""

    ready_wait_s: float = limits.READY_WAIT_S
    """From the start of claude to its first answer."""
    backoff_first_s: float = limits.BACKOFF_FIRST_S
    """First delay after a crash."""
    backoff_max_s: float = limits.BACKOFF_MAX_S
    """Longest delay after a crash."""
    crashes_max: int = limits.CRASHES_MAX
    """Crashes within `crash_window_s`, or in a row without a finished turn, that stop the restarts."""
    crash_window_s: float = limits.CRASH_WINDOW_S
    """See `crashes_max`."""
    interrupt_grace_s: float = limits.INTERRUPT_GRACE_S
    """From an interrupt to SIGTERM."""
    stop_grace_s: float = limits.STOP_GRACE_S
    """From SIGTERM to SIGKILL."""
    stall_s: float = limits.STALL_S
    """Silence of an active turn while the API is asked, before it is interrupted."""
    hang_s: float = limits.HANG_S
    """Any other silence of an active turn, before it is interrupted."""
    idle_process_s: float = limits.IDLE_PROCESS_S
    """How long a process rests before it is ended; 0: for ever."""
    parse_errors_max: int = limits.PARSE_ERRORS_MAX
    """Lines within `parse_error_window_s` that could not be read, after which the process is replaced."""
    parse_error_window_s: float = limits.PARSE_ERROR_WINDOW_S
    """See `parse_errors_max`."""
    unknown_outcome: str = "tell"
    """Whether claude is told (`tell`) or a person asked (`ask`) when a tool's outcome is unknown after a death."""
    permission_ttl_s: float = limits.PERMISSION_TTL_S
    """Life of a question in a session that asked for no other."""
    messages_waiting_max: int = limits.MESSAGES_WAITING_MAX
    """Messages of one session that wait for their turn."""
    clients_per_session_max: int = limits.CLIENTS_PER_SESSION_MAX
    """Clients attached to one session."""
    cost_per_session_usd: float = 0.0
    """What the turns of one session may cost before no new one begins; 0: anything."""
    cost_per_day_usd: float = 0.0
    """The same for all sessions in one local day."""
    message_key_days: int = limits.MESSAGE_KEY_DAYS
    """How long the keys of a deleted session are remembered."""


DEFAULT = Policy()
"""As delivered."""
