"""Subjects and streams."""

import re
from uuid import UUID

import pytest

from contracts.events import DeploymentScaledV1, ExportProgressedV1, ExportRequestedV1
from contracts.events.export import ExportStage
from contracts.export_options import export_route, parse_export_options
from contracts.subjects import EVENTS, ROUTED_BY, STREAMS, base_subject, filter_subject, stream_of, subject
from contracts.vocabulary import ExportFormat, ExportRoute

ID = UUID(int=1)


@pytest.mark.parametrize("event", EVENTS)
def test_subjects_follow_the_one_form(event):
    assert re.fullmatch(r"(training|export|deployment|usage)\.[a-z]+\.[a-z]+\.v[1-9]", base_subject(event))
    assert event.__name__.endswith("V1") == base_subject(event).endswith(".v1")


def test_subjects_are_unique():
    assert len({base_subject(event) for event in EVENTS}) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_a_stream(event):
    assert stream_of(filter_subject(event)) in {stream.name for stream in STREAMS}


def test_routing_is_the_last_token():
    assert filter_subject(ExportRequestedV1, "onnx") == "export.jobs.requested.v1.onnx"
    assert filter_subject(ExportRequestedV1) == "export.jobs.requested.v1.*"
    assert filter_subject(DeploymentScaledV1) == "deployment.targets.scaled.v1"
    assert set(ROUTED_BY.values()) == {"export_route", "deployment_type"}


@pytest.mark.parametrize("export_format", ExportFormat)
def test_every_format_has_a_route_of_its_own(export_format):
    assert export_route(parse_export_options(export_format, None)) == export_format


def test_engines_that_need_no_gpu_are_asked_of_other_workers_than_those_that_do():
    rtx = parse_export_options(ExportFormat.TENSORRT, {"flavor": "rtx"})
    assert export_route(rtx) is ExportRoute.TENSORRT_RTX
    assert {str(route) for route in ExportRoute} == {*ExportFormat, "tensorrt_rtx"}


def test_no_subject_holds_an_id():
    fact = ExportProgressedV1(job_id=ID, attempt=1, stage=ExportStage.LOAD, percent=1, message="", worker_id="w")
    assert subject(fact) == "export.jobs.progressed.v1"


def test_routes_can_be_rebuilt_for_ever():
    assert next(stream for stream in STREAMS if stream.name == "DEPLOYMENT").max_age is None
