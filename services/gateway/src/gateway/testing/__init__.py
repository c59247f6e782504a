"""Doubles for tests: the services around the gateway, and a client of it."""
