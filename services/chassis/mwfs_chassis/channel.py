"""Channels from service to service, and the limits that both ends agree on."""

import grpc

#: Larger messages are refused at both ends; what may be larger is a stream of chunks.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

KEEPALIVE_TIME_MS = 10_000

#: Both ends must agree on these. Misspelt options are ignored in silence, so tests prove the limits.
MESSAGE_LIMITS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
)

_CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *MESSAGE_LIMITS,
    # A peer that vanished without closing its connection is noticed within 15 seconds.
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted peer is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Services are neighbours: a proxy from the environment would only divert loopback calls.
    ("grpc.enable_http_proxy", 0),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`. It connects by itself and again after a loss; the caller closes it."""
    return grpc.aio.insecure_channel(address, options=_CLIENT_OPTIONS)
