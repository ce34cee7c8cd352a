"""The configuration files of the embedded PostgreSQL, rewritten at each start. `ALTER SYSTEM` wins over them."""

_SETTINGS = {
    # Reachable from this machine only, and through TCP only: a socket file would need a folder that both users share.
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    "max_connections": "100",
    # Small: the idle platform has 600 MB in all.
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "2GB",
    "huge_pages": "off",
    # Two cores are shared with the services; a query gets one. Reads come from the page cache, so no I/O workers.
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "4",
    "max_logical_replication_workers": "0",
    "io_method": "'sync'",
    "jit": "off",
    "random_page_cost": "1.1",
    # Pages of random keys, which most are, become no smaller, at 80 µs each.
    "wal_compression": "'off'",
    "min_wal_size": "80MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "autovacuum_max_workers": "2",
    # Tables of states see many updates of few rows.
    "autovacuum_naptime": "20s",
    # A client that vanished, or forgot its transaction, must not hold locks for hours.
    "tcp_keepalives_idle": "30",
    "idle_in_transaction_session_timeout": "5min",
    "log_line_prefix": "'%m [%p] %a %d '",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "log_timezone": "'UTC'",
    "timezone": "'UTC'",
    "lc_messages": "'C'",
}

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

#: For tests that throw the cluster away.
_VOLATILE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}

HBA = """# Written by mwfs at each start. Loopback and a password, nothing else.
host all all 127.0.0.1/32 scram-sha-256
"""


def postgresql_conf(*, port: int, durable: bool) -> str:
    """The text of `postgresql.conf`."""
    settings = _SETTINGS | (_DURABLE if durable else _VOLATILE) | {"port": str(port)}
    lines = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["# Written by mwfs at each start; use ALTER SYSTEM to change a setting for good.", *lines, ""])
