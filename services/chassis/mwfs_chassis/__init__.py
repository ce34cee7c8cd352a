"""What every service gets: start and stop, gRPC server, interceptors, PostgreSQL, settings, clock, ids, telemetry."""
