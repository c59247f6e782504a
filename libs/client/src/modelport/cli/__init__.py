"""The `modelport` command: a thin skin over the SDK."""
