"""Settings come from the environment, and every problem is told at once without its secrets."""

from typing import Annotated, Literal

import msgspec
import pytest

from contracts.errors import Permanent
from servicekit.settings import BusSettings, HttpSettings, PostgresSettings, S3Settings, load


class Everything(BusSettings, PostgresSettings, S3Settings, HttpSettings, frozen=True, kw_only=True):
    mode: Literal["fast", "safe"] = "safe"
    formats: tuple[str, ...] = ("onnx",)
    ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    is_open: bool = False
    limit: int | None = None


class Ordered(msgspec.Struct, frozen=True):
    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("MODELPORT_LOW must be below MODELPORT_HIGH")


GOOD = {
    "MODELPORT_NATS_URL": "nats://127.0.0.1:4222",
    "MODELPORT_POSTGRES_DSN": "postgresql://a:b@c/d",
    "MODELPORT_S3_ENDPOINT": "http://127.0.0.1:1",
    "MODELPORT_S3_ACCESS_KEY": "access",
    "MODELPORT_S3_SECRET_KEY": "hidden",
    "MODELPORT_PORT": "8000",
}


def test_values_are_converted_and_defaults_kept() -> None:
    given = {"MODELPORT_FORMATS": "onnx, tflite", "MODELPORT_IS_OPEN": "true", "MODELPORT_LIMIT": "7"}
    settings = load(Everything, GOOD | given)
    assert (settings.port, settings.host, settings.s3_bucket) == (8000, "127.0.0.1", "vision-platform")
    assert (settings.formats, settings.is_open, settings.limit, settings.mode) == (("onnx", "tflite"), True, 7, "safe")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(Everything, GOOD | {"MODELPORT_MODE": "", "MODELPORT_LIMIT": ""}).mode == "safe"


def test_all_problems_are_told_at_once_with_what_would_work() -> None:
    wrong = GOOD | {"MODELPORT_PORT": "http", "MODELPORT_MODE": "slow", "MODELPORT_RATIO": "2"}
    del wrong["MODELPORT_NATS_URL"]
    with pytest.raises(Permanent) as caught:
        load(Everything, wrong)
    assert caught.value.code == "invalid_settings"
    told = {field.field: field.message for field in caught.value.fields}
    assert set(told) == {"MODELPORT_NATS_URL", "MODELPORT_PORT", "MODELPORT_MODE", "MODELPORT_RATIO"}
    assert "nats://" in told["MODELPORT_NATS_URL"]
    assert "'http'" in told["MODELPORT_PORT"]
    assert "65535" in told["MODELPORT_PORT"]
    assert "fast, safe" in told["MODELPORT_MODE"]
    assert all(message in caught.value.message for message in told.values())


def test_secrets_are_masked() -> None:
    class Secrets(msgspec.Struct, frozen=True):
        key_pepper: int

    with pytest.raises(Permanent) as caught:
        load(Secrets, {"MODELPORT_KEY_PEPPER": "do-not-show"})
    assert "do-not-show" not in str(caught.value)
    assert "***" in str(caught.value)


def test_rules_between_fields_are_told_like_the_others() -> None:
    with pytest.raises(Permanent, match="MODELPORT_LOW must be below"):
        load(Ordered, {"MODELPORT_LOW": "3"})
