"""The settings that decisions go by, as `core` and `engine` take them."""

from __future__ import annotations

from betcode.config.tree import Config
from betcode.model.policy import Policy


def policy_of(config: Config) -> Policy:
    """The policy of these settings."""
    return Policy(
        ready_wait_s=config.agent.ready_wait_s,
        backoff_first_s=config.supervision.backoff_first_s,
        backoff_max_s=config.supervision.backoff_max_s,
        crashes_max=config.supervision.crashes_max,
        crash_window_s=config.supervision.crash_window_s,
        interrupt_grace_s=config.supervision.interrupt_grace_s,
        stop_grace_s=config.supervision.stop_grace_s,
        stall_s=config.supervision.stall_s,
        hang_s=config.supervision.hang_s,
        idle_process_s=config.supervision.idle_process_s,
        parse_errors_max=config.supervision.parse_errors_max,
        parse_error_window_s=config.supervision.parse_error_window_s,
        unknown_outcome=config.supervision.unknown_outcome,
        permission_ttl_s=config.permission.ttl_s,
        messages_waiting_max=config.daemon.messages_waiting_max,
        clients_per_session_max=config.daemon.clients_per_session_max,
        cost_per_session_usd=config.limits.cost_per_session_usd,
        cost_per_day_usd=config.limits.cost_per_day_usd,
        message_key_days=config.storage.message_key_days,
    )
