"""Creates the platform's bucket where it is missing; docker-compose.yml runs it once, before the services."""

import asyncio

from servicekit.objects import ObjectStore
from servicekit.settings import S3Settings, load


async def main() -> None:
    """Settings come from MODELPORT_S3_*."""
    async with ObjectStore(load(S3Settings)) as store:
        await store.ensure_bucket()


if __name__ == "__main__":
    asyncio.run(main())
