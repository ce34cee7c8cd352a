"""The whole platform on one machine: an embedded PostgreSQL and all services under one supervisor."""
