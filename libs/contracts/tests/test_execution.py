"""The environment contract of a run: whatever is written is read back the same."""

import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Permanent
from contracts.events import ExportRequestedV1
from contracts.execution import ExportRun
from contracts.export_options import OnnxOptions, TorchScriptOptions
from contracts.optimization import OptimizationConfig, StaticQuantization, ValidationConfig
from contracts.vocabulary import ExportFormat, Framework, TaskType

names = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=30)
plain = st.text(string.ascii_letters + string.digits + "-", max_size=20)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names,
    lambda x: st.lists(x) | st.dictionaries(names, x),
    max_leaves=5,
)
sizes = st.none() | st.tuples(st.integers(32, 4096), st.integers(32, 4096))
options = st.builds(
    OnnxOptions,
    image_size=sizes,
    batch_size=st.integers(1, 1024),
    embed_preprocessing=st.sampled_from([None, True, False]),
    opset_version=st.integers(13, 20),
    dynamic_axes=st.none() | st.just({}) | st.just({"input": [0, 2, 3]}),
) | st.builds(TorchScriptOptions, image_size=sizes, method=st.sampled_from(["trace", "script"]))
requests = st.builds(
    ExportRequestedV1,
    job_id=st.uuids(),
    user_id=st.uuids(),
    training_job_id=st.uuids(),
    version=st.integers(1, 10**6),
    framework=st.sampled_from(Framework),
    task_type=st.sampled_from(TaskType),
    model_name=names,
    checkpoint_path=names,
    checkpoint_max_bytes=st.integers(1, 1 << 40),
    classes=st.none() | st.lists(names),
    source_config=st.dictionaries(names, json, max_size=4),
    export_format=st.sampled_from(ExportFormat),
    options=options,
    optimization=st.just(OptimizationConfig())
    | st.builds(lambda i: OptimizationConfig(quantization=StaticQuantization(calibration_dataset_id=i)), st.uuids()),
    validation=st.builds(ValidationConfig, enabled=st.booleans(), dataset_id=st.none() | st.uuids()),
    timeout_s=st.integers(1, 10**6),
)
runs = st.builds(ExportRun, request=requests, attempt=st.integers(1, 1000), worker_id=plain, traceparent=plain)


@given(runs)
def test_a_run_survives_the_environment(run):
    environment = run.to_env()
    assert ExportRun.from_env(environment) == run
    assert all(isinstance(value, str) and "\0" not in value for value in environment.values())


@given(runs)
def test_the_design_s_names_are_there_and_no_secret(run):
    environment = run.to_env()
    names_of_the_design = {"JOB_ID", "EXPORT_FORMAT", "CHECKPOINT_PATH", "EXPORT_CONFIG", "OPTIMIZATION_CONFIG"}
    assert names_of_the_design <= environment.keys()
    assert not [name for name in environment if "SECRET" in name or "TOKEN" in name or "KEY" in name]


RUN = ExportRun(
    request=ExportRequestedV1(
        job_id=UUID(int=1),
        user_id=UUID(int=2),
        training_job_id=UUID(int=3),
        version=1,
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet18",
        checkpoint_path="s3://b/k",
        checkpoint_max_bytes=1,
        export_format=ExportFormat.ONNX,
        options=OnnxOptions(),
    ),
    attempt=2,
    worker_id="w",
)


def test_the_same_attempt_has_the_same_name():
    assert RUN.id == "export-00000000-0000-0000-0000-000000000001-2"


@pytest.mark.parametrize("name", ["JOB_ID", "EXPORT_CONFIG", "ATTEMPT", "CHECKPOINT_PATH"])
def test_a_missing_variable_is_named(name):
    environment = RUN.to_env()
    del environment[name]
    with pytest.raises(Permanent, match=name):
        ExportRun.from_env(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ATTEMPT", "two"),
        ("EXPORT_CONFIG", "{"),
        ("EXPORT_CONFIG", '{"format": "x"}'),
        ("FRAMEWORK", "jax"),
        ("JOB_ID", "1"),
    ],
)
def test_a_wrong_variable_is_a_permanent_error(name, value):
    with pytest.raises(Permanent) as caught:
        ExportRun.from_env(RUN.to_env() | {name: value})
    assert caught.value.code == "invalid_settings"
