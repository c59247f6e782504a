"""URLs of checkpoints: the configured bucket and the user's own prefix, wherever a URL enters, and nothing that only looks like it."""

from collections.abc import Callable
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from contracts.errors import Permanent
from contracts.events import ExportRequestedV1, TrainingCompletedV1
from contracts.export_options import OnnxOptions
from contracts.vocabulary import ExportFormat, Framework, TaskType
from export_worker import fetch
from gateway import reactions, requests
from modelport.errors import ApiError
from tests.stack import Person

pytestmark = pytest.mark.attack
BUCKET = "vision-platform"
OTHER = UUID(int=7)

URLS: dict[str, str] = {
    # {own} is the user's own folder below the bucket's name
    "another bucket": "s3://other/{own}/a.pt",
    "a bucket that begins alike": "s3://{bucket}-old/{own}/a.pt",
    "a bucket with a dot at its end": "s3://{bucket}./{own}/a.pt",
    "a bucket in capitals": "s3://VISION-PLATFORM/{own}/a.pt",
    "a scheme in capitals": "S3://{bucket}/{own}/a.pt",
    "http": "http://{bucket}/{own}/a.pt",
    "https of the store": "https://{bucket}.s3.amazonaws.com/{own}/a.pt",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_INFO",
    "no scheme": "//{bucket}/{own}/a.pt",
    "user information": "s3://{bucket}@evil.example/{own}/a.pt",
    "user information before": "s3://evil.example@{bucket}/{own}/a.pt",
    "a port": "s3://{bucket}:80/{own}/a.pt",
    "link-local": "http://169.254.169.254/latest/meta-data/",
    "decimal address": "http://2852039166/latest/meta-data/",
    "octal address": "http://0251.0376.0251.0376/",
    "hexadecimal address": "http://0xa9fea9fe/",
    "IPv6-mapped address": "http://[::ffff:169.254.169.254]/",
    "address as bucket": "s3://169.254.169.254/{own}/a.pt",
    "loopback as bucket": "s3://[::1]/{own}/a.pt",
    "parent": "s3://{bucket}/{own}/../{other}/a.pt",
    "parent at the end": "s3://{bucket}/{own}/..",
    "here": "s3://{bucket}/{own}/./a.pt",
    "three dots": "s3://{bucket}/{own}/.../a.pt",
    "dots and blanks": "s3://{bucket}/{own}/.. /a.pt",
    "encoded parent": "s3://{bucket}/{own}/%2e%2e/{other}/a.pt",
    "doubly encoded parent": "s3://{bucket}/{own}/%252e%252e/{other}/a.pt",
    "encoded slash": "s3://{bucket}/{own}/..%2f{other}%2fa.pt",
    "encoded null": "s3://{bucket}/{own}/a.pt%00.txt",
    "backslash": "s3://{bucket}/{own}\\..\\{other}\\a.pt",
    "full-width dots": "s3://{bucket}/{own}/\uff0e\uff0e/{other}/a.pt",
    "one-dot leaders": "s3://{bucket}/{own}/\u2024\u2024/{other}/a.pt",
    "two-dot leader": "s3://{bucket}/{own}/\u2025/{other}/a.pt",
    "full-width slash": "s3://{bucket}/{own}\uff0f..\uff0f{other}/a.pt",
    "full-width scheme": "\uff533://{bucket}/{own}/a.pt",
    "Cyrillic bucket": "s3://visi\u043en-platform/{own}/a.pt",
    "right-to-left override": "s3://{bucket}/{own}/\u202etp.a",
    "control character": "s3://{bucket}/{own}/a\u0000b.pt",
    "line feed": "s3://{bucket}/{own}/a\nHost: evil",
    "another user's upload": "s3://{bucket}/uploads/{other}/x/a.pt",
    "all uploads": "s3://{bucket}/uploads/",
    "a folder that begins like the user's": "s3://{bucket}/{own}0/a.pt",
    "another's export": "s3://{bucket}/exports/{other}/model.onnx",
    "another's package": "s3://{bucket}/edge-packages/{other}.zip",
    "a served model": "s3://{bucket}/triton-models/{other}/1/model.onnx",
    "empty key": "s3://{bucket}/",
    "no key": "s3://{bucket}",
    "empty parts": "s3://{bucket}//{own}//a.pt",
    "a key of 2000 letters": "s3://{bucket}/{own}/" + "a" * 2000,
    "empty": "",
    "a query": "s3://evil?x=s3://{bucket}/{own}/a.pt",
    "a fragment": "s3://evil#s3://{bucket}/{own}/a.pt",
}


def url(name: str, user_id: UUID | str) -> str:
    return URLS[name].format(bucket=BUCKET, own=f"uploads/{user_id}", other=OTHER)


def export_of(user_id: UUID, path: str) -> ExportRequestedV1:
    return ExportRequestedV1(
        job_id=uuid4(),
        user_id=user_id,
        training_job_id=uuid4(),
        version=1,
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet10t",
        checkpoint_path=path,
        checkpoint_max_bytes=1,
        export_format=ExportFormat.ONNX,
        options=OnnxOptions(),
        timeout_s=1,
    )


def training_of(user_id: UUID, path: str) -> TrainingCompletedV1:
    return TrainingCompletedV1(
        training_job_id=uuid4(),
        user_id=user_id,
        framework=Framework.TIMM,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        model_name="resnet10t",
        checkpoint_path=path,
    )


@pytest.mark.parametrize("name", URLS)
async def test_no_entrance_takes_it(name: str) -> None:
    """REST registration, the training event and the worker's fetch, each with its own check."""
    user_id = uuid4()
    path = url(name, user_id)
    parts = SimpleNamespace(settings=SimpleNamespace(s3_bucket=BUCKET))
    with pytest.raises(Permanent) as at_rest:
        requests.checkpoint_key(path, BUCKET, user_id, within=f"uploads/{user_id}/")
    with pytest.raises(Permanent) as at_event:
        await reactions.on_training_completed(parts, training_of(user_id, path))
    with pytest.raises(Permanent) as at_worker:
        fetch.checkpoint_key(export_of(user_id, path), BUCKET)
    assert {caught.value.code for caught in (at_rest, at_event, at_worker)} == {"invalid_uri"}


@pytest.mark.parametrize("path", ["uploads/{own}/x/a.pt", "uploads/{own}/x/100% né.pt", "trained/7/best.pt"])
def test_what_is_the_users_own_or_the_platforms_is_taken(path: str) -> None:
    user_id = uuid4()
    key = path.format(own=user_id)
    assert requests.checkpoint_key(f"s3://{BUCKET}/{key}", BUCKET, user_id) == key
    assert fetch.checkpoint_key(export_of(user_id, f"s3://{BUCKET}/{key}"), BUCKET) == key


@pytest.mark.integration
def test_the_running_platform_refuses_them_all(owner: Person, figure: Callable[..., None]) -> None:
    answers = {name: registered(owner, url(name, owner.id)) for name in URLS}
    taken = [name for name, status in answers.items() if status not in (400, 422)]
    figure("URLs of foreign checkpoints that were registered", trials=len(URLS), measured=len(taken), promised=0)
    assert taken == []


def registered(owner: Person, path: str) -> int:
    """The status of the answer."""
    told = {"framework": "timm", "task_type": "image_classification", "model_name": "resnet10t"}
    try:
        owner.client.training.register(checkpoint_path=path, **told)
    except ApiError as refusal:
        return refusal.status
    return 201
