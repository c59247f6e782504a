"""Versions count without gaps, and one of them is the default."""

from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_versions_have_no_gaps_and_no_doubles(owner, detector):
    training = owner.register(detector)
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: owner.client.exports.create(training.id, "onnx"), range(16)))
    assert sorted(job.version for job in jobs) == list(range(1, 17))
    for job in jobs:
        owner.client.exports.cancel(job.id)


def test_exactly_one_default(owner, detector_training, detector_export):
    again = owner.export(detector_training)
    for chosen in (again, detector_export):
        owner.client.exports.set_default(chosen.id)
        defaults = [job.id for job in owner.client.training.exports(detector_training.id) if job.is_default]
        assert defaults == [chosen.id]


def test_tags(owner, detector_export):
    assert owner.client.exports.tag(detector_export.id, "production").version_tag == "production"
    assert owner.client.exports.tag(detector_export.id, None).version_tag is None
