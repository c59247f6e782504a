"""Faults of PostgreSQL that are neither a process nor a network: what an operator does to its connections."""

import asyncpg


async def terminate_backends(dsn: str) -> int:
    """`pg_terminate_backend` on every client connection but our own; how many."""
    connection = await asyncpg.connect(dsn)
    try:
        sql = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()
