"""Looking through a whole bucket, page by page, for what may be removed."""

from collections.abc import AsyncIterator
from datetime import datetime

from servicekit.object_errors import in_our_words
from servicekit.objects import ObjectInfo, ObjectInfos, ObjectStore


async def pages(store: ObjectStore, prefix: str) -> AsyncIterator[ObjectInfos]:
    """All objects below a prefix, at most a thousand at a time; Transient `unavailable`."""
    async with in_our_words(prefix):
        async for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=prefix):
            yield [
                ObjectInfo(key=item["Key"], size_bytes=int(item["Size"]), modified=item.get("LastModified"))
                for item in page.get("Contents", [])
            ]


async def abort_uploads(store: ObjectStore, before: datetime) -> int:
    """Give up the uploads in parts that were begun before a moment and never completed; how many."""
    given_up = 0
    async with in_our_words(store.bucket):
        async for page in store.client.get_paginator("list_multipart_uploads").paginate(Bucket=store.bucket):
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < before:
                    target = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                    await store.client.abort_multipart_upload(Bucket=store.bucket, **target)
                    given_up += 1
    return given_up
