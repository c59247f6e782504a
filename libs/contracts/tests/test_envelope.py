"""CloudEvents in binary mode: what goes on the wire, and what a foreign publisher may leave out."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from contracts.envelope import event_id, open_body, open_headers, seal
from contracts.events import ExportCancelledV1, ExportFailedV1

JOB = UUID(int=7)
EVENT = ExportCancelledV1(job_id=JOB)


def sealed(**trace):
    identity = event_id(ExportCancelledV1, JOB)
    return seal(EVENT, event_id=identity, source="gateway", subject_id=JOB, trace_headers=trace)


def test_headers_say_what_the_specification_asks():
    envelope = sealed(traceparent="00-1-2-01")
    assert envelope.nats_subject == "export.jobs.cancelled.v1"
    assert envelope.headers["ce-specversion"] == "1.0"
    assert envelope.headers["ce-type"] == "vision.export.jobs.cancelled.v1"
    assert envelope.headers["ce-subject"] == str(JOB)
    assert envelope.headers["Nats-Msg-Id"] == envelope.headers["ce-id"] == envelope.event_id
    assert envelope.headers["traceparent"] == "00-1-2-01"
    assert all(isinstance(value, str) for value in envelope.headers.values())


def test_the_body_is_the_bare_event():
    assert msgspec.json.decode(sealed().body) == {"type": "export.jobs.cancelled.v1", "job_id": str(JOB)}
    assert open_body(ExportCancelledV1, sealed().body) == EVENT


def test_a_round_trip_keeps_the_attributes():
    envelope = sealed(traceparent="00-1-2-01")
    meta = open_headers(envelope.headers, envelope.nats_subject)
    assert (meta.id, meta.subject, meta.traceparent) == (envelope.event_id, str(JOB), "00-1-2-01")
    assert meta.source == "/modelport/gateway"
    assert abs((datetime.now(UTC) - meta.time).total_seconds()) < 60


def test_every_retry_of_a_fact_has_the_same_id_and_no_other_fact_has_it():
    other_job, other_attempt = event_id(ExportFailedV1, uuid4(), 1), event_id(ExportFailedV1, JOB, 2)
    ids = [event_id(ExportFailedV1, JOB, 1), event_id(ExportFailedV1, JOB, 1), other_attempt, other_job]
    assert ids[0] == ids[1]
    assert len({*ids, event_id(ExportCancelledV1, JOB, 1)}) == 4


def test_header_names_are_case_insensitive():
    assert open_headers({"CE-ID": "a", "Ce-Type": "t"}, "s").id == "a"


def test_a_foreign_publisher_may_leave_out_everything():
    meta = open_headers(None, "training.jobs.completed.v1")
    assert (meta.id, meta.type) == ("", "vision.training.jobs.completed.v1")


def test_the_message_id_stands_in_for_a_missing_event_id():
    assert open_headers({"Nats-Msg-Id": "m"}, "s").id == "m"
