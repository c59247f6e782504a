"""What an operator's slip takes from the bus: a stream or a bucket with all that it holds, and the consumers on it."""

import asyncio
from contextlib import suppress

import nats
import nats.js.errors


def delete_stream(nats_url: str, name: str) -> None:
    """Delete a stream, whoever reads or writes it just now; one that is gone already is no error."""
    asyncio.run(_delete(nats_url, name))


def delete_bucket(nats_url: str, name: str) -> None:
    """Delete a key-value bucket."""
    delete_stream(nats_url, f"KV_{name}")


async def _delete(nats_url: str, name: str) -> None:
    client = await nats.connect(nats_url)
    try:
        with suppress(nats.js.errors.NotFoundError):
            await client.jetstream().delete_stream(name)
    finally:
        await client.close()
