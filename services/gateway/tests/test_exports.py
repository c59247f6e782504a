"""Export jobs over REST against real servers."""

import pytest

pytestmark = pytest.mark.integration


async def test_a_job_goes_from_request_to_package(gateway):
    client = await gateway.tenant()
    training = await gateway.training(client)
    job = await gateway.export(client, training["id"], version_tag="v1.0")
    assert job["status"] == "pending"
    assert job["version"] == 1
    done = await gateway.completed(client)
    assert done["status"] == "completed"
    assert done["proof"] == "verified"
    assert done["is_default"] is True
    print(done)
