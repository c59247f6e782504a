"""Header fields of draft-ietf-httpapi-ratelimit-headers-11."""

from inference_proxy.policy import Allowance, headers, refused

MINUTE = Allowance(name="minute", limit=100, window_s=60, remaining=50, reset_s=30)
MONTH = Allowance(name="month", limit=1000, window_s=2_592_000, remaining=0, reset_s=86_400)


def test_both_limits_are_items_of_two_fields() -> None:
    assert headers([MINUTE, MONTH]) == {
        "RateLimit-Policy": '"minute";q=100;w=60, "month";q=1000;w=2592000',
        "RateLimit": '"minute";r=50;t=30, "month";r=0;t=86400',
    }


def test_a_refusal_names_the_limit_that_was_met() -> None:
    assert refused(MONTH) == {
        "RateLimit-Policy": '"month";q=1000;w=2592000',
        "RateLimit": '"month";r=0;t=86400',
        "Retry-After": "86400",
    }
