"""One trace runs from the request to the package, through every service that had a hand in it."""

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_one_trace_from_the_request_to_the_package(owner, detector_training, until):
    job = owner.export(detector_training)
    assert job.status == "completed", job.error

    def orphans():
        """Spans whose parent is not there: spans are told when they end and in batches, so parents come last."""
        spans = owner.client.exports.trace(job.id).spans
        known = {span.span_id for span in spans}
        return [span.name for span in spans if span.parent_id and span.parent_id not in known]

    def services():
        return {span.service for span in owner.client.exports.trace(job.id).spans}

    until(lambda: {"gateway", "export-worker", "packager"} <= services(), 30, "all services have told their spans")
    until(lambda: not orphans(), 30, "every span has its parent")
    trace = owner.client.exports.trace(job.id)
    assert {"fetch", "convert", "verify"} <= {span.name for span in trace.spans}
    assert not [span for span in trace.spans if span.status == "error"]
