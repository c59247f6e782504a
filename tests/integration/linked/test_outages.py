"""Servers that restart and networks that fail: every service comes back by itself, as the process that it was."""

import pytest
from contracts.vocabulary import ExportStatus

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_it_works(linked, someone, training_of, picture):
    import time
    t=time.time()
    job = someone.export(training_of())
    assert job.status is ExportStatus.COMPLETED, job.error
    print("job", time.time()-t)
    deployment, key = someone.deploy(job)
    print("deployed", time.time()-t)
    answer = someone.client.endpoint(deployment.id, key).infer(picture)
    print(answer, time.time()-t)
    assert answer.predictions[0].class_name == "red"
